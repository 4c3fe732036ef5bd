"""A server while it runs: its thread, its event loop, its socket."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Optional

import uvicorn
from uvicorn.server import ServerState

from .access import Access
from .api import Api
from .app import make_app
from .bus import Bus
from .deliveries import Deliveries
from .engine import Engine
from .faults import Faults
from .http import Protocol
from .records import RecordedRequest, WebhookRecord
from .registry import Registry
from .store import Store

__all__ = ["Parts", "Running", "listen"]

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
# How long a stop waits for responses in progress, such as the ends of event streams.
_DRAIN_SECONDS = 0.01


@dataclass
class Parts:
    """What a server is made of, whether it runs or not."""

    documented: bool
    live_events: bool
    keepalive: float
    max_running: int
    max_body_bytes: int
    webhook_pauses: Sequence[float]
    registry: Registry
    access: Access
    requests: deque[RecordedRequest]
    faults: Faults
    store: Store
    webhooks: dict[str, WebhookRecord] = field(default_factory=dict[str, WebhookRecord])


class Running:
    """A server that runs."""

    def __init__(self, parts: Parts, sock: socket.socket) -> None:
        self._parts = parts
        self._sock = sock
        host, port = sock.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.is_running = True
        self._started = threading.Event()
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
        if not self.is_running:
            return
        self.is_running = False
        if self._loop is not None and self._stopping is not None:
            # It may have ended by itself.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_SECONDS)
        self._parts.store.close()

    def wait(self) -> None:
        """Wait until the server is stopped."""
        while self._thread.is_alive():
            self._thread.join(0.2)

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as problem:
            self._problem = problem
        finally:
            self._started.set()
            self._sock.close()

    async def _serve(self) -> None:
        parts = self._parts
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_ignore_resets)
        self._stopping = asyncio.Event()
        bus = Bus()
        deliveries = Deliveries(parts.webhooks, parts.webhook_pauses)
        engine = Engine(
            parts.registry,
            parts.store,
            bus,
            max_running=parts.max_running,
            tell_webhooks=deliveries.tell,
        )
        api = Api(
            parts.registry,
            parts.store,
            bus,
            engine,
            parts.access,
            parts.webhooks,
            deliveries,
            documented=parts.documented,
            live_events=parts.live_events,
            keepalive=parts.keepalive,
            max_body_bytes=parts.max_body_bytes,
            stopping=self._stopping,
        )
        web = uvicorn.Server(
            uvicorn.Config(
                make_app(api, parts.faults, parts.requests),
                http=Protocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                log_level="critical",
                date_header=True,
                server_header=False,
                timeout_keep_alive=72,
                timeout_graceful_shutdown=1,
                backlog=4096,
            )
        )
        serving = asyncio.ensure_future(web.serve(sockets=[self._sock]))
        while not web.started and not serving.done():
            await asyncio.sleep(0.001)
        if serving.done():
            await serving
        self._started.set()
        stopped = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for listener in web.servers:
            listener.close()
        await engine.stop()
        parts.store.fail_interrupted()
        await deliveries.stop()
        await _close_connections(web.server_state)
        # uvicorn's own shutdown sleeps for 0.1 s at each of its steps. Nothing is left for it.
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _close_connections(state: ServerState) -> None:
    """Close all connections; responses in progress get a moment to end."""
    if state.tasks:
        await asyncio.wait(state.tasks, timeout=_DRAIN_SECONDS)
    for connection in list(state.connections):
        transport = getattr(connection, "transport", None)
        if transport is not None:
            transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """Open the port.

    Raises:
        OSError: It is in use; the message says what to do.
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
    except OSError as problem:
        sock.close()
        if problem.errno != errno.EADDRINUSE:
            raise
        message = (
            f"port {port} on {host} is in use: stop what listens there, or choose another "
            "port (0 takes a free one)"
        )
    else:
        return sock
    raise OSError(errno.EADDRINUSE, message)


def _ignore_resets(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of connections that were cut, which is what faults do."""
    if not isinstance(context.get("exception"), (ConnectionError, asyncio.CancelledError)):
        loop.default_exception_handler(context)
