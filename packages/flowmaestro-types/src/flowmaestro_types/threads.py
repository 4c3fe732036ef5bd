"""Threads, their messages, and the events of an answer as it is made.

``ThreadEvent`` is a union that narrows on ``event["type"]``::

    if event["type"] == "message:token":
        print(event["token"], end="")
"""

from __future__ import annotations

from typing import Any, Literal, Optional, SupportsIndex, Union, cast, overload

from ._typing import NotRequired, TypedDict
from .enums import MessageStatus, ThreadStatus
from .envelopes import Meta, Pagination

__all__ = [
    "AssistantMessage",
    "MessageCompletedEvent",
    "MessageFailedEvent",
    "MessageList",
    "MessageStartedEvent",
    "MessageTokenEvent",
    "MessagesPage",
    "SendMessageRequest",
    "SendMessageResult",
    "Thread",
    "ThreadConnectedEvent",
    "ThreadEvent",
    "ThreadHeartbeatEvent",
    "ThreadMessage",
]


class Thread(TypedDict):
    """A conversation with one agent."""

    id: str
    agent_id: str
    status: Union[ThreadStatus, str]
    created_at: str
    title: NotRequired[Optional[str]]
    updated_at: NotRequired[str]
    last_message_at: NotRequired[Optional[str]]
    metadata: NotRequired[Optional[dict[str, Any]]]
    message_count: NotRequired[int]


class ThreadMessage(TypedDict):
    """One message of a thread."""

    id: str
    role: str
    content: str
    created_at: str
    tool_calls: NotRequired[Optional[list[Any]]]


class MessageList(list[ThreadMessage]):
    """The messages of a thread: a list.

    ``messages["messages"]`` gives the list itself, with a ``DeprecationWarning``: 0.1.0 gave
    the object that the API sends.
    """

    @overload  # pyright: ignore[reportIncompatibleMethodOverride]
    def __getitem__(self, key: SupportsIndex, /) -> ThreadMessage: ...

    @overload
    def __getitem__(self, key: slice, /) -> list[ThreadMessage]: ...

    @overload
    def __getitem__(self, key: Literal["messages"], /) -> MessageList: ...

    def __getitem__(self, key: Any, /) -> Any:
        if key == "messages":
            import warnings

            warnings.warn(
                'the data of list_messages is a list: leave ["messages"] out',
                DeprecationWarning,
                stacklevel=2,
            )
            return self
        return cast("Any", super()).__getitem__(key)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Say to pydantic what to validate: a list of messages."""
        from pydantic_core import core_schema

        messages = handler.generate_schema(list[ThreadMessage])
        return core_schema.no_info_after_validator_function(cls, messages)


class MessagesPage(TypedDict):
    """One page of a thread's messages."""

    data: MessageList
    pagination: Pagination
    meta: NotRequired[Meta]


class AssistantMessage(TypedDict):
    """What the agent said."""

    role: str
    content: str
    created_at: NotRequired[str]
    tool_calls: NotRequired[Optional[list[Any]]]
    usage: NotRequired[Optional[dict[str, Any]]]


class SendMessageRequest(TypedDict):
    """The body of a ``send_message`` call."""

    content: str
    stream: NotRequired[bool]
    # Milliseconds that the backend waits for the agent, at most 120,000.
    timeout: NotRequired[int]


class SendMessageResult(TypedDict):
    """An agent's answer. ``message`` is None where the agent had nothing to say."""

    thread_id: str
    status: Union[MessageStatus, str]
    message: Optional[AssistantMessage]
    message_id: NotRequired[str]
    execution_id: NotRequired[str]
    iterations: NotRequired[int]
    tool_calls_count: NotRequired[int]


class _Event(TypedDict):
    thread_id: str
    message_id: NotRequired[str]
    execution_id: NotRequired[str]
    # Milliseconds since 1970, where the backend sends it.
    timestamp: NotRequired[int]


class ThreadConnectedEvent(TypedDict):
    """The first event of a thread's stream."""

    type: Literal["connected"]
    thread_id: str


class MessageStartedEvent(_Event):
    """The agent begins to answer."""

    type: Literal["message:started"]


class MessageTokenEvent(_Event):
    """The next piece of the answer."""

    type: Literal["message:token"]
    token: str


class MessageCompletedEvent(_Event):
    """The end: ``content`` is the whole answer."""

    type: Literal["message:completed"]
    content: str


class MessageFailedEvent(_Event):
    """The end: the agent failed, and ``error`` says why."""

    type: Literal["message:failed"]
    error: str


class ThreadHeartbeatEvent(TypedDict):
    """Nothing came for a while; made by the SDK, where a stream was asked for heartbeats."""

    type: Literal["heartbeat"]
    thread_id: str


ThreadEvent = Union[
    ThreadConnectedEvent,
    MessageStartedEvent,
    MessageTokenEvent,
    MessageCompletedEvent,
    MessageFailedEvent,
    ThreadHeartbeatEvent,
]
