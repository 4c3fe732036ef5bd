"""Every recorded answer, replayed to both clients, becomes what is documented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import flowmaestro
from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from flowmaestro.types import ExecutionStatus, MessageStatus, ThreadStatus, WebhookEventType
from tests.conftest import KEY, WIRE, recording
from tests.core.mock import Chunks, Script

URL = "http://127.0.0.1:1"


def replay(name: str) -> httpx.Response:
    case = recording(name)
    if "chunks" in case:
        return stream_of(case["chunks"])
    answer = case["response"]
    body = answer["body"]
    content = body if isinstance(body, str) else json.dumps(body)
    skipped = {"content-length", "connection", "keep-alive"}
    headers = {key: value for key, value in answer["headers"].items() if key not in skipped}
    return httpx.Response(answer["status"], headers=headers, content=content.encode())


def stream_of(chunks: list) -> httpx.Response:
    """Take the chunked encoding off the raw bytes."""
    raw = "".join(text for _, text in chunks)
    head, _, rest = raw.partition("\r\n\r\n")
    pieces = []
    while rest:
        size, _, rest = rest.partition("\r\n")
        length = int(size, 16)
        pieces.append(rest[:length].encode())
        rest = rest[length + 2 :]
    lines = head.split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in lines if "Transfer" not in line)
    return httpx.Response(200, headers=headers, stream=Chunks(*filter(None, pieces)))


def replies(name: str, method: str, /, *arguments: Any, **named: Any) -> Any:
    """Call a method of both clients on a recording; both must give the same."""
    results = []
    for run in (call_sync, call_async):
        script = Script(replay(name))
        try:
            results.append(run(script, method, arguments, named))
        except flowmaestro.FlowMaestroError as error:
            results.append(error)
        (request, *_) = script.requests
        asked = recording(name).get("request")
        if asked is not None and asked["method"] != "GET":
            assert request.method == asked["method"]
    first, second = results
    if isinstance(first, Exception):
        assert type(first) is type(second)
        assert first.__dict__ == second.__dict__
    else:
        assert first == second
    return first


def call_sync(script: Script, method: str, arguments: tuple, named: dict) -> Any:
    with httpx.Client(transport=script) as http_client:
        client = FlowMaestroClient(KEY, URL, max_retries=0, http_client=http_client)
        result = resolve(client, method)(*arguments, **named)
        return list(result) if method.endswith("stream") else result


def call_async(script: Script, method: str, arguments: tuple, named: dict) -> Any:
    async def main() -> Any:
        async with httpx.AsyncClient(transport=script) as http_client:
            client = AsyncFlowMaestroClient(KEY, URL, max_retries=0, http_client=http_client)
            result = resolve(client, method)(*arguments, **named)
            if method.endswith("stream"):
                return [event async for event in result]
            return await result

    return anyio.run(main)


def resolve(client: Any, method: str) -> Any:
    resource, _, name = method.partition(".")
    return getattr(getattr(client, resource), name)


@pytest.mark.parametrize(
    "name",
    ["list", "list_page2", "list_past_end", "list_garbage_page", "list_huge_per_page"],
)
def test_pages_of_workflows(name):
    page = replies(f"workflows/{name}", "workflows.list")
    wire = recording(f"workflows/{name}")["response"]["body"]
    assert page["data"] == wire["data"]
    assert page["pagination"]["has_more"] is wire["pagination"]["has_next"]
    assert {"page", "per_page", "total_count"} <= set(page["pagination"])
    assert page["meta"] == wire["meta"]


def test_a_workflow():
    workflow = replies("workflows/get", "workflows.get", "w")["data"]
    assert workflow["inputs"]["n1"]["required"] is True


@pytest.mark.parametrize("name", ["execute", "execute_no_body", "execute_empty_json_body"])
def test_a_start(name):
    started = replies(f"workflows/{name}", "workflows.execute", "w", {"name": "John"})["data"]
    assert started["status"] is ExecutionStatus.PENDING
    assert started["execution_id"]
    assert "inputs" in started


@pytest.mark.parametrize(
    ("name", "method", "cls", "code"),
    [
        ("workflows/get_unknown_uuid", "workflows.get", "NotFoundError", "resource_not_found"),
        ("workflows/get_not_uuid", "workflows.get", "NotFoundError", "resource_not_found"),
        ("workflows/execute_unknown", "workflows.execute", "NotFoundError", "resource_not_found"),
        (
            "workflows/execute_invalid_workflow",
            "workflows.execute",
            "ServerError",
            "execution_failed",
        ),
        ("executions/get_not_uuid", "executions.get", "NotFoundError", "resource_not_found"),
        ("executions/events_unknown", "executions.stream", "NotFoundError", "resource_not_found"),
        ("executions/cancel_again", "executions.cancel", "ValidationError", "validation_error"),
        ("threads/get_deleted", "threads.get", "NotFoundError", "resource_not_found"),
        ("triggers/execute_disabled", "triggers.execute", "ValidationError", "validation_error"),
        ("triggers/execute_unknown", "triggers.execute", "NotFoundError", "resource_not_found"),
        ("errors/no_key", "workflows.get", "AuthenticationError", "invalid_api_key"),
        ("errors/unknown_key", "workflows.get", "AuthenticationError", "invalid_api_key"),
        ("errors/malformed_key", "workflows.get", "AuthenticationError", "invalid_api_key"),
        ("errors/expired_key", "workflows.get", "AuthenticationError", "expired_api_key"),
        (
            "errors/insufficient_scope",
            "workflows.execute",
            "AuthorizationError",
            "insufficient_scope",
        ),
        ("errors/rate_limited", "workflows.get", "RateLimitError", "rate_limit_exceeded"),
        ("errors/unknown_route", "workflows.get", "NotFoundError", None),
        ("errors/unknown_route_no_key", "workflows.get", "NotFoundError", None),
    ],
)
def test_errors(name, method, cls, code):
    error = replies(name, method, "x")
    assert type(error).__name__ == cls
    assert error.code == code
    body = recording(name)["response"]["body"]
    assert error.request_id == body.get("meta", {}).get("request_id")
    message = body["error"]["message"] if isinstance(body["error"], dict) else body["message"]
    assert message in str(error)


def test_what_an_error_knows_beyond_its_message():
    limited = replies("errors/rate_limited", "workflows.get", "x")
    assert limited.retry_after == 7
    assert limited.details == {"limit": 5, "window": "minute", "retry_after": 7}
    forbidden = replies("errors/insufficient_scope", "workflows.execute", "x")
    assert forbidden.missing_scopes == ["workflows:execute"]
    odd = replies("workflows/get_not_uuid", "workflows.get", "invalid-id")
    assert odd.details["message"] == 'invalid input syntax for type uuid: "invalid-id"'


@pytest.mark.parametrize(
    ("name", "method", "arguments", "message"),
    [
        ("threads/send_message_empty", "threads.send_message", ("t", "x"), "content is required"),
        ("knowledge_bases/query_empty", "knowledge_bases.query", ("k", "x"), "Query is required"),
    ],
)
def test_refusals(name, method, arguments, message):
    error = replies(name, method, *arguments)
    assert isinstance(error, flowmaestro.ValidationError)
    assert message in error.message


@pytest.mark.parametrize("name", ["create_bad_url", "create_no_events", "create_unknown_event"])
def test_webhooks_that_are_refused(name):
    named = {"name": "a", "url": "http://x.y", "events": ["x"]}
    error = replies(f"webhooks/{name}", "webhooks.create", **named)
    assert isinstance(error, flowmaestro.ValidationError)


@pytest.mark.parametrize(
    ("name", "status"),
    [("get_running", "pending"), ("get_completed", "completed"), ("get_failed", "failed")],
)
def test_executions(name, status):
    execution = replies(f"executions/{name}", "executions.get", "e")["data"]
    assert execution["status"] is ExecutionStatus(status)
    assert {"outputs", "error", "started_at", "completed_at"} <= set(execution)


def test_lists_of_executions():
    page = replies("executions/list", "executions.list")
    assert {type(one["status"]) for one in page["data"]} == {ExecutionStatus}
    assert page["pagination"]["has_more"] is False


def test_a_full_page_of_a_status_may_have_a_next_one():
    # The recorded backend holds four completed executions, and says that these two are all.
    page = replies("executions/list_status", "executions.list", status="completed", per_page=2)
    assert (
        recording("executions/list_status")["response"]["body"]["pagination"]["has_next"] is False
    )
    assert page["pagination"]["has_more"] is True


@pytest.mark.parametrize("name", ["cancel", "cancel_json_content_type_no_body"])
def test_cancelling(name):
    cancelled = replies(f"executions/{name}", "executions.cancel", "e")["data"]
    assert cancelled["status"] is ExecutionStatus.CANCELLED


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_streams_of_what_is_over(status):
    (event,) = replies(f"executions/events_already_{status}", "executions.stream", "e")
    assert event["type"] == f"execution:{status}"
    assert event["status"] is ExecutionStatus(status)
    assert {"outputs", "error", "execution_id"} <= set(event)


def test_a_stream_that_falls_silent_begins_with_connected():
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return replay("executions/events_while_running")
        return replay("executions/get_completed")

    with httpx.Client(transport=Script(answer)) as http_client:
        client = FlowMaestroClient(KEY, URL, max_retries=0, http_client=http_client)
        events = list(client.executions.stream("e"))
    assert [event["type"] for event in events] == ["connected", "execution:completed"]
    assert events[0]["status"] is ExecutionStatus.PENDING
    assert events[1]["outputs"] == {"greeting": "Hello John"}


def test_agents_and_threads():
    assert len(replies("agents/list", "agents.list")["data"]) == 3
    assert replies("agents/get", "agents.get", "a")["data"]["system_prompt"] == "be kind"
    thread = replies("agents/create_thread", "agents.create_thread", "a", {"user_id": "u"})["data"]
    assert thread["status"] is ThreadStatus.ACTIVE
    assert replies("threads/get", "threads.get", "t")["data"]["status"] is ThreadStatus.ACTIVE
    assert replies("threads/delete", "threads.delete", "t")["data"]["deleted"] is True


def test_messages_are_unwrapped_into_a_list():
    page = replies("threads/list_messages", "threads.list_messages", "t")
    assert [one["role"] for one in page["data"]] == ["user", "assistant", "user"]
    assert page["pagination"]["total_count"] == 3
    page = replies("threads/list_messages", "threads.list_messages", "t", page=2, per_page=2)
    assert [one["content"] for one in page["data"]] == ["please fail"]


def test_an_answer():
    answer = replies("threads/send_message", "threads.send_message", "t", "Hello!")["data"]
    assert answer["message"]["content"] == "Echo: Hello!"
    assert answer["status"] is MessageStatus.COMPLETED


def test_an_agent_that_fails():
    error = replies("threads/send_message_agent_fails", "threads.send_message", "t", "please fail")
    assert isinstance(error, flowmaestro.ServerError)
    assert error.code == "execution_failed"


def test_an_answer_that_takes_too_long():
    error = replies("threads/send_message_timeout", "threads.send_message", "t", "slow")
    assert isinstance(error, flowmaestro.TimeoutError)
    assert isinstance(error, TimeoutError)
    assert error.outcome_unknown is True
    assert error.details["thread_id"] == "t"


def test_where_streaming_is_not_implemented_the_events_come_from_a_blocking_send():
    script = Script(replay("threads/send_message_stream"), replay("threads/send_message"))
    with httpx.Client(transport=script) as http_client:
        client = FlowMaestroClient(KEY, URL, http_client=http_client)
        events = list(client.threads.send_message_stream("t", "Hello!"))
    assert [event["type"] for event in events] == [
        "message:started",
        "message:token",
        "message:completed",
    ]
    assert events[1]["token"] == events[2]["content"] == "Echo: Hello!"
    bodies = [json.loads(request.content) for request in script.requests]
    assert [body["stream"] for body in bodies] == [True, False]


def test_where_threads_have_no_stream_their_messages_are_looked_at(monkeypatch):
    monkeypatch.setattr("flowmaestro_threads._sync.sleep", lambda seconds: None)
    messages = recording("threads/list_messages")["response"]["body"]
    before = {"data": {"messages": messages["data"]["messages"][:1]}}
    script = Script(
        replay("threads/events_route_missing"),
        httpx.Response(200, json=before),
        httpx.Response(200, json=before),
        replay("threads/list_messages"),
    )
    with httpx.Client(transport=script) as http_client:
        client = FlowMaestroClient(KEY, URL, http_client=http_client)
        with client.threads.stream("t") as stream:
            events = [next(stream) for _ in range(3)]
    assert events[2]["type"] == "message:completed"
    assert events[2]["content"] == "Echo: Hello!"


def test_triggers():
    triggers = replies("triggers/list", "triggers.list")["data"]
    assert {trigger["enabled"] for trigger in triggers} == {True, False}
    started = replies("triggers/execute", "triggers.execute", "t", {"a": 1})["data"]
    assert started["status"] is ExecutionStatus.PENDING
    assert started["trigger_id"]


def test_knowledge_bases():
    assert replies("knowledge_bases/list", "knowledge_bases.list")["data"][0]["name"] == "Docs"
    assert replies("knowledge_bases/get", "knowledge_bases.get", "k")["data"]["chunk_size"] == 1000


def test_a_search_has_the_documented_keys():
    found = replies("knowledge_bases/query", "knowledge_bases.query", "k", "How?", top_k=2)["data"]
    first = found["results"][0]
    assert first["similarity"] == 0.9
    assert first["chunk_id"] == "210697a8-ef4a-4baf-a719-de3cf334c84b"
    # The API's own names, which programs read as well.
    assert (first["score"], first["id"]) == (first["similarity"], first["chunk_id"])
    assert found["query"] == "How do I reset my password?"


def test_webhooks():
    named = {"name": "a", "url": "http://x.y", "events": ["execution.completed"]}
    created = replies("webhooks/create", "webhooks.create", **named)["data"]
    assert created["secret"].startswith("whsec_")
    assert created["events"][0] is WebhookEventType.EXECUTION_COMPLETED
    replies("webhooks/create_unreachable", "webhooks.create", **named)
    assert replies("webhooks/list", "webhooks.list")["data"][0]["is_active"] is True
    assert replies("webhooks/get", "webhooks.get", "w")["data"]["headers"] == {"X-Custom": "v"}
    updated = replies("webhooks/update", "webhooks.update", "w", name="New", is_active=False)
    assert updated["data"]["is_active"] is False
    assert replies("webhooks/deliveries", "webhooks.deliveries", "w")["data"] == []
    for name in ("delete", "delete_json_content_type"):
        assert replies(f"webhooks/{name}", "webhooks.delete", "w")["data"]["deleted"] is True


def test_tests_of_webhooks_have_the_documented_keys(monkeypatch):
    monkeypatch.setattr("flowmaestro_webhooks._sync.monotonic", lambda: 5.0)
    with httpx.Client(transport=Script(replay("webhooks/test"))) as http_client:
        client = FlowMaestroClient(KEY, URL, http_client=http_client)
        worked = client.webhooks.test("w")["data"]
    assert worked["success"] is True
    assert worked["status_code"] == 200
    assert worked["response_time_ms"] == 0
    with httpx.Client(transport=Script(replay("webhooks/test_unreachable"))) as http_client:
        client = FlowMaestroClient(KEY, URL, http_client=http_client)
        failed = client.webhooks.test("w")["data"]
    assert failed["success"] is False
    assert failed["status_code"] is None
    assert failed["message"] == "Failed to deliver test webhook"


def test_every_recording_is_replayed_here():
    source = Path(__file__).read_text(encoding="utf-8")
    for path in WIRE.glob("*/*.json"):
        name = f"{path.parent.name}/{path.stem}"
        # The delivery is what a receiver gets; tests/webhooks verifies it.
        if name != "webhooks/delivered_test":
            assert f'"{path.stem}"' in source or name in source or "events_already" in name, name
