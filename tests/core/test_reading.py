"""Reading beside looks, in threads: watched, where that can be ended from outside, and ahead."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import sys
import threading
import time

import httpx
import pytest
import trustme

from flowmaestro_core import reading
from flowmaestro_core._sync import compat
from flowmaestro_core.response import Unanswered
from tests.raw import raw_server
from tests.receiver import soon

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows reads ahead only")


@pytest.fixture(params=["watched", "watched, over TLS", "ahead"])
def connect(request, monkeypatch):
    """Give what opens a pump on a response whose parts come so many seconds after each other."""
    server = client = None
    if "TLS" in request.param:
        authority = trustme.CA()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
    if request.param == "ahead":
        monkeypatch.setattr(compat, "is_interruptible", lambda response: False)
    over = threading.Event()
    opened = contextlib.ExitStack()

    def open_pump(*parts, seconds=0.1):
        def answer(connection):
            connection.sendall(HEAD)
            for part in parts:
                time.sleep(seconds)
                connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            over.wait(5)

        url = opened.enter_context(raw_server(answer, tls=server))
        transport = opened.enter_context(httpx.HTTPTransport(verify=client or True))
        response = transport.handle_request(httpx.Request("GET", url))
        return opened.enter_context(
            contextlib.closing(compat.open_pump(response, failed, lambda: None))
        )

    with opened:
        yield open_pump
        over.set()


def failed(problem):
    return Unanswered(problem, "lost")


def threads():
    return sum(thread.name == "flowmaestro-stream" for thread in threading.enumerate())


def test_bytes_that_come_before_a_look_is_due_are_all_given(connect):
    pump = connect(b"one", b"two", seconds=0.05)
    looks = []
    assert pump.next(lambda: 5.0, lambda: looks.append(True)) == b"one"
    assert pump.next(lambda: 5.0, lambda: looks.append(True)) == b"two"
    assert looks == []


def test_looks_are_repeated_until_one_ends_the_reading(connect):
    pump = connect(seconds=0)
    looks = []

    def look():
        looks.append(len(looks))
        return len(looks) == 3

    assert pump.next(lambda: 0.05, look) is None
    assert looks == [0, 1, 2]


def test_each_reading_has_its_own_time_for_the_first_look(connect):
    pump = connect(b"one", b"two", seconds=0.3)
    looks = []
    assert pump.next(lambda: 5.0, lambda: True) == b"one"

    def look():
        looks.append(True)
        return False

    # Sooner than the one before would have been, and no longer beside the bytes.
    pump.next(lambda: 0.1, look)
    count = len(looks)
    assert count >= 1
    time.sleep(0.3)
    assert len(looks) == count


def test_a_look_that_is_due_at_once_is_not_waited_for(connect):
    """Before 3.11, a queue of C's waits for ever where its time is over before it has begun."""
    pump = connect(b"one", b"two", seconds=0.1)
    assert pump.next(lambda: 5.0, lambda: False) == b"one"
    time.sleep(0.3)
    assert pump.next(lambda: 5.0, lambda: False) == b"two"
    began = time.monotonic()
    assert pump.next(lambda: 0.0, lambda: True) is None
    pump.finish()
    assert time.monotonic() - began < 2


def test_a_look_that_fails_is_the_readers_affair_and_loses_no_bytes(connect):
    pump = connect(b"bytes", seconds=0.2)

    def look():
        time.sleep(0.4)
        raise ValueError("the status cannot be had")

    assert pump.next(lambda: 0.05, look) == b"bytes"
    with pytest.raises(ValueError, match="cannot be had"):
        pump.next(lambda: 0.0, look)


def test_a_reading_can_be_ended_from_another_thread(connect):
    pump = connect()
    began = time.monotonic()
    with soon(pump.interrupt, 0.2):
        result = pump.next(lambda: 60.0, lambda: False)
    assert result == b"" or isinstance(result, Unanswered)
    assert time.monotonic() - began < 2


def test_the_end_of_a_response_is_waited_for_a_moment_only(connect):
    pump = connect(b"last")
    assert pump.next(lambda: 5.0, lambda: False) == b"last"
    began = time.monotonic()
    pump.finish()
    assert time.monotonic() - began < 1


def test_no_thread_outlives_the_pump(connect):
    pump = connect()
    assert pump.next(lambda: 0.05, lambda: True) is None
    pump.close()
    pump.close()
    assert threads() == 0


def test_ctrl_c_does_not_wait_for_a_look(connect):
    pump = connect()
    looking = threading.Event()

    def look():
        looking.set()
        time.sleep(3)
        return False

    def press():
        assert looking.wait(2)
        # Into the sleep, and not just before it.
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pump.next(lambda: 0.05, look)
    pump.close()
    assert time.monotonic() - began < 2.5


def read_late(monkeypatch, *, interruptible):
    """Read an answer that has a byte a second, with 1.3 s for it; gives how long it took."""

    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(5):
            connection.sendall(b"x")
            time.sleep(1)

    monkeypatch.setattr(reading, "is_interruptible", lambda response: interruptible)
    with raw_server(answer) as url, httpx.HTTPTransport() as transport:
        request = httpx.Request("GET", url, extensions={"timeout": {"read": 5.0}})
        response = transport.handle_request(request)
        response.request = request
        began = time.monotonic()
        with pytest.raises((httpx.TransportError, TimeoutError)) as caught:
            list(reading.read_until(response, compat.chunks_of(response), began + 1.3))
        response.close()
        return time.monotonic() - began, caught.value


def test_a_late_body_is_cut_at_its_deadline_where_the_connection_is_its_own(monkeypatch):
    took, problem = read_late(monkeypatch, interruptible=True)
    assert 1.2 < took < 1.9
    assert isinstance(problem, httpx.TransportError)


def test_a_late_body_is_left_at_the_next_byte_where_the_connection_carries_others(monkeypatch):
    took, problem = read_late(monkeypatch, interruptible=False)
    assert 1.9 < took < 2.9
    assert "the deadline is over" in str(problem)
