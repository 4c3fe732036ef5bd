"""Every documented use, against the backend as it answers today and as it is documented."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

import flowmaestro
from flowmaestro import AsyncFlowMaestroClient
from flowmaestro.types import (
    DeliveryStatus,
    ExecutionStatus,
    MessageStatus,
    ThreadStatus,
    WebhookEventType,
)
from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.contract.libraries import client_of, libraries_of
from tests.receiver import Receiver, until

pytestmark = pytest.mark.anyio  # async only

TERMINAL = {"execution:completed", "execution:failed", "execution:cancelled"}


@pytest.fixture(params=libraries_of("AsyncClient"))
async def client(
    request: pytest.FixtureRequest, server: LocalServer
) -> AsyncIterator[AsyncFlowMaestroClient]:
    on_trio = "trio" in str(request.node.callspec.params.get("anyio_backend"))  # async only
    if request.param == "aiohttp" and on_trio:  # async only
        pytest.skip("aiohttp needs asyncio")  # async only
    http_client = client_of(request.param, "AsyncClient")
    async with AsyncFlowMaestroClient(KEY, server.url, http_client=http_client) as client:
        yield client
    if http_client is not None:
        await http_client.aclose()


async def start(client: AsyncFlowMaestroClient, workflow_id: str, **inputs: Any) -> str:
    started = await client.workflows.execute(workflow_id, inputs)
    return started["data"]["execution_id"]


async def new_thread(client: AsyncFlowMaestroClient) -> str:
    return (await client.agents.create_thread("agent_123"))["data"]["id"]


def say(server: LocalServer, thread_id: str, types: list[str]) -> None:
    """Send a message once somebody follows the thread, by a stream or by polling."""

    def polls() -> int:
        path = f"/api/v1/threads/{thread_id}/messages"
        return sum((r.method, r.path) == ("GET", path) for r in server.requests)

    # What the first poll saw is known when the second one is sent.
    until(lambda: "connected" in types or polls() >= 2)
    with flowmaestro.FlowMaestroClient(KEY, server.url) as another:
        another.threads.send_message(thread_id, "soon")


# Workflows


async def test_workflows_are_listed_with_complete_pagination(client):
    page = await client.workflows.list()
    assert len(page["data"]) == 20
    assert page["pagination"]["page"] == 1
    assert page["pagination"]["per_page"] == 20
    assert page["pagination"]["total_count"] == 29
    assert page["pagination"]["has_more"] is True
    last = await client.workflows.list(page=2, per_page=20)
    assert len(last["data"]) == 9
    assert last["pagination"]["has_more"] is False


async def test_a_page_past_the_end_is_empty(client):
    page = await client.workflows.list(page=99)
    assert page["data"] == []
    assert page["pagination"]["has_more"] is False


async def test_iter_gives_every_workflow_once_and_fetches_pages_when_needed(client, server):
    before = len(server.requests)
    names = []
    async for workflow in client.workflows.iter(per_page=10):
        names.append(workflow["id"])
        if len(names) == 10:
            assert len(server.requests) - before == 1
    assert len(names) == len(set(names)) == 29
    assert len(server.requests) - before == 3


async def test_a_workflow_has_its_inputs(client):
    workflow = (await client.workflows.get("wf_123"))["data"]
    assert workflow["name"] == "Greeting"
    assert workflow["inputs"] == {"name": {"type": "text", "label": "Name"}}


async def test_execute_gives_the_execution_id_and_a_status_that_is_an_enum(client):
    started = (await client.workflows.execute("wf_123", inputs={"name": "Ada"}))["data"]
    assert started["workflow_id"] == "wf_123"
    assert started["inputs"] == {"name": "Ada"}
    assert started["status"] is ExecutionStatus.PENDING
    assert started["status"] == "pending"
    assert isinstance(started["execution_id"], str)


async def test_execute_without_inputs(client):
    started = (await client.workflows.execute("wf_123"))["data"]
    assert started["inputs"] == {}


async def test_an_unknown_workflow_is_a_not_found_error(client):
    for workflow_id in ("wf_unknown", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(flowmaestro.NotFoundError) as caught:
            await client.workflows.get(workflow_id)
        assert caught.value.code == "resource_not_found"
        assert caught.value.status_code == 404
        assert caught.value.outcome_unknown is False
        with pytest.raises(flowmaestro.NotFoundError) as caught:
            await client.workflows.execute(workflow_id)
        assert caught.value.outcome_unknown is False
        assert "may have been" not in str(caught.value)


async def test_run_executes_and_waits(client):
    result = await client.run("wf_123", {"name": "Ada"}, poll_interval=0.05, timeout=60)
    assert result["outputs"] == {"greeting": "Hello Ada"}
    assert result["status"] is ExecutionStatus.COMPLETED


# Executions


async def test_executions_are_listed_by_workflow_and_by_status(client):
    failed = await start(client, "wf_fails")
    await client.executions.wait_for_completion(failed, poll_interval=0.05)
    for status in ("failed", ExecutionStatus.FAILED):
        page = await client.executions.list(status=status)
        assert page["data"]
        assert {one["status"] for one in page["data"]} == {ExecutionStatus.FAILED}
    page = await client.executions.list(workflow_id="wf_fails", per_page=1)
    assert [one["workflow_id"] for one in page["data"]] == ["wf_fails"]


async def test_iter_gives_every_execution_of_a_status_where_the_filter_of_a_page_would_not(client):
    failed = []
    for _ in range(3):
        failed.append(await start(client, "wf_fails"))
        await start(client, "wf_123")
    for execution_id in failed:
        await client.executions.wait_for_completion(execution_id, poll_interval=0.05)
    for filters in ({"workflow_id": "wf_fails"}, {}):
        found = set()
        async for execution in client.executions.iter(status="failed", per_page=1, **filters):
            found.add(execution["id"])
        assert found >= set(failed)


async def test_an_execution_has_every_documented_key(client):
    execution = (await client.executions.get(await start(client, "wf_123")))["data"]
    assert set(execution) == {
        "id",
        "workflow_id",
        "status",
        "inputs",
        "outputs",
        "error",
        "started_at",
        "completed_at",
        "created_at",
    }


async def test_cancel_stops_an_execution_and_a_second_cancel_is_refused(client):
    execution_id = await start(client, "wf_slow")
    cancelled = (await client.executions.cancel(execution_id))["data"]
    assert cancelled["id"] == execution_id
    assert cancelled["status"] is ExecutionStatus.CANCELLED
    with pytest.raises(flowmaestro.ValidationError, match="Current status: cancelled"):
        await client.executions.cancel(execution_id)
    result = await client.executions.wait_for_completion(execution_id)
    assert result["status"] == "cancelled"


async def test_a_wait_returns_failed_executions_too(client):
    result = await client.executions.wait_for_completion(
        await start(client, "wf_fails"), poll_interval=0.05
    )
    assert result["status"] is ExecutionStatus.FAILED
    assert result["error"] == "Node n1 failed"


async def test_a_wait_raises_for_failed_executions_where_asked_to(client):
    execution_id = await start(client, "wf_fails")
    with pytest.raises(flowmaestro.ExecutionFailedError, match="Node n1 failed") as caught:
        await client.executions.wait_for_completion(
            execution_id, poll_interval=0.05, raise_on_failure=True
        )
    assert caught.value.execution["id"] == execution_id


async def test_a_wait_that_takes_too_long_carries_what_it_last_saw(client, server):
    execution_id = await start(client, "wf_slow")
    until(lambda: server.executions[-1].status == "running")
    with pytest.raises(TimeoutError) as caught:
        await client.executions.wait_for_completion(execution_id, 0.05, timeout=1)
    assert isinstance(caught.value, flowmaestro.TimeoutError)
    assert caught.value.execution["status"] == "running"
    assert (await client.executions.get(execution_id))["data"]["status"] == "running"
    await client.executions.cancel(execution_id)


async def test_a_wait_reports_each_new_status_paused_included(client):
    seen = []
    await client.executions.wait_for_completion(
        await start(client, "wf_pauses"),
        poll_interval=0.02,
        on_update=lambda execution: seen.append(str(execution["status"])),
    )
    assert "paused" in seen
    assert seen[-1] == "completed"
    assert len(seen) == len(set(seen))


async def test_a_stream_ends_with_exactly_one_terminal_event(client):
    for workflow_id, last in (("wf_123", "execution:completed"), ("wf_fails", "execution:failed")):
        execution_id = await start(client, workflow_id)
        events = [event async for event in client.executions.stream(execution_id)]
        assert events[-1]["type"] == last
        assert sum(event["type"] in TERMINAL for event in events) == 1
        assert {event["execution_id"] for event in events} == {execution_id}
        assert sum(event["type"] == "connected" for event in events) <= 1
        assert {"outputs", "error", "status"} <= set(events[-1])


async def test_a_stream_of_what_is_over_has_its_end_at_once(client):
    execution_id = await start(client, "wf_123", name="Ada")
    await client.executions.wait_for_completion(execution_id, poll_interval=0.05)
    events = [event async for event in client.executions.stream(execution_id)]
    assert [event["type"] for event in events] == ["execution:completed"]
    assert events[0]["outputs"] == {"greeting": "Hello Ada"}
    assert events[0]["status"] is ExecutionStatus.COMPLETED


async def test_a_stream_tells_that_an_execution_was_cancelled(client):
    execution_id = await start(client, "wf_slow")
    types = []
    async with client.executions.stream(execution_id) as stream:
        async for event in stream:
            types.append(event["type"])
            if event["type"] == "connected":
                await client.executions.cancel(execution_id)
    assert types[-1] == "execution:cancelled"


async def test_events_come_live_where_the_backend_sends_them(client, server):
    connected = threading.Event()

    @server.workflow("wf_followed")
    def followed(inputs, run):
        while not connected.is_set():
            run.sleep(0.01)
        run.progress(50)
        with run.node("lookup", type="http"):
            pass

    events = []
    async for event in client.executions.stream(await start(client, "wf_followed")):
        events.append(event)
        if event["type"] == "connected":
            connected.set()
    if server.dialect == "wire":
        assert [event["type"] for event in events] == ["connected", "execution:completed"]
        return
    by_type = {event["type"]: event for event in events}
    assert by_type["execution:progress"]["progress"] == 50
    assert by_type["node:started"]["node_name"] == "lookup"
    assert by_type["node:started"]["node_type"] == "http"
    assert by_type["node:completed"]["node_id"] == by_type["node:started"]["node_id"]


async def test_the_stream_of_an_unknown_execution_is_a_not_found_error(client):
    with pytest.raises(flowmaestro.NotFoundError):
        async for _ in client.executions.stream("exec_unknown"):
            pass


# Agents and threads


async def test_agents_are_listed_and_got(client):
    listed = (await client.agents.list())["data"]
    assert [agent["id"] for agent in listed] == ["agent_123"]
    assert [agent["name"] async for agent in client.agents.iter()] == ["Helper"]
    agent = (await client.agents.get("agent_123"))["data"]
    assert agent["available_tools"][0]["name"] == "search"
    assert {"system_prompt", "temperature", "max_tokens"} <= set(agent)


async def test_a_thread_is_made_got_and_deleted(client):
    thread = (await client.agents.create_thread("agent_123", metadata={"user": "u"}))["data"]
    assert thread["agent_id"] == "agent_123"
    assert thread["status"] is ThreadStatus.ACTIVE
    assert (await client.threads.get(thread["id"]))["data"]["id"] == thread["id"]
    deleted = (await client.threads.delete(thread["id"]))["data"]
    assert deleted == {"id": thread["id"], "deleted": True}
    with pytest.raises(flowmaestro.NotFoundError):
        await client.threads.get(thread["id"])


async def test_a_message_gets_the_agents_answer(client):
    thread_id = await new_thread(client)
    answer = (await client.threads.send_message(thread_id, "Hello!"))["data"]
    assert answer["message"]["role"] == "assistant"
    assert answer["message"]["content"] == "You said Hello!"
    assert answer["status"] is MessageStatus.COMPLETED
    assert answer["thread_id"] == thread_id


async def test_an_agent_that_fails_is_an_error_with_its_reason(client):
    thread_id = await new_thread(client)
    with pytest.raises(flowmaestro.ServerError, match="Model error") as caught:
        await client.threads.send_message(thread_id, "please fail")
    assert caught.value.code == "execution_failed"


async def test_messages_are_a_list_with_pages(client):
    thread_id = await new_thread(client)
    await client.threads.send_message(thread_id, "one")
    await client.threads.send_message(thread_id, "two")
    messages = (await client.threads.list_messages(thread_id))["data"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    page = await client.threads.list_messages(thread_id, page=2, per_page=3)
    assert [message["content"] for message in page["data"]] == ["You said two"]
    assert page["pagination"]["total_count"] == 4
    assert page["pagination"]["has_more"] is False
    every = [one["id"] async for one in client.threads.iter_messages(thread_id, per_page=3)]
    assert every == [message["id"] for message in messages]


async def test_an_answer_comes_as_events(client):
    thread_id = await new_thread(client)
    events = [event async for event in client.threads.send_message_stream(thread_id, "Hi")]
    assert events[0]["type"] == "message:started"
    tokens = [event["token"] for event in events if event["type"] == "message:token"]
    assert "".join(tokens) == "You said Hi"
    assert events[-1]["type"] == "message:completed"
    assert events[-1]["content"] == "You said Hi"
    assert {event["thread_id"] for event in events} == {thread_id}
    messages = (await client.threads.list_messages(thread_id))["data"]
    assert len(messages) == 2, "the message was posted more than once"


async def test_an_answer_that_fails_ends_its_events_with_the_reason(client):
    thread_id = await new_thread(client)
    events = [e async for e in client.threads.send_message_stream(thread_id, "please fail")]
    assert events[-1]["type"] == "message:failed"
    assert "Model error" in events[-1]["error"]


async def test_a_thread_can_be_followed(client, server):
    thread_id = await new_thread(client)
    types = []
    speaker = threading.Thread(target=say, args=(server, thread_id, types))
    speaker.start()
    async with client.threads.stream(thread_id) as stream:
        async for event in stream:
            types.append(event["type"])
            if event["type"] == "message:completed":
                assert event["content"] == "You said soon"
                break
    speaker.join(60)
    assert "message:token" in types


# The memory of agents


async def test_a_memory_is_set_got_listed_and_deleted(client):
    memory = client.agents.memory
    changes = {"metadata": {"source": "chat"}}
    new = (await memory.set("agent_123", "user_1", " Likes tea. ", **changes))["data"]
    assert set(new) == {
        "agent_id",
        "user_id",
        "working_memory",
        "metadata",
        "created_at",
        "updated_at",
    }
    assert new["working_memory"] == "Likes tea."
    assert (await memory.get("agent_123", "user_1"))["data"] == new
    listed = await memory.list("agent_123")
    assert listed["data"] == [new]
    assert listed["pagination"]["total_count"] == 1
    assert listed["pagination"]["has_more"] is False
    replaced = (await memory.set("agent_123", "user_1", "Likes coffee."))["data"]
    assert (replaced["working_memory"], replaced["metadata"]) == ("Likes coffee.", {})
    deleted = (await memory.delete("agent_123", "user_1"))["data"]
    assert deleted == {"agent_id": "agent_123", "user_id": "user_1", "deleted": True}
    for call in (memory.get, memory.delete):
        with pytest.raises(flowmaestro.NotFoundError):
            await call("agent_123", "user_1")


async def test_iter_gives_every_memory_once_the_last_changed_first(client, server):
    for number in (1, 2, 3, 4, 5, 1):
        await client.agents.memory.set("agent_123", f"user_{number}", "text")
    before = len(server.requests)
    users = []
    async for memory in client.agents.memory.iter("agent_123", per_page=2):
        users.append(memory["user_id"])
    assert users == [f"user_{number}" for number in (1, 5, 4, 3, 2)]
    assert len(server.requests) - before == 3
    page = await client.agents.memory.list("agent_123", page=3, per_page=2)
    assert [memory["user_id"] for memory in page["data"]] == ["user_2"]


async def test_the_conversations_of_an_agent_are_searched(client):
    for user in ("user_1", "user_2"):
        thread = await client.agents.create_thread("agent_123", metadata={"user_id": user})
        for content in (f"I am {user}", "My cat is called Tom", "Good night"):
            await client.threads.send_message(thread["data"]["id"], content)
    search = client.agents.memory.search
    found = (await search("agent_123", "cat called", user_id="user_2", top_k=1))["data"]
    assert (found["agent_id"], found["query"], found["result_count"]) == (
        "agent_123",
        "cat called",
        1,
    )
    (result,) = found["results"]
    assert set(result) == {
        "content",
        "role",
        "similarity",
        "execution_id",
        "context_before",
        "context_after",
    }
    assert (result["role"], result["content"]) == ("user", "My cat is called Tom")
    assert 0 < result["similarity"] <= 1
    before = [(one["role"], one["content"]) for one in result["context_before"]]
    assert before == [("user", "I am user_2"), ("assistant", "You said I am user_2")]
    assert result["context_after"][0]["role"] == "assistant"
    every = (await search("agent_123", "cat called", similarity_threshold=0))["data"]
    assert every["result_count"] == 4
    assert (await search("agent_123", "dogs"))["data"]["results"] == []


async def test_stats_tell_how_much_an_agent_remembers(client):
    await client.agents.memory.set("agent_123", "user_1", "text")
    await client.threads.send_message(await new_thread(client), "Hello")
    stats = (await client.agents.memory.stats("agent_123"))["data"]
    assert isinstance(stats.pop("memory_config"), dict)
    assert stats == {"agent_id": "agent_123", "working_memory_count": 1, "embedding_count": 2}


async def test_the_memory_of_an_unknown_agent_is_a_not_found_error(client):
    memory = client.agents.memory
    for agent_id in ("agent_unknown", "00000000-0000-0000-0000-000000000000"):
        for call, arguments in (
            (memory.list, ()),
            (memory.get, ("user_1",)),
            (memory.set, ("user_1", "text")),
            (memory.delete, ("user_1",)),
            (memory.search, ("query",)),
            (memory.stats, ()),
        ):
            with pytest.raises(flowmaestro.NotFoundError) as caught:
                await call(agent_id, *arguments)
            assert caught.value.code == "resource_not_found"


# Triggers


async def test_triggers_are_listed_and_pulled(client):
    triggers = (await client.triggers.list())["data"]
    assert {trigger["id"] for trigger in triggers} == {"trigger_123", "trigger_off"}
    assert len([trigger async for trigger in client.triggers.iter()]) == 2
    started = (await client.triggers.execute("trigger_123", {"name": "Ada"}))["data"]
    assert started["trigger_id"] == "trigger_123"
    assert started["workflow_id"] == "wf_123"
    result = await client.executions.wait_for_completion(started["execution_id"], 0.05)
    assert result["outputs"] == {"greeting": "Hello Ada"}


async def test_a_disabled_trigger_is_a_validation_error(client):
    with pytest.raises(flowmaestro.ValidationError, match="not enabled"):
        await client.triggers.execute("trigger_off")


# Knowledge bases


async def test_knowledge_bases_are_listed_got_and_searched(client):
    assert (await client.knowledge_bases.list())["data"][0]["document_count"] == 2
    assert [base["id"] async for base in client.knowledge_bases.iter()] == ["kb_123"]
    base = (await client.knowledge_bases.get("kb_123"))["data"]
    assert base["chunk_size"] == 1000
    found = (await client.knowledge_bases.query("kb_123", "reset password", top_k=1))["data"]
    assert found["query"] == "reset password"
    (result,) = found["results"]
    assert set(result) == {
        "content",
        "similarity",
        "chunk_id",
        "document_id",
        "document_name",
        "metadata",
        # Other names for the same.
        "score",
        "id",
    }
    assert result["document_name"] == "passwords.md"
    assert 0 < result["similarity"] <= 1


# Webhooks


async def test_webhooks_are_managed(client):
    created = (
        await client.webhooks.create(
            name="Ends",
            url="http://127.0.0.1:9/hook",
            events=["execution.completed", WebhookEventType.EXECUTION_FAILED],
            headers={"X-Custom": "v"},
        )
    )["data"]
    webhook_id = created["id"]
    assert created["secret"].startswith("whsec_")
    assert created["events"] == ["execution.completed", "execution.failed"]
    assert created["events"][0] is WebhookEventType.EXECUTION_COMPLETED
    got = (await client.webhooks.get(webhook_id))["data"]
    assert got["headers"] == {"X-Custom": "v"}
    assert "secret" not in got
    updated = (await client.webhooks.update(webhook_id, name="New", is_active=False))["data"]
    assert updated["name"] == "New"
    assert updated["is_active"] is False
    assert webhook_id in [one["id"] for one in (await client.webhooks.list())["data"]]
    assert webhook_id in [one["id"] async for one in client.webhooks.iter()]
    tested = (await client.webhooks.test(webhook_id))["data"]
    assert tested["success"] is False
    assert tested["status_code"] is None
    assert tested["message"]
    assert isinstance(tested["response_time_ms"], int)
    assert (await client.webhooks.delete(webhook_id))["data"]["deleted"] is True
    with pytest.raises(flowmaestro.NotFoundError):
        await client.webhooks.get(webhook_id)


async def test_a_webhook_is_delivered_signed_and_recorded(client):
    with Receiver() as receiver:
        created = (
            await client.webhooks.create(
                name="Ends", url=receiver.url, events=["execution.completed"]
            )
        )["data"]
        tested = (await client.webhooks.test(created["id"]))["data"]
        assert tested["success"] is True
        assert tested["status_code"] == 200
        await client.run("wf_123", {"name": "Ada"}, poll_interval=0.05)
        until(lambda: len(receiver.deliveries) >= 2)
        events = [delivery.event(created["secret"]) for delivery in receiver.deliveries]
        assert events[0]["event"] == "test"
        assert events[1]["event"] == "execution.completed"
        assert events[1]["data"]["outputs"] == {"greeting": "Hello Ada"}
        assert receiver.deliveries[1].headers["X-FlowMaestro-Event"] == "execution.completed"
        deliveries = [one async for one in client.webhooks.iter_deliveries(created["id"])]
        assert deliveries[0]["event_type"] is WebhookEventType.EXECUTION_COMPLETED
        assert deliveries[0]["status"] in (DeliveryStatus.SUCCESS, DeliveryStatus.PENDING)
        page = await client.webhooks.deliveries(created["id"])
        assert page["pagination"]["total_count"] == 1
        await client.webhooks.delete(created["id"])


async def test_what_the_backend_refuses_is_a_validation_error(client):
    with pytest.raises(flowmaestro.ValidationError, match="Invalid event types: x"):
        await client.webhooks.create(name="a", url="http://x.y", events=["x"])
    with pytest.raises(flowmaestro.ValidationError, match="Invalid URL"):
        await client.webhooks.create(name="a", url="nope", events=["execution.started"])


# The client


async def test_the_rate_limit_is_known_after_the_first_answer(client):
    assert client.rate_limit is None
    await client.workflows.list()
    limit = client.rate_limit
    assert limit.limit == 1_000_000
    assert limit.remaining < limit.limit
    assert limit.limit_day == 10_000_000
    assert limit.reset > 0


async def test_a_view_shares_the_connections_and_has_its_own_options(client):
    view = client.with_options(timeout=60, max_retries=0, headers={"X-Team": "a"})
    await view.workflows.list()
    assert client.rate_limit == view.rate_limit
    await view.close()
    await client.workflows.list()


async def test_an_address_may_end_in_a_slash_or_a_version(server):
    for ending in ("/", "/api/v1", "/api/v1/"):
        async with AsyncFlowMaestroClient(KEY, server.url + ending) as client:
            assert (await client.workflows.get("wf_123"))["data"]["id"] == "wf_123"


async def test_key_and_address_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("FLOWMAESTRO_API_KEY", KEY)
    monkeypatch.setenv("FLOWMAESTRO_BASE_URL", server.url)
    async with AsyncFlowMaestroClient() as client:
        assert (await client.workflows.list())["data"]


async def test_an_id_cannot_reach_another_route(client):
    for odd in ("../agents", "wf_123/execute", "wf_123?x=1", "wf_123#", "%2e%2e", "a\nb", "é"):
        with pytest.raises(flowmaestro.NotFoundError):
            await client.workflows.get(odd)
        with pytest.raises(flowmaestro.NotFoundError):
            await client.agents.memory.get("agent_123", odd)
        remembered = await client.agents.memory.set("agent_123", odd, "text")
        assert remembered["data"]["user_id"] == odd


async def test_a_closed_client_says_so(server):
    client = AsyncFlowMaestroClient(KEY, server.url)
    await client.workflows.list()
    await client.close()
    with pytest.raises(flowmaestro.FlowMaestroError, match="closed"):
        await client.workflows.list()
