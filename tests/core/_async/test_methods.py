"""What each method sends, what it does after a lost response, and which arguments it refuses."""

from __future__ import annotations

import contextlib
import json

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro.types import (
    DeliveryStatus,
    ExecutionStatus,
    MessageStatus,
    ThreadStatus,
    WebhookEventType,
)
from flowmaestro_core import errors
from flowmaestro_core._async import transport as transport_module
from tests.conftest import KEY
from tests.core.mock import Script, data, error

pytestmark = [
    pytest.mark.anyio,  # async only
    pytest.mark.once,
]

URL = "http://127.0.0.1:1"
EVENTS = ["execution.completed"]
EMPTY = httpx.Response(200, json={"data": []})

# name: the call, the request line, the body
SENT = {
    "workflows.list": (lambda c: c.workflows.list(), "GET /workflows", None),
    "workflows.list page": (
        lambda c: c.workflows.list(page=2, per_page=7),
        "GET /workflows?page=2&per_page=7",
        None,
    ),
    "workflows.get": (lambda c: c.workflows.get("a b"), "GET /workflows/a%20b", None),
    "workflows.execute": (
        lambda c: c.workflows.execute("w", {"n": 1}),
        "POST /workflows/w/execute",
        {"inputs": {"n": 1}},
    ),
    "workflows.execute alone": (
        lambda c: c.workflows.execute("w"),
        "POST /workflows/w/execute",
        {},
    ),
    "executions.list": (lambda c: c.executions.list(), "GET /executions", None),
    "executions.list page": (
        lambda c: c.executions.list(page=2, per_page=7, workflow_id="w/1", status="failed"),
        "GET /executions?page=2&per_page=7&workflow_id=w%2F1&status=failed",
        None,
    ),
    "executions.get": (lambda c: c.executions.get("e"), "GET /executions/e", None),
    "executions.cancel": (lambda c: c.executions.cancel("e"), "POST /executions/e/cancel", None),
    "agents.list": (lambda c: c.agents.list(), "GET /agents", None),
    "agents.list page": (
        lambda c: c.agents.list(page=2, per_page=7),
        "GET /agents?page=2&per_page=7",
        None,
    ),
    "agents.get": (lambda c: c.agents.get("a"), "GET /agents/a", None),
    "agents.create_thread": (
        lambda c: c.agents.create_thread("a", {"k": "v"}),
        "POST /agents/a/threads",
        {"metadata": {"k": "v"}},
    ),
    "agents.create_thread alone": (
        lambda c: c.agents.create_thread("a"),
        "POST /agents/a/threads",
        {},
    ),
    "memory.list": (lambda c: c.agents.memory.list("a/1"), "GET /agents/a%2F1/memory", None),
    "memory.list page": (
        lambda c: c.agents.memory.list("a", page=2, per_page=7),
        "GET /agents/a/memory?page=2&per_page=7",
        None,
    ),
    "memory.get": (
        lambda c: c.agents.memory.get("a/1", "u 1"),
        "GET /agents/a%2F1/memory/u%201",
        None,
    ),
    "memory.set": (
        lambda c: c.agents.memory.set("a/1", "u 1", " Ada "),
        "PUT /agents/a%2F1/memory/u%201",
        {"working_memory": " Ada "},
    ),
    "memory.set metadata": (
        lambda c: c.agents.memory.set("a", "u", "Ada", metadata={"k": [1, None]}),
        "PUT /agents/a/memory/u",
        {"working_memory": "Ada", "metadata": {"k": [1, None]}},
    ),
    "memory.set no metadata": (
        lambda c: c.agents.memory.set("a", "u", "Ada", metadata={}),
        "PUT /agents/a/memory/u",
        {"working_memory": "Ada", "metadata": {}},
    ),
    "memory.delete": (
        lambda c: c.agents.memory.delete("a/1", "u 1"),
        "DELETE /agents/a%2F1/memory/u%201",
        None,
    ),
    "memory.search": (
        lambda c: c.agents.memory.search("a/1", "why?"),
        "POST /agents/a%2F1/memory/search",
        {"query": "why?", "top_k": 10, "similarity_threshold": 0.7},
    ),
    "memory.search options": (
        lambda c: c.agents.memory.search(
            "a", "why?", top_k=50, similarity_threshold=1, user_id="u/1"
        ),
        "POST /agents/a/memory/search",
        {"query": "why?", "top_k": 50, "similarity_threshold": 1, "user_id": "u/1"},
    ),
    # The API would read 0 as nothing, and use 0.7.
    "memory.search any similarity": (
        lambda c: c.agents.memory.search("a", "why?", top_k=1, similarity_threshold=0),
        "POST /agents/a/memory/search",
        {"query": "why?", "top_k": 1, "similarity_threshold": 1e-9},
    ),
    "memory.stats": (
        lambda c: c.agents.memory.stats("a/1"),
        "GET /agents/a%2F1/memory/stats",
        None,
    ),
    "threads.get": (lambda c: c.threads.get("t"), "GET /threads/t", None),
    "threads.delete": (lambda c: c.threads.delete("t"), "DELETE /threads/t", None),
    "threads.list_messages": (
        lambda c: c.threads.list_messages("t", page=2, per_page=7),
        "GET /threads/t/messages?page=2&per_page=7",
        None,
    ),
    "threads.send_message": (
        lambda c: c.threads.send_message("t", "Hi"),
        "POST /threads/t/messages",
        {"content": "Hi", "stream": False},
    ),
    "triggers.list": (lambda c: c.triggers.list(), "GET /triggers", None),
    "triggers.list page": (
        lambda c: c.triggers.list(page=2, per_page=7),
        "GET /triggers?page=2&per_page=7",
        None,
    ),
    "triggers.execute": (
        lambda c: c.triggers.execute("t", {"n": 1}),
        "POST /triggers/t/execute",
        {"inputs": {"n": 1}},
    ),
    "knowledge_bases.list": (lambda c: c.knowledge_bases.list(), "GET /knowledge-bases", None),
    "knowledge_bases.list page": (
        lambda c: c.knowledge_bases.list(page=2, per_page=7),
        "GET /knowledge-bases?page=2&per_page=7",
        None,
    ),
    "knowledge_bases.get": (lambda c: c.knowledge_bases.get("k"), "GET /knowledge-bases/k", None),
    "knowledge_bases.query": (
        lambda c: c.knowledge_bases.query("k", "why?"),
        "POST /knowledge-bases/k/query",
        {"query": "why?", "top_k": 5},
    ),
    "knowledge_bases.query top_k": (
        lambda c: c.knowledge_bases.query("k", "why?", top_k=1),
        "POST /knowledge-bases/k/query",
        {"query": "why?", "top_k": 1},
    ),
    "webhooks.list": (lambda c: c.webhooks.list(), "GET /webhooks", None),
    "webhooks.list page": (
        lambda c: c.webhooks.list(page=2, per_page=7),
        "GET /webhooks?page=2&per_page=7",
        None,
    ),
    "webhooks.get": (lambda c: c.webhooks.get("w"), "GET /webhooks/w", None),
    "webhooks.create": (
        lambda c: c.webhooks.create(name="n", url="http://u", events=EVENTS),
        "POST /webhooks",
        {"name": "n", "url": "http://u", "events": EVENTS},
    ),
    "webhooks.create headers": (
        lambda c: c.webhooks.create(name="n", url="http://u", events=EVENTS, headers={"X": "1"}),
        "POST /webhooks",
        {"name": "n", "url": "http://u", "events": EVENTS, "headers": {"X": "1"}},
    ),
    "webhooks.update name": (
        lambda c: c.webhooks.update("w", name="n"),
        "PATCH /webhooks/w",
        {"name": "n"},
    ),
    "webhooks.update url": (
        lambda c: c.webhooks.update("w", url="http://u"),
        "PATCH /webhooks/w",
        {"url": "http://u"},
    ),
    "webhooks.update events": (
        lambda c: c.webhooks.update("w", events=EVENTS),
        "PATCH /webhooks/w",
        {"events": EVENTS},
    ),
    "webhooks.update headers": (
        lambda c: c.webhooks.update("w", headers={"X": "1"}),
        "PATCH /webhooks/w",
        {"headers": {"X": "1"}},
    ),
    "webhooks.update no headers": (
        lambda c: c.webhooks.update("w", headers=None),
        "PATCH /webhooks/w",
        {"headers": None},
    ),
    "webhooks.update off": (
        lambda c: c.webhooks.update("w", is_active=False),
        "PATCH /webhooks/w",
        {"is_active": False},
    ),
    "webhooks.update on": (
        lambda c: c.webhooks.update("w", is_active=True),
        "PATCH /webhooks/w",
        {"is_active": True},
    ),
    "webhooks.delete": (lambda c: c.webhooks.delete("w"), "DELETE /webhooks/w", None),
    "webhooks.test": (lambda c: c.webhooks.test("w"), "POST /webhooks/w/test", None),
    "webhooks.deliveries": (
        lambda c: c.webhooks.deliveries("w", page=2, per_page=7),
        "GET /webhooks/w/deliveries?page=2&per_page=7",
        None,
    ),
}

# What must not happen twice, and where a user looks who does not know whether it happened.
NOT_IDEMPOTENT = {
    "workflows.execute": r"executions\.list\(workflow_id='w'\)",
    "workflows.execute alone": r"executions\.list\(workflow_id='w'\)",
    "triggers.execute": r"executions\.list",
    "agents.create_thread": "a second thread",
    "agents.create_thread alone": "a second thread",
    "threads.send_message": r"threads\.list_messages\('t'\)",
    "webhooks.create": r"webhooks\.list\(\)",
    "webhooks.create headers": r"webhooks\.list\(\)",
    "webhooks.test": "a second test delivery",
}
IDEMPOTENT = [name for name in SENT if name not in NOT_IDEMPOTENT]

# Every iterator, called with the arguments that all of them have.
ITERATORS = {
    "workflows": lambda c, **page: c.workflows.iter(**page),
    "executions": lambda c, **page: c.executions.iter(**page),
    "executions of a workflow": lambda c, **page: c.executions.iter(workflow_id="w", **page),
    "agents": lambda c, **page: c.agents.iter(**page),
    "memories": lambda c, **page: c.agents.memory.iter("a", **page),
    "messages": lambda c, **page: c.threads.iter_messages("t", **page),
    "triggers": lambda c, **page: c.triggers.iter(**page),
    "knowledge bases": lambda c, **page: c.knowledge_bases.iter(**page),
    "webhooks": lambda c, **page: c.webhooks.iter(**page),
    "deliveries": lambda c, **page: c.webhooks.iter_deliveries("w", **page),
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    async def sleep(seconds):
        pass

    monkeypatch.setattr(transport_module, "sleep", sleep)


@contextlib.asynccontextmanager
async def scripted(*steps, **options):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncFlowMaestroClient(KEY, URL, http_client=http_client, **options) as client:
            client.script = script
            yield client


def response_to(name):
    """Give a success that the method can read."""
    is_list = "list" in name or name == "webhooks.deliveries"
    if is_list:
        return data([])
    ids = {"id": "x", "execution_id": "x", "secret": "whsec_x"}
    return data({**ids, "status": "pending", "success": True, "message": {"content": "Hi"}})


@pytest.mark.parametrize("name", SENT)
async def test_a_method_sends_one_request_as_documented(name):
    call, line, body = SENT[name]
    async with scripted(response_to(name)) as client:
        await call(client)
    (request,) = client.script.requests
    target = request.url.raw_path.decode()
    assert f"{request.method} {target}" == line.replace(" ", " /api/v1", 1)
    assert (json.loads(request.content) if request.content else None) == body
    assert request.headers["authorization"] == f"Bearer {KEY}"
    # Without a body too, lest the transport of a user's client names a type of its own.
    kind = None if request.method == "GET" else "application/json"
    assert request.headers.get("content-type") == kind


@pytest.mark.parametrize("name", NOT_IDEMPOTENT)
@pytest.mark.parametrize("lost", [httpx.ReadError("reset"), error(502), error(408)])
async def test_what_must_not_happen_twice_is_sent_once(name, lost):
    async with scripted(lost, response_to(name)) as client:
        with pytest.raises(errors.FlowMaestroError, match=NOT_IDEMPOTENT[name]) as caught:
            await SENT[name][0](client)
        assert caught.value.outcome_unknown is True
        assert len(client.script.requests) == 1
        # Until the user accepts that it may happen twice.
        client.script.steps[:] = [lost, response_to(name)]
        await SENT[name][0](client.with_options(retry_unsafe=True))


@pytest.mark.parametrize("name", NOT_IDEMPOTENT)
async def test_what_certainly_did_not_happen_is_sent_again(name):
    async with scripted(httpx.ConnectError("refused"), error(429), response_to(name)) as client:
        await SENT[name][0](client)
        assert len(client.script.requests) == 3


@pytest.mark.parametrize("name", IDEMPOTENT)
async def test_what_may_happen_twice_is_sent_again(name):
    async with scripted(httpx.ReadError("reset"), error(502), response_to(name)) as client:
        await SENT[name][0](client)
        assert len(client.script.requests) == 3


@pytest.mark.parametrize(
    ("call", "refusal", "result"),
    [
        (lambda c: c.threads.delete("t"), error(404), {"id": "t", "deleted": True}),
        (lambda c: c.webhooks.delete("w"), error(404), {"id": "w", "deleted": True}),
        (
            lambda c: c.agents.memory.delete("a", "u"),
            error(404),
            {"agent_id": "a", "user_id": "u", "deleted": True},
        ),
        (
            lambda c: c.executions.cancel("e"),
            httpx.Response(
                400, json={"error": {"message": "Cannot cancel. Current status: cancelled"}}
            ),
            {
                "id": "e",
                "status": "cancelled",
                "message": "Cannot cancel. Current status: cancelled",
            },
        ),
    ],
)
async def test_a_retry_that_finds_the_work_done_is_a_success(call, refusal, result):
    async with scripted(httpx.ReadError("reset"), refusal) as client:
        assert (await call(client))["data"] == result
    # The doubt outlasts an attempt that certainly did nothing.
    async with scripted(error(502), error(429), refusal) as client:
        assert (await call(client))["data"] == result
    # Where no attempt was lost, nobody but somebody else can have done it.
    for first in (error(429), httpx.ConnectError("refused")):
        async with scripted(first, refusal) as client:
            with pytest.raises(errors.FlowMaestroError) as caught:
                await call(client)
            assert caught.value.status_code == refusal.status_code
            assert caught.value.outcome_unknown is False


@pytest.mark.parametrize("status", ["completed", "failed", "paused"])
async def test_a_retried_cancel_that_came_too_late_is_refused(status):
    refusal = {"error": {"message": f"Cannot cancel. Current status: {status}"}}
    async with scripted(error(502), httpx.Response(400, json=refusal)) as client:
        with pytest.raises(errors.ValidationError, match=status):
            await client.executions.cancel("e")


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.threads.delete("t"),
        lambda c: c.webhooks.delete("w"),
        lambda c: c.agents.memory.delete("a", "u"),
    ],
)
async def test_a_retried_deletion_that_is_refused_is_an_error(call):
    async with scripted(error(502), error(403)) as client:
        with pytest.raises(errors.AuthorizationError):
            await call(client)


@pytest.mark.parametrize(
    ("call", "seconds"),
    [
        (lambda c: c.threads.send_message("t", "Hi"), 130),
        (lambda c: c.webhooks.test("w"), 20),
    ],
)
async def test_a_call_that_is_slow_by_nature_has_its_time(call, seconds):
    async with scripted(response_to("")) as client:
        await call(client)
        await call(client.with_options(deadline=1_000))
        await call(client.with_options(timeout=3))
    reads = [request.extensions["timeout"]["read"] for request in client.script.requests]
    assert reads == [max(seconds, 30), max(seconds, 30), 3]


async def test_a_test_delivery_may_take_longer_than_a_short_timeout_of_the_client():
    async with scripted(response_to(""), timeout=5) as client:
        await client.webhooks.test("w")
    assert client.script.requests[0].extensions["timeout"]["read"] == 20


@pytest.mark.parametrize("name", ITERATORS)
async def test_an_iterator_asks_for_pages_of_a_hundred(name):
    async with scripted(EMPTY) as client:
        assert [item async for item in ITERATORS[name](client)] == []
    # The workflows come after the executions: some may be missing from the list of all.
    request = client.script.requests[0]
    assert request.url.params["page"] == "1"
    # Messages come all at once.
    assert request.url.params.get("per_page") == (None if name == "messages" else "100")


@pytest.mark.parametrize("name", ITERATORS)
async def test_an_iterator_begins_where_it_is_told_and_fetches_each_page_once(name):
    def answer(request):
        page = int(request.url.params["page"])
        pagination = {"page": page, "per_page": 2, "total_count": 8, "has_more": page < 4}
        items = [{"id": f"{page}-{number}", "status": "failed"} for number in range(2)]
        return httpx.Response(200, json={"data": items, "pagination": pagination})

    async with scripted(answer) as client:
        ids = [item["id"] async for item in ITERATORS[name](client, page=2, per_page=2)]
    assert ids == ["2-0", "2-1", "3-0", "3-1", "4-0", "4-1"]
    pages = [request.url.params["page"] for request in client.script.requests]
    assert pages == ["2", "3", "4"]
    assert {request.url.params["per_page"] for request in client.script.requests} == {"2"}


@pytest.mark.parametrize("name", ITERATORS)
@pytest.mark.parametrize("page", [{"page": 0}, {"per_page": 0}])
async def test_an_iterator_refuses_its_arguments_before_the_loop(name, page):
    async with scripted(EMPTY) as client:
        with pytest.raises(ValueError, match="must be 1 or more, not 0"):
            ITERATORS[name](client, **page)
        with pytest.raises(TypeError, match="must be a whole number"):
            ITERATORS[name](client, **dict.fromkeys(page, "1"))


async def test_an_iterator_refuses_filters_and_ids_before_the_loop():
    async with scripted(EMPTY) as client:
        with pytest.raises(ValueError, match="status must not be empty"):
            client.executions.iter(status=" ")
        with pytest.raises(ValueError, match="workflow_id must not be empty"):
            client.executions.iter(workflow_id=" ")
        with pytest.raises(ValueError, match="thread_id must not be empty"):
            client.threads.iter_messages("")
        with pytest.raises(ValueError, match="webhook_id must not be empty"):
            client.webhooks.iter_deliveries(" ")
        with pytest.raises(ValueError, match="agent_id must not be empty"):
            client.agents.memory.iter("")


async def test_the_status_is_filtered_by_the_api_or_here_but_never_by_both():
    executions = [{"id": "1", "status": "failed"}, {"id": "2", "status": "running"}]
    async with scripted(data(executions)) as client:
        found = client.executions.iter(workflow_id="w", status="running")
        assert [execution["id"] async for execution in found] == ["2"]
        assert "status" not in client.script.requests[0].url.params
        assert client.script.requests[0].url.params["workflow_id"] == "w"


# Every response with a text that is documented as an enum: the call, the wire, what it becomes.
ENUMS = {
    "executions.list": (lambda c: c.executions.list(), [{"status": "failed"}], ExecutionStatus),
    "executions.get": (lambda c: c.executions.get("e"), {"status": "failed"}, ExecutionStatus),
    "executions.cancel": (
        lambda c: c.executions.cancel("e"),
        {"status": "cancelled"},
        ExecutionStatus,
    ),
    "workflows.execute": (
        lambda c: c.workflows.execute("w"),
        {"execution_id": "e", "status": "pending"},
        ExecutionStatus,
    ),
    "triggers.execute": (
        lambda c: c.triggers.execute("t"),
        {"execution_id": "e", "status": "pending"},
        ExecutionStatus,
    ),
    "agents.create_thread": (
        lambda c: c.agents.create_thread("a"),
        {"id": "t", "status": "active"},
        ThreadStatus,
    ),
    "threads.get": (lambda c: c.threads.get("t"), {"status": "archived"}, ThreadStatus),
    "threads.send_message": (
        lambda c: c.threads.send_message("t", "Hi"),
        {"status": "completed", "message": None},
        MessageStatus,
    ),
    "webhooks.list": (lambda c: c.webhooks.list(), [{"events": EVENTS}], WebhookEventType),
    "webhooks.get": (lambda c: c.webhooks.get("w"), {"events": EVENTS}, WebhookEventType),
    "webhooks.create": (
        lambda c: c.webhooks.create(name="n", url="u", events=EVENTS),
        {"id": "w", "secret": "whsec_x", "events": EVENTS},
        WebhookEventType,
    ),
    "webhooks.update": (
        lambda c: c.webhooks.update("w", name="n"),
        {"events": EVENTS},
        WebhookEventType,
    ),
    "webhooks.deliveries": (
        lambda c: c.webhooks.deliveries("w"),
        [{"status": "retrying"}],
        DeliveryStatus,
    ),
    "event_type": (
        lambda c: c.webhooks.deliveries("w"),
        [{"event_type": "execution.failed"}],
        WebhookEventType,
    ),
}


@pytest.mark.parametrize("name", ENUMS)
async def test_texts_that_are_documented_as_enums_are_enum_members(name):
    call, wire, enum = ENUMS[name]
    async with scripted(data(wire)) as client:
        got = (await call(client))["data"]
    item, sent = (got[0], wire[0]) if isinstance(wire, list) else (got, wire)
    for key in ("status", "event_type"):
        if key in sent:
            assert type(item[key]) is enum
            assert item[key] == sent[key]
    if "events" in sent:
        assert [type(event) for event in item["events"]] == [enum]
        assert item["events"] == EVENTS


# Per method the least that the API may send, and what a user gets all the same.
COMPLETED = {
    "workflows.get": (lambda c: c.workflows.get("x"), {}, {"id": "x", "inputs": None}),
    "workflows.execute": (
        lambda c: c.workflows.execute("w"),
        {"execution_id": "e"},
        {"execution_id": "e", "workflow_id": "w", "status": "pending", "inputs": {}},
    ),
    "triggers.execute": (
        lambda c: c.triggers.execute("t"),
        {"execution_id": "e"},
        {"execution_id": "e", "trigger_id": "t", "status": "pending", "inputs": {}},
    ),
    "executions.cancel": (
        lambda c: c.executions.cancel("x"),
        {},
        {"id": "x", "status": "cancelled"},
    ),
    "agents.get": (lambda c: c.agents.get("x"), {}, {"id": "x"}),
    "agents.create_thread": (
        lambda c: c.agents.create_thread("a"),
        {"id": "t"},
        {"id": "t", "agent_id": "a"},
    ),
    "memory.get": (
        lambda c: c.agents.memory.get("a", "u"),
        {"working_memory": "Ada"},
        {"agent_id": "a", "user_id": "u", "metadata": {}},
    ),
    "memory.set": (
        lambda c: c.agents.memory.set("a", "u", "Ada"),
        {"working_memory": "Ada", "metadata": None},
        {"agent_id": "a", "user_id": "u", "metadata": {}},
    ),
    "memory.delete": (
        lambda c: c.agents.memory.delete("a", "u"),
        {"a": 1},
        {"agent_id": "a", "user_id": "u", "deleted": True},
    ),
    "memory.search": (
        lambda c: c.agents.memory.search("a", "why?"),
        {},
        {"agent_id": "a", "query": "why?", "results": [], "result_count": 0},
    ),
    "memory.stats": (
        lambda c: c.agents.memory.stats("a"),
        {"working_memory_count": 3, "memory_config": None},
        {"agent_id": "a", "memory_config": {}},
    ),
    "threads.get": (lambda c: c.threads.get("x"), {}, {"id": "x"}),
    "threads.delete": (lambda c: c.threads.delete("x"), {"a": 1}, {"id": "x", "deleted": True}),
    "threads.send_message": (
        lambda c: c.threads.send_message("t", "Hi"),
        {},
        {"thread_id": "t", "status": None, "message": None},
    ),
    "knowledge_bases.get": (lambda c: c.knowledge_bases.get("x"), {}, {"id": "x"}),
    "webhooks.get": (lambda c: c.webhooks.get("x"), {}, {"id": "x"}),
    "webhooks.update": (lambda c: c.webhooks.update("x", name="n"), {}, {"id": "x"}),
    "webhooks.delete": (lambda c: c.webhooks.delete("x"), {"a": 1}, {"id": "x", "deleted": True}),
}


@pytest.mark.parametrize("name", COMPLETED)
async def test_what_the_api_leaves_out_is_completed_and_what_it_sends_is_kept(name):
    call, sent, expected = COMPLETED[name]
    async with scripted(data(sent)) as client:
        assert (await call(client))["data"] == {**sent, **expected}
    objects = ("inputs", "message", "metadata", "memory_config")
    others = {key: {"a": 1} if key in objects else "other" for key in expected}
    if "deleted" in others:
        others["deleted"] = False
    if "results" in others:
        result = {"content": "Hi", "role": "user", "similarity": 1, "execution_id": "e"}
        result.update(context_before=[{"role": "user", "content": "Ho"}], context_after=[])
        others.update(results=[result], result_count=7)
    async with scripted(data(others)) as client:
        assert (await call(client))["data"] == others


@pytest.mark.parametrize("name", ["workflows", "agents", "triggers", "knowledge_bases", "webhooks"])
async def test_a_page_knows_which_one_it_is(name):
    """Where the API does not say, the page is the one that was asked for."""
    async with scripted(data([{"id": "1"}, {"id": "2"}])) as client:
        page = await getattr(client, name).list(page=3, per_page=2)
        first = await getattr(client, name).list()
    assert (page["pagination"]["page"], page["pagination"]["per_page"]) == (3, 2)
    assert (first["pagination"]["page"], first["pagination"]["per_page"]) == (1, 20)
    assert [item["id"] for item in page["data"]] == ["1", "2"]
    assert page["meta"] == {"request_id": "r"}


async def test_a_page_of_executions_of_deliveries_and_of_memories_knows_it_too():
    async with scripted(data([{"id": "1"}, {"id": "2"}])) as client:
        for page in (
            await client.executions.list(page=3, per_page=2),
            await client.webhooks.deliveries("w", page=3, per_page=2),
            await client.agents.memory.list("a", page=3, per_page=2),
        ):
            assert (page["pagination"]["page"], page["pagination"]["per_page"]) == (3, 2)
        # All messages come at once: the second page of one is the second message.
        page = await client.threads.list_messages("t", page=2, per_page=1)
        assert [item["id"] for item in page["data"]] == ["2"]
        assert page["pagination"]["total_count"] == 2


# Every id that a path carries, with its name in the message.
IDS = [
    ("workflow_id", lambda c, one: c.workflows.get(one)),
    ("workflow_id", lambda c, one: c.workflows.execute(one)),
    ("execution_id", lambda c, one: c.executions.get(one)),
    ("execution_id", lambda c, one: c.executions.cancel(one)),
    ("execution_id", lambda c, one: c.executions.wait_for_completion(one)),
    ("agent_id", lambda c, one: c.agents.get(one)),
    ("agent_id", lambda c, one: c.agents.create_thread(one)),
    ("agent_id", lambda c, one: c.agents.memory.list(one)),
    ("agent_id", lambda c, one: c.agents.memory.get(one, "u")),
    ("user_id", lambda c, one: c.agents.memory.get("a", one)),
    ("agent_id", lambda c, one: c.agents.memory.set(one, "u", "Ada")),
    ("user_id", lambda c, one: c.agents.memory.set("a", one, "Ada")),
    ("agent_id", lambda c, one: c.agents.memory.delete(one, "u")),
    ("user_id", lambda c, one: c.agents.memory.delete("a", one)),
    ("agent_id", lambda c, one: c.agents.memory.search(one, "q")),
    ("agent_id", lambda c, one: c.agents.memory.stats(one)),
    ("thread_id", lambda c, one: c.threads.get(one)),
    ("thread_id", lambda c, one: c.threads.delete(one)),
    ("thread_id", lambda c, one: c.threads.list_messages(one)),
    ("thread_id", lambda c, one: c.threads.send_message(one, "Hi")),
    ("trigger_id", lambda c, one: c.triggers.execute(one)),
    ("knowledge_base_id", lambda c, one: c.knowledge_bases.get(one)),
    ("knowledge_base_id", lambda c, one: c.knowledge_bases.query(one, "q")),
    ("webhook_id", lambda c, one: c.webhooks.get(one)),
    ("webhook_id", lambda c, one: c.webhooks.update(one, name="n")),
    ("webhook_id", lambda c, one: c.webhooks.delete(one)),
    ("webhook_id", lambda c, one: c.webhooks.test(one)),
    ("webhook_id", lambda c, one: c.webhooks.deliveries(one)),
]


@pytest.mark.parametrize(("name", "call"), IDS)
async def test_an_id_that_cannot_be_one_is_named_and_not_sent(name, call):
    async with scripted(data({})) as client:
        for empty in ("", " "):
            with pytest.raises(ValueError, match=f"^{name} must not be empty"):
                await call(client, empty)
        with pytest.raises(ValueError, match=rf"^{name} cannot be '\.\.'"):
            await call(client, "..")
        with pytest.raises(TypeError, match=f"^{name} must be a string, not int: 7"):
            await call(client, 7)
    assert client.script.requests == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: c.threads.send_message("t", ""), ValueError, "content must not be empty"),
        (lambda c: c.threads.send_message("t", None), TypeError, "content must be a string"),
        (lambda c: c.knowledge_bases.query("k", " "), ValueError, "query must not be empty"),
        (lambda c: c.knowledge_bases.query("k", "q", 0), ValueError, "top_k must be 1 or more"),
        (lambda c: c.knowledge_bases.query("k", "q", 1.5), TypeError, "top_k must be a whole"),
        (lambda c: c.agents.create_thread("a", "x"), TypeError, "metadata must be a mapping"),
        *(
            (call, ValueError, "^user_id cannot be 'stats': the API has another route")
            for call in (
                lambda c: c.agents.memory.get("a", "stats"),
                lambda c: c.agents.memory.set("a", "stats", "Ada"),
                lambda c: c.agents.memory.delete("a", "stats"),
            )
        ),
        (
            lambda c: c.agents.memory.set("a", "u", " \n"),
            ValueError,
            "^working_memory must not be empty",
        ),
        (
            lambda c: c.agents.memory.set("a", "u", 7),
            TypeError,
            "^working_memory must be a string, not int: 7",
        ),
        (
            lambda c: c.agents.memory.set("a", "u", "Ada", metadata=[1]),
            TypeError,
            "^metadata must be a mapping, not list$",
        ),
        (
            lambda c: c.agents.memory.set("a", "u", "Ada", metadata={"k": {1}}),
            TypeError,
            "^metadata.k is a set",
        ),
        (lambda c: c.agents.memory.search("a", " "), ValueError, "^query must not be empty"),
        (lambda c: c.agents.memory.search("a", None), TypeError, "^query must be a string"),
        (
            lambda c: c.agents.memory.search("a", "q", user_id=""),
            ValueError,
            "^user_id must not be empty",
        ),
        *(
            (lambda c, n=n: c.agents.memory.search("a", "q", top_k=n), kind, f"^top_k must be {m}")
            for n, kind, m in (
                (0, ValueError, "1 or more, not 0"),
                (51, ValueError, "50 or less, not 51"),
                (1.5, TypeError, "a whole number"),
                (True, TypeError, "a whole number"),
            )
        ),
        *(
            (
                lambda c, n=n: c.agents.memory.search("a", "q", similarity_threshold=n),
                kind,
                f"^similarity_threshold must be {m}$",
            )
            for n, kind, m in (
                (-0.1, ValueError, "from 0 to 1, not -0.1"),
                (1.01, ValueError, "from 0 to 1, not 1.01"),
                (float("nan"), ValueError, "from 0 to 1, not nan"),
                ("0.5", TypeError, "a number, not '0.5'"),
                (True, TypeError, "a number, not True"),
            )
        ),
        (lambda c: c.workflows.execute("w", ["x"]), TypeError, "inputs must be a mapping"),
        (lambda c: c.triggers.execute("t", "x"), TypeError, "inputs must be a mapping"),
        (lambda c: c.webhooks.update("w"), ValueError, "nothing to change"),
        (lambda c: c.webhooks.update("w", name=""), ValueError, "name must not be empty"),
        (lambda c: c.webhooks.update("w", url=""), ValueError, "url must not be empty"),
        (lambda c: c.webhooks.update("w", events=[]), ValueError, "at least one event"),
        (lambda c: c.webhooks.update("w", headers=["X"]), TypeError, "names to values, not list$"),
        (
            lambda c: c.webhooks.create(name="", url="u", events=EVENTS),
            ValueError,
            "name must not be empty",
        ),
        (
            lambda c: c.webhooks.create(name="n", url=" ", events=EVENTS),
            ValueError,
            "url must not be empty",
        ),
        (
            lambda c: c.webhooks.create(name="n", url="u", events="execution.completed"),
            TypeError,
            "events must be a list",
        ),
        (
            lambda c: c.webhooks.create(name="n", url="u", events=[1]),
            TypeError,
            "events: 1 ",
        ),
        (
            lambda c: c.webhooks.create(name="n", url="u", events=EVENTS, headers="X: 1"),
            TypeError,
            "headers must be a mapping",
        ),
    ],
)
async def test_an_argument_that_makes_no_sense_is_named_and_not_sent(call, error, message):
    async with scripted(data({})) as client:
        with pytest.raises(error, match=message):
            await call(client)
    assert client.script.requests == []
