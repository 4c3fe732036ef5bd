"""Stands between clients and a server, and is away for a while when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Optional

__all__ = ["WAYS", "Gateway"]

# How an API is away: its process is stopped and nothing listens; connections are made and
# broken; a proxy answers in its place.
WAYS = {
    "stopped": "connections refused",
    "reset": "connections reset",
    "502": "502 of a proxy",
    "503": "503 of a proxy",
}

# The kernel sends a reset, and not the usual end, for a socket that is closed with this.
_RESET = struct.pack("ii", 1, 0)

_PAGE = b"<html>the API is away</html>"


class Gateway:
    """Forwards connections to a port of this machine.

    ``with Gateway(port) as gateway`` gives one whose address, ``gateway.url``, stays the same
    while it is away and back again.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._way: Optional[str] = None
        self._open: set[asyncio.StreamWriter] = set()
        self._server: Optional[asyncio.AbstractServer] = None
        self._listens = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Gateway:
        self._thread.start()
        if not self._listens.wait(60):
            raise TimeoutError("the gateway does not listen")
        return self

    def __exit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join(60)

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self._port}"

    def go(self, way: str) -> None:
        """Break all connections, and be away in one of ``WAYS``."""
        self._do(self._go(way))

    def come_back(self) -> None:
        """Forward connections again."""
        self._way = None
        if self._server is None:
            self._do(self._listen(self._port))

    def _do(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)  # type: ignore[arg-type]

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_over = asyncio.Event()
        await self._listen(0)
        self._listens.set()
        await self._is_over.wait()
        await self._go("stopped")

    async def _listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _go(self, way: str) -> None:
        self._way = way
        if way == "stopped" and self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            if way == "stopped":
                # The end of a process closes what it has open.
                writer.close()
            else:
                _reset(writer)
        await asyncio.sleep(0)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._way is None:
                await self._forward(reader, writer)
            elif self._way == "reset":
                _reset(writer)
            else:
                await reader.readuntil(b"\r\n\r\n")
                head = f"HTTP/1.1 {self._way} Away\r\nContent-Length: {len(_PAGE)}\r\n"
                writer.write(head.encode() + b"Connection: close\r\n\r\n" + _PAGE)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            # Whichever side is gone, the other one is told by the end of its connection.
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            there = asyncio.ensure_future(_copy(reader, to_server))
            back = asyncio.ensure_future(_copy(server, writer))
            done = asyncio.FIRST_COMPLETED
            _, running = await asyncio.wait([there, back], return_when=done)
            for task in running:
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        finally:
            to_server.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(65536):
        target.write(chunk)
        await target.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
