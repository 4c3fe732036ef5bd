"""The Python SDK of FlowMaestro.

Two clients with the same surface, ``FlowMaestroClient`` and ``AsyncFlowMaestroClient``, and
every error they raise. The types are in ``flowmaestro.types``, the receiving side of
webhooks in ``flowmaestro.webhooks``.
"""

from flowmaestro_core.lazy import lazy_exports as _lazy_exports

# False, in a form that editors do not take for code which is never reached.
TYPE_CHECKING = bool()  # noqa: UP018
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

    from . import client as client
    from . import errors as errors
    from . import types as types
    from . import webhooks as webhooks
    from ._async import AsyncFlowMaestroClient
    from ._sync import FlowMaestroClient
del TYPE_CHECKING

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

__getattr__, __dir__ = _lazy_exports(
    __name__,
    {
        "FlowMaestroClient": "._sync",
        "AsyncFlowMaestroClient": "._async",
        "RateLimit": "flowmaestro_core.response",
        "ResponseInfo": "flowmaestro_core.response",
        "FlowMaestroError": "flowmaestro_core.errors",
        "ValidationError": "flowmaestro_core.errors",
        "InvalidArgumentError": "flowmaestro_core.errors",
        "RequestTooLargeError": "flowmaestro_core.errors",
        "AuthenticationError": "flowmaestro_core.errors",
        "AuthorizationError": "flowmaestro_core.errors",
        "NotFoundError": "flowmaestro_core.errors",
        "ConflictError": "flowmaestro_core.errors",
        "RateLimitError": "flowmaestro_core.errors",
        "ServerError": "flowmaestro_core.errors",
        "TimeoutError": "flowmaestro_core.errors",
        "ConnectionError": "flowmaestro_core.errors",
        "StreamError": "flowmaestro_core.errors",
        "ExecutionFailedError": "flowmaestro_core.errors",
        "WebhookVerificationError": "flowmaestro_core.errors",
        "ConfigurationError": "flowmaestro_core.errors",
    },
    modules=("client", "errors", "types", "webhooks"),
)
