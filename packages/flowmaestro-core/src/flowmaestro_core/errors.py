"""Everything that can go wrong, as a tree.

* FlowMaestroError
    * ValidationError            400, 422, 414, 431
        * RequestTooLargeError   413
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
    * ConfigurationError         an environment variable that cannot be used, also a ValueError

Errors hold plain data only, so they can be pickled, copied and sent to other processes;
``to_dict`` and ``from_dict`` take one through JSON.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Optional, cast

__all__ = [
    "AuthenticationError",
    "AuthorizationError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionError",
    "ExecutionFailedError",
    "FlowMaestroError",
    "NotFoundError",
    "RateLimitError",
    "RequestTooLargeError",
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
        code: The API's code (``"resource_not_found"``), or one of ours, or None.
        status_code: The HTTP status, or None if there was no response.
        request_id: The API's id of the request, for support, or None.
        details: What else the API said, as it said it, or None.
        outcome_unknown: True when the request may have been carried out all the same:
            look before you send it again.
        api_message: The message of the API's response alone, without the advice that
            ``message`` may have behind it, or None if there was no response.
    """

    # What a class has beside the attributes above.
    _more: ClassVar[tuple[str, ...]] = ()

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
        self.api_message: Optional[str] = None

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

    # Task queues send an error as its type's name and its ``args``, and make it again from
    # those. So they hold the text as it is now, with what was added after the error was made.
    @property
    def args(self) -> tuple[Any, ...]:
        """The text of ``str(error)``, as a tuple, unless something else was set."""
        given: Optional[tuple[Any, ...]] = self.__dict__.get("_args")
        return (str(self),) if given is None else given

    @args.setter
    def args(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, value: tuple[Any, ...]
    ) -> None:
        self._args = tuple(value)

    def to_dict(self) -> dict[str, Any]:
        """Give the error as plain data that any JSON library can write.

        Returns:
            ``type`` (the name of the class), ``message``, ``code``, ``status_code``,
            ``request_id``, ``details``, ``outcome_unknown``, ``api_message``, and what the
            class has beside these, such as ``retry_after``.

        Example:
            Keep an error in a database::

                row = json.dumps(error.to_dict())
        """
        names = ("message", *_COMMON, *self._more)
        return {
            "type": type(self).__name__,
            **{name: _plain(getattr(self, name)) for name in names},
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> FlowMaestroError:
        """Make an error again from what ``to_dict`` gave.

        Args:
            data: The dictionary; keys that this version does not know are ignored.

        Returns:
            An error of the class that ``type`` names, or a ``FlowMaestroError`` if this
            version has no such class.

        Raises:
            TypeError: The data is not a mapping.

        Example:
            Raise it in another process::

                raise FlowMaestroError.from_dict(json.loads(row))
        """
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a mapping, not {type(data).__name__}")
        cls = _class_named(data.get("type"))
        message = str(data.get("message") or "")
        facts = {name: _read(name, data.get(name)) for name in (*_COMMON, *cls._more)}
        return _restore(cls, message, {"message": message, **facts})


# The attributes of every error beside its message, and of which type each is.
_COMMON: dict[str, type] = {
    "code": str,
    "status_code": int,
    "request_id": str,
    "details": dict,
    "outcome_unknown": bool,
    "api_message": str,
}

# How deep ``to_dict`` goes: no JSON library may fail on what it gives.
_MAX_DEPTH = 100


def _restore(cls: type[FlowMaestroError], message: str, state: dict[str, Any]) -> FlowMaestroError:
    """Make an error again without its constructor, whose arguments differ by class."""
    error = cls.__new__(cls, message)
    error.__dict__.update(state)
    return error


def _class_named(name: object) -> type[FlowMaestroError]:
    """Find a class of the tree by its name, whichever package has it."""
    classes = [FlowMaestroError]
    for cls in classes:
        if cls.__name__ == name:
            return cls
        classes += cls.__subclasses__()
    return FlowMaestroError


def _read(name: str, value: Any) -> Any:
    """Give an attribute that came through JSON, or None if it is not of its type."""
    if name == "outcome_unknown":
        return value is True
    if name == "retry_after":
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return None
    return value if isinstance(value, _COMMON.get(name, dict)) else None


def _plain(value: Any, depth: int = 0) -> Any:
    """Give a value with nothing in it that some JSON library refuses."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # An enum member becomes its text.
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            pairs: Any = cast("Any", value).items()
            return {str(_plain(key)): _plain(item, depth + 1) for key, item in pairs}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_plain(item, depth + 1) for item in cast("list[Any]", value)]
        return str(value)
    return "..."


class ValidationError(FlowMaestroError):
    """The API refused the request as it was (400, 422; 414 and 431 for a URL that is too long)."""


class RequestTooLargeError(ValidationError):
    """The body of the request is larger than the API accepts (413)."""


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

    _more = ("retry_after",)

    def __init__(self, message: str, *, retry_after: Optional[float] = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after

    def _facts(self) -> list[str]:
        wait = [] if self.retry_after is None else [f"retry after {self.retry_after:g} s"]
        return super()._facts() + wait


class ServerError(FlowMaestroError):
    """The backend failed (5xx), or its answer could not be read."""


class TimeoutError(  # pyright: ignore[reportIncompatibleVariableOverride]
    FlowMaestroError, builtins.TimeoutError
):
    """There was no answer, or no end, in time.

    Attributes:
        execution: After ``wait_for_completion``: the execution as it was last seen. The
            execution itself goes on.
    """

    _more = ("execution",)

    def __init__(
        self, message: str, *, execution: Optional[dict[str, Any]] = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.execution = execution


class ConnectionError(  # pyright: ignore[reportIncompatibleVariableOverride]
    FlowMaestroError, builtins.ConnectionError
):
    """The backend could not be reached, or the connection broke."""


class StreamError(FlowMaestroError):
    """An event stream ended without its end, or is none."""


class ExecutionFailedError(FlowMaestroError):
    """An execution failed or was cancelled, and the caller asked for an error then.

    Attributes:
        execution: The execution, with ``status`` and ``error``.
    """

    _more = ("execution",)

    def __init__(
        self, message: str, *, execution: Optional[dict[str, Any]] = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.execution = execution


class WebhookVerificationError(FlowMaestroError):
    """A webhook delivery could not be shown to come from FlowMaestro."""


class ConfigurationError(  # pyright: ignore[reportIncompatibleVariableOverride]
    FlowMaestroError, ValueError
):
    """An environment variable cannot be used; the message names it and shows its value."""
