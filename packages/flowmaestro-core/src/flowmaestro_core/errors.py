"""Everything that can go wrong, as a tree.

* FlowMaestroError
    * ValidationError            400, 422
    * AuthenticationError        401
    * AuthorizationError         403
    * NotFoundError              404, and ids that cannot exist
    * ConflictError              409
    * RateLimitError             429
    * ServerError                5xx, and answers that make no sense
    * TimeoutError               no answer in time, also the built-in TimeoutError
    * ConnectionError            no connection, or one that broke, also the built-in one
    * StreamError                an event stream that cannot go on
    * ExecutionFailedError       an execution that failed or was cancelled, where asked for
    * WebhookVerificationError   a delivery that is not from FlowMaestro

Errors hold plain data only, so they can be pickled, copied and sent to other processes.
"""

from __future__ import annotations

import builtins
from typing import Any, Optional, cast

__all__ = [
    "AuthenticationError",
    "AuthorizationError",
    "ConflictError",
    "ConnectionError",
    "ExecutionFailedError",
    "FlowMaestroError",
    "NotFoundError",
    "RateLimitError",
    "ServerError",
    "StreamError",
    "TimeoutError",
    "ValidationError",
    "WebhookVerificationError",
]


class FlowMaestroError(Exception):
    """The base of every error of this SDK.

    Attributes:
        message: What happened, in words.
        code: The backend's code (``"resource_not_found"``), or one of ours, or None.
        status_code: The HTTP status, or None where there was no answer.
        request_id: The backend's id of the request, for support, or None.
        details: What else the backend said, as it said it, or None.
        outcome_unknown: True when the request may have been carried out all the same:
            look before you send it again.
    """

    def __init__(
        self,
        message: str,
        *,
        code: Optional[str] = None,
        status_code: Optional[int] = None,
        request_id: Optional[str] = None,
        details: Optional[dict[str, Any]] = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status_code = status_code
        self.request_id = request_id
        self.details = details
        self.outcome_unknown = outcome_unknown

    def __str__(self) -> str:
        head = f"[{self.code}] {self.message}" if self.code else self.message
        facts = self._facts()
        return f"{head} ({', '.join(facts)})" if facts else head

    def _facts(self) -> list[str]:
        """Say in words what stands beside the message."""
        facts: list[str] = []
        if self.status_code is not None:
            facts.append(f"HTTP {self.status_code}")
        if self.request_id:
            facts.append(f"request id {self.request_id}")
        return facts

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.message, self.__dict__.copy())


def _restore(cls: type[FlowMaestroError], message: str, state: dict[str, Any]) -> FlowMaestroError:
    """Make an error again without its constructor, whose arguments differ by class."""
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(state)
    return error


class ValidationError(FlowMaestroError):
    """The backend refused the request as it was (400 or 422)."""


class AuthenticationError(FlowMaestroError):
    """The API key is missing, unknown, expired or revoked (401); ``code`` says which."""


class AuthorizationError(FlowMaestroError):
    """The API key is good but may not do this (403)."""

    @property
    def missing_scopes(self) -> list[str]:
        """The scopes that the key would need, as far as the backend names them."""
        scopes: Any = (self.details or {}).get("missing_scopes")
        return list(map(str, cast("Any", scopes))) if isinstance(scopes, list) else []


class NotFoundError(FlowMaestroError):
    """There is nothing with that id (404)."""


class ConflictError(FlowMaestroError):
    """The request does not fit the state of things (409)."""


class RateLimitError(FlowMaestroError):
    """Too many requests (429).

    Attributes:
        retry_after: Seconds until the next request is worth sending, or None if unsaid.
    """

    def __init__(self, message: str, *, retry_after: Optional[float] = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after

    def _facts(self) -> list[str]:
        wait = [] if self.retry_after is None else [f"retry after {self.retry_after:g} s"]
        return super()._facts() + wait


class ServerError(FlowMaestroError):
    """The backend failed (5xx), or its answer could not be read."""


class TimeoutError(FlowMaestroError, builtins.TimeoutError):
    """There was no answer, or no end, in time.

    Attributes:
        execution: After ``wait_for_completion``: the execution as it was last seen. The
            execution itself goes on.
    """

    def __init__(
        self, message: str, *, execution: Optional[dict[str, Any]] = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.execution = execution


class ConnectionError(FlowMaestroError, builtins.ConnectionError):
    """The backend could not be reached, or the connection broke."""


class StreamError(FlowMaestroError):
    """An event stream ended without its end, or is none."""


class ExecutionFailedError(FlowMaestroError):
    """An execution failed or was cancelled, and the caller asked for an error then.

    Attributes:
        execution: The execution, with ``status`` and ``error``.
    """

    def __init__(
        self, message: str, *, execution: Optional[dict[str, Any]] = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.execution = execution


class WebhookVerificationError(FlowMaestroError):
    """A webhook delivery could not be shown to come from FlowMaestro."""
