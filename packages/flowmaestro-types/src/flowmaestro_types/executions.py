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
    "ExecutionHeartbeatEvent",
    "ExecutionPausedEvent",
    "ExecutionProgressEvent",
    "ExecutionResumedEvent",
    "ExecutionStartedEvent",
    "NodeCompletedEvent",
    "NodeFailedEvent",
    "NodeRetryEvent",
    "NodeStartedEvent",
    "NodeStreamEvent",
    "PauseContext",
    "TerminalExecutionEvent",
    "UserInputRequiredEvent",
    "UserInputResponseEvent",
]


class Execution(TypedDict):
    """One run of a workflow."""

    id: str
    workflow_id: str
    status: Union[ExecutionStatus, str]
    inputs: dict[str, Any]
    outputs: Optional[dict[str, Any]]
    error: Optional[str]
    # What the API sent, where its ``error`` is an object.
    error_details: NotRequired[dict[str, Any]]
    started_at: Optional[str]
    completed_at: Optional[str]
    created_at: str
    workflow_name: NotRequired[str]
    duration_ms: NotRequired[Optional[int]]


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


class ExecutionHeartbeatEvent(TypedDict):
    """Nothing came for a while; made by the SDK, where a stream was asked for heartbeats."""

    type: Literal["heartbeat"]
    execution_id: str


class ExecutionStartedEvent(_Event):
    """The first node is about to run."""

    type: Literal["execution:started"]
    workflow_id: NotRequired[str]
    workflow_name: NotRequired[str]
    total_nodes: NotRequired[int]


class ExecutionProgressEvent(_Event):
    """How far the execution is: ``progress`` runs from 0 to 100."""

    type: Literal["execution:progress"]
    progress: float
    completed: NotRequired[int]
    total: NotRequired[int]
    current_node: NotRequired[str]


class PauseContext(TypedDict):
    """What a paused execution waits for; its keys are as the API writes them."""

    prompt: NotRequired[str]
    description: NotRequired[str]
    variableName: NotRequired[str]  # noqa: N815
    # "text", "number", "boolean" or "json".
    inputType: NotRequired[str]  # noqa: N815
    placeholder: NotRequired[str]
    validation: NotRequired[dict[str, Any]]
    required: NotRequired[bool]


class ExecutionPausedEvent(_Event):
    """The execution waits for a person."""

    type: Literal["execution:paused"]
    node_id: NotRequired[str]
    paused_at_node_id: NotRequired[str]
    paused_at_node_name: NotRequired[str]
    pause_context: NotRequired[PauseContext]
    status: NotRequired[Union[ExecutionStatus, str]]
    reason: NotRequired[str]


class ExecutionResumedEvent(_Event):
    """A person has answered, and the execution runs again."""

    type: Literal["execution:resumed"]
    status: NotRequired[Union[ExecutionStatus, str]]
    variable_name: NotRequired[str]
    response: NotRequired[Any]


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
    failed_node: NotRequired[str]
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
    node_name: NotRequired[str]
    node_type: NotRequired[str]
    # The same under both names.
    output: NotRequired[Any]
    outputs: NotRequired[Any]
    # Milliseconds.
    duration: NotRequired[float]
    metadata: NotRequired[dict[str, Any]]


class NodeFailedEvent(_Event):
    """A node failed; the execution may go on or fail."""

    type: Literal["node:failed"]
    node_id: str
    node_name: NotRequired[str]
    node_type: NotRequired[str]
    error: NotRequired[str]
    will_retry: NotRequired[bool]


class NodeRetryEvent(_Event):
    """A node failed and will be tried again."""

    type: Literal["node:retry"]
    node_id: str
    node_name: NotRequired[str]
    attempt: NotRequired[int]
    max_attempts: NotRequired[int]
    # Milliseconds until the next attempt.
    next_retry_in: NotRequired[float]
    error: NotRequired[str]


class NodeStreamEvent(_Event):
    """A piece of a node's output, as it is made."""

    type: Literal["node:stream"]
    node_id: str
    chunk: NotRequired[Any]
    is_complete: NotRequired[bool]


class UserInputRequiredEvent(_Event):
    """A node asks a person for something."""

    type: Literal["user:input:required"]
    node_id: str
    prompt: NotRequired[str]
    input_type: NotRequired[str]
    validation: NotRequired[Any]


class UserInputResponseEvent(_Event):
    """A person has answered a node."""

    type: Literal["user:input:response"]
    node_id: NotRequired[str]
    response: NotRequired[Any]


TerminalExecutionEvent = Union[
    ExecutionCompletedEvent, ExecutionFailedEvent, ExecutionCancelledEvent
]

ExecutionEvent = Union[
    ConnectedEvent,
    ExecutionHeartbeatEvent,
    ExecutionStartedEvent,
    ExecutionProgressEvent,
    ExecutionPausedEvent,
    ExecutionResumedEvent,
    ExecutionCompletedEvent,
    ExecutionFailedEvent,
    ExecutionCancelledEvent,
    NodeStartedEvent,
    NodeCompletedEvent,
    NodeFailedEvent,
    NodeRetryEvent,
    NodeStreamEvent,
    UserInputRequiredEvent,
    UserInputResponseEvent,
]
