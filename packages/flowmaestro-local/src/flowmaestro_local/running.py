"""A server while it runs: its thread, its event loop, its socket."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Callable, Optional, Protocol

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from .clock import close_event_loop, new_event_loop
from .http import Protocol as HttpProtocol

__all__ = ["MakeSite", "Running", "Site", "listen"]

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
# How long a stop waits for responses in progress, such as the ends of event streams.
_DRAIN_SECONDS = 0.01
# Turns of the event loop in which an accepted connection becomes one of uvicorn's, and how often
# a stop looks for more of them.
_TURNS_TO_CONNECT = 10
_MOST_ROUNDS = 100
# How long tasks that still run after that have to end, once they are cancelled.
_CLEAN_UP_SECONDS = 1.0


class Site(Protocol):
    """What a server serves."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: an ASGI app."""
        ...

    async def stop(self) -> None:
        """End what runs, in the server's event loop; new requests are refused from now on."""
        ...

    def close(self) -> None:
        """Close what is left, once the server's thread has ended and nothing runs."""
        ...


# Makes a site in the server's thread; the event is set when the server stops.
MakeSite = Callable[[asyncio.Event], Site]


class Running:
    """A server that runs."""

    def __init__(self, make_site: MakeSite, sock: socket.socket) -> None:
        self._make_site = make_site
        self._site: Optional[Site] = None
        self._sock = sock
        host, port = sock.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.is_running = True
        self._is_stopped = False
        self._started = threading.Event()
        self._ended = threading.Event()
        self._problem: Optional[BaseException] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._stopping: Optional[asyncio.Event] = None
        self._thread = threading.Thread(target=self._work, name="flowmaestro-local", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_SECONDS):
            raise RuntimeError(f"the server did not start within {_START_SECONDS:g} s")
        if self._problem is not None:
            raise self._problem

    def __enter__(self) -> str:
        return self.url

    def __exit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the server; once it is stopped, do nothing."""
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._loop is not None and self._stopping is not None:
            # It may have ended by itself.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_SECONDS)
        if self._site is not None:
            self._site.close()

    def wait(self) -> None:
        """Wait until the server is stopped.

        Raises:
            RuntimeError: It ended by itself, which is a fault of it.
        """
        # Not by join(): before Python 3.13, one that Ctrl-C interrupts takes its thread for ended.
        while not self._ended.wait(0.2):
            pass
        if self._problem is not None:
            raise RuntimeError("the server has ended by itself") from self._problem

    def _work(self) -> None:
        # asyncio.run() would take a clock that the user's tests may have stopped.
        loop = new_event_loop()
        try:
            loop.run_until_complete(self._serve())
        except BaseException as problem:
            self._problem = problem
        finally:
            self.is_running = False
            self._started.set()
            self._sock.close()
            close_event_loop(loop, _CLEAN_UP_SECONDS)
            self._ended.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_ignore_resets)
        self._stopping = asyncio.Event()
        self._site = site = self._make_site(self._stopping)
        web = _Server(
            uvicorn.Config(
                site,
                http=HttpProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                log_level="critical",
                timeout_keep_alive=72,
                backlog=4096,
            )
        )
        serving = asyncio.ensure_future(web.serve(sockets=[self._sock]))
        listening = asyncio.ensure_future(web.is_listening.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
        self._started.set()
        stopped = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await _stop_listening(web.servers)
        await site.stop()
        await _close_connections(web.server_state)
        # uvicorn's own shutdown sleeps for 0.1 s at each of its steps. Nothing is left for it.
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


class _Server(uvicorn.Server):
    """uvicorn without its ticks, which ask the time ten times a second.

    Nor does it add headers then: each response has a date already, of a clock that tests may
    have stopped.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until the task is cancelled."""
        self.is_listening.set()
        await asyncio.Event().wait()


async def _stop_listening(listeners: Sequence[asyncio.AbstractServer]) -> None:
    """Accept no more connections.

    One that is being accepted while its listener is closed is lost by asyncio, and left open:
    its client would wait for ever. So those come to their end first.
    """
    loop = asyncio.get_running_loop()
    for listener in listeners:
        for sock in getattr(listener, "sockets", ()):
            loop.remove_reader(sock.fileno())
    for _ in range(_TURNS_TO_CONNECT):
        await asyncio.sleep(0)
    for listener in listeners:
        listener.close()


async def _close_connections(state: ServerState) -> None:
    """Close all connections; responses in progress get a moment to end."""
    if state.tasks:
        await asyncio.wait(state.tasks, timeout=_DRAIN_SECONDS)
    for _ in range(_MOST_ROUNDS):
        # A connection that was just accepted is known some turns of the event loop later.
        for _ in range(_TURNS_TO_CONNECT):
            await asyncio.sleep(0)
        if not state.connections:
            return
        for connection in list(state.connections):
            connection.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """Open the port.

    Raises:
        OSError: It is in use, or cannot be listened on; the message says what to do.
        ValueError: There is no such port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY on accepted sockets. Without it, each
    # response waits 40 ms for the client to acknowledge its headers.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A port whose last connections are still being closed can be used again at once.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(4096)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            message = (
                f"port {port} on {host} is in use: stop what listens there, or choose another "
                "port (0 takes a free one)"
            )
        else:
            message = f"cannot listen on port {port} of {host}: {exc.strerror}"
        raise OSError(exc.errno, message) from None
    except OverflowError:
        sock.close()
        raise ValueError(f"a port is a number from 0 to 65535, not {port}") from None
    return sock


def _ignore_resets(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of connections that were cut, which is what faults do."""
    if not isinstance(context.get("exception"), (ConnectionError, asyncio.CancelledError)):
        loop.default_exception_handler(context)
