"""The network below httpx's transports, which sees a response that comes early.

httpcore writes a whole request and then reads. A server that refuses a large body responds
while it is still being sent, and closes: the response is then lost with the connection. The
streams here look for it while they write.

httpx has no way to hand a network in, so it is put below a transport that is made; where a
release of httpx keeps it elsewhere, the transport stays as it is.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, Optional
from weakref import WeakSet

import anyio
import httpcore

from .clock import monotonic
from .sockets import release

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AsyncNetwork", "Network"]

# Bytes that are written without looking for a response: they fit into the buffers.
_SMALL = 64 * 1024

# Bytes that are written between two looks: as many as TLS sends in one record.
_PIECE = 16 * 1024

_READ_BYTES = 64 * 1024

# Seconds for writing what is left when a response has come.
_LAST_WRITE = 0.05

# Seconds that a selector can wait on every system.
_LONGEST_WAIT = 1_000_000.0


def _is_final(early: bytes) -> bool:
    """Say whether a final response has begun, and not only interim ones (1xx)."""
    while early[:7] == b"HTTP/1." and early[8:10] == b" 1":
        _, found, early = early.partition(b"\r\n\r\n")
        if not found:
            return False
    return len(early) > 9


class _Network:
    """The connections of one client, over all of its transports."""

    def __init__(self) -> None:
        self._streams: WeakSet[Any] = WeakSet()

    def abandon(self) -> None:
        """Release every connection."""
        for stream in list(self._streams):
            release(stream)

    def _put_below(self, transport: object, kind: type, backend: Any) -> None:
        pool: Any = getattr(transport, "_pool", None)
        inner = getattr(pool, "_network_backend", None)
        if isinstance(inner, kind):
            pool._network_backend = backend(inner, self._streams)


class AsyncNetwork(_Network):
    """The network of an asynchronous client."""

    def put_below(self, transport: object) -> None:
        """Give a transport of httpx's this network."""
        self._put_below(transport, httpcore.AsyncNetworkBackend, _AsyncBackend)


class Network(_Network):
    """The network of a synchronous client."""

    def put_below(self, transport: object) -> None:
        """Give a transport of httpx's this network."""
        self._put_below(transport, httpcore.NetworkBackend, _Backend)
        pool: Any = getattr(transport, "_pool", None)
        if hasattr(pool, "_optional_thread_lock"):
            # httpcore's is written in Python: an exception that is set in the thread between
            # its taking and the block that gives it back leaves it taken for ever.
            pool._optional_thread_lock = threading.Lock()


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, inner: httpcore.AsyncNetworkBackend, streams: WeakSet[Any]) -> None:
        self._inner = inner
        self._streams = streams

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Optional[float] = None,
        local_address: Optional[str] = None,
        socket_options: Optional[Iterable[Any]] = None,
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(
            await self._inner.connect_tcp(host, port, timeout, local_address, socket_options),
            self._streams,
        )

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream, streams: WeakSet[Any]) -> None:
        self._inner = inner
        self._streams = streams
        # What came while a request was written.
        self._early = b""
        # A second handle of the connection, after a large request and until the next one.
        # When a connection breaks, the event loop drops what came before; here it can be had.
        self._spare: Optional[socket.socket] = None
        streams.add(self)

    async def read(self, max_bytes: int, timeout: Optional[float] = None) -> bytes:
        if self._early:
            data, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return data
        try:
            return await self._inner.read(max_bytes, timeout)
        except httpcore.ReadError:
            if self._spare is None:
                raise
            try:
                return self._spare.recv(max_bytes)
            except OSError:
                pass
            raise

    async def write(self, buffer: bytes, timeout: Optional[float] = None) -> None:
        if not buffer:
            # The end of a body, which may have no bytes of its own.
            return
        self._close_spare()
        if len(buffer) <= _SMALL:
            await self._inner.write(buffer, timeout)
        else:
            await self._write_and_watch(buffer, timeout)

    async def aclose(self) -> None:
        self._close_spare()
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(
            await self._inner.start_tls(ssl_context, server_hostname, timeout), self._streams
        )

    async def _write_and_watch(self, buffer: bytes, timeout: Optional[float]) -> None:
        """Write, and end as soon as there is a response.

        Raises:
            httpcore.WriteError: There is a response, or the connection broke. httpcore then
                reads the response.
        """
        self._spare = self._second_handle()
        written = anyio.Event()
        problem: Optional[Exception] = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, group.cancel_scope, written)
            try:
                for start in range(0, len(buffer), _SMALL):
                    await self._inner.write(buffer[start : start + _SMALL], timeout)
                written.set()
            except Exception as raised:
                # Raised outside of the task group, which would wrap it.
                problem = raised
            group.cancel_scope.cancel()
        if problem is not None:
            raise problem
        if not written.is_set():
            raise httpcore.WriteError("the server responded before it had the whole request")

    async def _watch(self, writing: anyio.CancelScope, written: anyio.Event) -> None:
        """Read while the request is written; end the writing at a response."""
        with contextlib.suppress(httpcore.NetworkError):
            while data := await self._inner.read(_READ_BYTES):
                self._early += data
                if _is_final(self._early):
                    # The server may have the whole request already.
                    with anyio.move_on_after(_LAST_WRITE):
                        await written.wait()
                        return
                    writing.cancel()
                    return

    def _close_spare(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def _second_handle(self) -> Optional[socket.socket]:
        """Give another handle of the connection, where its bytes are plain."""
        if self.get_extra_info("ssl_object") is not None:
            return None
        sock: Any = self.get_extra_info("socket")
        sock = getattr(sock, "_sock", sock)
        if not isinstance(sock, socket.socket):
            return None
        try:
            spare = sock.dup()
        except OSError:
            # As where the process has all the files that it may have.
            return None
        spare.setblocking(False)
        return spare


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend, streams: WeakSet[Any]) -> None:
        self._inner = inner
        self._streams = streams

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Optional[float] = None,
        local_address: Optional[str] = None,
        socket_options: Optional[Iterable[Any]] = None,
    ) -> httpcore.NetworkStream:
        return _Stream(
            self._inner.connect_tcp(host, port, timeout, local_address, socket_options),
            self._streams,
        )

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, streams: WeakSet[Any]) -> None:
        self._inner = inner
        self._streams = streams
        # What came while a request was written.
        self._early = b""
        streams.add(self)

    def read(self, max_bytes: int, timeout: Optional[float] = None) -> bytes:
        if self._early:
            data, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return data
        return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: Optional[float] = None) -> None:
        sock = None
        if len(buffer) > _SMALL:
            sock = self.get_extra_info("socket")
        # A tunnel of TLS in TLS has no socket that unpacks what it reads.
        packed = self.get_extra_info("ssl_object") is not None if sock is not None else False
        if isinstance(sock, socket.socket) and isinstance(sock, ssl.SSLSocket) == packed:
            self._write_and_watch(sock, memoryview(buffer), timeout)
        else:
            self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._streams)

    def _write_and_watch(
        self, sock: socket.socket, rest: memoryview, timeout: Optional[float]
    ) -> None:
        """Write, and end as soon as there is a response.

        Raises:
            httpcore.WriteError: There is a response, or the connection broke. httpcore then
                reads the response.
            httpcore.WriteTimeout: Nothing could be sent for so long.
        """
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        sock.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(sock, both)
            patience = _LONGEST_WAIT if timeout is None else min(timeout, _LONGEST_WAIT)
            late = monotonic() + patience
            while rest:
                ready = selector.select(max(late - monotonic(), 0.0))
                if not ready:
                    raise httpcore.WriteTimeout("the server does not take the request")
                if ready[0][1] & selectors.EVENT_READ:
                    if not self._look(sock):
                        selector.modify(sock, selectors.EVENT_WRITE)
                    if _is_final(self._early):
                        raise httpcore.WriteError(
                            "the server responded before it had the whole request"
                        )
                if ready[0][1] & selectors.EVENT_WRITE:
                    try:
                        sent = sock.send(rest[:_PIECE])
                    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                        continue
                    except OSError as broken:
                        raise httpcore.WriteError(str(broken)) from broken
                    rest = rest[sent:]
                    late = monotonic() + patience

    def _look(self, sock: socket.socket) -> bool:
        """Read what is there; False where nothing will come any more."""
        try:
            data = sock.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError as broken:
            raise httpcore.WriteError(str(broken)) from broken
        self._early += data
        return bool(data)
