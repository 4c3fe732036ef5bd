"""What every FlowMaestro resource shares, and the client of a slim install.

Importing this package is cheap: each name is loaded when it is first used, and httpx
with the first client.
"""

from .lazy import lazy_exports as _lazy_exports

# False, in a form that editors do not take for code which is never reached.
TYPE_CHECKING = bool()  # noqa: UP018
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
del TYPE_CHECKING

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

__getattr__, __dir__ = _lazy_exports(
    __name__,
    {
        "CoreClient": "._sync.client",
        "AsyncCoreClient": "._async.client",
        "EventStream": "._sync.stream",
        "AsyncEventStream": "._async.stream",
        "RateLimit": ".response",
        "ResponseInfo": ".response",
        "FlowMaestroError": ".errors",
        "ValidationError": ".errors",
        "InvalidArgumentError": ".errors",
        "RequestTooLargeError": ".errors",
        "AuthenticationError": ".errors",
        "AuthorizationError": ".errors",
        "NotFoundError": ".errors",
        "ConflictError": ".errors",
        "RateLimitError": ".errors",
        "ServerError": ".errors",
        "TimeoutError": ".errors",
        "ConnectionError": ".errors",
        "StreamError": ".errors",
        "ExecutionFailedError": ".errors",
        "WebhookVerificationError": ".errors",
        "ConfigurationError": ".errors",
    },
)
