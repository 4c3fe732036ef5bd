"""What every FlowMaestro resource shares, and the client of a slim install.

Importing this package is cheap: each name is loaded when it is first used, and httpx
with the first client.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async.client import AsyncCoreClient
    from ._async.stream import AsyncEventStream
    from ._sync.client import CoreClient
    from ._sync.stream import EventStream
    from .errors import (
        AuthenticationError,
        AuthorizationError,
        ConflictError,
        ConnectionError,
        ExecutionFailedError,
        FlowMaestroError,
        NotFoundError,
        RateLimitError,
        ServerError,
        StreamError,
        TimeoutError,
        ValidationError,
        WebhookVerificationError,
    )
    from .response import RateLimit

__version__ = "1.0.0"

__all__ = [
    "CoreClient",
    "AsyncCoreClient",
    "EventStream",
    "AsyncEventStream",
    "RateLimit",
    "FlowMaestroError",
    "ValidationError",
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
]

_HOMES = {
    "CoreClient": "_sync.client",
    "AsyncCoreClient": "_async.client",
    "EventStream": "_sync.stream",
    "AsyncEventStream": "_async.stream",
    "RateLimit": "response",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
