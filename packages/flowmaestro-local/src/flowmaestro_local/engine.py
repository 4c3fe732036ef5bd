"""Runs handlers: workflows to their end, agents to their answer."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Callable, Optional, cast

from .answers import Refusal
from .bus import Bus
from .records import ExecutionRecord, MessageRecord, ThreadRecord, new_id, now
from .registry import Agent, Registry, Workflow, call
from .run import ExecutionCancelled, Run, event, exc_type_name
from .store import Store

__all__ = ["AgentFailed", "Engine"]

# Executions that wait for their turn; one more is refused.
_MAX_WAITING = 10_000

Tell = Callable[[str, dict[str, Any]], None]


class AgentFailed(Exception):
    """An agent's handler raised."""


class Engine:
    """Used in the server's own thread, except where it hands work to others."""

    def __init__(
        self, registry: Registry, store: Store, bus: Bus, *, max_running: int, tell_webhooks: Tell
    ) -> None:
        self._registry = registry
        self._store = store
        self._bus = bus
        self._tell_webhooks = tell_webhooks
        self._turns = asyncio.Semaphore(max_running)
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._answers: set[asyncio.Task[str]] = set()
        self._loop = asyncio.get_running_loop()

    def start(
        self, workflow: Workflow, inputs: dict[str, Any], trigger_id: Optional[str] = None
    ) -> ExecutionRecord:
        """Start a workflow; it runs on.

        Raises:
            Refusal: The workflow cannot be run, or too many are waiting.
        """
        if len(self._runs) >= _MAX_WAITING:
            raise Refusal(503, "service_unavailable", "Too many executions are waiting.")
        record = ExecutionRecord(new_id(), workflow.id, inputs, trigger_id=trigger_id)
        self._store.save(record)
        if workflow.handler is None:
            raise Refusal(
                500, "execution_failed", f"No executable nodes found for workflow: {workflow.name}"
            )
        run = Run(
            record.id,
            workflow.id,
            lambda told: self._in_loop(lambda: self._publish(record, told)),
            lambda status: self._in_loop(lambda: self._set_status(record, status)),
        )
        task = self._loop.create_task(self._execute(record, workflow, run))
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
        """End everything that runs."""
        tasks: list[asyncio.Task[Any]] = list(self._answers)
        for run, task in list(self._runs.values()):
            run.cancel()
            tasks.append(task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _execute(self, record: ExecutionRecord, workflow: Workflow, run: Run) -> None:
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
            assert workflow.handler is not None
            try:
                # A copy, so that what the handler does to it is not what was sent.
                inputs = json.loads(json.dumps(record.inputs))
                outputs = await self._outputs(workflow.handler, inputs, run)
            except ExecutionCancelled:
                return
            except Exception as problem:
                self._end(record, "failed", error=str(problem) or exc_type_name(problem))
            else:
                self._end(record, "completed", outputs=outputs)

    async def _outputs(self, handler: Callable[..., Any], inputs: Any, run: Run) -> dict[str, Any]:
        def stream(chunk: Any) -> None:
            run.emit("node:stream", node_id="handler", chunk=chunk)

        result = await self._result(handler, stream, inputs, run)
        outputs: dict[str, Any] = {"result": result}
        if result is None or isinstance(result, dict):
            outputs = cast("Any", result) or {}
        try:
            json.dumps(outputs, allow_nan=False)
        except (TypeError, ValueError) as why:
            raise TypeError(f"the handler returned what JSON cannot carry: {why}") from None
        return outputs

    async def _result(
        self, handler: Callable[..., Any], stream: Callable[[Any], None], *arguments: Any
    ) -> Any:
        """Call a handler of any kind; what it yields is streamed, what it returns is given."""
        if inspect.iscoroutinefunction(handler):
            return await call(handler, *arguments)
        if inspect.isasyncgenfunction(handler):
            chunks: AsyncIterator[Any] = call(handler, *arguments)
            async for chunk in chunks:
                stream(chunk)
            return None

        def in_thread() -> Any:
            result = call(handler, *arguments)
            if not inspect.isgenerator(result):
                return result
            while True:
                try:
                    stream(next(result))
                except StopIteration as end:
                    return end.value

        result = await self._thread(in_thread)
        return await result if inspect.isawaitable(result) else result

    def _thread(self, function: Callable[[], Any]) -> Awaitable[Any]:
        """Run a function in a thread of its own, which does not keep the process alive."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def settle(result: Any, problem: Optional[BaseException]) -> None:
            if future.done():
                return
            if problem is None:
                future.set_result(result)
            else:
                future.set_exception(problem)

        def work() -> None:
            try:
                result, problem = function(), None
            except BaseException as raised:
                result, problem = None, raised
            self._in_loop(lambda: settle(result, problem))

        threading.Thread(target=work, name="flowmaestro-local-handler", daemon=True).start()
        return future

    def _in_loop(self, action: Callable[[], None]) -> None:
        """Do something in the server's thread; nothing if the server has stopped."""
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _set_status(self, record: ExecutionRecord, status: str) -> None:
        if not record.is_over:
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
        self._tell_webhooks(kind, data)

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

        def stream(token: Any) -> None:
            tokens.append(str(token))
            self._in_loop(lambda: tell("message:token", token=str(token)))

        identity = {"thread_id": thread.id, "agent_id": agent.id, "agent_name": agent.name}
        started = now()
        facts = {**identity, "status": "running", "started_at": started}
        self._tell_webhooks("agent.execution.started", facts)
        tell("message:started")
        try:
            text = await self._result(agent.handler, stream, content, history)
        except Exception as problem:
            error = str(problem) or exc_type_name(problem)
            # Behind the tokens, which other threads may just have told.
            await asyncio.sleep(0)
            tell("message:failed", error=error)
            failed = {"status": "failed", "completed_at": now(), "error": error}
            self._tell_webhooks("agent.execution.failed", {**facts, **failed})
            raise AgentFailed(error) from None
        await asyncio.sleep(0)
        answer = "".join(tokens)
        if text is not None:
            if not tokens:
                stream(text)
                await asyncio.sleep(0)
            answer = str(text)
        if thread.id in self._store.threads:
            self._post(thread, "assistant", answer)
        tell("message:completed", content=answer)
        done = {"status": "completed", "completed_at": now()}
        self._tell_webhooks("agent.execution.completed", {**facts, **done})
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
        )
        return message
