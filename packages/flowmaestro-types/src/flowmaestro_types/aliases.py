"""The names that 0.1.0 had for types, and for callbacks of streams."""

from __future__ import annotations

from typing import Any, Callable, Optional

from ._typing import NotRequired, TypedDict
from .envelopes import Meta, Pagination
from .knowledge_bases import QueryResult, SearchResult
from .threads import SendMessageResult
from .triggers import TriggerExecuteResult
from .webhooks import WebhookTestResult
from .workflows import ExecuteResult

__all__ = [
    "ApiError",
    "ExecuteTriggerResponse",
    "ExecuteWorkflowResponse",
    "KnowledgeBaseResult",
    "OnCloseCallback",
    "OnErrorCallback",
    "OnEventCallback",
    "OnTokenCallback",
    "PaginationInfo",
    "QueryKnowledgeBaseResponse",
    "ResponseMeta",
    "SendMessageResponse",
    "TestWebhookResponse",
]

ResponseMeta = Meta
PaginationInfo = Pagination
ExecuteWorkflowResponse = ExecuteResult
SendMessageResponse = SendMessageResult
ExecuteTriggerResponse = TriggerExecuteResult
KnowledgeBaseResult = SearchResult
QueryKnowledgeBaseResponse = QueryResult
TestWebhookResponse = WebhookTestResult


class ApiError(TypedDict):
    """The ``error`` of a response that is no success, as the API sends it."""

    code: str
    message: str
    details: NotRequired[Optional[dict[str, Any]]]


OnEventCallback = Callable[[Any], None]
OnTokenCallback = Callable[[str], None]
OnErrorCallback = Callable[[Exception], None]
OnCloseCallback = Callable[[], None]
