"""Everything that can go wrong, as a tree.

* FlowMaestroError
    * ValidationError            400, 422, 414, 431
        * RequestTooLargeError   413
        * InvalidArgumentError   an argument that cannot be sent, also a ValueError
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

from .codes import with_alias

__all__ = [
    "AuthenticationError",
    "AuthorizationError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionError",
    "ExecutionFailedError",
    "FlowMaestroError",
    "InvalidArgumentError",
    "NotFoundError",
    "RateLimitError",
    "RequestTooLargeError",
    "ServerError",
    "StreamError",
    "TimeoutError",
    "ValidationError",
    "WebhookVerificationError",
]


_Defaults = tuple[str, Optional[str], Optional[int]]


class FlowMaestroError(Exception):
    """The base of every error of this SDK.

    Attributes:
        message: What happened, in words.
        code: The API's code (``"resource_not_found"``), or one of the SDK's (``"read_timeout"``),
            or None. The page on errors lists them.
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
    # The message, code and status of an error that is made without them, as in users' tests.
    _defaults: ClassVar[_Defaults] = ("an error of FlowMaestro", None, None)
    # Which of ``code`` and ``status_code`` are the class's own, which its name says already. An
    # error that is made again from the whole text of another one must not say them twice.
    _implied: frozenset[str] = frozenset()

    def __init__(
        self,
        message: Optional[str] = None,
        code: Optional[str] = None,
        status_code: Optional[int] = None,
        request_id: Optional[str] = None,
        details: Optional[dict[str, Any]] = None,
        *,
        outcome_unknown: bool = False,
    ) -> None:
        text, usual_code, usual_status = self._defaults
        super().__init__()
        self.message = text if message is None else message
        self.code = with_alias(usual_code if code is None else code)
        self.status_code = usual_status if status_code is None else status_code
        self.request_id = request_id
        self.details = details
        self.outcome_unknown = outcome_unknown
        self.api_message: Optional[str] = None
        given = {"code": code, "status_code": status_code}
        self._implied = frozenset(name for name, value in given.items() if value is None)

    def __str__(self) -> str:
        shows_code = self.code and "code" not in self._implied
        head = f"[{self.code}] {self.message}" if shows_code else self.message
        facts = self._facts()
        return _printable(f"{head} ({', '.join(facts)})" if facts else head)

    def _facts(self) -> list[str]:
        """Say in words what stands beside the message."""
        facts: list[str] = []
        if self.status_code is not None and "status_code" not in self._implied:
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
        facts["code"] = with_alias(facts["code"])
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


def _printable(text: str) -> str:
    """Give a text that terminals and logs can write: half a character is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


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


class _StatusError(FlowMaestroError):
    """An error that stands for one HTTP status, which need not be given."""

    def __init__(
        self,
        message: Optional[str] = None,
        code: Optional[str] = None,
        request_id: Optional[str] = None,
        details: Optional[dict[str, Any]] = None,
        *,
        status_code: Optional[int] = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(
            message, code, status_code, request_id, details, outcome_unknown=outcome_unknown
        )


class ValidationError(_StatusError):
    """The API refused the request as it was (400, 422; 414 and 431 for a URL that is too long)."""

    _defaults: ClassVar[_Defaults] = ("the request is not valid", "validation_error", 400)


class RequestTooLargeError(ValidationError):
    """The body of the request is larger than the API accepts (413)."""

    _defaults = ("the request body is larger than the API accepts", "request_too_large", 413)


class InvalidArgumentError(  # pyright: ignore[reportIncompatibleVariableOverride]
    ValidationError, ValueError
):
    """An argument cannot be sent, such as an empty id; nothing was sent.

    It is a ``ValueError`` as well.
    """

    _defaults = ("an argument is not valid", "invalid_argument", None)

    def __str__(self) -> str:
        # As any ValueError.
        return _printable(self.message)


class AuthenticationError(_StatusError):
    """The API key is missing, unknown, expired or revoked (401); ``code`` says which."""

    _defaults = ("the API key was not accepted", "authentication_error", 401)


class AuthorizationError(_StatusError):
    """The API key is good but may not do this (403)."""

    _defaults = ("the API key may not do this", "authorization_error", 403)

    @property
    def missing_scopes(self) -> list[str]:
        """The scopes that the key would need, as far as the API names them."""
        scopes: Any = (self.details or {}).get("missing_scopes")
        return list(map(str, cast("Any", scopes))) if isinstance(scopes, list) else []


class NotFoundError(_StatusError):
    """There is nothing with that id (404)."""

    _defaults = ("there is nothing with this id", "not_found", 404)


class ConflictError(_StatusError):
    """The request does not fit the state of things (409)."""

    _defaults = ("the request conflicts with the current state", "conflict", 409)


class RateLimitError(_StatusError):
    """Too many requests (429).

    Attributes:
        retry_after: Seconds until the next request is worth sending, or None if unsaid.
    """

    _more = ("retry_after",)
    _defaults = ("too many requests", "rate_limit_exceeded", 429)

    def __init__(
        self,
        message: Optional[str] = None,
        code: Optional[str] = None,
        request_id: Optional[str] = None,
        details: Optional[dict[str, Any]] = None,
        retry_after: Optional[float] = None,
        *,
        status_code: Optional[int] = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(
            message,
            code,
            request_id,
            details,
            status_code=status_code,
            outcome_unknown=outcome_unknown,
        )
        self.retry_after = retry_after

    def _facts(self) -> list[str]:
        wait = [] if self.retry_after is None else [f"retry after {self.retry_after:g} s"]
        return super()._facts() + wait


class ServerError(FlowMaestroError):
    """The API failed (5xx), or its response could not be read."""

    _defaults = ("the API failed", "server_error", 500)


class _ExecutionError(FlowMaestroError):
    """An error that has an execution with it."""

    _more = ("execution",)

    def __init__(
        self,
        message: Optional[str] = None,
        code: Optional[str] = None,
        status_code: Optional[int] = None,
        request_id: Optional[str] = None,
        details: Optional[dict[str, Any]] = None,
        *,
        outcome_unknown: bool = False,
        execution: Optional[dict[str, Any]] = None,
    ) -> None:
        super().__init__(
            message, code, status_code, request_id, details, outcome_unknown=outcome_unknown
        )
        self.execution = execution


class TimeoutError(  # pyright: ignore[reportIncompatibleVariableOverride]
    _ExecutionError, builtins.TimeoutError
):
    """There was no response, or no end, in time.

    Attributes:
        execution: After ``wait_for_completion``: the execution as it was last seen. The
            execution itself goes on.
    """

    _defaults = ("the request timed out", "timeout", None)


class ConnectionError(  # pyright: ignore[reportIncompatibleVariableOverride]
    FlowMaestroError, builtins.ConnectionError
):
    """The API could not be reached, or the connection broke."""

    _defaults = ("the API could not be reached", "connection_error", None)


class StreamError(FlowMaestroError):
    """An event stream ended without its end, or is none."""

    _defaults = ("the event stream broke", "stream_error", None)

    def __init__(
        self,
        message: Optional[str] = None,
        details: Optional[dict[str, Any]] = None,
        *,
        code: Optional[str] = None,
        status_code: Optional[int] = None,
        request_id: Optional[str] = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(
            message, code, status_code, request_id, details, outcome_unknown=outcome_unknown
        )


class ExecutionFailedError(_ExecutionError):
    """An execution failed or was cancelled, and the caller asked for an error then.

    Attributes:
        execution: The execution, with ``status`` and ``error``.
    """

    _defaults = ("the execution failed", "execution_failed", None)


class WebhookVerificationError(FlowMaestroError):
    """A webhook delivery could not be shown to come from FlowMaestro."""

    _defaults = ("the delivery could not be verified", "bad_signature", None)


class ConfigurationError(  # pyright: ignore[reportIncompatibleVariableOverride]
    FlowMaestroError, ValueError
):
    """An environment variable cannot be used; the message names it and shows its value."""
