"""Webhooks: the subscriptions, their deliveries, and what a receiver gets.

``WebhookEvent`` is a union that narrows on ``event["event"]``::

    if event["event"] == "execution.completed":
        print(event["data"]["outputs"])
"""

from __future__ import annotations

from typing import Any, Literal, Optional, Union

from ._typing import NotRequired, TypedDict
from .enums import DeliveryStatus, ExecutionStatus, WebhookEventType

__all__ = [
    "AgentExecutionCompletedWebhook",
    "AgentExecutionData",
    "AgentExecutionFailedData",
    "AgentExecutionFailedWebhook",
    "AgentExecutionStartedWebhook",
    "ExecutionCancelledData",
    "ExecutionCancelledWebhook",
    "ExecutionCompletedData",
    "ExecutionCompletedWebhook",
    "ExecutionData",
    "ExecutionFailedData",
    "ExecutionFailedWebhook",
    "ExecutionStartedWebhook",
    "WebhookTestData",
    "WebhookTest",
    "ThreadMessageCompletedWebhook",
    "ThreadMessageCreatedWebhook",
    "ThreadMessageData",
    "ThreadMessageFailedData",
    "ThreadMessageFailedWebhook",
    "Webhook",
    "WebhookCreated",
    "WebhookDelivery",
    "WebhookEvent",
    "WebhookRequest",
    "WebhookTestResult",
]


class WebhookRequest(TypedDict, total=False):
    """The body of a ``create`` or ``update`` call."""

    name: str
    url: str
    events: list[Union[WebhookEventType, str]]
    headers: Optional[dict[str, str]]
    is_active: bool


class Webhook(TypedDict):
    """A subscription: ``events`` are sent to ``url``. A list may leave ``headers`` out."""

    id: str
    name: str
    url: str
    events: list[Union[WebhookEventType, str]]
    is_active: bool
    headers: NotRequired[Optional[dict[str, str]]]
    created_at: NotRequired[str]
    updated_at: NotRequired[str]


class WebhookCreated(Webhook):
    """A new subscription. This is the only time that ``secret`` is shown: keep it."""

    secret: str


class WebhookTestResult(TypedDict):
    """How a test delivery went.

    ``response_time_ms`` is the backend's figure, or, where it sends none, the measured
    round trip of the ``test`` call in whole milliseconds.
    """

    success: bool
    message: str
    status_code: Optional[int]
    response_time_ms: int
    error: NotRequired[str]
    error_message: NotRequired[Optional[str]]


class WebhookDelivery(TypedDict):
    """One event on its way to the receiver."""

    id: str
    event_type: Union[WebhookEventType, str]
    status: Union[DeliveryStatus, str]
    attempts: int
    response_status: Optional[int]
    error_message: Optional[str]
    created_at: str
    last_attempt_at: Optional[str]
    response_time_ms: NotRequired[Optional[int]]


class ExecutionData(TypedDict):
    """What ``data`` of every ``execution.*`` event has."""

    execution_id: str
    workflow_id: str
    workflow_name: str
    status: Union[ExecutionStatus, str]
    started_at: Optional[str]


class ExecutionCompletedData(ExecutionData):
    """``data`` of ``execution.completed``."""

    outputs: Optional[dict[str, Any]]
    completed_at: NotRequired[Optional[str]]


class ExecutionFailedData(ExecutionData):
    """``data`` of ``execution.failed``."""

    error: Optional[str]
    completed_at: NotRequired[Optional[str]]


class ExecutionCancelledData(ExecutionData):
    """``data`` of ``execution.cancelled``."""

    completed_at: NotRequired[Optional[str]]


class ThreadMessageData(TypedDict):
    """What ``data`` of every ``thread.message.*`` event has."""

    thread_id: str
    message_id: str
    agent_id: str
    agent_name: str
    role: str
    content: str
    status: NotRequired[str]


class ThreadMessageFailedData(ThreadMessageData):
    """``data`` of ``thread.message.failed``."""

    error: Optional[str]


class AgentExecutionData(TypedDict):
    """What ``data`` of every ``agent.execution.*`` event has."""

    thread_id: str
    agent_id: str
    agent_name: str
    status: str
    started_at: str
    completed_at: NotRequired[Optional[str]]


class AgentExecutionFailedData(AgentExecutionData):
    """``data`` of ``agent.execution.failed``."""

    error: Optional[str]


class WebhookTestData(TypedDict):
    """``data`` of a test delivery."""

    message: str
    webhook_id: str


class _Envelope(TypedDict):
    id: str
    created_at: str


class ExecutionStartedWebhook(_Envelope):
    """A workflow began to run."""

    event: Literal["execution.started"]
    data: ExecutionData


class ExecutionCompletedWebhook(_Envelope):
    """A workflow ended well: ``data["outputs"]``."""

    event: Literal["execution.completed"]
    data: ExecutionCompletedData


class ExecutionFailedWebhook(_Envelope):
    """A workflow failed: ``data["error"]``."""

    event: Literal["execution.failed"]
    data: ExecutionFailedData


class ExecutionCancelledWebhook(_Envelope):
    """A workflow was cancelled."""

    event: Literal["execution.cancelled"]
    data: ExecutionCancelledData


class ThreadMessageCreatedWebhook(_Envelope):
    """A message was added to a thread."""

    event: Literal["thread.message.created"]
    data: ThreadMessageData


class ThreadMessageCompletedWebhook(_Envelope):
    """An agent's answer is complete: ``data["content"]``."""

    event: Literal["thread.message.completed"]
    data: ThreadMessageData


class ThreadMessageFailedWebhook(_Envelope):
    """An agent's answer failed: ``data["error"]``."""

    event: Literal["thread.message.failed"]
    data: ThreadMessageFailedData


class AgentExecutionStartedWebhook(_Envelope):
    """An agent began to work."""

    event: Literal["agent.execution.started"]
    data: AgentExecutionData


class AgentExecutionCompletedWebhook(_Envelope):
    """An agent is done."""

    event: Literal["agent.execution.completed"]
    data: AgentExecutionData


class AgentExecutionFailedWebhook(_Envelope):
    """An agent failed: ``data["error"]``."""

    event: Literal["agent.execution.failed"]
    data: AgentExecutionFailedData


class WebhookTest(_Envelope):
    """What ``webhooks.test`` sends."""

    event: Literal["test"]
    data: WebhookTestData


WebhookEvent = Union[
    ExecutionStartedWebhook,
    ExecutionCompletedWebhook,
    ExecutionFailedWebhook,
    ExecutionCancelledWebhook,
    ThreadMessageCreatedWebhook,
    ThreadMessageCompletedWebhook,
    ThreadMessageFailedWebhook,
    AgentExecutionStartedWebhook,
    AgentExecutionCompletedWebhook,
    AgentExecutionFailedWebhook,
    WebhookTest,
]
