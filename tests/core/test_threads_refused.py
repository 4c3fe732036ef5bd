"""No thread can be started: at the exit of the interpreter, or in a small container."""

from __future__ import annotations

import queue
import threading

import pytest

from flowmaestro import FlowMaestroClient
from flowmaestro_core import CoreClient, errors
from flowmaestro_core._sync.compat import Limiter
from flowmaestro_core.request import Request
from tests.conftest import KEY
from tests.raw import raw_server, response

POST = Request.post("/workflows/wf/execute", {}, repeatable=False)


@pytest.fixture
def refuse(monkeypatch):
    """Refuse the threads of the SDK, and no others: the server here has some too."""
    start = threading.Thread.start
    refused = []

    def refusing(thread):
        function = getattr(thread, "function", None) or getattr(thread, "_target", None)
        if (getattr(function, "__module__", None) or "").startswith("flowmaestro"):
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refusing)
    return refused


def test_a_call_with_a_deadline_needs_no_thread(refuse):
    def slowly(connection):
        whole = response(b'{"data": "' + b"x" * 1000 + b'"}')
        connection.sendall(whole[:300])
        threading.Event().wait(0.2)
        connection.sendall(whole[300:])

    with raw_server(slowly) as url, CoreClient(KEY, url) as client:
        assert client.with_options(deadline=60).call(POST)["data"] == "x" * 1000
    assert refuse


def test_a_deadline_is_kept_without_a_thread(refuse):
    over = threading.Event()

    def drip(connection):
        connection.sendall(response(b"x" * 1000)[:-999])
        while not over.wait(0.05):
            connection.sendall(b"x")

    with raw_server(drip) as url, CoreClient(KEY, url) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            client.with_options(deadline=0.5).call(POST)
        over.set()
    assert caught.value.code == "deadline_exceeded"
    assert caught.value.outcome_unknown is True


def test_a_stream_that_cannot_be_watched_is_an_error_of_ours(refuse):
    def hold(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n\n")
        connection.recv(1)

    with raw_server(hold) as url, FlowMaestroClient(KEY, url, max_retries=0) as client:
        with pytest.raises(errors.FlowMaestroError, match="thread") as caught:
            list(client.executions.stream("exec_1"))
    assert isinstance(caught.value, (errors.StreamError, errors.ConnectionError))
    assert refuse


def test_heartbeats_that_no_thread_can_make_are_an_error_of_ours(refuse):
    with raw_server(lambda connection: None) as url:
        with FlowMaestroClient(KEY, url, max_retries=0) as client:
            with pytest.raises(errors.StreamError, match="heartbeats need a thread") as caught:
                list(client.executions.stream("exec_1", heartbeat=1.0))
    assert caught.value.code == "thread_refused"


@pytest.mark.parametrize("within", [None, 1e300, float("inf"), 1e10])
def test_a_turn_is_waited_for_however_long_that_may_take(within):
    limiter = Limiter(1)
    turn = limiter.enter(within)
    got: queue.Queue = queue.Queue()
    waiting = threading.Thread(target=lambda: got.put(limiter.enter(within)))
    waiting.start()
    limiter.leave(turn)
    assert got.get(timeout=60) is turn
    waiting.join(60)


def test_a_turn_that_is_lost_comes_back():
    limiter = Limiter(2)
    turns = [limiter.enter(0), limiter.enter(0)]
    assert limiter.enter(0) is None
    turns.pop()
    turns.append(limiter.enter(0))
    assert turns[1] is not None
    assert limiter.enter(0) is None


@pytest.mark.parametrize("timeout", [1e7, 1e12, float("inf")])
def test_timeouts_that_no_socket_can_take_are_no_bound(timeout):
    with raw_server(lambda c: c.sendall(response(b'{"data": 1}'))) as url:
        with CoreClient(KEY, url, timeout=timeout) as client:
            assert client.with_options(deadline=timeout).call(POST)["data"] == 1
