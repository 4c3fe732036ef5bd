"""The Python SDK of FlowMaestro.

Two clients with the same surface, ``FlowMaestroClient`` and ``AsyncFlowMaestroClient``, and
every error they raise. The types are in ``flowmaestro.types``, the receiving side of
webhooks in ``flowmaestro.webhooks``.
"""

from __future__ import annotations

from flowmaestro_core.lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowmaestro_core.errors import (
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
    from flowmaestro_core.response import RateLimit, ResponseInfo

    from ._async import AsyncFlowMaestroClient
    from ._sync import FlowMaestroClient

__version__ = "1.0.0"

__all__ = [
    "FlowMaestroClient",
    "AsyncFlowMaestroClient",
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
        "AsyncFlowMaestroClient": "._async",
        "FlowMaestroClient": "._sync",
        "AuthenticationError": "flowmaestro_core.errors",
        "AuthorizationError": "flowmaestro_core.errors",
        "ConfigurationError": "flowmaestro_core.errors",
        "ConflictError": "flowmaestro_core.errors",
        "ConnectionError": "flowmaestro_core.errors",
        "ExecutionFailedError": "flowmaestro_core.errors",
        "FlowMaestroError": "flowmaestro_core.errors",
        "InvalidArgumentError": "flowmaestro_core.errors",
        "NotFoundError": "flowmaestro_core.errors",
        "RateLimitError": "flowmaestro_core.errors",
        "RequestTooLargeError": "flowmaestro_core.errors",
        "ServerError": "flowmaestro_core.errors",
        "StreamError": "flowmaestro_core.errors",
        "TimeoutError": "flowmaestro_core.errors",
        "ValidationError": "flowmaestro_core.errors",
        "WebhookVerificationError": "flowmaestro_core.errors",
        "RateLimit": "flowmaestro_core.response",
        "ResponseInfo": "flowmaestro_core.response",
    },
)
