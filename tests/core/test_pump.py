"""The part of the asynchronous pump that its twin has no need of: looks and cancellation."""

from __future__ import annotations

import gc
import types
import weakref

import anyio
import httpx
import pytest

from flowmaestro_core._async.compat import _Watched, open_pump
from tests.core.mock import Chunks

pytestmark = pytest.mark.anyio

LONGEST_LOOK = "flowmaestro_core._async.compat._LONGEST_LOOK"


class Gated(Chunks):
    """Sends each of its pieces when it is told to, and nothing once it is closed."""

    def __init__(self, *chunks):
        super().__init__(*chunks)
        self.gates = [anyio.Event() for _ in chunks]

    async def __aiter__(self):
        for gate, chunk in zip(self.gates, self):
            await gate.wait()
            if self.is_closed:
                return
            yield chunk

    async def aclose(self):
        await super().aclose()
        for gate in self.gates:
            gate.set()


@pytest.fixture
async def body():
    return Gated(b"bytes", b"more")


class Connection:
    """Notes that it was closed, and ends the body that comes by it."""

    def __init__(self, body=None):
        self.body = body
        self.closed = False

    async def aclose(self):
        self.closed = True
        if self.body is not None:
            await self.body.aclose()


@pytest.fixture(params=["with a connection", "without"])
async def pump(request, body):
    """Under asyncio, what has a connection of its own is read by the caller's task."""
    extensions = {"http_version": b"HTTP/1.1", "network_stream": Connection(body)}
    response = httpx.Response(
        200,
        stream=body,
        request=httpx.Request("GET", "http://a"),
        extensions=extensions if request.param == "with a connection" else {},
    )
    closed = []
    pump = await open_pump(response, print, lambda: closed.append(True))
    yield pump
    await pump.aclose()
    await pump.aclose()
    assert closed == [True]


async def test_a_look_that_is_under_way_is_not_cancelled_by_bytes(pump, body, monkeypatch):
    """Cancelled while it connects, it could leave an open socket behind."""
    monkeypatch.setattr(LONGEST_LOOK, 60.0)
    ends = []

    async def look():
        try:
            body.gates[0].set()
            # The bytes are read by then.
            await anyio.wait_all_tasks_blocked()
            await anyio.sleep(0.1)
            ends.append("done")
        except BaseException as problem:
            ends.append(repr(problem))
            raise
        return False

    assert await pump.next(lambda: 0.01, look) == b"bytes"
    assert ends[0] == "done"


async def test_bytes_that_were_read_are_not_lost_to_a_look_that_fails(pump, body, monkeypatch):
    monkeypatch.setattr(LONGEST_LOOK, 60.0)

    async def look():
        body.gates[0].set()
        await anyio.wait_all_tasks_blocked()
        raise ValueError("the status cannot be had")

    assert await pump.next(lambda: 0.01, look) == b"bytes"
    with pytest.raises(ValueError, match="cannot be had"):
        await pump.next(lambda: 0.0, look)


async def test_a_look_that_takes_long_does_not_hold_bytes_back_for_ever(pump, body, monkeypatch):
    monkeypatch.setattr(LONGEST_LOOK, 0.1)

    async def look():
        body.gates[0].set()
        await anyio.sleep_forever()

    with anyio.fail_after(30):
        assert await pump.next(lambda: 0.01, look) == b"bytes"


@pytest.mark.parametrize("left", ["with bytes", "cancelled"])
async def test_no_look_outlives_the_reading(pump, body, monkeypatch, left):
    monkeypatch.setattr(LONGEST_LOOK, 0.01)
    looks = []

    async def look():
        looks.append("begun")
        if left == "with bytes":
            body.gates[0].set()
        else:
            scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            # As closing a connection does.
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            looks.append("ended")

    with anyio.move_on_after(30) as scope:
        await pump.next(lambda: 0.01, look)
    assert scope.cancelled_caught == (left == "cancelled")
    assert looks == ["begun", "ended"]


async def test_no_look_comes_before_its_time(pump, body):
    looks = []

    async def look():
        looks.append(True)

    async def send():
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
        body.gates[0].set()

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        assert await pump.next(lambda: 60.0, look) == b"bytes"
    assert looks == []


async def test_looks_are_repeated_until_one_ends_the_reading(pump):
    looks = []

    async def look():
        looks.append(len(looks))
        return len(looks) == 3

    assert await pump.next(lambda: 0.01, look) is None
    assert looks == [0, 1, 2]


async def test_a_look_that_fails_ends_the_reading_with_its_error(pump):
    looks = []

    async def look():
        looks.append(True)
        if len(looks) == 2:
            raise ValueError("the status cannot be had")

    with anyio.fail_after(30):
        with pytest.raises(ValueError, match="cannot be had"):
            await pump.next(lambda: 0.01, look)
    assert len(looks) == 2


async def test_an_interruption_after_the_end_cuts_no_connection(pump):
    await pump.aclose()
    await pump.interrupt()
    # It may be the next request's.
    connection = pump._response.extensions.get("network_stream")
    assert connection is None or not connection.closed


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_response_that_is_lost_is_closed_by_its_event_loop(body):
    closed = anyio.Event()
    pump = await open_pump(httpx.Response(200, stream=body), print, closed.set)
    del pump
    gc.collect()
    with anyio.fail_after(30):
        await closed.wait()
    assert body.is_closed


async def test_a_reading_can_be_ended_from_another_task(pump, body):
    body.gates[0].set()
    assert await pump.next(lambda: 60.0, print) == b"bytes"
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:

            async def read():
                assert not await pump.next(lambda: 60.0, print)

            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await pump.interrupt()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_connection_that_is_the_next_requests_is_not_cut():
    ending = types.SimpleNamespace(has_come=False)
    looked = anyio.Event()

    async def read():
        # The response has ended, and its connection is free, while a look is under way.
        ending.has_come = True
        await looked.wait()
        await anyio.wait_all_tasks_blocked()
        return b""

    async def look():
        looked.set()
        return True

    connection = Connection()
    watched = _Watched(read, connection, ending)
    try:
        assert await watched.next(lambda: 0.01, look) is None
        await watched.interrupt()
        assert connection.closed is False
    finally:
        watched.stop()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_an_end_that_is_seen_while_bytes_come_does_not_cut_what_follows():
    chunks, came = [b"second", b"first"], anyio.Event()

    async def read():
        await came.wait()
        return chunks.pop()

    async def look():
        came.set()
        # As on a busy machine: the bytes are read by the time that this sees the end.
        await anyio.wait_all_tasks_blocked()
        return True

    connection = Connection()
    watched = _Watched(read, connection, types.SimpleNamespace(has_come=False))
    try:
        assert await watched.next(lambda: 0.01, look) == b"first"
        assert await watched.next(lambda: 60.0, look) == b"second"
        assert connection.closed is False
    finally:
        watched.stop()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_what_has_read_is_held_by_no_timer_once_it_is_stopped():
    async def read():
        return b"bytes"

    watched = _Watched(read, Connection(), types.SimpleNamespace(has_come=False))
    for pause in (60.0, 30.0, 40.0):
        await watched.next(lambda pause=pause: pause, print)
    watched.stop()
    gone = weakref.ref(watched)
    del watched
    gc.collect()
    assert gone() is None
