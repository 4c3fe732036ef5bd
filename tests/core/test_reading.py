"""Reading beside looks, in threads: watched, where that can be ended from outside, and ahead."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import signal
import socket
import ssl
import sys
import threading
import time
import types

import httpx
import pytest
import trustme

from flowmaestro_core import reading
from flowmaestro_core._sync import compat
from flowmaestro_core.response import Unanswered
from tests.core.mock import Chunks
from tests.raw import raw_server
from tests.receiver import soon, until
from tests.threads import all_ended, threads_started_by

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows reads ahead only")


class Noted(httpx.SyncByteStream):
    """A body that tells when its first bytes cannot be lost any more."""

    def __init__(self, stream, *, is_read_ahead):
        self._stream = stream
        self._is_read_ahead = is_read_ahead
        self.has_come = threading.Event()

    def __iter__(self):
        for chunk in self._stream:
            if not self._is_read_ahead:
                self.has_come.set()
            yield chunk
            # Who reads ahead has put the bytes by before it asks for more.
            self.has_come.set()

    def close(self):
        self._stream.close()


@pytest.fixture(params=["watched", "watched, over TLS", "ahead"])
def connect(request, monkeypatch):
    """Give what opens a pump on a response of parts; an event among them is waited for."""
    server = client = None
    if "TLS" in request.param:
        authority = trustme.CA()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
    is_read_ahead = request.param == "ahead"
    if is_read_ahead:
        monkeypatch.setattr(compat, "is_interruptible", lambda response: False)
    over = threading.Event()
    opened = contextlib.ExitStack()

    def open_pump(*parts):
        def answer(connection):
            connection.sendall(HEAD)
            for part in parts:
                if isinstance(part, bytes):
                    connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
                elif not part.wait(60):
                    return
            # Longer than any test takes.
            over.wait(600)

        url = opened.enter_context(raw_server(answer, tls=server))
        transport = opened.enter_context(httpx.HTTPTransport(verify=client or True))
        response = transport.handle_request(httpx.Request("GET", url))
        response.stream = Noted(response.stream, is_read_ahead=is_read_ahead)
        pump = compat.open_pump(response, failed, lambda: None)
        pump.has_come = response.stream.has_come
        return opened.enter_context(contextlib.closing(pump))

    with opened:
        yield open_pump
        over.set()


def failed(problem):
    return Unanswered(problem, "lost")


def test_bytes_that_come_before_a_look_is_due_are_all_given(connect):
    gates = [threading.Event(), threading.Event()]
    pump = connect(gates[0], b"one", gates[1], b"two")
    looks = []
    for gate, part in zip(gates, (b"one", b"two")):
        with soon(gate.set, 0.05):
            assert pump.next(lambda: 60.0, lambda: looks.append(True)) == part
    assert looks == []


def test_looks_are_repeated_until_one_ends_the_reading(connect):
    pump = connect()
    looks = []

    def look():
        looks.append(len(looks))
        return len(looks) == 3

    assert pump.next(lambda: 0.05, look) is None
    assert looks == [0, 1, 2]


def test_each_reading_has_its_own_time_for_the_first_look(connect):
    gate = threading.Event()
    pump = connect(b"one", gate, b"two")
    looks = []
    assert pump.next(lambda: 60.0, lambda: True) == b"one"

    def look():
        looks.append(True)
        gate.set()
        return False

    # Sooner than the one before would have been, and no longer beside the bytes.
    assert pump.next(lambda: 0.1, look) == b"two"
    count = len(looks)
    assert count >= 1
    time.sleep(0.3)
    assert len(looks) == count


def test_a_look_that_is_due_at_once_is_not_waited_for(connect):
    """Before 3.11, a queue of C's waits for ever where its time is over before it has begun."""
    pump = connect(b"one", b"two")
    assert pump.next(lambda: 60.0, lambda: False) == b"one"
    # Most often the second part is there by then.
    time.sleep(0.3)
    assert pump.next(lambda: 60.0, lambda: False) == b"two"
    began = time.monotonic()
    assert pump.next(lambda: 0.0, lambda: True) is None
    pump.finish()
    assert time.monotonic() - began < 30


def test_a_look_that_fails_is_the_readers_affair_and_loses_no_bytes(connect):
    gate = threading.Event()
    pump = connect(gate, b"bytes")

    def look():
        gate.set()
        assert pump.has_come.wait(60)
        raise ValueError("the status cannot be had")

    assert pump.next(lambda: 0.05, look) == b"bytes"
    with pytest.raises(ValueError, match="cannot be had"):
        pump.next(lambda: 0.0, look)


def test_a_reading_can_be_ended_from_another_thread(connect):
    pump = connect()
    began = time.monotonic()
    with threads_started_by("flowmaestro_core") as threads, soon(pump.interrupt, 0.2):
        result = pump.next(lambda: 60.0, lambda: False)
    assert result == b"" or isinstance(result, Unanswered)
    assert time.monotonic() - began < 30
    if isinstance(pump._beside, reading.Ahead):
        # Nothing would wake it once the client has closed the connection.
        assert all_ended(threads, 30)


@pytest.mark.parametrize("connect", ["watched", "watched, over TLS"], indirect=True)
def test_a_reading_that_is_ended_from_another_thread_waits_for_no_look(connect):
    pump = connect()
    looking, released = threading.Event(), threading.Event()
    ends = []

    def look():
        looking.set()
        released.wait(60)
        ends.append("the look's")
        return False

    def end():
        assert looking.wait(60)
        pump.interrupt()

    ender = threading.Thread(target=end)
    ender.start()
    pump.next(lambda: 0.05, look)
    assert ends == []
    released.set()
    ender.join()


def test_the_end_of_a_response_is_waited_for_a_moment_only(connect):
    pump = connect(b"last")
    assert pump.next(lambda: 60.0, lambda: False) == b"last"
    began = time.monotonic()
    pump.finish()
    assert time.monotonic() - began < 30


def test_no_thread_outlives_the_pump(connect):
    with threads_started_by("flowmaestro_core") as threads:
        for parts, pause in (((b"one",), 60.0), ((), 0.05)):
            pump = connect(*parts)
            assert pump.next(lambda pause=pause: pause, lambda: True) == (b"".join(parts) or None)
            pump.close()
            pump.close()
    assert [thread.name for thread in threads] == 2 * ["flowmaestro-stream"]
    # The first one ended in the middle of the response, the second one was ended by its look.
    assert all_ended(threads, 30)


def test_an_interruption_of_the_closing_is_raised_and_lets_the_connection_go():
    class Body(Chunks):
        def close(self):
            raise KeyboardInterrupt

    ours, other = socket.socketpair()
    stream = types.SimpleNamespace(get_extra_info={"socket": ours}.get)
    response = httpx.Response(200, stream=Body(b"one"), extensions={"network_stream": stream})
    closed = []
    pump = compat.open_pump(response, failed, lambda: closed.append(True))
    with other:
        with pytest.raises(KeyboardInterrupt):
            pump.close()
        assert ours.fileno() == -1
    # Whoever gave the connection does not take it back.
    assert closed == []


def test_ctrl_c_does_not_wait_for_a_look(connect):
    pump = connect()
    looking, released = threading.Event(), threading.Event()
    ends = []

    def look():
        looking.set()
        released.wait(60)
        ends.append("the look's")
        return False

    def press():
        if looking.wait(60):
            # Most often into the wait, and not just before it.
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        pump.next(lambda: 0.05, look)
    pump.close()
    assert ends == []
    released.set()
    presser.join()


@pytest.mark.parametrize("leave", ["closed", "lost"])
def test_no_thread_outlives_a_reading_that_is_as_far_ahead_as_it_may_be(leave):
    with threads_started_by("flowmaestro_core") as threads:
        ahead = reading.Ahead(httpx.Response(200), itertools.repeat(b"x", 1_000), failed)
        until(lambda: ahead._room.qsize() == 0)
        if leave == "closed":
            ahead.close()
        else:
            del ahead
            gc.collect()
        assert all_ended(threads, 30)
    assert threads


def test_a_response_is_read_no_more_when_its_reading_was_closed(monkeypatch):
    monkeypatch.setattr(reading, "LONGEST_END", 60.0)
    interrupted, ends = threading.Event(), []
    monkeypatch.setattr(reading, "interrupt", lambda response: interrupted.set())

    def body():
        assert interrupted.wait(60)
        # As on a busy machine.
        time.sleep(0.1)
        ends.append("the body")
        yield b""

    ahead = reading.Ahead(httpx.Response(200), body(), failed)
    until(lambda: ahead._room.qsize() < reading._READ_AHEAD)
    ahead.close()
    assert ends == ["the body"]


def test_what_a_body_raises_is_given_to_who_reads():
    def body():
        yield b"one"
        raise ValueError("broken")

    ahead = reading.Ahead(httpx.Response(200), body(), failed)
    with contextlib.closing(ahead):
        assert ahead.next(lambda: 60.0, lambda: False) == b"one"
        assert str(ahead.next(lambda: 60.0, lambda: False).error) == "broken"


def test_a_generator_that_fails_at_its_end_says_so():
    def items():
        try:
            yield 1
        finally:
            raise ValueError("broken")

    running = items()
    next(running)
    with pytest.raises(ValueError, match="broken"):
        compat.close_unless_running(running)


def test_a_step_is_taken_once_however_often_it_is_waited_for():
    gate, taken = threading.Event(), []

    def items():
        assert gate.wait(60)
        for number in range(10):
            taken.append(number)
            yield number

    stepper = compat.Stepper(items(), compat.Stop())
    with contextlib.closing(stepper):
        assert [stepper.next(0.01) for _ in range(3)] == [[], [], []]
        gate.set()
        assert stepper.next(60.0) == [0]
    assert taken == [0]


@pytest.fixture
def late(monkeypatch):
    """Give a response of single bytes, each sent when it is told to, and a clock that stands."""
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(reading, "monotonic", lambda: clock.now)
    send, over = threading.Semaphore(1), threading.Event()

    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while send.acquire(timeout=60) and not over.is_set():
            connection.sendall(b"x")

    with raw_server(answer) as url, httpx.HTTPTransport() as transport:
        request = httpx.Request("GET", url, extensions={"timeout": {"read": 60.0}})
        response = transport.handle_request(request)
        response.request = request
        with contextlib.closing(response):
            yield types.SimpleNamespace(response=response, clock=clock, send=send.release)
        over.set()
        send.release()


def test_a_late_body_is_cut_at_its_deadline_where_the_connection_is_its_own(late):
    chunks = compat.chunks_of(late.response)
    # With the first byte the pool takes the read timeout, which is shortened no more.
    assert next(chunks) == b"x"
    late.send()
    began = time.monotonic()
    with threads_started_by("flowmaestro_core") as threads:
        body = reading.read_until(late.response, chunks, 0.3)
        assert next(body) == b"x"
        # No byte comes any more.
        with pytest.raises(httpx.TransportError) as caught:
            next(body)
    assert not isinstance(caught.value, httpx.TimeoutException)
    assert 0.3 <= time.monotonic() - began < 30
    assert len(threads) == 1
    assert all_ended(threads, 30)


def test_a_deadline_that_passes_after_a_body_was_left_ends_no_reading(late, monkeypatch):
    ends, interrupted = [], []

    class Timer:
        """One that goes off in the same moment in which it is cancelled."""

        def __init__(self, seconds, function):
            ends.append(function)

        def start(self):
            pass

        def cancel(self):
            ends[0]()

    monkeypatch.setattr(reading.threading, "Timer", Timer)
    monkeypatch.setattr(reading, "interrupt", interrupted.append)
    body = reading.read_until(late.response, compat.chunks_of(late.response), 60.0)
    first = next(body)
    # Not before, or both bytes may come in one piece.
    late.send()
    assert first + next(body) == b"xx"
    body.close()
    # The connection may be another request's by then.
    assert len(ends) == 1
    assert interrupted == []


def test_a_late_body_is_left_at_the_next_byte_where_the_connection_carries_others(
    late, monkeypatch
):
    monkeypatch.setattr(reading, "is_interruptible", lambda response: False)

    def chunks():
        response = compat.chunks_of(late.response)
        yield next(response)
        # The deadline passes while the second byte is waited for; there is no third one.
        late.clock.now = 60.0
        late.send()
        yield from response

    with threads_started_by("flowmaestro_core") as threads:
        body = reading.read_until(late.response, chunks(), 60.0)
        assert next(body) + next(body) == b"xx"
        with pytest.raises(TimeoutError, match="the deadline is over"):
            next(body)
    # None that would end what the connection carries beside.
    assert threads == []
