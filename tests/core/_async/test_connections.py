"""Bytes on connections: leftovers, early responses, codings, hooks, proxies, what httpx adds."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from contextlib import contextmanager, suppress
from urllib.parse import parse_qsl

import httpx
import pytest
import trustme

from flowmaestro_core import AsyncCoreClient, errors
from flowmaestro_core._async import connections as connections_module
from flowmaestro_core._async import senders as senders_module
from flowmaestro_core.http import CONNECTIONS_EACH
from flowmaestro_core.request import Request
from tests.conftest import KEY
from tests.core.mock import Chunks, Script, data, error
from tests.raw import raw_server, response

pytestmark = [
    pytest.mark.anyio,  # async only
    pytest.mark.once,
]

GET = Request.get("/workflows")
POST = Request.post("/workflows/wf/execute", {}, repeatable=False, check="look first")
URL = "http://127.0.0.1:1"


def named(name, *headers, status="200 OK"):
    return response(json.dumps({"data": name}).encode(), *headers, status=status)


@pytest.fixture
def tls(monkeypatch, tmp_path):
    """A server's certificate that the environment trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


class Sealed:
    """A server's end of TLS that makes each byte a record, and sends them all in one piece."""

    def __init__(self, connection, tls):
        self._connection = connection
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._received, self._to_send, server_side=True)
        self._step(self._tls.do_handshake)

    def _step(self, step, *arguments):
        while True:
            try:
                return step(*arguments)
            except ssl.SSLWantReadError:
                pass
            finally:
                self._connection.sendall(self._to_send.read())
            received = self._connection.recv(65536)
            if not received:
                raise ConnectionError("the client is gone")
            self._received.write(received)

    def recv(self, size):
        return self._step(self._tls.read, size)

    def sendall(self, whole):
        for byte in whole:
            self._tls.write(bytes([byte]))
        self._connection.sendall(self._to_send.read())


@contextmanager
def numbered_server(tell, tls=None):
    """A server that keeps connections; `tell` gives the bytes for a connection's nth request."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    connections = []
    stopped = threading.Event()

    def talk(connection, number):
        with connection:
            if tls is not None:
                connection = Sealed(connection, tls)
            for request in range(1_000):
                received = b""
                while b"\r\n\r\n" not in received:
                    more = connection.recv(65536)
                    if not more:
                        return
                    received += more
                head, _, body = received.partition(b"\r\n\r\n")
                missing = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        missing = int(line.split(b":")[1]) - len(body)
                while missing > 0:
                    missing -= len(connection.recv(65536))
                told = tell(number, request)
                connection.sendall(told)
                if stopped.is_set():
                    return

    def guarded(connection, number):
        with suppress(OSError):
            talk(connection, number)

    def serve():
        while True:
            connection, _ = listener.accept()
            if stopped.is_set():
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(60)
            connections.append(connection)
            threading.Thread(
                target=guarded, args=(connection, len(connections)), daemon=True
            ).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{address[1]}", connections
    finally:
        stopped.set()
        socket.create_connection(address, 60).close()
        thread.join(60)
        listener.close()


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'7\r\n{"data"\r\n8\r\n: "own"}\r\n0\r\n\r\n'
)
LEFTOVERS = {
    "a second response": named("own") + named("stale"),
    "a second response after chunks": CHUNKED + named("stale"),
    "half a response": named("own") + named("stale")[:30],
    "garbage": named("own") + b"\r\n\r\n",
    "one byte": named("own") + b"x",
    "a second error": named("own") + named("stale", status="404 Not Found"),
    "a long second response": named("own") + named("stale" * 60_000),
    "a long response and a second one": named("own" + " " * 200_000) + named("stale"),
}


@pytest.mark.parametrize("kind", LEFTOVERS)
@pytest.mark.parametrize("own", [False, True], ids=["ours", "http_client"])
@pytest.mark.parametrize("request_", [GET, POST], ids=["get", "post"])
async def test_bytes_after_a_response_are_never_the_next_one(kind, own, request_):
    def tell(connection, request):
        return LEFTOVERS[kind] if connection == 1 else named("next")

    with numbered_server(tell) as (url, connections):
        async with httpx.AsyncClient() as http_client:
            async with AsyncCoreClient(
                KEY, url, http_client=http_client if own else None
            ) as client:
                assert (await client.call(request_))["data"].strip() == "own"
                for _ in range(3):
                    assert (await client.call(request_))["data"] == "next"
    assert len(connections) == 2


async def test_bytes_after_a_response_over_tls_are_never_the_next_one(tls):
    def tell(connection, request):
        return LEFTOVERS["a second response"] if connection == 1 else named("next")

    with numbered_server(tell, tls) as (url, connections):
        async with AsyncCoreClient(KEY, url) as client:
            assert (await client.call(GET))["data"] == "own"
            assert (await client.call(GET))["data"] == "next"
    assert len(connections) == 2


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_a_body_that_may_not_be_is_never_the_next_response(status):
    def tell(connection, request):
        head = f"HTTP/1.1 {status}\r\n\r\n".encode()
        return head + named("stale") if connection == 1 else named("next")

    with numbered_server(tell) as (url, connections):
        async with AsyncCoreClient(KEY, url, max_retries=0) as client:
            with suppress(errors.FlowMaestroError):
                await client.call(GET)
            assert (await client.call(GET))["data"] == "next"
    assert len(connections) == 2


async def test_bytes_after_an_event_stream_are_never_the_next_response():
    stream = response(b"data: 1\n\n", "Content-Type: text/event-stream") + named("stale")

    def tell(connection, request):
        return stream if connection == 1 else named("next")

    with numbered_server(tell) as (url, connections):
        async with AsyncCoreClient(KEY, url) as client:
            pump = await client.open(GET)
            read = b""
            while True:
                chunk = await pump.read()
                if not chunk:
                    break
                read += chunk
            await pump.aclose()
            assert read == b"data: 1\n\n"
            assert (await client.call(GET))["data"] == "next"
    assert len(connections) == 2


async def test_bytes_after_a_response_that_a_hook_has_read_are_never_the_next_one():
    async def read(response):
        await response.aread()

    def tell(connection, request):
        return LEFTOVERS["a second response"] if connection == 1 else named("next")

    with numbered_server(tell) as (url, _):
        async with httpx.AsyncClient(event_hooks={"response": [read]}) as http_client:
            client = AsyncCoreClient(KEY, url, http_client=http_client)
            assert (await client.call(GET))["data"] == "own"
            assert (await client.call(GET))["data"] == "next"


async def test_a_connection_without_leftovers_is_used_again():
    with numbered_server(lambda connection, request: named(request)) as (url, connections):
        async with AsyncCoreClient(KEY, url) as client:
            for number in range(5):
                assert (await client.call(GET))["data"] == number
    assert len(connections) == 1


async def test_a_call_that_gets_no_turn_in_time_was_not_sent():
    with raw_server(lambda connection: None) as url:
        limits = httpx.Timeout(30.0, pool=0.2)
        async with AsyncCoreClient(KEY, url, timeout=limits, max_retries=0) as client:
            connections = client._transport._connections
            limiter = connections._senders.get(connections._open_senders).limiter
            turns = [await limiter.enter(60.0) for _ in range(100)]
            with pytest.raises(errors.TimeoutError, match="has 100 calls under way") as caught:
                await client.call(POST)
            for turn in turns:
                limiter.leave(turn)
    assert caught.value.code == "client_busy"
    assert not caught.value.outcome_unknown


async def call_once(client):
    await client.call(GET)


async def open_once(client):
    pump = await client.open(GET)
    await pump.aclose()


@pytest.mark.parametrize("use", [call_once, open_once])
async def test_what_a_burst_has_left_idle_is_closed_by_what_comes_later(use, monkeypatch):
    ahead = 0.0
    for module in (connections_module, senders_module):
        monkeypatch.setattr(module, "monotonic", lambda: time.monotonic() + ahead)

    def tell(connection, request):
        events = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n"
        return events if ahead and use is open_once else named(request)

    with numbered_server(tell) as (url, _):
        async with AsyncCoreClient(KEY, url) as client:
            connections = client._transport._connections
            senders = connections._senders.get(connections._open_senders)
            taken = [senders.take_for_call() for _ in range(25)]
            for place in taken:
                senders.give_back(place)
            assert len(senders._pools) == 3
            for _ in range(10):
                ahead += 10
                await use(client)
            assert len(senders._pools) == 1


# -- early responses

BIG = Request.post("/workflows/wf/execute", {"x": "y" * 3_000_000}, repeatable=False)
EARLY = {
    "413 Payload Too Large": 413,
    "400 Bad Request": 400,
    "401 Unauthorized": 401,
    "431 Request Header Fields Too Large": 431,
    "501 Not Implemented": 501,
}


@contextmanager
def refusing_server(answer, then, tls=None):
    """A server that reads a little of a request and answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    stopped = threading.Event()
    held = []

    def talk(connection):
        try:
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
                held.append(connection)
            connection.recv(20_000)
            for part in answer:
                connection.sendall(part)
            then(connection)
        except OSError:
            connection.close()

    def serve():
        while True:
            connection, _ = listener.accept()
            if stopped.is_set():
                connection.close()
                return
            connection.settimeout(60)
            held.append(connection)
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{address[1]}"
    finally:
        stopped.set()
        socket.create_connection(address, 60).close()
        thread.join(60)
        listener.close()
        for connection in held:
            connection.close()


def close(connection):
    connection.close()


def keep(connection):
    """Read nothing more, and leave the connection open."""


def say_no_more(connection):
    """End this side of the connection, and read what comes."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass


@pytest.mark.parametrize("status", EARLY)
@pytest.mark.parametrize("then", [close, keep])
async def test_a_response_that_comes_before_the_whole_body_was_sent_is_read(status, then):
    with refusing_server([named("x", "Connection: close", status=status)], then) as url:
        async with AsyncCoreClient(KEY, url, max_retries=0, timeout=50) as client:
            for _ in range(8):
                with pytest.raises(errors.FlowMaestroError) as caught:
                    await client.call(BIG)
                assert caught.value.status_code == EARLY[status]
                assert caught.value.outcome_unknown is (EARLY[status] == 501)


# More than the buffers of both sides hold.
HUGE = Request.post("/workflows/wf/execute", {"x": "y" * 30_000_000}, repeatable=False)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
async def test_an_early_response_to_a_request_that_is_not_taken_is_read(is_tls, tls):
    early = named("x", status="413 Payload Too Large")
    with refusing_server([early], keep, tls if is_tls else None) as url:
        async with AsyncCoreClient(KEY, url, max_retries=0, timeout=50) as client:
            # Nobody reads the rest of the first one: the second one needs its own connection.
            for _ in range(2):
                with pytest.raises(errors.RequestTooLargeError):
                    await client.call(HUGE)


async def test_a_large_request_that_the_server_does_not_take_is_a_timeout():
    with refusing_server([], keep) as url:
        async with AsyncCoreClient(KEY, url, max_retries=0, timeout=0.5) as client:
            with pytest.raises(errors.TimeoutError) as caught:
                await client.call(HUGE)
    assert caught.value.code == "read_timeout"
    assert caught.value.outcome_unknown


async def test_an_early_response_in_pieces_is_read():
    whole = named("x" * 100_000, "Connection: close", status="413 Payload Too Large")
    parts = [b"HTTP/1.1 100 Continue\r\n\r\n", whole[:3], whole[3:40], whole[40:]]
    with refusing_server(parts, keep) as url:
        async with AsyncCoreClient(KEY, url, max_retries=0, timeout=50) as client:
            with pytest.raises(errors.FlowMaestroError) as caught:
                await client.call(BIG)
            assert caught.value.status_code == 413


@pytest.mark.parametrize("then", [close, say_no_more])
async def test_a_server_that_closes_without_a_response_leaves_a_post_open(then):
    with refusing_server([], then) as url:
        async with AsyncCoreClient(KEY, url, max_retries=0, timeout=50) as client:
            for _ in range(3):
                with pytest.raises(errors.ConnectionError) as caught:
                    await client.call(BIG)
                assert caught.value.outcome_unknown is True


async def test_a_large_body_arrives_whole_beside_an_interim_response():
    with numbered_server(lambda connection, request: named(request)) as (url, connections):
        async with AsyncCoreClient(KEY, url) as client:
            for number in range(3):
                assert (await client.call(BIG))["data"] == number
    assert len(connections) == 1


async def test_a_server_that_takes_nothing_is_a_timeout():
    with refusing_server([], keep) as url:
        client = AsyncCoreClient(KEY, url, max_retries=0, timeout=0.5)
        with pytest.raises(errors.TimeoutError) as caught:
            await client.call(HUGE)
        assert caught.value.outcome_unknown is True
        await client.close()


# -- what httpx's client adds


@contextmanager
def seen_server(body=None):
    """A server that keeps the heads of requests."""
    heads = []

    def tell(connection, request):
        return body or named("ok", "Set-Cookie: seen=1; Path=/", "Connection: close")

    with raw_server(lambda c: c.sendall(tell(1, 1)), heads) as url:
        yield url, heads


async def test_what_the_users_client_adds_is_merged_with_ours():
    with seen_server() as (url, heads):
        async with httpx.AsyncClient(
            params={"gateway": "1", "page": "9"},
            headers={"X-Team": "data", "User-Agent": "mine/1"},
            cookies={"session": "s"},
            base_url="http://127.0.0.1:1/elsewhere",
        ) as http_client:
            client = AsyncCoreClient(KEY, url, http_client=http_client)
            query = "status=running&page=2&q=a%20b%26c"
            assert (await client.call(Request.get("/executions?" + query)))["data"] == "ok"
            await client.call(GET)
    target, rest = heads[0].decode().split(" HTTP/1.1\r\n", 1)
    path, _, asked = target.removeprefix("GET ").partition("?")
    assert path == "/api/v1/executions"
    assert sorted(parse_qsl(asked)) == [
        ("gateway", "1"),
        ("page", "2"),
        ("q", "a b&c"),
        ("status", "running"),
    ]
    lines = {line.lower() for line in rest.split("\r\n")}
    assert {"x-team: data", "user-agent: mine/1", "cookie: session=s"} <= lines
    assert f"authorization: bearer {KEY}".lower() in lines
    assert b"GET /api/v1/workflows?gateway=1&page=9 " in heads[1]
    assert b"seen=1" in heads[1]


@pytest.mark.parametrize(
    "added",
    [{"auth": ("gateway", "secret")}, {"headers": {"Authorization": "Basic Zzpz"}}],
    ids=["auth", "header"],
)
async def test_a_gateways_own_authorization_stays_beside_the_key(added):
    with seen_server() as (url, heads):
        async with httpx.AsyncClient(**added) as http_client:
            await AsyncCoreClient(KEY, url, http_client=http_client).call(GET)
    head = heads[0].lower()
    assert b"\r\nauthorization: basic " in head
    assert b"\r\nx-api-key: " + KEY.encode().lower() in head
    assert head.count(b"authorization:") == 1


async def test_a_client_without_a_user_agent_of_its_own_sends_ours():
    with seen_server() as (url, heads):
        async with httpx.AsyncClient() as http_client:
            await AsyncCoreClient(KEY, url, http_client=http_client).call(GET)
    assert b"\r\nuser-agent: flowmaestro-python/" in heads[0].lower()


async def test_the_address_of_the_users_client_is_used_where_none_is_given(monkeypatch):
    async with httpx.AsyncClient(base_url="http://127.0.0.1:5/gateway/") as http_client:
        client = AsyncCoreClient(KEY, http_client=http_client)
        assert client.base_url == "http://127.0.0.1:5/gateway"
        assert AsyncCoreClient(KEY, URL, http_client=http_client).base_url == URL
        monkeypatch.setenv("FLOWMAESTRO_BASE_URL", "http://127.0.0.1:6")
        assert AsyncCoreClient(KEY, http_client=http_client).base_url == "http://127.0.0.1:6"
    monkeypatch.delenv("FLOWMAESTRO_BASE_URL")
    async with httpx.AsyncClient() as http_client:
        client = AsyncCoreClient(KEY, http_client=http_client)
        assert client.base_url == "https://api.flowmaestro.io"


# -- hooks that raise


async def raise_for_status(response):
    response.raise_for_status()


async def test_a_hook_that_raises_for_the_status_changes_no_error():
    hooks = {"response": [raise_for_status]}
    script = Script(error(404, "gone", x_request_id="r7"))
    async with httpx.AsyncClient(transport=script, event_hooks=hooks) as http_client:
        client = AsyncCoreClient(KEY, URL, http_client=http_client)
        for request in (GET, POST):
            with pytest.raises(errors.NotFoundError) as caught:
                await client.call(request)
            assert (caught.value.code, caught.value.message) == ("gone", "m")
            assert caught.value.outcome_unknown is False
        with pytest.raises(errors.NotFoundError):
            await client.open(GET)
        assert len(script.requests) == 3
        assert http_client.event_hooks == {"request": [], "response": [raise_for_status]}


async def test_a_status_that_a_hook_raises_for_is_tried_again():
    hooks = {"response": [raise_for_status]}
    script = Script(error(503, retry_after="0"), error(503, retry_after="0"), data("ok"))
    async with httpx.AsyncClient(transport=script, event_hooks=hooks) as http_client:
        client = AsyncCoreClient(KEY, URL, http_client=http_client)
        assert (await client.call(POST))["data"] == "ok"


async def test_a_hook_can_read_what_was_read_before_it():
    seen = []

    async def look(response):
        await response.aread()
        seen.append((response.json(), response.is_error))
        response.raise_for_status()

    script = Script(error(400), data("ok"))
    async with httpx.AsyncClient(transport=script, event_hooks={"response": [look]}) as http_client:
        client = AsyncCoreClient(KEY, URL, http_client=http_client)
        with pytest.raises(errors.ValidationError, match="m"):
            await client.call(GET)
        assert (await client.call(GET))["data"] == "ok"
    assert [is_error for _, is_error in seen] == [True, False]
    assert seen[0][0]["error"]["message"] == "m"


async def test_another_exception_of_a_hook_is_the_callers():
    async def refuse(_):
        raise ZeroDivisionError("mine")

    for hooks in ({"response": [refuse]}, {"request": [refuse]}):
        async with httpx.AsyncClient(transport=Script(data()), event_hooks=hooks) as http_client:
            client = AsyncCoreClient(KEY, URL, http_client=http_client)
            for _ in range(3):
                with pytest.raises(ZeroDivisionError):
                    await client.call(GET)
                with pytest.raises(ZeroDivisionError):
                    await client.open(GET)


async def test_an_error_beyond_the_limit_stays_an_error_of_its_status_for_a_hook():
    hooks = {"response": [raise_for_status]}
    script = Script(httpx.Response(404, content=b"x" * 5_000))
    async with httpx.AsyncClient(transport=script, event_hooks=hooks) as http_client:
        client = AsyncCoreClient(KEY, URL, http_client=http_client, max_response_bytes=1_000)
        with pytest.raises(errors.NotFoundError):
            await client.call(GET)


class Interruption(BaseException):
    """As a signal's handler raises it."""


async def test_an_interruption_of_the_users_client_is_raised_as_it_is():
    def interrupt(request):
        raise Interruption

    async with httpx.AsyncClient(transport=Script(interrupt)) as http_client:
        client = AsyncCoreClient(KEY, URL, http_client=http_client)
        for use in (call_once, open_once):
            with pytest.raises(Interruption):
                await use(client)


# -- proxies


def closing(connection):
    """Close where a response is due."""


def silent(connection):
    connection.recv(1)


@pytest.mark.parametrize("own", [False, True], ids=["ours", "http_client"])
async def test_a_proxy_that_opens_no_tunnel_has_sent_nothing(own, monkeypatch):
    heads = []
    with raw_server(closing, heads) as proxy:
        if own:
            http_client = httpx.AsyncClient(proxy=proxy)
        else:
            http_client = None
            monkeypatch.setenv("HTTPS_PROXY", proxy)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
        client = AsyncCoreClient(
            KEY, "https://api.example.test", http_client=http_client, max_retries=1
        )
        with pytest.raises(errors.ConnectionError, match="cannot connect") as caught:
            await client.call(POST)
        assert caught.value.outcome_unknown is False
        with pytest.raises(errors.ConnectionError) as caught:
            await client.open(POST)
        assert caught.value.outcome_unknown is False
        await client.close()
        if http_client is not None:
            await http_client.aclose()
    # A POST that was not sent is tried again.
    assert [head.split()[0] for head in heads] == [b"CONNECT"] * 4


async def test_a_proxy_that_is_silent_has_sent_nothing():
    with raw_server(silent) as proxy:
        async with httpx.AsyncClient(proxy=proxy) as http_client:
            client = AsyncCoreClient(
                KEY,
                "https://api.example.test",
                http_client=http_client,
                max_retries=0,
                timeout=0.3,
            )
            with pytest.raises(errors.TimeoutError, match="proxy") as caught:
                await client.call(POST)
            assert caught.value.outcome_unknown is False


async def test_a_request_that_was_sent_through_the_users_client_stays_open():
    with raw_server(closing) as url:
        async with httpx.AsyncClient() as http_client:
            client = AsyncCoreClient(KEY, url, http_client=http_client)
            with pytest.raises(errors.ConnectionError) as caught:
                await client.call(POST)
            assert caught.value.outcome_unknown is True


async def test_a_trace_of_the_users_goes_on():
    names = []

    async def trace(name, info):
        names.append(name)

    class Traced(httpx.AsyncClient):
        def build_request(self, *args, **options):
            message = super().build_request(*args, **options)
            message.extensions["trace"] = trace
            return message

    with seen_server() as (url, _):
        async with Traced() as http_client:
            assert (await AsyncCoreClient(KEY, url, http_client=http_client).call(GET))["data"]
    assert "http11.send_request_headers.started" in names
    assert "http11.response_closed.complete" in names


# -- codings

BODY = json.dumps({"data": "x" * 100_000}).encode()


def raw_deflate(body):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


CODED = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "gzip in members": ("gzip", gzip.compress(BODY[:7]) + gzip.compress(BODY[7:])),
    "gzip with an empty member": ("gzip", gzip.compress(b"") + gzip.compress(BODY)),
    "gzip with zeros after it": ("GZIP", gzip.compress(BODY) + b"\0" * 100),
    "x-gzip": ("x-gzip", gzip.compress(BODY)),
    "deflate": ("deflate", zlib.compress(BODY)),
    "deflate without a header": ("deflate", raw_deflate(BODY)),
    "both": ("deflate, gzip", gzip.compress(zlib.compress(BODY))),
    "none": ("identity", BODY),
    "no name": ("", BODY),
}


@pytest.mark.parametrize("kind", CODED)
@pytest.mark.parametrize("step", [1_000_000, 1], ids=["at once", "byte by byte"])
async def test_codings_are_read(kind, step):
    coding, packed = CODED[kind]
    if len(packed) > 5_000:
        step = 1_000_000
    chunks = [packed[at : at + step] for at in range(0, len(packed), step)]

    def answer(_):
        headers = {"Content-Encoding": coding}
        return httpx.Response(200, headers=headers, stream=Chunks(*chunks))

    async with httpx.AsyncClient(transport=Script(answer)) as http_client:
        client = AsyncCoreClient(KEY, URL, http_client=http_client)
        assert (await client.call(GET))["data"] == "x" * 100_000


BROKEN = {
    "not gzip": ("gzip", b"hello"),
    "corrupt": ("gzip", gzip.compress(BODY)[:40] + b"\xff" * 40 + gzip.compress(BODY)[80:]),
    "cut": ("gzip", gzip.compress(BODY)[:-9]),
    "cut deflate": ("deflate", zlib.compress(BODY)[:-9]),
    "one byte": ("deflate", b"x"),
    "a corrupt second member": ("gzip", gzip.compress(BODY) + b"\x1f\x8b\x08junkjunkjunk"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_packed_response_that_is_broken_is_asked_for_again(kind, monkeypatch):
    coding, packed = BROKEN[kind]
    heads = []
    with raw_server(
        lambda c: c.sendall(response(packed, f"Content-Encoding: {coding}", "Connection: close")),
        heads,
    ) as url:
        async with AsyncCoreClient(KEY, url, max_retries=1) as client:
            with pytest.raises(errors.ServerError, match="cannot be unpacked") as caught:
                await client.with_options(deadline=60).call(GET)
            assert (caught.value.code, len(heads)) == ("invalid_response", 2)
            assert caught.value.outcome_unknown is False
            with pytest.raises(errors.ServerError) as caught:
                await client.call(POST)
            assert caught.value.outcome_unknown is True
            assert len(heads) == 3


async def test_a_coding_that_nobody_can_read_is_named():
    for coding in ("zz", "gzip, zz"):
        heads = []
        with raw_server(
            lambda c: c.sendall(response(b"abc", f"Content-Encoding: {coding}")),  # noqa: B023
            heads,
        ) as url:
            async with AsyncCoreClient(KEY, url) as client:
                with pytest.raises(errors.ServerError, match="coding 'zz'") as caught:
                    await client.call(GET)
                assert caught.value.code == "invalid_response"
        assert len(heads) == 1


@pytest.mark.parametrize("coding", ["gzip", "zz"])
async def test_a_refusal_that_cannot_be_unpacked_is_told_by_its_status(coding):
    gone = response(b"abc", f"Content-Encoding: {coding}", status="404 Not Found")
    with raw_server(lambda c: c.sendall(gone)) as url:
        async with AsyncCoreClient(KEY, url) as client:
            with pytest.raises(errors.NotFoundError, match="the answer is empty"):
                await client.call(GET)


async def test_a_small_body_that_unpacks_to_a_huge_one_is_cut():
    packed = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    with raw_server(lambda c: c.sendall(response(packed, "Content-Encoding: gzip, gzip"))) as url:
        async with AsyncCoreClient(KEY, url, max_response_bytes=1_000_000) as client:
            tracemalloc.start()
            try:
                with pytest.raises(errors.ServerError) as caught:
                    await client.call(GET)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert caught.value.code == "response_too_large"
    assert peak < 20_000_000


# -- streams


async def test_a_stream_is_asked_for_unpacked_and_may_be_silent_for_long():
    heads = []
    going = threading.Event()

    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        going.wait(60)
        connection.sendall(b"data: 1\n\n")

    with raw_server(answer, heads) as url:
        async with AsyncCoreClient(KEY, url, timeout=0.3, max_retries=0) as client:
            pump = await client.open(GET)
            threading.Timer(1.0, going.set).start()
            assert await pump.read() == b"data: 1\n\n"
            await pump.aclose()
    assert b"\r\naccept-encoding: identity\r\n" in heads[0].lower()
    assert b"\r\nlast-event-id:" not in heads[0].lower()
    assert f"\r\nauthorization: bearer {KEY}\r\n".encode() in heads[0].lower()


async def test_a_stream_with_a_limit_of_its_own_keeps_it():
    with raw_server(
        lambda c: (
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
            c.recv(1),
        )
    ) as url:
        async with AsyncCoreClient(KEY, url) as client:
            pump = await client.open(Request("GET", "/events", read_timeout=0.3))
            lost = await pump.read()
            await pump.aclose()
    assert lost.error.code == "read_timeout"


async def test_streams_that_do_not_open_leave_their_places():
    gone = named("x", "Connection: close", status="404 Not Found")
    with raw_server(lambda c: c.sendall(gone)) as url:
        async with AsyncCoreClient(KEY, url, max_retries=0) as client:
            connections = client._transport._connections
            for _ in range(30):
                with pytest.raises(errors.NotFoundError):
                    await client.open(GET)
            senders = connections._senders.get(connections._open_senders)
            assert [len(pool.taken) for pool in senders._pools] == [0]
            # All of them went through one transport.
            assert len(senders._for_streams) == CONNECTIONS_EACH
    client = AsyncCoreClient(KEY, URL, max_retries=0)
    connections = client._transport._connections
    for _ in range(30):
        with pytest.raises(errors.ConnectionError):
            await client.open(GET)
    senders = connections._senders.get(connections._open_senders)
    assert [len(pool.taken) for pool in senders._pools] == [0]
    assert len(senders._for_streams) == CONNECTIONS_EACH
    await client.close()
