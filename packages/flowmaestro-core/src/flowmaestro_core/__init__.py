"""What every FlowMaestro resource shares, and the client of a slim install.

Importing this package is cheap: each name is loaded when it is first used, and httpx
with the first client.
"""

from __future__ import annotations

from .lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async.client import AsyncCoreClient
    from ._async.stream import AsyncEventStream
    from ._sync.client import CoreClient
    from ._sync.stream import EventStream
    from .errors import (
        AuthenticationError,
        AuthorizationError,
        ConfigurationError,
        ConflictError,
        ConnectionError,
        ExecutionFailedError,
        FlowMaestroError,
        InvalidArgumentError,
        NotFoundError,
        RateLimitError,
        RequestTooLargeError,
        ServerError,
        StreamError,
        TimeoutError,
        ValidationError,
        WebhookVerificationError,
    )
    from .response import RateLimit, ResponseInfo

__version__ = "1.0.0"

__all__ = [
    "CoreClient",
    "AsyncCoreClient",
    "EventStream",
    "AsyncEventStream",
    "RateLimit",
    "ResponseInfo",
    "FlowMaestroError",
    "ValidationError",
    "InvalidArgumentError",
    "RequestTooLargeError",
    "AuthenticationError",
    "AuthorizationError",
    "NotFoundError",
    "ConflictError",
    "RateLimitError",
    "ServerError",
    "TimeoutError",
    "ConnectionError",
    "StreamError",
    "ExecutionFailedError",
    "WebhookVerificationError",
    "ConfigurationError",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AsyncCoreClient": "._async.client",
        "AsyncEventStream": "._async.stream",
        "CoreClient": "._sync.client",
        "EventStream": "._sync.stream",
        "AuthenticationError": ".errors",
        "AuthorizationError": ".errors",
        "ConfigurationError": ".errors",
        "ConflictError": ".errors",
        "ConnectionError": ".errors",
        "ExecutionFailedError": ".errors",
        "FlowMaestroError": ".errors",
        "InvalidArgumentError": ".errors",
        "NotFoundError": ".errors",
        "RateLimitError": ".errors",
        "RequestTooLargeError": ".errors",
        "ServerError": ".errors",
        "StreamError": ".errors",
        "TimeoutError": ".errors",
        "ValidationError": ".errors",
        "WebhookVerificationError": ".errors",
        "RateLimit": ".response",
        "ResponseInfo": ".response",
    },
)
