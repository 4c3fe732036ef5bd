"""Recording a real API, and replaying it without it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient, NotFoundError, ServerError
from flowmaestro_local import LocalServer
from flowmaestro_local.cassette import Exchange, Matcher, masked
from tests.raw import raw_server
from tests.receiver import until

pytestmark = pytest.mark.once

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "fm_live_very-secret_1"


def answering(*responses: bytes) -> Any:
    """Answer each connection with the next bytes."""
    left = list(responses)
    return lambda connection: connection.sendall(left.pop(0))


def exchanges_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def quickstart(url: str) -> str:
    program = [str(EXAMPLES / "quickstart.py"), "wf_greeting", "agent_storyteller"]
    done = subprocess.run(
        [sys.executable, "-W", "error", *program],
        env={**os.environ, "FLOWMAESTRO_API_KEY": KEY, "FLOWMAESTRO_BASE_URL": url},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("dialect", ["wire", "documented"])
def test_a_recording_of_the_quickstart_replays_without_its_server(dialect, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("FLOWMAESTRO_LOCAL_DIALECT", dialect)
    from _local import build_server

    cassette = tmp_path / "quickstart.jsonl"
    server = build_server()
    with server.start() as real, LocalServer.record(cassette, to=real).start() as url:
        printed = quickstart(url)
        count = len(server.requests)
    assert "Hello Ada" in printed
    assert "Once upon a time" in printed
    assert "very-secret" not in cassette.read_text()
    assert len(exchanges_of(cassette)) == count

    replay = LocalServer.replay(cassette)
    with replay.start() as url:
        assert quickstart(url) == printed
        assert replay.unused == []
        assert replay.requests[0].path.endswith("/execute")


def test_keys_and_secrets_pass_through_and_are_masked(tmp_path):
    cassette = tmp_path / "c.jsonl"
    server = LocalServer()
    server.add_key(KEY)
    server.workflow("wf")(lambda inputs: inputs)
    recorder = LocalServer.record(cassette, to=server.start().url)
    with recorder.start() as url, FlowMaestroClient(KEY, url) as client:
        events = ["execution.completed"]
        headers = {"Authorization": "Basic dXNlcg=="}
        created = client.webhooks.create(
            name="n", url="http://127.0.0.1:9/", events=events, headers=headers
        )
        inputs = {"password": "hunter2", "note": f"my key is {KEY}", "db_secret": 'a "b" \\'}
        client.workflows.execute("wf", inputs)
    server.stop()
    assert created["data"]["secret"].startswith("whsec_")
    assert server.executions[0].inputs == inputs
    text = cassette.read_text()
    for secret in (KEY, "very-secret", "dXNlcg", "hunter2", 'a \\"b', created["data"]["secret"]):
        assert secret not in text
    webhook, executed = exchanges_of(cassette)
    assert webhook["response"]["json"]["data"]["secret"] == "masked"
    assert webhook["body"]["json"]["headers"] == {"Authorization": "masked"}
    assert executed["body"]["json"]["inputs"] == {
        "password": "masked",
        "note": "my key is fm_live_masked",
        "db_secret": "masked",
    }
    # A replay takes any key, and the same inputs.
    replay = LocalServer.replay(cassette)
    with replay.start() as url, FlowMaestroClient("fm_live_other", url) as client:
        assert client.workflows.execute("wf", inputs)["data"]["status"] == "pending"


def test_a_body_that_comes_in_many_parts_passes_whole(tmp_path):
    cassette = tmp_path / "c.jsonl"
    server = LocalServer()
    server.workflow("wf")(lambda: None)
    inputs = {"x": "x" * 900_000}
    with server.start() as real, LocalServer.record(cassette, to=real).start() as url:
        with FlowMaestroClient(KEY, url) as client:
            assert client.workflows.execute("wf", inputs)["data"]["inputs"] == inputs
    assert server.executions[0].inputs == inputs
    assert server.requests[0].json == {"inputs": inputs}
    replay = LocalServer.replay(cassette)
    with replay.start() as url, FlowMaestroClient(KEY, url) as client:
        assert client.workflows.execute("wf", inputs)["data"]["inputs"] == inputs
    assert replay.requests[0].json == {"inputs": inputs}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fm_live_abc-D_1.", "fm_live_masked."),
        ("nfm_live_x", "nfm_live_masked"),
        ("whsec_0af3", "whsec_masked"),
        ('{"secret":"x"}', '{"secret": "masked"}'),
        ('{"client_secret" : "a\\"b", "x": 1}', '{"client_secret": "masked", "x": 1}'),
        ('{"password": 5, "secrets": ["x"]}', '{"password": "masked", "secrets": "masked"}'),
        ('{"db.password": "x"}', '{"db.password": "masked"}'),
        (
            '{"privateKey": "x", "passphrase": "y"}',
            '{"privateKey": "masked", "passphrase": "masked"}',
        ),
        ('[{"Set-Cookie": "x"}]', '[{"Set-Cookie": "masked"}]'),
        ('{"env": "a\\nfm_live_x\\twhsec_y"}', '{"env": "a\\nfm_live_masked\\twhsec_masked"}'),
        # JSON in JSON, as the arguments of tools are.
        ('{"a": "{\\"secret\\": 1}"}', '{"a": "{\\"secret\\": \\"masked\\"}"}'),
        # What has nothing to mask is as it was.
        ('{"a":1 , "b":[]}', '{"a":1 , "b":[]}'),
        ("{fm_live_x", "{fm_live_masked"),
        ('{"X-API-Key": "x", "apiKey": "y"}', '{"X-API-Key": "masked", "apiKey": "masked"}'),
        (
            '{"access_token": "x", "accessToken": 1}',
            '{"access_token": "masked", "accessToken": "masked"}',
        ),
        # An agent's token is what it says.
        ('{"token": "Once "}', '{"token": "Once "}'),
        ('{"secretary": "Ada", "secret": null}', '{"secretary": "Ada", "secret": null}'),
    ],
)
def test_what_is_masked(text, shown):
    assert masked(text) == shown


def test_errors_and_odd_bodies_replay_as_they_were(tmp_path):
    cassette = tmp_path / "c.jsonl"
    bodies = [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\nx-own: 1\r\n"
        b"content-length: 4\r\n\r\n\xff\x00\xfe\x01",
        b"HTTP/1.1 418 Teapot\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5\r\n<b>x<\r\n3\r\n/b>\r\n0\r\n\r\n",
    ]
    with (
        raw_server(answering(*bodies)) as real,
        LocalServer.record(cassette, to=real).start() as url,
    ):
        recorded = [httpx.get(f"{url}/{number}?b=2&a=1", timeout=60) for number in range(3)]
    with LocalServer.replay(cassette).start() as url:
        # The order of a query says nothing.
        replayed = [httpx.get(f"{url}/{number}?a=1&b=2", timeout=60) for number in range(3)]
    assert [one.status_code for one in recorded] == [200, 418, 502]
    for was, now in zip(recorded, replayed):
        assert (now.status_code, now.content) == (was.status_code, was.content)
    assert replayed[0].content == b"\xff\x00\xfe\x01"
    assert replayed[0].headers["x-own"] == "1"
    assert recorded[1].headers["set-cookie"] == "a=b"
    assert replayed[1].headers["set-cookie"] == "masked"
    assert replayed[2].text == "<b>x</b>"


def test_a_request_that_was_not_recorded_says_what_was(tmp_path):
    cassette = tmp_path / "c.jsonl"
    server = LocalServer()
    server.workflow("wf")(lambda inputs: inputs)
    with server.start() as real, LocalServer.record(cassette, to=real).start() as url:
        with FlowMaestroClient(KEY, url) as client:
            client.workflows.execute("wf", {"a": 1})
            client.workflows.list(page=2)
    replay = LocalServer.replay(cassette)
    with replay.start() as url, FlowMaestroClient(KEY, url) as client:

        def message_of(call: Any) -> str:
            with pytest.raises(ServerError) as caught:
                call()
            assert (caught.value.code, caught.value.status_code) == ("not_recorded", 501)
            message: str = caught.value.message
            return message

        assert (
            "the cassette has POST /api/v1/workflows/wf/execute with the body "
            '{"inputs": {"a": 1}}, not with the body {"inputs": {"a": 2}}'
        ) in message_of(lambda: client.workflows.execute("wf", {"a": 2}))
        started = client.workflows.execute("wf", {"a": 1})
        assert "has POST /api/v1/workflows/wf/execute 1 times, and all of them are used" in (
            message_of(lambda: client.workflows.execute("wf", {"a": 1}))
        )
        assert "the cassette has no GET /api/v1/agents" in message_of(client.agents.list)
        assert "with the query page=2, not with no query and no body" in (
            message_of(client.workflows.list)
        )
    # Each start begins with the first response again.
    with replay.start() as url, FlowMaestroClient(KEY, url) as client:
        assert client.workflows.execute("wf", {"a": 1}) == started


def test_polls_beyond_those_recorded_get_the_last_response():
    def exchange(number: int, method: str, status: int) -> Exchange:
        return Exchange(number, method, "/x", "", None, status, [], {"text": ""})

    matcher = Matcher(
        [exchange(1, "GET", 201), exchange(2, "GET", 202), exchange(3, "DELETE", 203)]
    )
    assert [one.number for one in matcher.unused] == [1, 2, 3]
    statuses = [matcher.match("GET", "/x", "", b"") for _ in range(4)]
    assert [one.status if one else None for one in statuses] == [201, 202, 202, 202]
    assert [one.number for one in matcher.unused] == [3]
    assert matcher.match("DELETE", "/x", "", b"") is not None
    assert matcher.match("DELETE", "/x", "", b"") is None
    assert matcher.unused == []


def test_events_pass_as_they_come_and_replay(tmp_path):
    cassette = tmp_path / "c.jsonl"
    server = LocalServer(dialect="documented")
    go_on = threading.Event()

    @server.workflow("wf")
    def handler(inputs, run):
        while not go_on.is_set():
            run.sleep(0.01)
        for number in range(50):
            run.emit("custom", number=number, text="é 😀 \u2028")
        return {"done": True}

    def follow(url: str) -> list[Any]:
        events = []
        with FlowMaestroClient(KEY, url) as client:
            started = client.workflows.execute("wf")["data"]["execution_id"]
            for event in client.executions.stream(started):
                # It runs on once the first event has come through.
                go_on.set()
                events.append(event)
        return events

    with server.start() as real, LocalServer.record(cassette, to=real).start() as url:
        recorded = follow(url)
    assert [one["number"] for one in recorded if one["type"] == "custom"] == list(range(50))
    with LocalServer.replay(cassette).start() as url:
        assert follow(url) == recorded


def test_a_stream_that_was_left_stays_open_until_it_is_left_again(tmp_path):
    cassette = tmp_path / "c.jsonl"
    server = LocalServer(keepalive=0.05)
    hold = threading.Event()
    server.workflow("wf")(lambda: hold.wait(100))
    headers = {"x-api-key": KEY}
    with server.start() as real, LocalServer.record(cassette, to=real).start() as url:
        path = "/api/v1/workflows/wf/execute"
        started = httpx.post(url + path, headers=headers, timeout=60).json()["data"]["execution_id"]
        events = f"/api/v1/executions/{started}/events"
        with httpx.stream("GET", url + events, headers=headers, timeout=60) as response:
            texts = response.iter_text()
            while "keepalive" not in next(texts):
                pass
        # Leaving reaches the API, too, and the cassette.
        until(lambda: len(exchanges_of(cassette)) == 2)
        hold.set()
    exchange = exchanges_of(cassette)[1]
    assert (exchange["end"], exchange["response"]) == ("left", None)
    assert exchange["events"][0].startswith("event: connected\n")

    running = LocalServer.replay(cassette).start()
    with httpx.stream("GET", running.url + events, headers=headers, timeout=60) as response:
        got: list[str] = []

        def read() -> None:
            # The replay stops in the end, which may cut the stream.
            with contextlib.suppress(httpx.TransportError):
                got.extend(response.iter_text())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        until(lambda: "".join(got).startswith("event: connected"))
        assert reader.is_alive()
        running.stop()
        reader.join(60)
        assert not reader.is_alive()


@pytest.mark.parametrize("who", ["the program", "the recorder"])
def test_leaving_a_stream_leaves_it_at_the_api_too(tmp_path, who):
    left = threading.Event()

    def stay(connection: socket.socket) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        connection.sendall(head + b": hello\n\nid: 1\n")
        assert connection.recv(1) == b""
        left.set()

    cassette = tmp_path / "c.jsonl"
    with raw_server(stay) as real:
        running = LocalServer.record(cassette, to=real).start()
        with httpx.stream("GET", running.url, timeout=60) as response:
            text, texts = "", response.iter_text()
            while not text.endswith("id: 1\n"):
                text += next(texts)
            assert not left.is_set()
            if who == "the recorder":
                running.stop()
        assert left.wait(60)
        until(lambda: exchanges_of(cassette))
        running.stop()
    (exchange,) = exchanges_of(cassette)
    # Half an event is none.
    assert (exchange["end"], exchange["events"]) == ("left", [": hello\n\n"])


@pytest.mark.parametrize("who", ["the program", "the recorder"])
def test_leaving_before_a_response_leaves_it_at_the_api_too(tmp_path, who):
    asked, left = threading.Event(), threading.Event()

    def stay(connection: socket.socket) -> None:
        asked.set()
        assert connection.recv(1) == b""
        left.set()

    with raw_server(stay) as real:
        running = LocalServer.record(tmp_path / "c.jsonl", to=real).start()
        parts = urlsplit(running.url)
        with socket.create_connection((parts.hostname, parts.port), 60) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert asked.wait(60)
            if who == "the recorder":
                running.stop()
        assert left.wait(60)
        running.stop()
    assert exchanges_of(tmp_path / "c.jsonl") == []


def test_an_api_may_be_silent_for_longer_than_it_takes_to_connect(tmp_path, monkeypatch):
    monkeypatch.setattr("flowmaestro_local.recording._CONNECT_TIMEOUT", 0.5)

    def late(connection: socket.socket) -> None:
        time.sleep(0.7)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nla")
        time.sleep(0.7)
        connection.sendall(b"te")

    with raw_server(late) as real, LocalServer.record(tmp_path / "c", to=real).start() as url:
        assert httpx.get(url, timeout=60).text == "late"
    (exchange,) = exchanges_of(tmp_path / "c")
    assert exchange["seconds"] >= 1.4


def test_keepalives_come_in_a_replay_too(tmp_path, monkeypatch):
    monkeypatch.setattr("flowmaestro_local.replaying._KEEPALIVE", 0.05)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hello\n\n"

    def stay(connection: socket.socket) -> None:
        connection.sendall(head)
        connection.recv(1)

    cassette = tmp_path / "c.jsonl"
    with raw_server(stay) as real, LocalServer.record(cassette, to=real).start() as url:
        with httpx.stream("GET", url, timeout=60) as response:
            texts = response.iter_text()
            assert next(texts) == ": hello\n\n"
        until(lambda: len(exchanges_of(cassette)) == 1)
    with LocalServer.replay(cassette).start() as url:
        with httpx.stream("GET", url, timeout=60) as response:
            texts, text = response.iter_text(), ""
            while text.count(": keepalive\n\n") < 2:
                text += next(texts)
            assert text.startswith(": hello\n\n: keepalive")


def test_an_api_that_cannot_be_reached(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    cassette = tmp_path / "c.jsonl"
    with LocalServer.record(cassette, to=address).start() as url:
        response = httpx.get(f"{url}/api/v1/workflows", timeout=60)
    assert response.status_code == 502
    content = response.json()
    assert content.pop("message").startswith(f"the recorder has no response from {address}: ")
    assert content == {"statusCode": 502, "error": "Bad Gateway", "code": "RECORDER_NO_RESPONSE"}
    assert exchanges_of(cassette) == []


def test_an_api_with_tls_is_reached_if_its_certificate_is_trusted(tmp_path, monkeypatch):
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    with raw_server(answering(ok), tls=tls) as real:
        with LocalServer.record(tmp_path / "c.jsonl", to=real).start() as url:
            response = httpx.get(url, timeout=60)
            assert response.status_code == 502
            assert "CERTIFICATE_VERIFY_FAILED" in response.json()["message"]
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
            assert httpx.get(url, timeout=60).text == "ok"


@pytest.mark.parametrize(
    ("head", "begun"),
    [
        (b"content-type: application/json\r\ncontent-length: 100\r\n\r\n{", b"{"),
        (b"transfer-encoding: chunked\r\n\r\n5\r\nabc", b"abc"),
        (
            b"content-type: text/event-stream\r\ncontent-length: 100\r\n\r\nid: 1\n\nid: 2\n",
            b"id: 1\n\nid: 2\n",
        ),
    ],
)
def test_a_response_that_breaks_breaks_for_the_program_too(tmp_path, head, begun):
    def get(url: str) -> bytes:
        received = b""
        with pytest.raises(httpx.TransportError), httpx.stream("GET", url, timeout=60) as response:
            for chunk in response.iter_raw():
                received += chunk
        return received

    cassette = tmp_path / "c.jsonl"
    answer = answering(b"HTTP/1.1 200 OK\r\n" + head)
    with raw_server(answer) as real, LocalServer.record(cassette, to=real).start() as url:
        assert get(url) == begun
        until(lambda: len(exchanges_of(cassette)) == 1)
    assert exchanges_of(cassette)[0]["end"] == "broken"
    with LocalServer.replay(cassette).start() as url:
        assert get(url) == begun


@pytest.mark.parametrize(
    "kind", ["content-type: text/event-stream; charset=utf-8", "Content-Type: Text/Event-Stream"]
)
@pytest.mark.parametrize("last", [b"", b'event: b\ndata: {"secret": 1, "x": "\\ud83d"}'])
def test_a_stream_is_recorded_event_by_event(tmp_path, kind, last):
    cassette = tmp_path / "c.jsonl"
    head = f"HTTP/1.1 200 OK\r\n{kind}\r\n\r\n".encode()
    first = b'id: 1\r\nevent: a\r\ndata: {"x":"fm_live_x"}\r\n\r\n:comment \xff\n\n'
    with raw_server(answering(head + first + last)) as real:
        with LocalServer.record(cassette, to=real).start() as url:
            assert httpx.get(url, timeout=60).content == first + last
    (exchange,) = exchanges_of(cassette)
    assert (exchange["response"], exchange["end"]) == (None, "complete")
    events = ['id: 1\nevent: a\ndata: {"x": "fm_live_masked"}\n\n', ":comment \ufffd\n\n"]
    if last:
        events.append('event: b\ndata: {"secret": "masked", "x": "\ud83d"}')
    assert exchange["events"] == events
    with LocalServer.replay(cassette).start() as url:
        content = httpx.get(url, timeout=60).content
    assert content.decode("utf-8", "surrogatepass") == "".join(events)


def test_what_is_packed_is_unpacked_and_masked(tmp_path):
    cassette = tmp_path / "c.jsonl"
    plain = b'{"secret": "hunter2"}'
    packed = {
        "gzip": gzip.compress(plain),
        "deflate": zlib.compress(plain),
        "br": b"\xff fm_live_x",
    }

    def response(coding: str) -> bytes:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding.upper()}\r\nContent-Length: "
        return f"{head}{len(packed[coding])}\r\n\r\n".encode() + packed[coding]

    with raw_server(answering(*map(response, packed))) as real:
        with LocalServer.record(cassette, to=real).start() as url:
            for coding in packed:
                with httpx.stream("GET", f"{url}/{coding}", timeout=60) as response_:
                    assert b"".join(response_.iter_raw()) == packed[coding]
    assert b"hunter2" not in cassette.read_bytes()
    with LocalServer.replay(cassette).start() as url:
        for coding in ("gzip", "deflate"):
            assert httpx.get(f"{url}/{coding}", timeout=60).json() == {"secret": "masked"}
        assert httpx.get(f"{url}/br", timeout=60).content == b"\xff fm_live_masked"


def test_a_query_is_masked_by_name(tmp_path):
    cassette = tmp_path / "c.jsonl"
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    heads: list[bytes] = []
    query = "api_key=tok&password=hunter2&a=b%20c&d="
    with raw_server(answering(ok), heads) as real:
        with LocalServer.record(cassette, to=real).start() as url:
            httpx.get(f"{url}/x?{query}", timeout=60)
    assert heads[0].startswith(f"GET /x?{query} HTTP/1.1\r\n".encode())
    assert exchanges_of(cassette)[0]["query"] == "api_key=masked&password=masked&a=b+c&d="
    with LocalServer.replay(cassette).start() as url:
        assert httpx.get(f"{url}/x?{query.replace('tok', 'other')}", timeout=60).status_code == 200


# Of one connection: the other one has its own.
HOP_BY_HOP = {
    "connection": "close",
    "keep-alive": "timeout=5",
    "proxy-connection": "close",
    "te": "trailers",
    "trailer": "x",
    "upgrade": "x",
}


def ask(url: str, *lines: str, body: bytes = b"") -> bytes:
    """Send a request as it stands, and give the response as it comes."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 60) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
    return received


def test_headers_pass_as_they_came_but_those_of_one_connection(tmp_path):
    cassette = tmp_path / "c.jsonl"
    ours = [f"{name}: {value}" for name, value in HOP_BY_HOP.items()]
    kept = ["X-Tag: 1", "X-Tag: 2", "Cookie: caf\xe9"]
    given = ["HTTP/1.1 200 OK", "content-length: 0", *kept, *ours, "", ""]
    given.remove("proxy-connection: close")
    heads: list[bytes] = []
    with raw_server(answering("\r\n".join(given).encode("latin-1")), heads) as real:
        with LocalServer.record(cassette, to=real).start() as url:
            lines = ["DELETE / HTTP/1.1", "host: x", "content-length: 0", "accept-encoding: gzip"]
            recorded = ask(url, *lines, *kept, *ours)
        host = urlsplit(real).netloc
    assert heads[0].decode("latin-1").split("\r\n") == [
        "DELETE / HTTP/1.1",
        f"host: {host}",
        "x-tag: 1",
        "x-tag: 2",
        "cookie: caf\xe9",
        "accept-encoding: identity",
        "content-length: 0",
        "",
        "",
    ]
    with LocalServer.replay(cassette).start() as url:
        replayed = ask(url, *lines, "connection: close")
    for response, cookie, length in ((recorded, "caf\xe9", []), (replayed, "masked", ["0"])):
        head = response.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
        assert head[0] == "HTTP/1.1 200 OK"
        names = {line.partition(":")[0] for line in head[1:]}
        assert not names & set(HOP_BY_HOP)
        values = [line.partition(": ")[2] for line in head if line.startswith("x-tag")]
        assert values == ["1", "2"]
        assert f"cookie: {cookie}" in head
        lengths = [line[16:] for line in head if line.startswith("content-length")]
        assert lengths == length
    assert exchanges_of(cassette)[0]["headers"] == [
        ["X-Tag", "1"],
        ["X-Tag", "2"],
        ["Cookie", "masked"],
    ]


def test_an_exchange_is_written_whole_as_soon_as_it_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr("flowmaestro_local.recording.monotonic", iter([1.0, 3.25]).__next__)
    cassette = tmp_path / "c.jsonl"
    head = b"HTTP/1.1 201 Created\r\nX-Own: fm_live_x\r\ncontent-length: 10\r\n\r\n"
    heads: list[bytes] = []
    with raw_server(answering(head + b'{"a": [1]}'), heads) as real:
        with LocalServer.record(cassette, to=f"{real}//").start() as url:
            target = f"{url}/fm_live_y/%2F?b=%20&a=1"
            parts = iter([b'{"x":', b' "', b'fm_live_z"}'])
            response = httpx.post(target, content=parts, timeout=60)
            assert (response.status_code, response.json()) == (201, {"a": [1]})
            # The recorder runs on.
            until(lambda: exchanges_of(cassette))
            header, line = map(json.loads, cassette.read_text(encoding="utf-8").splitlines())
    assert b"\r\ncontent-length: 18\r\n" in heads[0]
    assert b"transfer-encoding" not in heads[0]
    recorded_at = header.pop("recorded_at")
    assert recorded_at.endswith("Z")
    assert header == {"flowmaestro_cassette": 1, "recorded_from": real}
    assert line == {
        "number": 1,
        "method": "POST",
        "path": "/fm_live_masked/%2F",
        "query": "b=%20&a=1",
        "body": {"json": {"x": "fm_live_masked"}},
        "status": 201,
        "headers": [["X-Own", "fm_live_masked"]],
        "response": {"json": {"a": [1]}},
        "events": [],
        "end": "complete",
        "seconds": 2.25,
    }


def test_a_body_whose_end_does_not_come_is_no_request(tmp_path):
    cassette = tmp_path / "c.jsonl"
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    heads: list[bytes] = []

    def leave(url: str, is_there: Any) -> None:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), 60) as sock:
            sock.sendall(b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhel")
            until(is_there)

    with raw_server(answering(ok, ok), heads) as real:
        recorder = LocalServer.record(cassette, to=real)
        with recorder.start() as url:
            leave(url, lambda: True)
            for body in (b"hel", b"hello"):
                assert httpx.post(f"{url}/x", content=body, timeout=60).text == "ok"
    assert sorted(head.partition(b"content-length: ")[2][:1] for head in heads) == [b"3", b"5"]
    replay = LocalServer.replay(cassette)
    with replay.start() as url:
        leave(url, lambda: replay.requests)
        assert httpx.post(f"{url}/x", content=b"hello", timeout=60).text == "ok"
        assert [one.body for one in replay.unused] == [{"text": "hel"}]


def test_a_cassette_may_be_edited(tmp_path):
    cassette = tmp_path / "c.jsonl"
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    with raw_server(answering(ok)) as real, LocalServer.record(cassette, to=real).start() as url:
        httpx.get(url, timeout=60)
    first, line, _ = cassette.read_text().split("\n")
    # With a mark before it, other text in it, and a line of it twice.
    line = line.replace('"ok"', '"o\u2028\u0085k"')
    cassette.write_text(f"{first}\n{line}\n\n{line}\n", encoding="utf-8-sig")
    replay = LocalServer.replay(cassette)
    with replay.start() as url:
        assert len(replay.unused) == 2
        assert httpx.get(url, timeout=60).text == "o\u2028\u0085k"
        assert len(replay.unused) == 1


def test_calls_at_once_are_recorded_each_with_its_response(tmp_path):
    cassette = tmp_path / "c.jsonl"
    server = LocalServer()
    server.workflow("wf")(lambda inputs: inputs)

    async def execute_all(url: str) -> list[Any]:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            calls = (client.workflows.execute("wf", {"n": n}) for n in range(100))
            return [one["data"]["inputs"]["n"] for one in await asyncio.gather(*calls)]

    with server.start() as real, LocalServer.record(cassette, to=real).start() as url:
        assert asyncio.run(execute_all(url)) == list(range(100))
    assert sorted(one["number"] for one in exchanges_of(cassette)) == list(range(1, 101))
    with LocalServer.replay(cassette).start() as url:
        assert asyncio.run(execute_all(url)) == list(range(100))


def test_a_base_path_is_kept(tmp_path):
    heads: list[bytes] = []
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    with raw_server(answering(ok), heads) as real:
        recorder = LocalServer.record(tmp_path / "c.jsonl", to=f"{real}/base/")
        with recorder.start() as url:
            httpx.post(f"{url}/api/x%2Fy?q=1", content=b"hello", headers={"x-a": "b"}, timeout=60)
    (received,) = heads
    assert received.startswith(b"POST /base/api/x%2Fy?q=1 HTTP/1.1\r\n")
    assert b"x-a: b\r\n" in received
    assert b"accept-encoding: identity\r\n" in received.lower()
    assert b"content-length: 5\r\n" in received.lower()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a cassette"),
        (b"{}\n", "is not a cassette"),
        (b"[1]\n", "is not a cassette"),
        (b"\xff\xfe", "is not a cassette"),
        (b"nope\n", "is not a cassette"),
        (b'{"flowmaestro_cassette": 2}\n', "is a cassette of version 2, and this release reads"),
        (b'{"flowmaestro_cassette": 1}\n\n{"number": 1}\n', r"line 3 of .* is damaged"),
        (b'{"flowmaestro_cassette": 1}\n{"number"', r"line 2 of .* is damaged"),
        (b'{"flowmaestro_cassette": 1}\n5\n', r"line 2 of .* is damaged"),
    ],
)
def test_a_file_that_is_not_a_cassette(tmp_path, content, says):
    path = tmp_path / "c.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says):
        LocalServer.replay(path)


def test_what_cannot_be_recorded_or_replayed(tmp_path):
    for to in (
        *("nope", "ftp://x", "http://", "", "http://["),
        *("http://x:99999", "http://x:y", "http://x:0"),
    ):
        with pytest.raises(ValueError, match=r"to must be an address such as .*, not '"):
            LocalServer.record(tmp_path / "c.jsonl", to=to)
    for to in ("http://user:hunter2@x", "http://@x", "http://x?hunter2", "http://x#hunter2"):
        with pytest.raises(ValueError, match="without a user name, a query") as caught:
            LocalServer.record(tmp_path / "c.jsonl", to=to)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        LocalServer.replay(tmp_path / "none.jsonl")
    with pytest.raises(FileNotFoundError):
        LocalServer.record(tmp_path / "no" / "folder", to="http://x").start()
    recorder = LocalServer.record(tmp_path / "c.jsonl", to="http://127.0.0.1:9")
    with recorder.start(), pytest.raises(RuntimeError, match="this recorder runs already, at"):
        recorder.start()
    replay = LocalServer.replay(tmp_path / "c.jsonl")
    with replay.start(), pytest.raises(RuntimeError, match="this replay runs already, at"):
        replay.start()


@pytest.mark.skipif(sys.platform == "win32", reason="sends Ctrl-C to another process")
def test_the_commands_record_and_replay(tmp_path):
    server = LocalServer()
    server.workflow("wf", name="Greeting")(lambda: {"a": 1})
    cassette = tmp_path / "c.jsonl"

    def name_of_workflow(*arguments: str) -> str:
        command = [sys.executable, "-u", "-m", "flowmaestro_local", *arguments, "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = line.partition(", at ")[2].partition(" (")[0]
            with FlowMaestroClient(KEY, url) as client:
                name: str = client.workflows.get("wf")["data"]["name"]
                with pytest.raises(NotFoundError):
                    client.workflows.get("other")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.communicate(timeout=60)
        assert line.startswith(("recording http", f"replaying {cassette}, at http"))
        return name

    with server.start() as real:
        assert name_of_workflow("record", "--to", real, "--cassette", str(cassette)) == "Greeting"
    assert name_of_workflow("replay", str(cassette)) == "Greeting"
