"""The bounds of a stream: its deadline, its pauses, and how often it asks the API."""

from __future__ import annotations

import contextlib
import threading
import time

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_core import errors, liveness
from flowmaestro_core._async import stream as stream_module
from tests.conftest import KEY
from tests.core.mock import Script, data, events, frame
from tests.raw import raw_server, response

pytestmark = pytest.mark.anyio  # async only

URL = "http://127.0.0.1:1"
CONNECTED = frame("connected", execution_id="e", status="running")
STARTED = frame("node:started", type="node:started", nodeId="n1")
DONE = frame("execution:completed", execution_id="e", status="completed", outputs={"a": 1})
REPLIED = frame("message:completed", content="Hi")
RUNNING = data({"id": "e", "workflow_id": "w", "status": "running", "inputs": {}})
COMPLETED = data({"id": "e", "workflow_id": "w", "status": "completed", "outputs": {"a": 1}})


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Replace the sleeping between connections by a list of the pauses."""
    slept = []

    async def sleep(stop, seconds):
        slept.append(seconds)

    monkeypatch.setattr(stream_module.Stop, "sleep", sleep)
    # The pauses alone move the clock, so that a slow machine changes nothing.
    monkeypatch.setattr(stream_module, "monotonic", lambda: 1_000.0 + sum(slept))
    return slept


@pytest.fixture(autouse=True)
def _no_polls_while_silent(monkeypatch):
    """Let no stream ask for the status only because the machine is slow."""
    monkeypatch.setattr(liveness, "_CHECK_PAUSES", (600.0,))


@contextlib.asynccontextmanager
async def scripted(*steps, **options):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncFlowMaestroClient(KEY, URL, http_client=http_client, **options) as client:
            client.script = script
            yield client


async def types_of(stream):
    return [event["type"] async for event in stream]


def is_stream(request):
    return request.url.path.endswith("/events")


@pytest.mark.parametrize("silent", [True, False])
async def test_the_deadline_of_a_stream_has_its_code(silent):
    def answer(request):
        if not is_stream(request):
            return RUNNING
        return events(CONNECTED) if silent else events(STARTED)

    async with scripted(answer) as client:
        with pytest.raises(errors.TimeoutError, match=r"execution 'e'.* 0\.3 s") as caught:
            await types_of(client.with_options(deadline=0.3).executions.stream("e"))
    assert caught.value.code == "deadline_exceeded"
    # A stream only reads: nothing can have been carried out.
    assert caught.value.outcome_unknown is False


async def test_the_deadline_of_a_stream_bounds_its_polls():
    async with scripted(events(CONNECTED), COMPLETED) as client:
        await types_of(client.with_options(deadline=5).executions.stream("e"))
    poll = client.script.requests[1]
    assert not is_stream(poll)
    assert poll.extensions["timeout"]["read"] <= 5


@contextlib.contextmanager
def silent_server(status=b"{}"):
    """A server whose streams are open and bring nothing more."""
    over, heads = threading.Event(), []

    def respond(connection):
        if b"/events" in heads[-1]:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
            connection.sendall(head + CONNECTED.encode())
            over.wait(60)
        elif status is not None:
            connection.sendall(response(status))

    with raw_server(respond, heads) as url:
        yield url
        over.set()


async def test_the_deadline_of_a_silent_stream_ends_it(monkeypatch):
    ahead = 0.0
    monkeypatch.setattr(stream_module, "monotonic", lambda: time.monotonic() + ahead)
    with silent_server() as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            started = time.monotonic()
            with pytest.raises(errors.TimeoutError, match=r"execution 'e'.* 600 s") as caught:
                async for event in client.with_options(deadline=600).executions.stream("e"):
                    assert event["type"] == "connected"
                    ahead = 600.0
    assert caught.value.code == "deadline_exceeded"
    # The server waits for 60 s.
    assert time.monotonic() - started < 30


async def test_a_stream_that_holds_the_only_connection_is_let_go_for_a_poll(monkeypatch):
    monkeypatch.setattr(liveness, "_CHECK_PAUSES", (0.0,))
    limits, timeout = httpx.Limits(max_connections=1), httpx.Timeout(30, pool=0.1)
    with silent_server(COMPLETED.content) as url:
        async with httpx.AsyncClient(limits=limits) as http_client:
            client = AsyncFlowMaestroClient(KEY, url, http_client=http_client, timeout=timeout)
            started = time.monotonic()
            types = await types_of(client.executions.stream("e"))
    assert types == ["connected", "execution:completed"]
    # The server waits for 60 s.
    assert time.monotonic() - started < 30


async def test_a_silent_stream_is_left_where_its_polls_have_no_response_for_long(monkeypatch):
    ahead = 0.0
    monkeypatch.setattr(stream_module, "monotonic", lambda: time.monotonic() + ahead)
    monkeypatch.setattr(liveness, "_CHECK_PAUSES", (0.0,))
    with silent_server(None) as url:
        async with AsyncFlowMaestroClient(KEY, url, max_retries=0) as client:
            with pytest.raises(errors.StreamError, match="the server fell silent"):
                async for event in client.executions.stream("e"):
                    assert event["type"] == "connected"
                    ahead = 100.0


async def test_a_stream_whose_server_fell_silent_says_so(monkeypatch):
    # As after keepalives that stay away.
    monkeypatch.setattr(liveness.Liveness, "is_stale", lambda self, now: True)
    monkeypatch.setattr(liveness.Liveness, "pause", lambda self, now: 0.01)
    with silent_server() as url:
        async with AsyncFlowMaestroClient(KEY, url, max_retries=0) as client:
            with pytest.raises(errors.StreamError, match="was lost: the server fell silent"):
                await types_of(client.threads.stream("t"))


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_catching_up_ends_where_the_server_has_ids_and_never_the_end(pauses, status):
    number = 0

    def answer(request):
        nonlocal number
        if not is_stream(request):
            return data({"id": "e", "workflow_id": "w", "status": status, "outputs": None})
        number += 1
        # A server that brings something each time, but not what comes last.
        if number > 1_000:
            raise httpx.ConnectError("enough")
        return events(f"id: {number}\n" + STARTED, httpx.ReadError("reset"))

    async with scripted(answer, max_retries=0) as client:
        types = await types_of(client.executions.stream("e"))
    assert types[-1] == f"execution:{status}"
    assert types.count(f"execution:{status}") == 1
    assert number < 50
    # The first connection was the stream's own, and the second one was made at once.
    assert len(pauses) == number - 2


async def test_what_was_missed_comes_before_the_end_where_the_server_has_ids():
    steps = iter(
        [
            events("id: 1\n" + STARTED, httpx.ReadError("reset")),
            httpx.ReadError("reset"),
            httpx.ReadError("reset"),
            events("id: 2\n" + frame("node:completed", type="node:completed"), "id: 3\n" + DONE),
        ]
    )

    def answer(request):
        if not is_stream(request):
            return COMPLETED
        step = next(steps)
        if isinstance(step, Exception):
            raise step
        return step

    async with scripted(answer, max_retries=1) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == ["node:started", "node:completed", "execution:completed"]


async def test_what_was_missed_is_asked_for_at_once(pauses):
    def respond(request):
        if not is_stream(request):
            return COMPLETED
        if "last-event-id" in request.headers:
            return events("id: 2\n" + DONE)
        return events("id: 1\n" + STARTED)

    async with scripted(respond) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == ["node:started", "execution:completed"]
    assert pauses == []


async def test_a_stream_asks_for_what_it_can_read():
    async with scripted(events(DONE), events(REPLIED)) as client:
        await types_of(client.executions.stream("e"))
        await types_of(client.threads.send_message_stream("t", "Hi"))
        await types_of(client.threads.stream("t"))
    requests = client.script.requests
    assert [(request.method, request.url.path) for request in requests] == [
        ("GET", "/api/v1/executions/e/events"),
        ("POST", "/api/v1/threads/t/messages"),
        ("GET", "/api/v1/threads/t/events"),
    ]
    for request in requests:
        assert request.headers["accept"] == "text/event-stream"
        # A compressed event would be held back until the block is full.
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["cache-control"] == "no-store"
        assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_an_open_stream_may_be_silent_and_a_reply_has_its_two_minutes():
    async with scripted(events(DONE), timeout=3) as client:
        await types_of(client.executions.stream("e"))
        await types_of(client.threads.stream("t"))
    # How long a stream is silent is the matter of keepalives and polls, not of a timeout.
    for request in client.script.requests:
        assert request.extensions["timeout"]["read"] is None
        assert request.extensions["timeout"]["connect"] == 3
    async with scripted(events(REPLIED)) as client:
        await types_of(client.threads.send_message_stream("t", "Hi"))
    assert client.script.requests[0].extensions["timeout"]["read"] == 130
