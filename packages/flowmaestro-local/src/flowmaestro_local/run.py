"""What a workflow's handler is handed: a way to tell how it goes on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Callable, Optional

from .clock import monotonic, timestamp
from .handlers import ExecutionCancelled, error_message, json_copy

__all__ = ["ExecutionCancelled", "Node", "Run"]


class Run:
    """One execution, from its handler's side. Every method may be called from any thread.

    Attributes:
        execution_id: The execution's id.
        workflow_id: The workflow's id.
    """

    def __init__(
        self,
        execution_id: str,
        workflow_id: str,
        emit: Callable[[dict[str, Any]], None],
        set_status: Callable[[str], None],
    ) -> None:
        self.execution_id = execution_id
        self.workflow_id = workflow_id
        self._emit = emit
        self._set_status = set_status
        self._cancelled = threading.Event()
        self._nodes = 0
        # Those whose block runs, the innermost one last.
        self.open_nodes: list[Node] = []

    def cancel(self) -> None:
        """Let the handler know that the execution is cancelled."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """True once somebody has cancelled the execution."""
        return self._cancelled.is_set()

    def progress(self, percent: float) -> None:
        """Tell how far the execution is.

        Args:
            percent: From 0 to 100.

        Raises:
            ValueError: It is not from 0 to 100.
            ExecutionCancelled: The execution was cancelled.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"progress runs from 0 to 100, not to {percent}")
        self.emit("execution:progress", progress=percent)

    def node(self, name: str, *, type: str = "function", id: Optional[str] = None) -> Node:
        """Run a block as a node, with ``with`` or ``async with``.

        It tells ``node:started``, then ``node:completed`` or, for an exception,
        ``node:failed``.

        Args:
            name: The node's name.
            type: Its type, as in ``"http"``.
            id: Its id; counted where it is left out.
        """
        self._nodes += 1
        return Node(self, id or f"node_{self._nodes}", name, type)

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until the execution is cancelled.

        Raises:
            ExecutionCancelled: The execution was cancelled.
        """
        self._cancelled.wait(seconds)
        self.check_cancelled()

    def pause(self, reason: str = "") -> None:
        """Set the execution's status to ``paused``, as when it waits for a person."""
        self._set_status("paused")
        facts: dict[str, Any] = {}
        if reason:
            facts.update(reason=reason, pause_context={"description": reason})
        if self.open_nodes:
            node = self.open_nodes[-1]
            facts.update(paused_at_node_id=node.id, paused_at_node_name=node.name)
        self.emit("execution:paused", status="paused", **facts)

    def resume(self) -> None:
        """Set the execution's status back to ``running``."""
        self._set_status("running")
        self.emit("execution:resumed", status="running")

    def ask(self, prompt: str, *, node_id: str = "input", input_type: str = "text") -> None:
        """Tell that a person's answer is needed: ``user:input:required``."""
        self.emit("user:input:required", node_id=node_id, prompt=prompt, input_type=input_type)

    def check_cancelled(self) -> None:
        """Stop here if the execution was cancelled.

        Raises:
            ExecutionCancelled: It was.
        """
        if self._cancelled.is_set():
            raise ExecutionCancelled(self.execution_id)

    def emit(self, type: str, **fields: Any) -> None:
        """Tell any event, of a type of yours too.

        Raises:
            ExecutionCancelled: The execution was cancelled.
            TypeError: JSON cannot carry a field.
            ValueError: The type is empty or has a line break.
        """
        self.check_cancelled()
        if type.splitlines() != [type]:
            raise ValueError(f"an event's type must be one line, not {type!r}")
        told = event(type, self.execution_id, fields)
        self._emit(json_copy(told, f"the event {type!r}"))


class Node:
    """One node of an execution, while its block runs."""

    def __init__(self, run: Run, node_id: str, name: str, type: str) -> None:
        self.id = node_id
        self._run = run
        self.name = name
        self._type = type
        self._output: Any = None
        self._began = 0.0

    @property
    def _identity(self) -> dict[str, str]:
        return {"node_id": self.id, "node_name": self.name, "node_type": self._type}

    def output(self, value: Any) -> None:
        """Say what the node gives, for ``node:completed``."""
        self._output = value

    def stream(self, chunk: Any) -> None:
        """Tell a piece of the node's output: ``node:stream``."""
        self._run.emit("node:stream", node_id=self.id, chunk=chunk)

    def retry(self, attempt: int, error: str, next_retry_in: int = 0) -> None:
        """Tell that the node failed and is tried again: ``node:retry``."""
        self._run.emit(
            "node:retry", node_id=self.id, attempt=attempt, next_retry_in=next_retry_in, error=error
        )

    def __enter__(self) -> Node:
        self._began = monotonic()
        self._run.emit("node:started", **self._identity)
        self._run.open_nodes.append(self)
        return self

    def __exit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._run.open_nodes.remove(self)
        if exc is None:
            duration = round((monotonic() - self._began) * 1000)
            self._run.emit(
                "node:completed", **self._identity, output=self._output, duration=duration
            )
        elif not isinstance(exc, (ExecutionCancelled, GeneratorExit)):
            self._run.emit("node:failed", **self._identity, error=error_message(exc))

    async def __aenter__(self) -> Node:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.__exit__(exc_type, exc, traceback)


def event(type: str, execution_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Write an event in the documented words; a dialect may say it otherwise."""
    return {
        "type": type,
        "execution_id": execution_id,
        "timestamp": int(timestamp() * 1000),
        **fields,
    }
