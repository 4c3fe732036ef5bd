"""The embedded server: what is registered on it, starting it, stopping it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Optional, TypeVar, Union

import uvicorn

from .access import ALL_SCOPES, PREFIX, Access
from .api import Api
from .app import make_app
from .bus import Bus
from .deliveries import Deliveries
from .engine import Engine
from .faults import Faults
from .http import Protocol
from .records import ApiKey, ExecutionRecord, MessageRecord, RecordedRequest, WebhookRecord
from .registry import Agent, KnowledgeBase, Registry, Trigger, Workflow, check_handler
from .store import Store

__all__ = ["LocalServer", "Running"]

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

DIALECTS = ("wire", "documented")

# Requests that are kept for tests to look at.
_KEPT_REQUESTS = 100_000
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0


class LocalServer:
    """A FlowMaestro of your own, on this machine, with your functions as its workflows.

    Args:
        dialect: ``"wire"`` answers as the public backend really does, with the event
            stream that stays silent and no token streaming; ``"documented"`` as its
            documentation says.
        path: An SQLite file that keeps executions, threads and messages; in memory
            where it is left out.
        live_events: In the wire dialect, let events come through the stream all the
            same, in the backend's words.
        keepalive: Seconds between two comments in a silent stream.
        per_minute: Requests a minute for keys that were not added with their own limit.
        per_day: Requests a day, likewise.
        max_running: Executions at the same time; others are pending.
        max_body_bytes: Longer request bodies are refused.
        webhook_pauses: Seconds before each retry of a delivery. The public backend waits
            for minutes.
        seed: For the faults that happen by chance.

    Attributes:
        faults: Faults on demand; see ``Faults.add``.

    Raises:
        ValueError: There is no such dialect, or a number makes no sense.

    Example:
        A workflow, and a client that runs it::

            server = LocalServer()

            @server.workflow("wf_123")
            def greet(inputs, run):
                return {"greeting": f"Hello {inputs['name']}"}

            with server.start() as url:
                client = FlowMaestroClient(api_key="fm_live_local", base_url=url)
                print(client.run("wf_123", {"name": "Ada"})["outputs"])
    """

    def __init__(
        self,
        *,
        dialect: str = "wire",
        path: Union[str, os.PathLike[str], None] = None,
        live_events: bool = False,
        keepalive: float = 30.0,
        per_minute: int = 1_000_000,
        per_day: int = 10_000_000,
        max_running: int = 1_000,
        max_body_bytes: int = 10_000_000,
        webhook_pauses: Sequence[float] = (0.1, 0.2, 0.4, 0.8),
        seed: int = 0,
    ) -> None:
        if dialect not in DIALECTS:
            raise ValueError(f"there is no dialect {dialect!r}; use {' or '.join(DIALECTS)}")
        for name, number in (
            ("keepalive", keepalive),
            ("per_minute", per_minute),
            ("per_day", per_day),
            ("max_running", max_running),
            ("max_body_bytes", max_body_bytes),
        ):
            if not number > 0:
                raise ValueError(f"{name} must be more than 0, not {number}")
        self.dialect = dialect
        self.faults = Faults(seed)
        self._live_events = live_events
        self._keepalive = keepalive
        self._max_running = max_running
        self._max_body_bytes = max_body_bytes
        self._webhook_pauses = webhook_pauses
        self._path = None if path is None else Path(path)
        self._registry = Registry()
        self._access = Access(per_minute, per_day)
        self._webhooks: dict[str, WebhookRecord] = {}
        self._requests: deque[RecordedRequest] = deque(maxlen=_KEPT_REQUESTS)
        self._store = Store(self._path)
        self._running: Optional[Running] = None

    # What is registered

    def workflow(
        self,
        workflow_id: str,
        *,
        name: Optional[str] = None,
        description: Optional[str] = None,
        inputs: Optional[Mapping[str, Mapping[str, Any]]] = None,
    ) -> Callable[[HandlerT], HandlerT]:
        """Make a function a workflow.

        The function is called with ``(inputs, run)``, or fewer from the left, and returns
        the outputs. It may be plain (it runs in a thread), a coroutine function, or a
        generator, whose yields are told as ``node:stream``. If it raises, the execution
        fails with the exception's text.

        Args:
            workflow_id: The id by which clients run it.
            name: Its name; the function's where it is left out.
            description: Its description.
            inputs: What ``workflows.get`` says it takes.

        Raises:
            TypeError: The function cannot be called so.
            ValueError: The id is empty or taken.
        """

        def register(handler: HandlerT) -> HandlerT:
            check_handler(handler, f"workflow {workflow_id!r}", ("inputs", "run"))
            shown = None if inputs is None else {key: dict(one) for key, one in inputs.items()}
            title = name or _title(handler)
            workflow = Workflow(workflow_id, title, description, shown, handler)
            self._registry.add("workflow", self._registry.workflows, workflow)
            return handler

        return register

    def broken_workflow(self, workflow_id: str, *, name: str = "Broken") -> None:
        """Register a workflow that cannot be run, as one without nodes on the backend.

        Raises:
            ValueError: The id is empty or taken.
        """
        workflow = Workflow(workflow_id, name, None, None, None)
        self._registry.add("workflow", self._registry.workflows, workflow)

    def agent(
        self,
        agent_id: str,
        *,
        name: Optional[str] = None,
        description: Optional[str] = None,
        model: str = "gpt-4o",
        provider: str = "openai",
        system_prompt: Optional[str] = None,
        temperature: float = 0.7,
        max_tokens: int = 4000,
        tools: Iterable[Mapping[str, Any]] = (),
    ) -> Callable[[HandlerT], HandlerT]:
        """Make a function an agent.

        The function is called with ``(message, history)``, or fewer from the left;
        ``history`` is a list of ``{"role", "content"}``. It returns the answer, or yields
        its tokens, and may be a coroutine function or an asynchronous generator. If it
        raises, the answer fails with the exception's text.

        Args:
            agent_id: The id by which clients talk to it.
            name: Its name; the function's where it is left out.
            description: Its description.
            model: What ``agents.get`` says it runs on.
            provider: Likewise.
            system_prompt: Likewise.
            temperature: Likewise.
            max_tokens: Likewise.
            tools: Likewise: ``id``, ``name``, ``description``, ``type`` of each.

        Raises:
            TypeError: The function cannot be called so.
            ValueError: The id is empty or taken.
        """

        def register(handler: HandlerT) -> HandlerT:
            check_handler(handler, f"agent {agent_id!r}", ("message", "history"))
            agent = Agent(
                agent_id,
                name or _title(handler),
                description,
                handler,
                model,
                provider,
                system_prompt,
                temperature,
                max_tokens,
                [dict(tool) for tool in tools],
            )
            self._registry.add("agent", self._registry.agents, agent)
            return handler

        return register

    def knowledge_base(
        self,
        knowledge_base_id: str,
        *,
        name: str = "Knowledge base",
        description: Optional[str] = None,
        documents: Optional[Mapping[str, str]] = None,
        chunk_size: int = 1000,
        chunk_overlap: int = 200,
    ) -> KnowledgeBase:
        """Register a knowledge base; its ``add`` takes more documents.

        Searches rank by the words in common (BM25), not by meaning.

        Args:
            knowledge_base_id: The id by which clients search it.
            name: Its name.
            description: Its description.
            documents: Names and texts.
            chunk_size: Characters of a chunk, at most.
            chunk_overlap: Characters that a chunk shares with the one before.

        Raises:
            ValueError: The id is empty or taken, or the sizes make no sense.
        """
        if not 0 <= chunk_overlap < chunk_size:
            raise ValueError("chunk_size must be more than chunk_overlap, which is 0 or more")
        base = KnowledgeBase(knowledge_base_id, name, description, chunk_size, chunk_overlap)
        self._registry.add("knowledge base", self._registry.knowledge_bases, base)
        for title, text in (documents or {}).items():
            base.add(title, text)
        return base

    def trigger(
        self,
        trigger_id: str,
        workflow_id: str,
        *,
        name: str = "Trigger",
        trigger_type: str = "manual",
        enabled: bool = True,
    ) -> Trigger:
        """Register a trigger of a workflow that is registered.

        Raises:
            ValueError: The id is empty or taken, or there is no such workflow.
        """
        if workflow_id not in self._registry.workflows:
            raise ValueError(f"there is no workflow {workflow_id!r}; register it first")
        trigger = Trigger(trigger_id, workflow_id, name, trigger_type, enabled)
        self._registry.add("trigger", self._registry.triggers, trigger)
        return trigger

    def add_key(
        self,
        key: str,
        *,
        scopes: Optional[Iterable[str]] = None,
        per_minute: Optional[int] = None,
        per_day: Optional[int] = None,
        expired: bool = False,
        revoked: bool = False,
    ) -> None:
        """Make a key known. From then on only known keys are good.

        Args:
            key: The key; it begins with ``fm_live_``.
            scopes: What it may do; everything where they are left out.
            per_minute: Its own limit.
            per_day: Its own limit.
            expired: Refuse it as expired.
            revoked: Refuse it as revoked.

        Raises:
            ValueError: The key has another form, or there is no such scope.
        """
        if not key.startswith(PREFIX):
            raise ValueError(f"a key begins with {PREFIX}")
        chosen = None if scopes is None else frozenset(scopes)
        unknown = (chosen or frozenset()) - ALL_SCOPES
        if unknown:
            raise ValueError(
                f"there is no scope {', '.join(sorted(unknown))}; "
                f"there are {', '.join(sorted(ALL_SCOPES))}"
            )
        access = self._access
        access.keys[key] = ApiKey(
            key,
            chosen,
            per_minute or access.per_minute,
            per_day or access.per_day,
            expired,
            revoked,
        )

    # What happened

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request that came, the oldest first."""
        return list(self._requests)

    @property
    def executions(self) -> list[ExecutionRecord]:
        """Every execution as it stands, the oldest first."""
        return [replace(record) for record in list(self._store.executions.values())]

    def messages(self, thread_id: str) -> list[MessageRecord]:
        """Every message of a thread, the oldest first."""
        return list(self._store.messages.get(thread_id, []))

    # Starting and stopping

    def start(self, port: int = 0, host: str = "127.0.0.1") -> Running:
        """Start the server in a thread of its own.

        Args:
            port: Where to listen; 0 takes a free one.
            host: The address to listen on.

        Returns:
            What runs: a context manager that gives the URL and stops the server at its
            end, with ``url`` and ``stop()`` to do so by hand.

        Raises:
            RuntimeError: The server runs already.
            OSError: The port is in use.
        """
        if self._running is not None:
            raise RuntimeError(f"this server runs already, at {self._running.url}")
        sock = _listen(host, port)
        if self._store.is_closed:
            self._store = Store(self._path)
        self._running = Running(self, sock)
        return self._running

    @property
    def url(self) -> str:
        """Where the server is.

        Raises:
            RuntimeError: It does not run.
        """
        if self._running is None:
            raise RuntimeError("this server does not run; call start()")
        return self._running.url

    def stop(self) -> None:
        """Stop the server, with the streams and executions that are open."""
        if self._running is not None:
            self._running.stop()


class Running:
    """A server that runs."""

    def __init__(self, server: LocalServer, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        host, port = sock.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
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
        if self._server._running is not self:
            return
        self._server._running = None
        if self._loop is not None and self._stopping is not None:
            # It may have ended by itself.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_SECONDS)
        self._server._store.close()

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
        server = self._server
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_ignore_resets)
        self._stopping = asyncio.Event()
        bus = Bus()
        deliveries = Deliveries(server._webhooks, server._webhook_pauses)
        engine = Engine(
            server._registry,
            server._store,
            bus,
            max_running=server._max_running,
            tell_webhooks=deliveries.tell,
        )
        api = Api(
            server._registry,
            server._store,
            bus,
            engine,
            server._access,
            server._webhooks,
            deliveries,
            documented=server.dialect == "documented",
            live_events=server._live_events,
            keepalive=server._keepalive,
            max_body_bytes=server._max_body_bytes,
            stopping=self._stopping,
        )
        web = uvicorn.Server(
            uvicorn.Config(
                make_app(api, server.faults, server._requests),
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
        self._started.set()
        stopped = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await engine.stop()
        await deliveries.stop()
        web.should_exit = True
        await asyncio.sleep(0.01)
        for connection in list(web.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await serving


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
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


def _title(handler: object) -> str:
    return str(getattr(handler, "__name__", "workflow")).replace("_", " ").strip().capitalize()


def _ignore_resets(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of connections that were cut, which is what faults do."""
    if not isinstance(context.get("exception"), (ConnectionError, asyncio.CancelledError)):
        loop.default_exception_handler(context)
