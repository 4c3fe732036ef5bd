"""Calls: retries, deadlines, errors, headers, the log, and what never leaves the client."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time

import httpx
import pytest
import respx

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_core import AsyncCoreClient, __version__, errors
from flowmaestro_core._async import transport as transport_module
from flowmaestro_core.request import Request
from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.core.mock import Chunks, Script, Slow, data, error
from tests.raw import raw_server, response

pytestmark = pytest.mark.anyio  # async only

GET = Request.get("/workflows")
POST = Request.post("/workflows/wf/execute", {}, repeatable=False, check="look first")
URL = "http://127.0.0.1:1"


@pytest.fixture
def pauses(monkeypatch):
    """Replace the sleeping between tries by a list of the pauses."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(transport_module, "sleep", sleep)
    return slept


@contextlib.asynccontextmanager
async def scripted(*steps, **options):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncCoreClient(KEY, URL, http_client=http_client, **options) as client:
            client.script = script
            yield client


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_get_is_repeated_until_it_works(status, pauses):
    async with scripted(error(status), error(status), data("ok")) as client:
        assert (await client.call(GET))["data"] == "ok"
        assert len(client.script.requests) == 3
        assert len(pauses) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 501])
async def test_what_does_not_pass_is_raised_at_once(status, pauses):
    async with scripted(error(status)) as client:
        with pytest.raises(errors.FlowMaestroError) as caught:
            await client.call(GET)
        assert caught.value.status_code == status
        assert len(client.script.requests) == 1


async def test_the_last_error_is_raised_after_max_retries(pauses):
    async with scripted(error(502), max_retries=2) as client:
        with pytest.raises(errors.ServerError):
            await client.call(GET)
        assert len(client.script.requests) == 3


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("no answer"),
        httpx.ReadTimeout("slow"),
        httpx.WriteError("broken"),
        httpx.DecodingError("bad gzip"),
    ],
)
async def test_a_post_is_not_repeated_after_the_request_was_sent(failure, pauses):
    async with scripted(failure, data("twice")) as client:
        with pytest.raises(errors.FlowMaestroError, match="look first") as caught:
            await client.call(POST)
        assert caught.value.outcome_unknown is True
        assert len(client.script.requests) == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_post_is_not_repeated_after_an_answer_that_leaves_it_open(status, pauses):
    async with scripted(error(status), data("twice")) as client:
        with pytest.raises(errors.FlowMaestroError) as caught:
            await client.call(POST)
        assert caught.value.outcome_unknown is True
        assert len(client.script.requests) == 1


@pytest.mark.parametrize(
    "step",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.PoolTimeout("full"),
        error(429),
        error(503, retry_after="1"),
    ],
)
async def test_a_post_is_repeated_where_it_certainly_was_not_processed(step, pauses):
    async with scripted(step, data("once")) as client:
        assert (await client.call(POST))["data"] == "once"
        assert len(client.script.requests) == 2


async def test_who_accepts_duplicates_can_have_them(pauses):
    async with scripted(httpx.ReadError("reset"), error(500), data("at last")) as client:
        view = client.with_options(retry_unsafe=True)
        assert (await view.call(POST))["data"] == "at last"
    async with scripted(httpx.ReadError("reset"), retry_unsafe=True) as client:
        with pytest.raises(errors.ConnectionError) as caught:
            await client.call(POST)
        assert caught.value.outcome_unknown is True
        assert len(client.script.requests) == 4


async def test_an_error_that_settles_nothing_has_a_known_outcome(pauses):
    for step in (error(400), error(429), httpx.ConnectError("refused")):
        async with scripted(step, max_retries=0) as client:
            with pytest.raises(errors.FlowMaestroError) as caught:
                await client.call(POST)
            assert caught.value.outcome_unknown is False


async def test_a_success_that_cannot_be_read_leaves_a_post_open():
    for answer in (httpx.Response(200), httpx.Response(202, html="<p>hi")):
        async with scripted(answer) as client:
            with pytest.raises(errors.ServerError) as caught:
                await client.call(POST)
            assert caught.value.outcome_unknown is True
            with pytest.raises(errors.ServerError) as caught:
                await client.call(GET)
            assert caught.value.outcome_unknown is False


async def test_retry_after_is_waited_for(pauses):
    async with scripted(error(429, retry_after="7"), data()) as client:
        await client.call(GET)
        assert 7 <= pauses[0] <= 8


async def test_a_day_long_retry_after_is_raised_at_once_with_the_figure(pauses):
    async with scripted(error(429, retry_after="86400"), data()) as client:
        with pytest.raises(errors.RateLimitError) as caught:
            await client.call(GET)
        assert caught.value.retry_after == 86400
        assert pauses == []


async def test_a_certificate_that_is_not_trusted_is_not_tried_again(pauses):
    refused = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
    async with scripted(refused) as client:
        with pytest.raises(errors.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.call(GET)
        assert len(client.script.requests) == 1


@pytest.mark.parametrize(
    ("failure", "cls", "says"),
    [
        (httpx.ConnectError("refused"), errors.ConnectionError, "cannot connect to 127.0.0.1:1"),
        (httpx.ConnectTimeout(""), errors.TimeoutError, "no connection to .* within 30 s"),
        (httpx.ReadTimeout(""), errors.TimeoutError, "no answer from .* within 30 s"),
        (httpx.PoolTimeout(""), errors.TimeoutError, "no free connection"),
        (httpx.ReadError(""), errors.ConnectionError, "broke: ReadError"),
        (httpx.ProxyError("407"), errors.ConnectionError, "cannot connect"),
        (httpx.UnsupportedProtocol("x"), errors.ConnectionError, "cannot be sent"),
        (httpx.LocalProtocolError("x"), errors.ConnectionError, "cannot be sent"),
        (OSError("disk"), errors.ConnectionError, "broke: disk"),
    ],
)
async def test_every_failure_of_the_network_is_an_error_of_ours(failure, cls, says):
    async with scripted(failure, max_retries=0) as client:
        with pytest.raises(cls, match=says) as caught:
            await client.call(GET)
        assert caught.value.__context__ is None, "frames of the HTTP library hold the key"
        assert caught.value.__cause__ is None


async def test_a_repeated_call_whose_first_try_was_done_is_done(pauses):
    def already_done(error):
        return {"data": "done before"} if error.status_code == 404 else None

    request = Request("DELETE", "/threads/t", already_done=already_done)
    async with scripted(httpx.ReadError("reset"), error(404)) as client:
        assert (await client.call(request))["data"] == "done before"
    async with scripted(error(404)) as client:
        with pytest.raises(errors.NotFoundError):
            await client.call(request)
    async with scripted(error(429), error(404)) as client:
        with pytest.raises(errors.NotFoundError):
            await client.call(request)


async def test_a_deadline_bounds_the_retries_and_their_pauses():
    async with scripted(error(503)) as client:
        began = time.monotonic()
        with pytest.raises(errors.ServerError):
            await client.with_options(deadline=0.3, max_retries=50).call(GET)
        # All the retries take minutes.
        assert time.monotonic() - began < 30


async def test_a_deadline_shortens_the_timeouts():
    async with scripted(data()) as client:
        await client.with_options(deadline=20).call(GET)
        timeouts = client.script.requests[0].extensions["timeout"]
        assert all(0 < timeouts[step] <= 20 for step in ("connect", "read", "write", "pool"))


async def test_a_deadline_cuts_an_answer_that_drips_in():
    chunks = [b'{"data": ', *[b" "] * 1_000, b"1}"]
    lengths = ({"content-length": "1011"}, {}, {"content-encoding": "identity"})
    for headers in lengths:
        body = Slow(*chunks)
        async with scripted(httpx.Response(200, headers=headers, stream=body)) as client:
            with pytest.raises(errors.TimeoutError, match=r"deadline of 0\.3 s") as caught:
                await client.with_options(deadline=0.3).call(POST)
            # So many as come within the deadline, and never one more for a slow machine.
            assert body.count < 30
            assert caught.value.outcome_unknown is True


@pytest.mark.parametrize("method", ["call", "open"])
async def test_a_deadline_cuts_an_error_that_drips_in_before_a_hook(method):
    async def raise_for_status(response):
        response.raise_for_status()

    body = Slow(*[b" "] * 1_000)
    async with httpx.AsyncClient(
        transport=Script(httpx.Response(500, stream=body)),
        event_hooks={"response": [raise_for_status]},
    ) as http_client:
        client = AsyncCoreClient(KEY, URL, http_client=http_client)
        with pytest.raises(errors.TimeoutError, match=r"deadline of 0\.3 s"):
            await getattr(client.with_options(deadline=0.3), method)(POST)
    assert body.count < 30


@pytest.mark.parametrize("bound", ["timeout", "deadline"])
async def test_an_answer_in_the_place_of_a_stream_is_bounded_like_any_other(bound):
    """Only an event stream may be silent for longer."""
    over = threading.Event()
    ends = []

    def answer(connection):
        head = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Content-Length: 1000\r\n\r\n{")
        # A deadline is harder to keep: each of these bytes comes in time.
        for _ in range(300):
            if over.wait(0.1):
                return
            connection.sendall(b" " if bound == "deadline" else b"")
        ends.append("the server's")

    with raw_server(answer) as url:
        async with AsyncCoreClient(KEY, url, max_retries=0) as client:
            with pytest.raises(errors.TimeoutError):
                await client.with_options(**{bound: 0.5}).open(Request.get("/executions/e/events"))
            over.set()
    assert ends == []


async def test_a_deadline_that_is_kept_changes_nothing():
    whole = b'{"data": 1}'
    for headers in ({"content-length": str(len(whole))}, {}):
        answer = httpx.Response(200, headers=headers, stream=Slow(whole[:4], whole[4:]))
        async with scripted(answer) as client:
            view = client.with_options(timeout=100, deadline=60)
            assert (await view.call(POST))["data"] == 1
            reads = [one.extensions["timeout"]["read"] for one in client.script.requests]
            assert 50 < reads[0] <= 60


async def test_a_slow_call_has_its_own_time_unless_the_caller_says_how_long():
    slow = Request.post("/x", {}, read_timeout=130)
    async with scripted(data()) as client:
        await client.call(slow)
        await client.with_options(timeout=5).call(slow)
        await client.with_options(max_retries=1).call(slow)
        reads = [request.extensions["timeout"]["read"] for request in client.script.requests]
        assert reads == [130, 5, 130]


async def test_requests_have_the_headers_of_a_good_client():
    async with scripted(data(), headers={"X-Team": "a"}) as client:
        await client.call(GET)
        await client.with_options(headers={"x-team": "b"}).call(POST)
    first, second = client.script.requests
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.headers["user-agent"].startswith(f"flowmaestro-python/{__version__} Python/")
    assert first.headers["x-team"] == "a"
    assert "content-type" not in first.headers
    assert second.headers["x-team"] == "b"
    assert second.headers["content-type"] == "application/json"
    assert str(second.url) == "http://127.0.0.1:1/api/v1/workflows/wf/execute"


async def test_the_key_moves_aside_where_authorization_is_taken():
    async with scripted(data(), headers={"Authorization": "Basic eDp5"}) as client:
        await client.call(GET)
    assert client.script.requests[0].headers["authorization"] == "Basic eDp5"
    assert client.script.requests[0].headers["x-api-key"] == KEY
    script = Script(data())
    async with httpx.AsyncClient(transport=script, auth=("user", "pw")) as http_client:
        async with AsyncCoreClient(KEY, URL, http_client=http_client) as client:
            await client.call(GET)
    assert script.requests[0].headers["x-api-key"] == KEY


async def test_a_redirect_is_not_followed():
    away = httpx.Response(302, headers={"location": "https://evil.example/"})
    script = Script(away, data())
    async with httpx.AsyncClient(transport=script, follow_redirects=True) as http_client:
        async with AsyncCoreClient(KEY, URL, http_client=http_client) as client:
            with pytest.raises(errors.FlowMaestroError, match=r"evil\.example"):
                await client.call(GET)
    assert len(script.requests) == 1


async def test_the_users_client_keeps_its_hooks_and_stays_open():
    seen = []

    async def hook(response):
        await response.aread()
        seen.append(response.status_code)

    hooks = {"response": [hook]}
    async with httpx.AsyncClient(transport=Script(data("ok")), event_hooks=hooks) as http_client:
        async with AsyncCoreClient(KEY, URL, http_client=http_client) as client:
            assert (await client.call(GET))["data"] == "ok"
        assert seen == [200]
        assert not http_client.is_closed


async def test_a_client_of_another_kind_is_refused():
    refusal = r"an httpx\.\w*Client or an httpx2\.\w*Client, not builtins\.object"
    with pytest.raises(TypeError, match=refusal):
        AsyncCoreClient(KEY, URL, http_client=object())


async def test_respx_works_without_a_client_of_the_users():
    with respx.mock(base_url=URL) as router:
        router.get("/api/v1/workflows").respond(json={"data": ["mocked"]})
        async with AsyncCoreClient(KEY, URL) as client:
            assert (await client.call(GET))["data"] == ["mocked"]


async def test_proxies_of_the_environment_are_used_for_calls_and_streams(monkeypatch):
    def answer(connection):
        if b"/events " in heads[-1]:
            connection.sendall(response(b"data: {}\n\n", "Content-Type: text/event-stream"))
        else:
            connection.sendall(response(b'{"data": "by proxy"}', "Connection: close"))

    heads = []
    with raw_server(answer, heads) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        with pytest.warns(UserWarning, match="not encrypted"):
            client = AsyncCoreClient(KEY, "http://api.test")
        async with client:
            assert (await client.call(GET))["data"] == "by proxy"
            pump = await client.open(Request.get("/executions/e/events"))
            await pump.read()
            await pump.aclose()
    assert heads[0].startswith(b"GET http://api.test/api/v1/workflows ")
    assert heads[1].startswith(b"GET http://api.test/api/v1/executions/e/events ")


async def test_an_answer_that_is_too_long_is_cut():
    endless = httpx.Response(200, stream=Chunks(*[b"x" * 1_000] * 100))
    async with scripted(endless, max_response_bytes=10_000) as client:
        with pytest.raises(errors.ServerError, match="longer than 10,000 bytes"):
            await client.call(GET)
        assert len(client.script.requests) == 1
    for odd in (0, -1):
        with pytest.raises(ValueError, match="max_response_bytes"):
            AsyncCoreClient(KEY, URL, max_response_bytes=odd)
    with pytest.raises(TypeError, match="max_response_bytes"):
        AsyncCoreClient(KEY, URL, max_response_bytes="1")


async def test_a_request_is_one_line_of_the_log_without_the_key(caplog, pauses):
    caplog.set_level(logging.DEBUG, logger="flowmaestro")
    async with scripted(error(503), data("secret body")) as client:
        await client.call(GET)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in lines] == ["DEBUG", "WARNING", "DEBUG"]
    assert lines[0][1].startswith("GET /workflows -> 503 in ")
    assert "attempt 1" in lines[0][1]
    assert "trying again" in lines[1][1]
    assert "request id r" in lines[2][1]
    assert KEY not in caplog.text
    assert "secret body" not in caplog.text


async def test_the_log_is_turned_on_by_the_environment(monkeypatch):
    logger = logging.getLogger("flowmaestro")
    before, level = list(logger.handlers), logger.level
    try:
        monkeypatch.setenv("FLOWMAESTRO_LOG", "debug")
        AsyncCoreClient(KEY, URL)
        AsyncCoreClient(KEY, URL)
        assert logger.level == logging.DEBUG
        assert len(logger.handlers) == len(before) + 1
        monkeypatch.setenv("FLOWMAESTRO_LOG", "loud")
        with pytest.raises(ValueError, match="FLOWMAESTRO_LOG must be"):
            AsyncCoreClient(KEY, URL)
    finally:
        logger.handlers[:] = before
        logger.setLevel(level)


async def test_a_plain_address_of_another_machine_is_warned_of():
    with pytest.warns(UserWarning, match="not encrypted") as caught:
        AsyncCoreClient(KEY, "http://api.example.com")
    assert caught[0].filename == __file__


async def test_the_key_is_in_no_repr():
    client = AsyncCoreClient(KEY, URL)
    assert repr(client) == f"{type(client).__name__}(base_url='{URL}')"
    for thing in (client, client.options, client._transport, client._transport._connections):
        assert KEY not in repr(thing)
    await client.close()


async def test_the_key_is_in_no_frame_of_a_failed_call():
    async with scripted(httpx.ReadError("reset"), max_retries=0) as client:
        with pytest.raises(errors.ConnectionError) as caught:
            await client.call(GET)
    frame = caught.value.__traceback__
    while frame is not None:
        if "flowmaestro_" in frame.tb_frame.f_code.co_filename:
            assert KEY not in repr(frame.tb_frame.f_locals)
        frame = frame.tb_next


async def test_a_view_of_a_client_does_not_close_it():
    async with scripted(data()) as client:
        async with client.with_options(timeout=1):
            pass
        await client.call(GET)
        await client.close()
        with pytest.raises(errors.FlowMaestroError, match="closed"):
            await client.call(GET)


async def test_the_rate_limit_is_that_of_the_last_answer():
    limits = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "5"}
    async with scripted(data(**limits), data()) as client:
        assert client.rate_limit is None
        await client.call(GET)
        await client.call(GET)
        assert client.rate_limit.remaining == 5


@pytest.mark.parametrize("how", ["wrapped", "replaced"])
async def test_what_watches_the_client_sees_each_request(monkeypatch, how):
    seen = []
    real = httpx.AsyncClient.send

    async def send(self, request, **options):
        seen.append(request.url.path)
        request.headers["x-trace"] = "1"
        return await real(self, request, **options)

    if how == "wrapped":
        send = functools.wraps(real)(send)
    monkeypatch.setattr(httpx.AsyncClient, "send", send)
    with LocalServer(dialect="documented").start() as url:
        async with AsyncCoreClient(KEY, url) as client:
            await client.call(GET)
            await client.call(GET)
    assert seen == ["/api/v1/workflows"] * 2


async def test_our_own_connections_name_no_type_where_there_is_no_body():
    server = LocalServer(dialect="documented")
    server.workflow("wf")(lambda inputs, run: run.sleep(600))
    with server.start() as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            started = await client.workflows.execute("wf")
            await client.executions.cancel(started["data"]["execution_id"])
    kinds = [request.headers.get("content-type") for request in server.requests]
    assert kinds == ["application/json", None]
