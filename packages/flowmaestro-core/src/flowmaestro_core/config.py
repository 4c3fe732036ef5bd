"""What a client is set to: the key, the address, and the options of its calls.

All checks of what the user hands in are here, so that a mistake is told when the
client is made and not when the first request fails.
"""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

__all__ = [
    "API_PREFIX",
    "DEFAULT_BASE_URL",
    "NOT_GIVEN",
    "NotGiven",
    "Options",
    "Secret",
    "Timeouts",
    "RECONNECT_SECONDS",
    "check_options",
    "positive_seconds",
    "reconnect_options",
    "resolve_api_key",
    "resolve_base_url",
]

DEFAULT_BASE_URL = "https://api.flowmaestro.io"
API_PREFIX = "/api/v1"

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class NotGiven:
    """The type of ``NOT_GIVEN``, which tells "left out" from None."""

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN = NotGiven()


class Secret:
    """An API key that does not show itself in reprs, logs, tracebacks or pickles."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the key itself; only the code that writes the header may ask."""
        return self._value

    def __repr__(self) -> str:
        return "<API key>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("an API key is not pickled; make a new client in the other process")


class Timeouts(NamedTuple):
    """Seconds that each step of one request may take; None means no bound."""

    connect: Optional[float]
    read: Optional[float]
    write: Optional[float]
    # Waiting for a free connection is not a failure of the backend, so it has no bound
    # of its own; a deadline bounds it.
    pool: Optional[float] = None

    @classmethod
    def of(cls, timeout: Union[float, httpx.Timeout, None]) -> Timeouts:
        """Read seconds, an ``httpx.Timeout``, or None for no bound."""
        if timeout is None:
            return cls(None, None, None)
        if isinstance(timeout, (int, float)):
            seconds = positive_seconds("timeout", timeout)
            return cls(seconds, seconds, seconds)
        try:
            parts = (timeout.connect, timeout.read, timeout.write, timeout.pool)
        except AttributeError:
            raise TypeError(
                f"timeout must be seconds, an httpx.Timeout or None, not {timeout!r}"
            ) from None
        connect, read, write = (
            None if part is None else positive_seconds("timeout", part) for part in parts[:3]
        )
        return cls(connect, read, write, parts[3])

    def within(self, seconds: Optional[float]) -> Timeouts:
        """The same, with no step longer than what is left of a deadline."""
        if seconds is None:
            return self
        bound = max(seconds, 0.001)
        return Timeouts(*(bound if part is None else min(part, bound) for part in self))


class Options(NamedTuple):
    """How calls are made; ``with_options`` gives a view with other ones."""

    timeouts: Timeouts = Timeouts(30.0, 30.0, 30.0)
    # True where the caller said how long this very call may take, which then holds for
    # calls with a longer default as well.
    timeout_is_exact: bool = False
    deadline: Optional[float] = None
    max_retries: int = 3
    retry_unsafe: bool = False
    headers: tuple[tuple[str, str], ...] = ()

    def changed(
        self,
        *,
        timeout: Union[float, httpx.Timeout, None, NotGiven] = NOT_GIVEN,
        deadline: Union[float, None, NotGiven] = NOT_GIVEN,
        max_retries: Union[int, NotGiven] = NOT_GIVEN,
        retry_unsafe: Union[bool, NotGiven] = NOT_GIVEN,
        headers: Union[Mapping[str, str], None, NotGiven] = NOT_GIVEN,
    ) -> Options:
        """Give these options with some of them changed, each checked."""
        changes: dict[str, Any] = {}
        if not isinstance(timeout, NotGiven):
            changes["timeouts"] = Timeouts.of(timeout)
        if not isinstance(deadline, NotGiven):
            changes["deadline"] = (
                None if deadline is None else positive_seconds("deadline", deadline)
            )
        if not isinstance(max_retries, NotGiven):
            if isinstance(max_retries, bool) or not isinstance(max_retries, int):
                raise TypeError(f"max_retries must be a whole number, not {max_retries!r}")
            if max_retries < 0:
                raise ValueError(f"max_retries must be 0 or more, not {max_retries}")
            changes["max_retries"] = max_retries
        if not isinstance(retry_unsafe, NotGiven):
            changes["retry_unsafe"] = bool(retry_unsafe)
        if headers and not isinstance(headers, NotGiven):
            added = [_header(name, value) for name, value in headers.items()]
            replaced = {name.lower() for name, _ in added}
            kept = [pair for pair in self.headers if pair[0].lower() not in replaced]
            changes["headers"] = (*kept, *added)
        return self._replace(**changes)


# Seconds for connecting again, and then for the head of the response.
RECONNECT_SECONDS = 5.0


def reconnect_options(options: Options, remaining: Optional[float]) -> Options:
    """Give the options for opening a stream again.

    One short attempt, for the stream's own loop repeats it and asks for the status between two.

    Args:
        options: Of the client.
        remaining: Seconds left of the stream's deadline, or None without one.
    """
    within = options.timeouts.within(RECONNECT_SECONDS)
    return options._replace(timeouts=within, max_retries=0, deadline=remaining)


def check_options(options: Options, remaining: Optional[float]) -> Options:
    """Give the options for polling the status beside a stream.

    Short, and one attempt, for the next poll is soon. No long wait for a connection either:
    the stream itself may hold the only one.

    Args:
        options: Of the client.
        remaining: Seconds left of the stream's deadline, or None without one.
    """
    timeouts = Timeouts(3.0, 5.0, 3.0, 2.0)
    return options._replace(timeouts=timeouts, max_retries=0, deadline=remaining)


def resolve_api_key(given: Optional[str], environ: Mapping[str, str] = os.environ) -> Secret:
    """Find the key and check its form; the error never repeats it."""
    key = given if given is not None else environ.get("FLOWMAESTRO_API_KEY")
    source = "api_key" if given is not None else "FLOWMAESTRO_API_KEY"
    problem = _key_problem(key, source)
    if problem is None:
        assert key is not None
        return Secret(key)
    # The key must not stand in the locals of this frame when the error is shown.
    del given, key
    raise ValueError(problem)


def _key_problem(key: object, source: str) -> Optional[str]:
    if key is None or key == "":
        return (
            "no API key: pass api_key=... to the client or set the environment variable "
            "FLOWMAESTRO_API_KEY"
        )
    if not isinstance(key, str):
        return f"{source} must be a string, not {type(key).__name__}"
    if key != key.strip() or re.search(r"\s", key) or _CONTROL.search(key):
        return (
            f"{source} has white space or a control character in it; copy the key again, "
            "without the line's end"
        )
    if not key.isascii():
        return f"{source} has a character that is not ASCII; copy the key again"
    return None


def resolve_base_url(given: Optional[str], environ: Mapping[str, str] = os.environ) -> str:
    """Find the address and check it; the result has neither a slash nor a version at its end."""
    from urllib.parse import urlsplit

    if given is not None:
        url, source = given, "base_url"
    else:
        url, source = (
            environ.get("FLOWMAESTRO_BASE_URL") or DEFAULT_BASE_URL,
            "FLOWMAESTRO_BASE_URL",
        )
    if not isinstance(url, str):
        raise TypeError(f"{source} must be a string, not {type(url).__name__}")
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError(f"{source} has white space or a control character in it: {url!r}")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"{source} must be a whole address such as {DEFAULT_BASE_URL!r}, not {url!r}"
        )
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{source} may not hold a query, a fragment or a user name")
    try:
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        raise ValueError(f"{source} has a port that is none: {url!r}") from None
    url = url.rstrip("/")
    return url[: -len(API_PREFIX)].rstrip("/") if url.endswith(API_PREFIX) else url


def positive_seconds(name: str, value: object) -> float:
    """Check a number of seconds that must be more than 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if math.isnan(value) or value <= 0:
        raise ValueError(f"{name} must be more than 0 seconds, not {value}")
    return float(value)


def _header(name: object, value: object) -> tuple[str, str]:
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"headers: {name!r} is no header name")
    if not isinstance(value, str):
        raise TypeError(f"headers: the value of {name!r} must be a string")
    if _CONTROL.search(value.replace("\t", "")):
        raise ValueError(f"headers: the value of {name!r} has a control character in it")
    return name, value
