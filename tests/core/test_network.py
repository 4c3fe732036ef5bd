"""The network below a transport: timeouts, and writing beside reading."""

from __future__ import annotations

import contextlib
import socket
from weakref import WeakSet

import anyio
import httpcore
import httpx
import pytest

from flowmaestro_core.network import AsyncNetwork, Network, _AsyncStream

pytestmark = pytest.mark.anyio

BIG = b"x" * 1_000_000


class Stuck(httpcore.AsyncNetworkStream):
    """A connection on which nothing comes, and nothing can be sent."""

    def __init__(self, problem):
        self.problem = problem

    async def read(self, max_bytes, *_):
        await anyio.sleep_forever()

    async def write(self, buffer, *_):
        raise self.problem

    def get_extra_info(self, info):
        return None


@pytest.mark.parametrize("problem", [httpcore.WriteTimeout("late"), httpcore.WriteError("gone")])
async def test_what_ends_the_writing_of_a_large_request_is_raised_as_it_is(problem):
    """After a ``WriteError`` httpcore waits for a response; after others there is none."""
    stream = _AsyncStream(Stuck(problem), WeakSet())
    with anyio.fail_after(60):
        with pytest.raises(type(problem)) as caught:
            await stream.write(BIG)
    assert caught.value is problem


class Broken(httpcore.AsyncNetworkStream):
    """A connection that takes all and breaks, over one of two sockets."""

    def __init__(self):
        self.socket, self.other = socket.socketpair()

    async def read(self, max_bytes, *_):
        raise httpcore.ReadError("broken")

    async def write(self, buffer, *_):
        pass

    async def aclose(self):
        self.socket.close()
        self.other.close()

    def get_extra_info(self, info):
        return self.socket if info == "socket" else None


@pytest.mark.parametrize("has_come", [True, False])
async def test_what_came_before_a_connection_broke_is_read(has_come):
    inner = Broken()
    async with contextlib.AsyncExitStack() as stack:
        stream = _AsyncStream(inner, WeakSet())
        stack.push_async_callback(stream.aclose)
        await stream.write(BIG)
        if has_come:
            inner.other.sendall(b"HTTP/1.1 413")
            assert await stream.read(100) == b"HTTP/1.1 413"
        with pytest.raises(httpcore.ReadError, match="broken"):
            await stream.read(100)


class AsyncSilent(httpcore.AsyncNetworkBackend):
    """A network in which nobody responds."""

    async def connect_tcp(self, host, port, *others):
        raise httpcore.ConnectTimeout(f"after {others[0]} s")


class Silent(httpcore.NetworkBackend):
    """A network in which nobody responds."""

    def connect_tcp(self, host, port, *others):
        raise httpcore.ConnectTimeout(f"after {others[0]} s")


REQUEST = httpx.Request("GET", "http://a", extensions={"timeout": {"connect": 7.5}})


async def test_the_timeout_of_a_connection_is_kept():
    async with httpx.AsyncHTTPTransport() as transport:
        transport._pool._network_backend = AsyncSilent()
        AsyncNetwork().put_below(transport)
        with pytest.raises(httpx.ConnectTimeout, match=r"after 7\.5 s"):
            await transport.handle_async_request(REQUEST)


def test_the_timeout_of_a_connection_is_kept_in_threads():
    with httpx.HTTPTransport() as transport:
        transport._pool._network_backend = Silent()
        Network().put_below(transport)
        with pytest.raises(httpx.ConnectTimeout, match=r"after 7\.5 s"):
            transport.handle_request(REQUEST)
