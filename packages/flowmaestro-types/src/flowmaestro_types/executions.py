"""Executions of workflows, and the events that tell how one goes on.

``ExecutionEvent`` is a union that narrows on ``event["type"]``::

    if event["type"] == "execution:completed":
        print(event["outputs"])
"""

from __future__ import annotations

from typing import Any, Literal, Optional, Union

from ._typing import NotRequired, TypedDict
from .enums import ExecutionStatus

__all__ = [
    "CancelResult",
    "ConnectedEvent",
    "Execution",
    "ExecutionCancelledEvent",
    "ExecutionCompletedEvent",
    "ExecutionEvent",
    "ExecutionFailedEvent",
    "ExecutionPausedEvent",
    "ExecutionProgressEvent",
    "ExecutionStartedEvent",
    "NodeCompletedEvent",
    "NodeFailedEvent",
    "NodeRetryEvent",
    "NodeStartedEvent",
    "NodeStreamEvent",
    "TerminalExecutionEvent",
    "UserInputRequiredEvent",
]


class Execution(TypedDict):
    """One run of a workflow."""

    id: str
    workflow_id: str
    status: Union[ExecutionStatus, str]
    inputs: dict[str, Any]
    outputs: Optional[dict[str, Any]]
    error: Optional[str]
    started_at: Optional[str]
    completed_at: Optional[str]
    created_at: str


class CancelResult(TypedDict):
    """What ``cancel`` answers."""

    id: str
    status: Union[ExecutionStatus, str]
    message: NotRequired[str]


class _Event(TypedDict):
    execution_id: str
    # Milliseconds since 1970, where the backend sends it.
    timestamp: NotRequired[int]


class ConnectedEvent(_Event):
    """The stream is open; ``status`` is the execution's at that moment."""

    type: Literal["connected"]
    status: NotRequired[Union[ExecutionStatus, str]]


class ExecutionStartedEvent(_Event):
    """The first node is about to run."""

    type: Literal["execution:started"]
    workflow_name: NotRequired[str]
    total_nodes: NotRequired[int]


class ExecutionProgressEvent(_Event):
    """How far the execution is: ``progress`` runs from 0 to 100."""

    type: Literal["execution:progress"]
    progress: float
    completed: NotRequired[int]
    total: NotRequired[int]


class ExecutionPausedEvent(_Event):
    """The execution waits for a person."""

    type: Literal["execution:paused"]
    node_id: NotRequired[str]
    status: NotRequired[Union[ExecutionStatus, str]]
    reason: NotRequired[str]


class _Ended(_Event):
    outputs: Optional[dict[str, Any]]
    error: Optional[str]
    status: Union[ExecutionStatus, str]
    duration: NotRequired[float]
    completed_at: NotRequired[Optional[str]]


class ExecutionCompletedEvent(_Ended):
    """The end: it worked, and ``outputs`` holds the result."""

    type: Literal["execution:completed"]


class ExecutionFailedEvent(_Ended):
    """The end: it failed, and ``error`` says why."""

    type: Literal["execution:failed"]
    failed_node_id: NotRequired[str]


class ExecutionCancelledEvent(_Ended):
    """The end: somebody cancelled it."""

    type: Literal["execution:cancelled"]


class NodeStartedEvent(_Event):
    """A node begins."""

    type: Literal["node:started"]
    node_id: str
    node_name: NotRequired[str]
    node_type: NotRequired[str]


class NodeCompletedEvent(_Event):
    """A node is done."""

    type: Literal["node:completed"]
    node_id: str
    output: NotRequired[Any]
    # Milliseconds.
    duration: NotRequired[float]
    metadata: NotRequired[dict[str, Any]]


class NodeFailedEvent(_Event):
    """A node failed; the execution may go on or fail."""

    type: Literal["node:failed"]
    node_id: str
    error: NotRequired[str]


class NodeRetryEvent(_Event):
    """A node failed and will be tried again."""

    type: Literal["node:retry"]
    node_id: str
    attempt: NotRequired[int]
    # Milliseconds until the next attempt.
    next_retry_in: NotRequired[float]
    error: NotRequired[str]


class NodeStreamEvent(_Event):
    """A piece of a node's output, as it is made."""

    type: Literal["node:stream"]
    node_id: str
    chunk: NotRequired[Any]


class UserInputRequiredEvent(_Event):
    """A node asks a person for something."""

    type: Literal["user:input:required"]
    node_id: str
    prompt: NotRequired[str]
    input_type: NotRequired[str]
    validation: NotRequired[Any]


TerminalExecutionEvent = Union[
    ExecutionCompletedEvent, ExecutionFailedEvent, ExecutionCancelledEvent
]

ExecutionEvent = Union[
    ConnectedEvent,
    ExecutionStartedEvent,
    ExecutionProgressEvent,
    ExecutionPausedEvent,
    ExecutionCompletedEvent,
    ExecutionFailedEvent,
    ExecutionCancelledEvent,
    NodeStartedEvent,
    NodeCompletedEvent,
    NodeFailedEvent,
    NodeRetryEvent,
    NodeStreamEvent,
    UserInputRequiredEvent,
]
