"""What a call and a client promise beside success: outcomes, deadlines, views, and the log."""

from __future__ import annotations

import contextlib
import logging
import threading

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_core import AsyncCoreClient, RateLimit, errors
from flowmaestro_core._async import transport as transport_module
from flowmaestro_core.config import Options, Timeouts, reconnect_options
from flowmaestro_core.request import Request
from tests.conftest import KEY
from tests.core.mock import Chunks, Script, data, error, events, frame
from tests.raw import raw_server, response
from tests.threads import all_ended, threads_started_by

pytestmark = [
    pytest.mark.anyio,  # async only
    pytest.mark.once,
]

GET = Request.get("/workflows")
POST = Request.post("/workflows/wf/execute", {}, repeatable=False, check="look first")
URL = "http://127.0.0.1:1"
DONE = frame("execution:completed", execution_id="e")

# When a body cannot be unpacked, httpx drops a generator that trio complains of.
HTTPX_LEAVES_A_GENERATOR = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Replace the sleeping between attempts by a list of the pauses."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(transport_module, "sleep", sleep)
    return slept


@contextlib.asynccontextmanager
async def scripted(*steps, **options):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncFlowMaestroClient(KEY, URL, http_client=http_client, **options) as client:
            client.script = script
            yield client


# Whether it happened


@pytest.mark.parametrize(
    ("steps", "is_unknown"),
    [
        ((error(400),), False),
        ((error(429), error(400)), False),
        ((httpx.ConnectError("refused"), error(400)), False),
        ((httpx.ReadError("reset"), error(400)), True),
        ((error(502), error(400)), True),
        # The doubt about one attempt outlasts the next ones.
        ((httpx.ReadError("reset"), error(429), error(400)), True),
        ((error(502), httpx.ConnectError("refused"), error(400)), True),
        ((error(429), error(502), error(404)), True),
    ],
)
async def test_one_attempt_in_doubt_leaves_the_whole_call_in_doubt(steps, is_unknown):
    async with scripted(*steps) as client:
        with pytest.raises(errors.FlowMaestroError) as caught:
            await client.with_options(retry_unsafe=True).call(POST)
    assert caught.value.outcome_unknown is is_unknown
    assert ("look first" in caught.value.message) is is_unknown
    assert len(client.script.requests) == len(steps)


async def test_a_call_that_may_happen_twice_is_never_in_doubt():
    for step in (httpx.ReadError("reset"), error(502), httpx.Response(200, text="<p>")):
        async with scripted(step, max_retries=1) as client:
            with pytest.raises(errors.FlowMaestroError) as caught:
                await client.call(GET)
        assert caught.value.outcome_unknown is False
        assert "carried out" not in caught.value.message


async def test_a_success_that_cannot_be_read_is_not_sent_again():
    for body in ("<p>", "[]", "", "{}"):
        async with scripted(httpx.Response(200, text=body), data("twice")) as client:
            with pytest.raises(errors.ServerError, match="look first") as caught:
                await client.call(POST)
            assert caught.value.outcome_unknown is True
            assert caught.value.code == "invalid_response"
            assert len(client.script.requests) == 1


async def test_a_request_without_a_hint_has_none_in_its_error():
    request = Request.post("/x", {}, repeatable=False)
    async with scripted(error(502)) as client:
        with pytest.raises(errors.ServerError) as caught:
            await client.call(request)
    assert caught.value.outcome_unknown is True
    assert not caught.value.message.endswith(("; ", ";"))


@pytest.mark.parametrize("status", [200, 201, 202, 299])
async def test_any_status_from_200_to_299_is_a_success(status):
    async with scripted(httpx.Response(status, json={"data": 1})) as client:
        assert await client.call(GET) == {"data": 1}


@pytest.mark.parametrize("status", [199, 300, 304])
async def test_no_other_status_is(status):
    async with scripted(httpx.Response(status, json={"data": 1})) as client:
        with pytest.raises(errors.FlowMaestroError) as caught:
            await client.call(GET)
        assert caught.value.status_code == status
        assert len(client.script.requests) == 1


# Deadlines


async def test_a_pause_that_does_not_fit_into_the_deadline_raises_what_happened(pauses):
    async with scripted(error(429, retry_after="30")) as client:
        with pytest.raises(errors.RateLimitError) as caught:
            await client.with_options(deadline=20).call(GET)
        assert caught.value.retry_after == 30
        assert pauses == []
        with pytest.raises(errors.RateLimitError):
            await client.with_options(deadline=1_000, max_retries=2).call(GET)
        assert [30 <= pause <= 31 for pause in pauses] == [True] * 2


async def test_no_step_may_take_longer_than_the_deadline():
    async with scripted(data()) as client:
        await client.with_options(deadline=10).call(GET)
        await client.with_options(deadline=10, timeout=None).call(GET)
        await client.with_options(deadline=10, timeout=2).call(GET)
    first, unbounded, short = (one.extensions["timeout"] for one in client.script.requests)
    for name in ("connect", "read", "write"):
        assert 5 < first[name] <= 10
        assert 5 < unbounded[name] <= 10
        assert short[name] == 2


async def test_a_deadline_that_is_over_has_its_code_and_its_seconds():
    def wait_until_the_client_is_gone(connection):
        while connection.recv(65536):
            pass

    with raw_server(wait_until_the_client_is_gone) as url:
        async with AsyncCoreClient(KEY, url) as whole:
            client = whole.with_options(deadline=0.25)
            for request in (GET, POST):
                with pytest.raises(errors.TimeoutError, match=r"0\.25 s") as caught:
                    await client.call(request)
                assert caught.value.code == "deadline_exceeded"
                assert caught.value.outcome_unknown is (request is POST)


# Clients and views


async def test_a_client_that_is_closed_says_so_to_calls_and_streams():
    client = AsyncFlowMaestroClient(KEY, URL)
    view = client.with_options(timeout=1)
    await client.close()
    for user in (client, view):
        with pytest.raises(errors.FlowMaestroError, match="closed") as caught:
            await user.workflows.list()
        assert caught.value.code == "client_closed"
        with pytest.raises(errors.FlowMaestroError, match="closed"):
            async for _ in user.executions.stream("e"):
                pass
    await client.close()


async def test_closing_a_view_or_its_view_closes_nothing():
    async with scripted(data([])) as client:
        async with client.with_options(timeout=1) as view:
            await view.with_options(deadline=5).close()
        await view.workflows.list()
        await client.workflows.list()


async def test_a_view_changes_what_it_is_told_and_keeps_the_rest():
    async with scripted(data([]), timeout=7, max_retries=5, headers={"X-A": "1"}) as client:
        seven = Timeouts(7, 7, 7)
        assert client.options == Options(seven, False, None, 5, False, (("X-A", "1"),))
        view = client.with_options(deadline=9)
        assert view.options == client.options._replace(deadline=9)
        again = view.with_options(max_retries=0, retry_unsafe=True, headers={"X-B": "2"})
        assert again.options == Options(seven, False, 9, 0, True, (("X-A", "1"), ("X-B", "2")))
        exact = again.with_options(timeout=1)
        assert exact.options.timeouts == Timeouts(1, 1, 1)
        assert exact.options.timeout_is_exact is True
        # A deadline can be taken away, and an exact timeout stays one.
        free = exact.with_options(deadline=None)
        assert free.options == exact.options._replace(deadline=None)
        assert client.options.deadline is None
        assert type(view) is AsyncFlowMaestroClient


async def test_the_resources_of_a_view_have_the_options_of_the_view():
    async with scripted(data([]), timeout=7) as client:
        await client.workflows.list()
        await client.with_options(timeout=1).workflows.list()
        await client.workflows.list()
        reads = [one.extensions["timeout"]["read"] for one in client.script.requests]
        assert reads == [7, 1, 7]
        assert client.workflows is client.workflows


async def test_a_client_knows_its_address_and_its_limits():
    limits = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "59"}
    async with scripted(data([], **limits), error(404), data([])) as client:
        assert client.base_url == URL
        assert client.rate_limit is None
        await client.workflows.list()
        with pytest.raises(errors.NotFoundError):
            await client.workflows.get("w")
        await client.with_options(timeout=1).workflows.list()
        # Responses that say nothing of the limits change nothing.
        assert client.rate_limit == RateLimit(60, 59)
        assert client.with_options(timeout=1).rate_limit == RateLimit(60, 59)
        assert repr(client) == f"AsyncFlowMaestroClient(base_url={URL!r})"


@pytest.mark.parametrize("odd", [True, "1", 1.5, None])
async def test_a_size_that_is_no_whole_number_is_refused(odd):
    with pytest.raises(TypeError, match="max_response_bytes must be a whole number"):
        AsyncCoreClient(KEY, URL, max_response_bytes=odd)


async def test_the_least_size_is_one_byte():
    with pytest.raises(ValueError, match="must be 1 or more, not 0"):
        AsyncCoreClient(KEY, URL, max_response_bytes=0)
    await AsyncCoreClient(KEY, URL, max_response_bytes=1).close()


async def test_options_can_be_given_for_one_call():
    async with scripted(error(502), data(1)) as client:
        with pytest.raises(errors.ServerError):
            await client.call(GET, client.options._replace(max_retries=0))
        assert (await client.call(GET))["data"] == 1


async def test_our_own_connections_are_bounded_by_their_idle_time_and_not_in_number(monkeypatch):
    made = []

    class Recorded(httpx.AsyncHTTPTransport):
        def __init__(self, **settings):
            made.append(settings)
            super().__init__(**settings)

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", Recorded)
    monkeypatch.setattr("flowmaestro_core._async.connections.proxy_of", lambda base_url: None)
    with raw_server(lambda connection: connection.sendall(response(b'{"data": 1}'))) as url:
        async with AsyncCoreClient(KEY, url) as client:
            await client.call(GET)
    (settings,) = made
    # The API closes after 72 s; whoever is first at it must not be the API.
    assert settings["limits"].keepalive_expiry == 30
    # Calls are bounded by the client, and streams by nothing.
    assert settings["limits"].max_connections is None
    assert settings["limits"].max_keepalive_connections > 0


async def test_no_thread_keeps_a_process_alive():
    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b'{"da')
        # Where a thread keeps the deadline, it is there as long as the response is not.
        seen.wait(0.2)
        connection.sendall(b'ta": 1}')

    seen = threading.Event()
    with threads_started_by("flowmaestro_core") as threads, raw_server(answer) as url:
        async with AsyncCoreClient(KEY, url) as client:
            assert await client.with_options(deadline=60).call(GET) == {"data": 1}
    assert [thread for thread in threads if not thread.daemon] == []
    assert all_ended(threads)


async def places_are_kept(monkeypatch, answer, use, times=12):
    """Use a client more often than a pool has places, and count the pools that it made."""
    made = []

    class Recorded(httpx.AsyncHTTPTransport):
        def __init__(self, **settings):
            made.append(self)
            super().__init__(**settings)

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", Recorded)
    monkeypatch.setattr("flowmaestro_core._async.connections.proxy_of", lambda base_url: None)
    with raw_server(answer) as url:
        async with AsyncFlowMaestroClient(KEY, url, max_retries=0, max_response_bytes=50) as client:
            for _ in range(times):
                with contextlib.suppress(errors.FlowMaestroError):
                    await use(client)
    return len(made) == 1


BAD_ANSWERS = {
    "closed": b"",
    "no HTTP": b"hello\r\n\r\n",
    "not found": response(b"{}", status="404 Not Found"),
    "too long": response(b"x" * 99),
    "cut": response(b'{"data": 1}')[:-3],
    "bad gzip": response(b"junk", "Content-Encoding: gzip"),
    "no stream": response(b'{"data": {}}'),
}


@HTTPX_LEAVES_A_GENERATOR
@pytest.mark.parametrize("kind", BAD_ANSWERS)
async def test_a_call_or_stream_that_fails_gives_its_place_back(monkeypatch, kind):
    # After so many lost places, no call would have its turn any more.
    times = 110 if kind == "not found" else 12

    async def call(client):
        await client.workflows.get("w")

    async def stream(client):
        async for _ in client.executions.stream("e"):
            pass

    def send(connection):
        connection.sendall(BAD_ANSWERS[kind])

    for use in (call, stream):
        assert await places_are_kept(monkeypatch, send, use, times)


async def test_a_stream_that_is_left_gives_its_place_back(monkeypatch):
    def answer(connection):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
            + frame("connected").encode()
        )
        connection.recv(1)

    async def leave(client):
        async with client.executions.stream("e") as stream:
            async for _ in stream:
                break

    assert await places_are_kept(monkeypatch, answer, leave)


@HTTPX_LEAVES_A_GENERATOR
async def test_a_response_that_cannot_be_unpacked_is_asked_for_again(pauses):
    """Also with a deadline, which has nothing to do with it."""
    corrupt = httpx.Response(
        200, headers={"content-encoding": "gzip"}, stream=Chunks(b"junk that is no gzip")
    )
    async with scripted(corrupt, data(1)) as client:
        assert (await client.with_options(deadline=60).call(GET))["data"] == 1
    assert len(pauses) == 1
    async with scripted(corrupt) as client:
        with pytest.raises(errors.ServerError) as caught:
            await client.with_options(deadline=60).call(POST)
    assert caught.value.code == "invalid_response"
    assert caught.value.outcome_unknown is True


# Streams


async def test_a_stream_is_opened_with_retries_and_reopened_by_one_attempt():
    async with scripted(error(502), error(502), events(DONE)) as client:
        assert [event["type"] async for event in client.executions.stream("e")]
        assert len(client.script.requests) == 3
    request = Request.get("/executions/e/events")
    async with scripted(error(502), data(1)) as client:
        with pytest.raises(errors.ServerError):
            await client.open(request, options=reconnect_options(client.options, None))
        # JSON in the place of a stream is given as it is.
        assert (await client.open(request))["data"] == 1


@pytest.mark.parametrize("content_type", ["text/event-stream; charset=utf-8", "Text/Event-Stream"])
async def test_an_event_stream_is_known_by_its_type(content_type):
    def answer(request):
        return httpx.Response(200, headers={"content-type": content_type}, text=DONE)

    async with scripted(answer) as client:
        assert [event["type"] async for event in client.executions.stream("e")] == [
            "execution:completed"
        ]


@pytest.mark.parametrize(
    ("headers", "named"),
    [({"content-type": "text/html"}, "text/html"), ({}, "nothing")],
)
async def test_what_is_no_event_stream_is_named(headers, named):
    post = Request.post("/threads/t/messages", {}, repeatable=False, check="look first")
    for request in (Request.get("/executions/e/events"), post):
        async with scripted(httpx.Response(200, headers=headers, content=b"<p>")) as client:
            with pytest.raises(errors.StreamError, match=named) as caught:
                await client.open(request)
        assert caught.value.code == "no_event_stream"
        assert caught.value.status_code == 200
        assert caught.value.outcome_unknown is (request is post)


# The log


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "flowmaestro"]


async def test_a_retry_says_why_when_and_which_it_is(caplog, monkeypatch):
    monkeypatch.setattr(transport_module, "jitter", lambda: 1.0)
    async with scripted(error(502), error(503), data(1), max_retries=5) as client:
        await client.call(GET)
    first, second = lines(caplog)
    assert "GET /workflows" in first
    assert "HTTP 502" in first
    assert " 0.5 s" in first
    assert "1 of 5" in first
    assert "HTTP 503" in second
    assert " 1.0 s" in second
    assert "2 of 5" in second
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


async def test_each_request_is_told_with_the_id_of_its_response(caplog):
    caplog.set_level(logging.DEBUG, logger="flowmaestro")
    long = {"data": ["x"] * 1_000, "meta": {"request_id": "abc"}}
    named = {"error": {"code": "c", "message": "m"}, "meta": {"request_id": "def"}}
    async with scripted(
        httpx.Response(200, json=long),
        httpx.Response(404, json=named),
        httpx.Response(200, json={"data": 1}),
        httpx.Response(200, content=b'{"data": 1, "request_id": 7}'),
        httpx.ReadError("reset"),
        max_retries=0,
    ) as client:
        for _ in range(5):
            with contextlib.suppress(errors.FlowMaestroError):
                await client.call(GET)
    told = [
        (line.split(" -> ")[1].split()[0], line.split("request id ")[1]) for line in lines(caplog)
    ]
    assert told == [("200", "abc)"), ("404", "def)"), ("200", "-)"), ("200", "-)"), ("no", "-)")]


async def test_a_stream_is_told_when_it_opens(caplog):
    caplog.set_level(logging.DEBUG, logger="flowmaestro")
    async with scripted(events(DONE)) as client:
        async for _ in client.executions.stream("e"):
            pass
    (line,) = lines(caplog)
    assert line.startswith("GET /executions/e/events -> 200 in ")


async def test_a_log_that_is_off_is_not_written(caplog):
    caplog.set_level(logging.INFO, logger="flowmaestro")
    async with scripted(data(1)) as client:
        await client.call(GET)
    assert lines(caplog) == []
