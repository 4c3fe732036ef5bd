"""What a forked process does with what its parent has opened, most often told by its id alone."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import warnings

import anyio.lowlevel
import httpx
import pytest

from flowmaestro_core import CoreClient
from flowmaestro_core._async import compat as async_compat
from flowmaestro_core._sync import compat
from flowmaestro_core.request import Request
from flowmaestro_core.response import Unanswered
from tests.conftest import KEY
from tests.raw import raw_server, response

GET = Request.get("/workflows")


@pytest.fixture
def become_a_child(monkeypatch):
    """Give what lets the code believe that it was forked."""
    return lambda: monkeypatch.setattr(os, "getpid", lambda: -1)


def failed(problem):
    return Unanswered(problem, "lost")


class Connection:
    """A stream of httpcore's, over one of two sockets."""

    def __init__(self):
        self.socket, self.other = socket.socketpair()

    def get_extra_info(self, info):
        return self.socket if info == "socket" else None


@pytest.fixture
def connection():
    connection = Connection()
    yield connection
    connection.socket.close()
    connection.other.close()


@pytest.fixture
def ends():
    return []


@pytest.fixture
def opened(connection, ends):
    """A response that is open, and notes when its reading is ended."""

    class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self):
            try:
                yield b"one"
                yield b"two"
            finally:
                ends.append("the body")

        async def __aiter__(self):
            for chunk in self:
                yield chunk

    return httpx.Response(200, stream=Body(), extensions={"network_stream": connection})


def test_a_child_reads_nothing_of_its_parents_response(opened, become_a_child):
    pump = compat.open_pump(opened, failed, print)
    assert pump.read() == b"one"
    become_a_child()
    for read in (pump.read(), pump.next(lambda: 60.0, lambda: True)):
        assert str(read.error) == "it belongs to the process that opened it"
    pump.close()


@pytest.mark.parametrize("leave", ["closed", "lost"])
def test_a_child_lets_go_of_its_parents_response(leave, opened, connection, ends, become_a_child):
    pump = compat.open_pump(opened, failed, ends.append)
    assert pump.read() == b"one"
    become_a_child()
    if leave == "closed":
        pump.close()
        assert connection.socket.fileno() == -1
    del pump
    gc.collect()
    assert connection.socket.fileno() == -1
    # Its end would take locks that the parent's threads may hold.
    assert ends == []


@pytest.mark.anyio
async def test_a_child_lets_go_of_its_parents_response_in_an_event_loop(
    opened, connection, ends, become_a_child
):
    pump = await async_compat.open_pump(opened, failed, lambda: ends.append("the pump"))
    assert await pump.read() == b"one"
    become_a_child()
    assert str((await pump.read()).error) == "it belongs to the process that opened it"
    await pump.interrupt()
    await pump.aclose()
    assert connection.socket.fileno() == -1
    del pump
    gc.collect()
    for _ in range(10):
        await anyio.lowlevel.checkpoint()
    # Its end would be asked of the parent's loop.
    assert ends == []


def kept_open(ended):
    """Respond, and note when the client ends the connection."""

    def answer(connection):
        connection.sendall(response(b'{"data": 1}'))
        if connection.recv(1) == b"":
            ended.release()

    return answer


@pytest.mark.parametrize("way", ["direct", "by a proxy"])
def test_a_child_makes_its_calls_over_connections_of_its_own(way, become_a_child, monkeypatch):
    ended = threading.Semaphore(0)
    with raw_server(kept_open(ended)) as url:
        if way == "by a proxy":
            monkeypatch.setenv("HTTP_PROXY", url)
            url = "http://api.test"
        with warnings.catch_warnings():
            # The address is not encrypted.
            warnings.simplefilter("ignore", UserWarning)
            client = CoreClient(KEY, url)
        with client:
            assert client.call(GET)["data"] == 1
            become_a_child()
            assert client.call(GET)["data"] == 1
            # The child's handle of its parent's, while its own is open.
            assert ended.acquire(timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_that_makes_no_call_keeps_no_connection_open():
    ended = threading.Semaphore(0)
    with raw_server(kept_open(ended)) as url, CoreClient(KEY, url) as client:
        assert client.call(GET)["data"] == 1
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        client.close()
        try:
            assert ended.acquire(timeout=60)
        finally:
            os.close(read)
            os.close(write)
            os.waitpid(child, 0)


class Thing:
    """What is scoped to a loop or a process."""

    is_ours = True
    closed = abandoned = 0

    async def aclose(self):
        self.closed += 1

    def abandon(self):
        self.abandoned += 1


@pytest.mark.anyio
async def test_a_child_lets_go_of_what_an_event_loop_of_its_parent_has(become_a_child):
    scoped = async_compat.Scoped()
    parents = scoped.get(Thing)
    assert scoped.get(Thing) is parents
    become_a_child()
    own = scoped.get(Thing)
    assert own is not parents
    gc.collect()
    for _ in range(10):
        await anyio.lowlevel.checkpoint()
    assert (parents.abandoned, parents.closed) == (1, 0)
    await scoped.aclose()
    assert (own.abandoned, own.closed) == (0, 1)


def test_what_a_closed_event_loop_has_left_is_let_go():
    scoped, things = async_compat.Scoped(), []

    async def get():
        things.append(scoped.get(Thing))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(get())
    # Without the end of its generators.
    loop.close()
    asyncio.run(get())
    assert [(thing.abandoned, thing.closed) for thing in things] == [(1, 0), (0, 1)]


def test_what_two_threads_want_at_the_same_time_is_made_once():
    scoped = compat.Scoped()
    held = scoped._begin()

    class Lock:
        """One that another thread held until it had made the thing."""

        def __enter__(self):
            held.thing = "the other's"

        def __exit__(self, *_):
            pass

    held.lock = Lock()
    assert scoped.get(lambda: "mine") == "the other's"
