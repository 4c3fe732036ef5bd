"""Promise 7: hostile and broken servers, and a key that is nowhere to be read."""

from __future__ import annotations

import copy
import gzip
import io
import logging
import pickle
import socket
import traceback
import warnings
from typing import Callable

import pytest

import flowmaestro
from flowmaestro import FlowMaestroClient
from tests.raw import raw_server, response

pytestmark = pytest.mark.slow

SECRET = "fm_live_do_not_show_me_anywhere"


def fails(
    answer: Callable[[socket.socket], None], **options: object
) -> flowmaestro.FlowMaestroError:
    with raw_server(answer) as url:
        with FlowMaestroClient(SECRET, url, timeout=60, max_retries=0, **options) as client:
            with pytest.raises(flowmaestro.FlowMaestroError) as caught:
                client.workflows.list()
    return caught.value


def test_promise_7_a_gzip_bomb_is_cut():
    bomb = gzip.compress(b"\0" * 200_000_000)
    error = fails(lambda s: s.sendall(response(bomb, "Content-Encoding: gzip")))
    assert error.code == "response_too_large"


def test_promise_7_an_endless_body_is_cut():
    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    error = fails(answer, max_response_bytes=1_000_000)
    assert "longer than 1,000,000 bytes" in str(error)


def test_promise_7_endless_headers_are_an_error():
    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-A: " + b"x" * 1000 + b"\r\n")

    assert isinstance(fails(answer), flowmaestro.ConnectionError)


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 999 What\r\n\r\n", b"\x00" * 1000, b"HTTP/2 200\r\n\r\n"],
)
def test_promise_7_an_answer_that_is_no_http_is_an_error_of_ours(answer):
    fails(lambda s: s.sendall(answer))


def test_promise_7_deep_json_is_an_error_and_no_crash():
    error = fails(lambda s: s.sendall(response(b'{"data":' + b"[" * 5_000_000)))
    assert "nested too deep" in str(error)


def test_promise_7_an_answer_that_is_cut_is_an_error():
    error = fails(lambda s: s.sendall(response(b'{"data": 1}')[:-3]))
    assert isinstance(error, flowmaestro.ConnectionError)


def test_promise_7_a_line_without_end_in_a_stream_is_cut():
    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            connection.sendall(b"data: " + b"x" * 65536)

    with raw_server(answer) as url, FlowMaestroClient(SECRET, url) as client:
        with pytest.raises(flowmaestro.StreamError, match="longer than 10,000,000 bytes"):
            list(client.executions.stream("e"))


def test_promise_7_a_redirect_never_carries_the_key():
    asked = []

    def elsewhere(connection):
        asked.append(1)

    with raw_server(elsewhere) as other:
        redirect = response(b"", f"Location: {other}/api/v1/workflows", status="302 Found")
        error = fails(lambda s: s.sendall(redirect))
    assert other in str(error)
    assert asked == []


def test_promise_7_nothing_can_split_a_request(monkeypatch):
    for bad in ({"X-A": "b\r\nEvil: 1"}, {"X-A\r\nEvil": "1"}):
        with pytest.raises(ValueError, match="headers"):
            FlowMaestroClient(SECRET, headers=bad)
    monkeypatch.setenv("FLOWMAESTRO_API_KEY", SECRET + "\r\nEvil: 1")
    with pytest.raises(ValueError, match="FLOWMAESTRO_API_KEY"):
        FlowMaestroClient()
    monkeypatch.setenv("FLOWMAESTRO_BASE_URL", "http://x\r\nEvil: 1")
    with pytest.raises(ValueError, match="FLOWMAESTRO_BASE_URL"):
        FlowMaestroClient(SECRET)
    heads = []

    def answer(connection):
        connection.sendall(response(b'{"data": {}}', "Connection: close"))

    with raw_server(answer, heads) as url, FlowMaestroClient(SECRET, url) as client:
        for odd in ("a\r\nEvil: 1", "a\nb", "a b", "a\x00b"):
            client.workflows.get(odd)
    assert len(heads) == 4
    for head in heads:
        assert b"\nevil" not in head.lower()
        assert head.startswith(b"GET /api/v1/workflows/a%")


FAILURES = {
    "refused": None,
    "reset": lambda s: s.close(),
    "html": lambda s: s.sendall(response(b"<html>", status="502 Bad Gateway")),
    "unauthorized": lambda s: s.sendall(
        response(b'{"error":{"code":"invalid_api_key","message":"no"}}', status="401 No")
    ),
    "garbage": lambda s: s.sendall(response(b"garbage")),
}


@pytest.mark.parametrize("name", FAILURES)
def test_promise_7_the_key_is_nowhere(name, caplog):
    caplog.set_level(logging.DEBUG)
    answer = FAILURES[name]
    with raw_server(answer or (lambda s: None)) as url:
        if answer is None:
            url = "http://127.0.0.1:1"
        client = FlowMaestroClient(SECRET, url, timeout=60, max_retries=1)
        for call in (
            client.workflows.list,
            lambda: client.workflows.execute("wf"),
            lambda: list(client.executions.stream("e")),
        ):
            with pytest.raises(flowmaestro.FlowMaestroError) as caught:
                call()
            error = caught.value
            shown = io.StringIO()
            # As rich and sentry show it: every frame with its locals, every chained exception.
            report = traceback.TracebackException(
                type(error), error, error.__traceback__, capture_locals=True
            )
            for line in report.format():
                if __file__ not in line:
                    shown.write(line)
            assert "Traceback" in shown.getvalue()
            for text in (shown.getvalue(), str(error), repr(error), repr(error.__dict__)):
                assert SECRET not in text
            assert SECRET.encode() not in pickle.dumps(error)
            again = pickle.loads(pickle.dumps(copy.deepcopy(error)))
            assert (type(again), str(again)) == (type(error), str(error))
        for thing in (client, client.options, vars(client), client.workflows, client.rate_limit):
            assert SECRET not in repr(thing)
        with pytest.raises(TypeError):
            pickle.dumps(client)
        client.close()
    assert SECRET not in caplog.text


def test_promise_7_a_plain_address_warns_once_per_client_made():
    with pytest.warns(UserWarning, match="in the clear"):
        FlowMaestroClient(SECRET, "http://api.example.com").close()


@pytest.mark.parametrize(
    "host", ["127.example.com", "127.0.0.1.example", "localhost.example", "10.0.0.1", "[::2]"]
)
def test_promise_7_a_name_that_looks_like_this_machine_is_another_one(host):
    with pytest.warns(UserWarning, match="in the clear"):
        FlowMaestroClient(SECRET, f"http://{host}").close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost", "API.localhost"])
def test_promise_7_to_this_machine_nothing_is_encrypted_without_a_word(host):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FlowMaestroClient(SECRET, f"http://{host}:8787").close()
