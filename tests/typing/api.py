"""User code that only the type checkers run: unions narrow, both spellings of a status pass."""

from __future__ import annotations

from typing import Any, Optional

import httpx
import httpx2
from typing_extensions import assert_type

from flowmaestro import (
    AsyncFlowMaestroClient,
    AuthorizationError,
    FlowMaestroClient,
    FlowMaestroError,
    RateLimit,
    RateLimitError,
)
from flowmaestro.types import (
    Agent,
    AgentExecutionFailedData,
    AgentMemoryMessage,
    AgentMemorySearchResult,
    AgentMemoryStats,
    AssistantMessage,
    DeletedWorkingMemory,
    ExecuteResult,
    Execution,
    ExecutionCompletedData,
    ExecutionEvent,
    ExecutionHeartbeatEvent,
    ExecutionPausedEvent,
    ExecutionResumedEvent,
    ExecutionStatus,
    KnowledgeBase,
    MessageList,
    PauseContext,
    SearchResult,
    Thread,
    ThreadEvent,
    ThreadHeartbeatEvent,
    ThreadMessage,
    ThreadMessageData,
    Trigger,
    Webhook,
    WebhookCreated,
    WebhookDelivery,
    WebhookEvent,
    WebhookEventType,
    WebhookTestData,
    Workflow,
    WorkingMemory,
)
from flowmaestro.webhooks import construct_event, delivery_id, verify_signature


def calls(client: FlowMaestroClient) -> None:
    assert_type(client.workflows.list(page=1, per_page=5)["data"], list[Workflow])
    assert_type(client.workflows.list()["pagination"]["has_more"], bool)
    assert_type(client.workflows.get("w")["data"], Workflow)
    started = client.workflows.execute("w", {"name": "Ada", "all": [1, None]})["data"]
    assert_type(started, ExecuteResult)
    assert_type(client.executions.get(started["execution_id"])["data"], Execution)
    client.executions.list(status="running")
    client.executions.list(status=ExecutionStatus.RUNNING, workflow_id="w")
    assert_type(client.executions.wait_for_completion("e"), Execution)
    assert_type(client.run("w", {"a": 1}, timeout=None)["outputs"], Optional[dict[str, Any]])
    for execution in client.executions.iter(status=ExecutionStatus.FAILED):
        assert_type(execution, Execution)
        if execution["status"] == "failed" or execution["status"] == ExecutionStatus.FAILED:
            assert_type(execution["error"], Optional[str])
    assert_type(client.agents.get("a")["data"], Agent)
    assert_type(client.agents.create_thread("a", metadata={"user": 1})["data"], Thread)
    assert_type(client.agents.memory.list("a", per_page=5)["data"], list[WorkingMemory])
    assert_type(client.agents.memory.get("a", "u")["data"]["metadata"], dict[str, Any])
    assert_type(client.agents.memory.set("a", "u", "text", metadata={})["data"], WorkingMemory)
    assert_type(client.agents.memory.delete("a", "u")["data"], DeletedWorkingMemory)
    for memory in client.agents.memory.iter("a"):
        assert_type(memory, WorkingMemory)
    found = client.agents.memory.search("a", "q", top_k=3, similarity_threshold=1, user_id="u")
    for result in found["data"]["results"]:
        assert_type(result, AgentMemorySearchResult)
        assert_type(result["execution_id"], Optional[str])
        assert_type(result["context_before"], list[AgentMemoryMessage])
    assert_type(client.agents.memory.stats("a")["data"], AgentMemoryStats)
    assert_type(client.threads.list_messages("t")["data"], MessageList)
    assert_type(client.threads.list_messages("t")["data"][0], ThreadMessage)
    assert_type(client.threads.list_messages("t")["data"]["messages"], MessageList)
    answer = client.threads.send_message("t", "Hello")["data"]["message"]
    assert_type(answer, Optional[AssistantMessage])
    assert_type(client.triggers.list()["data"], list[Trigger])
    assert_type(client.knowledge_bases.get("k")["data"], KnowledgeBase)
    assert_type(client.knowledge_bases.query("k", "q")["data"]["results"], list[SearchResult])
    created = client.webhooks.create(
        name="n", url="u", events=["execution.started", WebhookEventType.EXECUTION_FAILED]
    )
    assert_type(created["data"], WebhookCreated)
    assert_type(client.webhooks.update("w", headers=None)["data"], Webhook)
    assert_type(client.webhooks.test("w")["data"]["response_time_ms"], int)
    assert_type(client.webhooks.deliveries("w")["data"], list[WebhookDelivery])
    assert_type(client.rate_limit, Optional[RateLimit])
    assert_type(client.with_options(deadline=3), FlowMaestroClient)
    with FlowMaestroClient(timeout=httpx.Timeout(5), http_client=httpx.Client()) as other:
        assert_type(other, FlowMaestroClient)


async def async_calls() -> None:
    async with AsyncFlowMaestroClient("fm_live_x", timeout=None) as client:
        assert_type(client, AsyncFlowMaestroClient)
        assert_type((await client.workflows.get("w"))["data"], Workflow)
        async for workflow in client.workflows.iter():
            assert_type(workflow, Workflow)
        assert_type((await client.agents.memory.get("a", "u"))["data"], WorkingMemory)
        async for memory in client.agents.memory.iter("a"):
            assert_type(memory, WorkingMemory)
        async with client.executions.stream("e") as stream:
            async for event in stream:
                assert_type(event, ExecutionEvent)
        async for token in client.threads.send_message_stream("t", "Hello"):
            assert_type(token, ThreadEvent)


def execution_event(event: ExecutionEvent) -> None:
    assert_type(event["execution_id"], str)
    if event["type"] == "execution:completed":
        assert_type(event["outputs"], Optional[dict[str, Any]])
    elif event["type"] == "execution:progress":
        assert_type(event["progress"], float)
    elif event["type"] == "node:started":
        assert_type(event["node_id"], str)
    elif event["type"] == "execution:failed":
        assert_type(event["error"], Optional[str])
    elif event["type"] == "execution:paused":
        assert_type(event, ExecutionPausedEvent)
        assert_type(event.get("paused_at_node_id"), Optional[str])
        assert_type(event.get("paused_at_node_name"), Optional[str])
        assert_type(event.get("pause_context"), Optional[PauseContext])
    elif event["type"] == "execution:resumed":
        assert_type(event, ExecutionResumedEvent)
        assert_type(event.get("variable_name"), Optional[str])
    elif event["type"] == "node:completed" or event["type"] == "node:failed":
        assert_type(event.get("node_name"), Optional[str])
        assert_type(event.get("node_type"), Optional[str])
    elif event["type"] == "heartbeat":
        assert_type(event, ExecutionHeartbeatEvent)


def thread_event(event: ThreadEvent) -> None:
    if event["type"] == "message:token":
        assert_type(event["token"], str)
    elif event["type"] == "message:completed":
        assert_type(event["content"], str)
    elif event["type"] == "message:failed":
        assert_type(event["error"], str)
    elif event["type"] == "heartbeat":
        assert_type(event, ThreadHeartbeatEvent)


def webhook_event(body: bytes, headers: dict[str, str]) -> None:
    assert_type(verify_signature(body, headers.get("x"), ["old", "new"]), bool)
    assert_type(delivery_id(headers), str)
    event = construct_event(body, headers, secret="s", tolerance=3600)
    assert_type(event, WebhookEvent)
    if event["event"] == "execution.completed":
        assert_type(event["data"], ExecutionCompletedData)
        assert_type(event["data"]["outputs"], Optional[dict[str, Any]])
    elif event["event"] == "thread.message.created":
        assert_type(event["data"], ThreadMessageData)
    elif event["event"] == "agent.execution.failed":
        assert_type(event["data"], AgentExecutionFailedData)
    elif event["event"] == "test":
        assert_type(event["data"], WebhookTestData)


def errors(error: FlowMaestroError) -> None:
    assert_type(error.outcome_unknown, bool)
    assert_type(error.to_dict(), dict[str, Any])
    assert_type(FlowMaestroError.from_dict({"type": "NotFoundError"}), FlowMaestroError)
    if isinstance(error, RateLimitError):
        assert_type(error.retry_after, Optional[float])
    elif isinstance(error, AuthorizationError):
        assert_type(error.missing_scopes, list[str])


def clients_of_either_library() -> None:
    FlowMaestroClient("k", http_client=httpx.Client(), timeout=httpx.Timeout(5))
    FlowMaestroClient("k", http_client=httpx2.Client(), timeout=httpx2.Timeout(5))
    AsyncFlowMaestroClient("k", http_client=httpx2.AsyncClient()).with_options(
        timeout=httpx2.Timeout(5)
    )
    answer = FlowMaestroClient("k").request("GET", "/workflows", params={"page": 1}, timeout=5)
    assert_type(answer, Any)
