"""Runs handlers: workflows to their end, agents to their answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Callable, Optional, cast

from .answers import Refusal
from .bus import Bus
from .clock import monotonic
from .handlers import ExecutionCancelled, HandlerFailed, HandlerThreads, json_copy
from .records import ExecutionRecord, MessageRecord, ThreadRecord, new_id, now
from .registry import Agent, Registry, Workflow
from .run import Run, event
from .store import Store

__all__ = ["AgentFailed", "Engine"]

# Executions that wait for their turn; one more is refused.
_MAX_WAITING = 10_000

# An event's type and data, and the tenant whose webhooks hear it.
Tell = Callable[[str, dict[str, Any], str], None]


class AgentFailed(Exception):
    """An agent's handler raised."""


class _Stopwatch:
    """How long a handler has run; time that its execution is paused does not count."""

    def __init__(self) -> None:
        self._counted = 0.0
        self._since: Optional[float] = monotonic()

    @property
    def seconds(self) -> float:
        """Seconds that it has run."""
        return self._counted + (0.0 if self._since is None else monotonic() - self._since)

    def restart(self) -> None:
        """Begin at 0."""
        self._counted, self._since = 0.0, monotonic()

    def set_running(self, is_running: bool) -> None:
        """Stop or go on."""
        self._counted = self.seconds
        self._since = monotonic() if is_running else None


class Engine:
    """Used in the server's own thread, except where it hands work to others."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        bus: Bus,
        *,
        max_running: int,
        handler_timeout: Optional[float],
        tell_webhooks: Tell,
    ) -> None:
        self._registry = registry
        self._store = store
        self._bus = bus
        self._tell_webhooks = tell_webhooks
        self._turns = asyncio.Semaphore(max_running)
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._answers: set[asyncio.Task[str]] = set()
        self._handler_timeout = handler_timeout
        self._is_stopped = False
        self._loop = asyncio.get_running_loop()
        self._handlers = HandlerThreads(self._loop)

    def start(
        self,
        workflow: Workflow,
        inputs: Any,
        trigger_id: Optional[str] = None,
        *,
        tenant: str = "",
    ) -> ExecutionRecord:
        """Start a workflow; it runs on.

        Raises:
            Refusal: The workflow cannot be run, or too many are waiting.
        """
        if self._is_stopped:
            raise Refusal(503, "service_unavailable", "The server is stopping.")
        if len(self._runs) >= _MAX_WAITING:
            raise Refusal(503, "service_unavailable", "Too many executions are waiting.")
        record = ExecutionRecord(
            new_id(), workflow.id, inputs, trigger_id=trigger_id, tenant=tenant
        )
        self._store.save(record)
        if workflow.handler is None:
            raise Refusal(
                500, "execution_failed", f"No executable nodes found for workflow: {workflow.name}"
            )
        stopwatch = _Stopwatch()
        run = Run(
            record.id,
            workflow.id,
            lambda told: self._in_loop(lambda: self._publish(record, told)),
            lambda status: self._in_loop(lambda: self._set_status(record, status, stopwatch)),
        )
        task = self._loop.create_task(self._execute(record, workflow, run, stopwatch))
        self._runs[record.id] = (run, task)
        task.add_done_callback(lambda _: self._runs.pop(record.id, None))
        return record

    def cancel(self, record: ExecutionRecord) -> None:
        """Cancel an execution that is not over; its handler is told."""
        self._end(record, "cancelled")
        running = self._runs.get(record.id)
        if running is not None:
            run, task = running
            run.cancel()
            task.cancel()

    async def answer(
        self,
        agent: Agent,
        thread: ThreadRecord,
        content: str,
        on_event: Optional[Callable[[dict[str, Any]], None]] = None,
    ) -> asyncio.Task[str]:
        """Post a message and let the agent answer; the answer goes on if nobody waits.

        Returns:
            The task of the answer, which gives its text or raises ``AgentFailed``.
        """
        history = [
            {"role": message.role, "content": message.content}
            for message in self._store.messages[thread.id]
        ]
        self._post(thread, "user", content)
        task = self._loop.create_task(self._answer(agent, thread, content, history, on_event))
        self._answers.add(task)
        task.add_done_callback(self._forget_answer)
        return task

    def _forget_answer(self, task: asyncio.Task[str]) -> None:
        self._answers.discard(task)
        if not task.cancelled():
            # Asked for, so that an answer that nobody waits for is not reported as lost.
            task.exception()

    async def stop(self) -> None:
        """End everything that runs; nothing is started from then on."""
        self._is_stopped = True
        tasks: list[asyncio.Task[Any]] = list(self._answers)
        for run, task in list(self._runs.values()):
            run.cancel()
            tasks.append(task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._handlers.stop()

    async def _execute(
        self, record: ExecutionRecord, workflow: Workflow, run: Run, stopwatch: _Stopwatch
    ) -> None:
        async with self._turns:
            record.started_at = now()
            record.status = "running"
            self._store.save(record)
            self._publish(
                record,
                event(
                    "execution:started",
                    record.id,
                    {"workflow_name": workflow.name, "total_nodes": 1},
                ),
            )
            self._tell_execution("execution.started", record)
            try:
                outputs = await self._outputs(record, workflow, run, stopwatch)
            except Exception as exc:
                if isinstance(exc, HandlerFailed) and exc.is_cancelled:
                    self._end(record, "cancelled")
                else:
                    self._end(record, "failed", error=str(exc))
            else:
                self._end(record, "completed", outputs=outputs)

    async def _outputs(
        self, record: ExecutionRecord, workflow: Workflow, run: Run, stopwatch: _Stopwatch
    ) -> dict[str, Any]:
        """Run a workflow's handler.

        Raises:
            HandlerFailed: It raised, returned what JSON cannot carry, or did not return in time.
        """

        def stream(chunk: Any) -> None:
            run.emit("node:stream", node_id="handler", chunk=chunk)

        assert workflow.handler is not None
        values = {
            # A copy, so that what the handler does to it is not what was sent.
            "inputs": json_copy(record.inputs, "inputs"),
            "run": run,
        }
        # Its turn may have come late.
        stopwatch.restart()
        handled = self._handlers.run(
            workflow.handler, workflow.arguments, values, stream, _outputs_of
        )
        try:
            return cast("dict[str, Any]", await self._in_time(handled, stopwatch))
        except HandlerFailed:
            # One that did not return in time is told at its next use of ``run``.
            run.cancel()
            raise

    async def _in_time(self, handled: Coroutine[Any, Any, Any], stopwatch: _Stopwatch) -> Any:
        """Wait for a handler, for as long as it may run.

        Raises:
            HandlerFailed: It raised, or did not return in time.
        """
        limit = self._handler_timeout
        task = self._loop.create_task(handled)
        try:
            while not task.done():
                remaining = None if limit is None else limit - stopwatch.seconds
                if remaining is not None and remaining <= 0:
                    break
                # While it is paused, what remains stays as it is, however little it is.
                pause = None if remaining is None else max(remaining, cast("float", limit) / 100)
                await asyncio.wait({task}, timeout=pause)
            if task.done():
                return task.result()
        finally:
            task.cancel()
        raise HandlerFailed(f"the handler has not returned after {limit:g} s; see handler_timeout")

    def _in_loop(self, action: Callable[[], None]) -> None:
        """Do something in the server's thread; nothing if the server has stopped."""
        # The loop is closed then.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(action)

    def _set_status(self, record: ExecutionRecord, status: str, stopwatch: _Stopwatch) -> None:
        if not record.is_over:
            stopwatch.set_running(status != "paused")
            record.status = status
            self._store.save(record)

    def _publish(self, record: ExecutionRecord, told: dict[str, Any]) -> None:
        # What a handler says after the end is not heard.
        if not record.is_over:
            self._bus.publish(record.id, told)

    def _end(
        self,
        record: ExecutionRecord,
        status: str,
        *,
        outputs: Optional[dict[str, Any]] = None,
        error: Optional[str] = None,
    ) -> None:
        if record.is_over:
            return
        fields = {"status": status, "outputs": outputs, "error": error}
        told = event(f"execution:{status}", record.id, fields)
        self._publish(record, told)
        record.status = status
        record.outputs = outputs
        record.error = error
        if status != "cancelled":
            # The backend leaves it empty for a cancelled one.
            record.completed_at = now()
        self._store.save(record)
        self._tell_execution(f"execution.{status}", record)

    def _tell_execution(self, kind: str, record: ExecutionRecord) -> None:
        data: dict[str, Any] = {
            "execution_id": record.id,
            "workflow_id": record.workflow_id,
            "workflow_name": self._registry.workflows[record.workflow_id].name,
            "status": record.status,
            "started_at": record.started_at,
        }
        for name in ("completed_at", "outputs", "error"):
            value = getattr(record, name)
            if value is not None:
                data[name] = value
        self._tell_webhooks(kind, data, record.tenant)

    async def _answer(
        self,
        agent: Agent,
        thread: ThreadRecord,
        content: str,
        history: list[dict[str, str]],
        on_event: Optional[Callable[[dict[str, Any]], None]],
    ) -> str:
        def tell(kind: str, **fields: Any) -> None:
            told = {"type": kind, "thread_id": thread.id, **fields}
            self._bus.publish(thread.id, told)
            if on_event is not None:
                on_event(told)

        tokens: list[str] = []
        is_over = threading.Event()

        def stream(token: Any) -> None:
            if is_over.is_set():
                # In time or not, nobody hears it any more.
                raise ExecutionCancelled(thread.id)
            text = _text_of(token)
            tokens.append(text)
            self._in_loop(lambda: tell("message:token", token=text))

        identity = {"thread_id": thread.id, "agent_id": agent.id, "agent_name": agent.name}
        started = now()
        facts = {**identity, "status": "running", "started_at": started}
        self._tell_webhooks("agent.execution.started", facts, thread.tenant)
        tell("message:started")
        values = {"message": content, "history": history}
        handled = self._handlers.run(
            agent.handler, agent.arguments, values, stream, _optional_text_of
        )
        try:
            reply: Optional[str] = await self._in_time(handled, _Stopwatch())
        except HandlerFailed as failed:
            # Behind the tokens, which other threads may just have told.
            await asyncio.sleep(0)
            tell("message:failed", error=str(failed))
            facts = {**facts, "status": "failed", "completed_at": now(), "error": str(failed)}
            self._tell_webhooks("agent.execution.failed", facts, thread.tenant)
            raise AgentFailed(str(failed)) from None
        finally:
            is_over.set()
        await asyncio.sleep(0)
        if reply is not None and not tokens:
            tell("message:token", token=reply)
        answer = "".join(tokens) if reply is None else reply
        if thread.id in self._store.threads:
            self._post(thread, "assistant", answer)
        tell("message:completed", content=answer)
        facts = {**facts, "status": "completed", "completed_at": now()}
        self._tell_webhooks("agent.execution.completed", facts, thread.tenant)
        return answer

    def _post(self, thread: ThreadRecord, role: str, content: str) -> MessageRecord:
        message = MessageRecord(new_id(), thread.id, role, content)
        self._store.save(message)
        thread.last_message_at = thread.updated_at = message.created_at
        self._store.save(thread)
        agent = self._registry.agents.get(thread.agent_id)
        self._tell_webhooks(
            "thread.message.created" if role == "user" else "thread.message.completed",
            {
                "thread_id": thread.id,
                "message_id": message.id,
                "agent_id": thread.agent_id,
                "agent_name": agent.name if agent is not None else "",
                "role": role,
                "content": content,
            },
            thread.tenant,
        )
        return message


def _outputs_of(result: Any) -> dict[str, Any]:
    """Make an execution's outputs of what its handler returned.

    Raises:
        TypeError: JSON cannot carry it.
    """
    outputs: Any = {"result": result}
    if result is None or isinstance(result, dict):
        outputs = cast("Any", result) or {}
    return cast("dict[str, Any]", json_copy(outputs, "what the handler returned"))


def _optional_text_of(reply: Any) -> Optional[str]:
    return None if reply is None else _text_of(reply)


def _text_of(reply: Any) -> str:
    """Give what an agent's handler said, as text.

    Raises:
        TypeError: It has a text that cannot be sent.
    """
    return cast("str", json_copy(str(reply), "the agent's reply"))
