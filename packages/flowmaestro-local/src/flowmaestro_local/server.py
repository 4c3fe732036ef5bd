"""The embedded server: what is registered on it, starting it, stopping it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar, Union

from .access import ALL_SCOPES, PREFIX, Access
from .faults import Faults
from .handlers import Arguments
from .recording import Recorder
from .records import ApiKey, ExecutionRecord, MemoryRecord, MessageRecord, RecordedRequest
from .registry import Agent, KnowledgeBase, Registry, Trigger, Workflow, check_handler
from .replaying import Replay
from .request_log import new_request_log
from .running import Running, listen
from .site import LocalSite, Parts
from .store import Store

__all__ = ["LocalServer"]

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

DIALECTS = ("wire", "documented")


class LocalServer:
    """A FlowMaestro of your own, on this machine, with your functions as its workflows.

    Args:
        dialect: ``"wire"`` answers as the public backend really does, with the event
            stream that stays silent and no token streaming; ``"documented"`` as its
            documentation says.
        path: An SQLite file that keeps executions, threads, messages and agents' memories;
            in memory where it is left out.
        live_events: In the wire dialect, let events come through the stream all the
            same, in the backend's words.
        keepalive: Seconds between two comments in a silent stream.
        per_minute: Requests a minute for keys that were not added with their own limit.
        per_day: Requests a day, likewise.
        max_running: Executions at the same time; others are pending.
        handler_timeout: Seconds after which a handler that has not returned fails its
            execution, or None for no bound. Time in which it is paused does not count.
        max_body_bytes: Longer request bodies are refused; 1 MiB, as on the public backend.
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
        handler_timeout: Optional[float] = 600.0,
        max_body_bytes: int = 1_048_576,
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
            ("handler_timeout", 1 if handler_timeout is None else handler_timeout),
            ("max_body_bytes", max_body_bytes),
        ):
            if not number > 0:
                raise ValueError(f"{name} must be more than 0, not {number}")
        self.dialect = dialect
        self.faults = Faults(seed)
        self._path = None if path is None else Path(path)
        self._registry = Registry()
        self._access = Access(per_minute, per_day)
        self._requests = new_request_log()
        self._parts = Parts(
            documented=dialect == "documented",
            live_events=live_events,
            keepalive=keepalive,
            max_running=max_running,
            handler_timeout=handler_timeout,
            max_body_bytes=max_body_bytes,
            webhook_pauses=webhook_pauses,
            registry=self._registry,
            access=self._access,
            requests=self._requests,
            faults=self.faults,
            store=Store(self._path),
        )
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

        The function takes ``inputs``, and ``run`` where it has a parameter of that name (or
        one that is annotated with ``Run``, or a second one without a default), and returns
        the outputs. It may be plain (it runs in a thread), a coroutine function, or a
        generator, whose yields are told as ``node:stream``. Whatever it raises,
        ``SystemExit`` included, the execution fails with the exception's text.

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
            arguments = check_handler(handler, f"workflow {workflow_id!r}", ("inputs", "run"))
            shown = None if inputs is None else {key: dict(one) for key, one in inputs.items()}
            title = name or _title(handler, "workflow")
            workflow = Workflow(workflow_id, title, description, shown, handler, arguments)
            self._registry.add("a workflow", self._registry.workflows, workflow)
            return handler

        return register

    def broken_workflow(self, workflow_id: str, *, name: str = "Broken") -> None:
        """Register a workflow that cannot be run, as one without nodes on the backend.

        Raises:
            ValueError: The id is empty or taken.
        """
        workflow = Workflow(workflow_id, name, None, None, None, Arguments((), {}))
        self._registry.add("a workflow", self._registry.workflows, workflow)

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

        The function takes ``message``, and ``history`` (a list of ``{"role", "content"}``)
        where it has a parameter of that name, or a second one without a default. It returns
        the answer, or yields its tokens, and may be a coroutine function or an asynchronous
        generator. Whatever it raises, the answer fails with the exception's text.

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
            arguments = check_handler(handler, f"agent {agent_id!r}", ("message", "history"))
            agent = Agent(
                agent_id,
                name or _title(handler, "agent"),
                description,
                handler,
                arguments,
                model,
                provider,
                system_prompt,
                temperature,
                max_tokens,
                [dict(tool) for tool in tools],
            )
            self._registry.add("an agent", self._registry.agents, agent)
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
        self._registry.add("a knowledge base", self._registry.knowledge_bases, base)
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
        self._registry.add("a trigger", self._registry.triggers, trigger)
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
        tenant: str = "",
    ) -> None:
        """Make a key known. From then on only known keys are good.

        Args:
            key: The key; it begins with ``fm_live_``.
            scopes: What it may do; everything where they are left out.
            per_minute: Its own limit.
            per_day: Its own limit.
            expired: Refuse it as expired.
            revoked: Refuse it as revoked.
            tenant: Whose key it is. Executions, threads, memories and webhooks belong to the
                tenant whose key made them, and are hidden from the keys of others.

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
            tenant,
        )

    # What happened

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request that came, the oldest first."""
        return list(self._requests)

    @property
    def executions(self) -> list[ExecutionRecord]:
        """Every execution as it stands, the oldest first."""
        return [replace(record) for record in list(self._parts.store.executions.values())]

    @property
    def threads(self) -> list[str]:
        """The id of every thread, the oldest first."""
        return list(self._parts.store.threads)

    def messages(self, thread_id: str) -> list[MessageRecord]:
        """Every message of a thread, the oldest first."""
        return list(self._parts.store.messages.get(thread_id, []))

    def memories(self, agent_id: str) -> list[MemoryRecord]:
        """What an agent remembers of each user, the last changed last."""
        memories = list(self._parts.store.memories.values())
        return [replace(memory) for memory in memories if memory.agent_id == agent_id]

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
        if self._running is not None and self._running.is_running:
            raise RuntimeError(f"this server runs already, at {self._running.url}")
        sock = listen(host, port)
        if self._parts.store.is_closed:
            self._parts.store = Store(self._path)
        self._running = Running(lambda stopping: LocalSite(self._parts, stopping), sock)
        return self._running

    # Recordings of a real API

    @staticmethod
    def record(cassette: Union[str, os.PathLike[str]], *, to: str) -> Recorder:
        """Stand between a program and an API, and write what passes to a cassette.

        API keys and secrets are masked in it. Webhooks are left alone: their deliveries go
        from the API to their receivers.

        Args:
            cassette: The file to write; one that is there is replaced.
            to: The API's address, as in ``"https://api.flowmaestro.ai"``.

        Returns:
            What records once it is started: ``start()`` gives the URL for the program.

        Raises:
            ValueError: ``to`` is not an address.
        """
        return Recorder(Path(cassette), to)

    @staticmethod
    def replay(cassette: Union[str, os.PathLike[str]]) -> Replay:
        """Answer as a cassette has it, without the API that it was recorded from.

        A request gets the response that the same request got; see ``Replay``.

        Args:
            cassette: The file that ``record`` wrote.

        Returns:
            A server: ``start()`` gives its URL, ``unused`` what was not asked for.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not a cassette.
        """
        return Replay(Path(cassette))

    @property
    def url(self) -> str:
        """Where the server is.

        Raises:
            RuntimeError: It does not run.
        """
        if self._running is None or not self._running.is_running:
            raise RuntimeError("this server does not run; call start()")
        return self._running.url

    def stop(self) -> None:
        """Stop the server, with the streams and executions that are open."""
        if self._running is not None:
            self._running.stop()


def _title(handler: object, kind: str) -> str:
    return str(getattr(handler, "__name__", kind)).replace("_", " ").strip().capitalize()
