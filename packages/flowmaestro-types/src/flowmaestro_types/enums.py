"""The string enums of the API.

Each member is a ``str``: it compares equal to its value, serialises to JSON as its
value, and prints as its value on every Python.
"""

from enum import Enum
from typing import Literal

__all__ = [
    "DeliveryStatus",
    "DeliveryStatusName",
    "ExecutionEventType",
    "ExecutionEventTypeName",
    "ExecutionStatus",
    "ExecutionStatusName",
    "MessageRole",
    "MessageRoleName",
    "MessageStatus",
    "MessageStatusName",
    "ThreadEventType",
    "ThreadEventTypeName",
    "ThreadStatus",
    "ThreadStatusName",
    "WebhookEventType",
    "WebhookEventTypeName",
]


class _StringEnum(str, Enum):
    def __repr__(self) -> str:
        # That of its value, so that a printed response reads like JSON.
        return str.__repr__(self.value)

    def __str__(self) -> str:
        return str.__str__(self.value)

    def __format__(self, spec: str) -> str:
        return str.__format__(self.value, spec)


class ExecutionStatus(_StringEnum):
    """Where a workflow execution stands. ``PAUSED`` waits for a person and is no end."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True once nothing more will happen to the execution."""
        return self in (
            ExecutionStatus.COMPLETED,
            ExecutionStatus.FAILED,
            ExecutionStatus.CANCELLED,
        )


class ThreadStatus(_StringEnum):
    """Where a conversation thread stands."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    DELETED = "deleted"


class MessageStatus(_StringEnum):
    """What became of a message that was sent to an agent."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class MessageRole(_StringEnum):
    """Who wrote a thread message."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class DeliveryStatus(_StringEnum):
    """Where a webhook delivery stands."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILED = "failed"
    RETRYING = "retrying"


class ExecutionEventType(_StringEnum):
    """The ``type`` of an event of an execution stream."""

    CONNECTED = "connected"
    HEARTBEAT = "heartbeat"
    EXECUTION_STARTED = "execution:started"
    EXECUTION_PROGRESS = "execution:progress"
    EXECUTION_PAUSED = "execution:paused"
    EXECUTION_RESUMED = "execution:resumed"
    EXECUTION_COMPLETED = "execution:completed"
    EXECUTION_FAILED = "execution:failed"
    EXECUTION_CANCELLED = "execution:cancelled"
    NODE_STARTED = "node:started"
    NODE_COMPLETED = "node:completed"
    NODE_FAILED = "node:failed"
    NODE_RETRY = "node:retry"
    NODE_STREAM = "node:stream"
    USER_INPUT_REQUIRED = "user:input:required"
    USER_INPUT_RESPONSE = "user:input:response"


class ThreadEventType(_StringEnum):
    """The ``type`` of an event of a thread stream."""

    CONNECTED = "connected"
    MESSAGE_STARTED = "message:started"
    MESSAGE_TOKEN = "message:token"
    MESSAGE_COMPLETED = "message:completed"
    MESSAGE_FAILED = "message:failed"
    HEARTBEAT = "heartbeat"


class WebhookEventType(_StringEnum):
    """What a webhook can subscribe to."""

    EXECUTION_STARTED = "execution.started"
    EXECUTION_COMPLETED = "execution.completed"
    EXECUTION_FAILED = "execution.failed"
    EXECUTION_CANCELLED = "execution.cancelled"
    THREAD_MESSAGE_CREATED = "thread.message.created"
    THREAD_MESSAGE_COMPLETED = "thread.message.completed"
    THREAD_MESSAGE_FAILED = "thread.message.failed"
    AGENT_EXECUTION_STARTED = "agent.execution.started"
    AGENT_EXECUTION_COMPLETED = "agent.execution.completed"
    AGENT_EXECUTION_FAILED = "agent.execution.failed"


# The same values as plain texts, for annotations: ``status: ExecutionStatusName = "running"``.
DeliveryStatusName = Literal[
    "pending",
    "success",
    "failed",
    "retrying",
]
ExecutionEventTypeName = Literal[
    "connected",
    "heartbeat",
    "execution:started",
    "execution:progress",
    "execution:paused",
    "execution:resumed",
    "execution:completed",
    "execution:failed",
    "execution:cancelled",
    "node:started",
    "node:completed",
    "node:failed",
    "node:retry",
    "node:stream",
    "user:input:required",
    "user:input:response",
]
ExecutionStatusName = Literal[
    "pending",
    "running",
    "paused",
    "completed",
    "failed",
    "cancelled",
]
MessageRoleName = Literal[
    "user",
    "assistant",
    "system",
    "tool",
]
MessageStatusName = Literal[
    "pending",
    "processing",
    "completed",
    "failed",
]
ThreadEventTypeName = Literal[
    "connected",
    "message:started",
    "message:token",
    "message:completed",
    "message:failed",
    "heartbeat",
]
ThreadStatusName = Literal[
    "active",
    "archived",
    "deleted",
]
WebhookEventTypeName = Literal[
    "execution.started",
    "execution.completed",
    "execution.failed",
    "execution.cancelled",
    "thread.message.created",
    "thread.message.completed",
    "thread.message.failed",
    "agent.execution.started",
    "agent.execution.completed",
    "agent.execution.failed",
]
