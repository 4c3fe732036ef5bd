"""What a client is set to: the key, the address, and the options of its calls.

All checks of what the user hands in are here, so that a mistake is told when the
client is made and not when the first request fails.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional, Union

from .errors import ConfigurationError, InvalidArgumentError
from .lazy import lazy_module

if TYPE_CHECKING:
    import httpx
    import httpx2

    from . import response
else:
    # Who reads the annotations loads them.
    httpx = lazy_module("httpx")
    httpx2 = lazy_module("httpx2", is_optional=True)
    response = lazy_module(".response", __package__)

__all__ = [
    "API_PREFIX",
    "DEFAULT_BASE_URL",
    "NOT_GIVEN",
    "NO_BOUND",
    "NotGiven",
    "Options",
    "Secret",
    "Timeouts",
    "RECONNECT_SECONDS",
    "check_options",
    "check_seconds",
    "host_problem",
    "port_number",
    "masked",
    "reconnect_options",
    "resolve_api_key",
    "resolve_base_url",
    "stack_level",
    "warn_of_no_timeout",
]

DEFAULT_BASE_URL = "https://api.flowmaestro.io"
API_PREFIX = "/api/v1"

# So many seconds, 31 years, or more are no bound. Clocks and sockets cannot count to
# infinity, nor much further than this.
NO_BOUND = 1e9

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Headers that belong to the connection, or to the body that is sent: with another value a
# request breaks, or hangs.
_OWN_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[^\]]*\]|[^/:\[\]]*)(?::(?P<port>[0-9]*))?(?P<path>/.*)?",
    re.IGNORECASE | re.DOTALL,
)
_PATH = re.compile(r"(?:[A-Za-z0-9/._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
_IPV4 = re.compile(r"[0-9]+(?:\.[0-9]+){3}")


class NotGiven:
    """The type of ``NOT_GIVEN``, which tells "left out" from None."""

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN = NotGiven()


class Secret:
    """An API key that does not show itself in reprs, logs, tracebacks or pickles."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def reveal(self) -> Any:
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
    def of(cls, timeout: Union[float, httpx.Timeout, httpx2.Timeout, None]) -> Timeouts:
        """Read seconds, an ``httpx.Timeout``, or None for no bound."""
        if timeout is None:
            return cls(None, None, None)
        if isinstance(timeout, (int, float)):
            seconds = check_seconds("timeout", timeout)
            return cls(seconds, seconds, seconds)
        try:
            parts = (timeout.connect, timeout.read, timeout.write, timeout.pool)
        except AttributeError:
            raise TypeError(
                f"timeout must be seconds, an httpx.Timeout or None, not {_shown(timeout)}"
            ) from None
        names = ("connect", "read", "write", "pool")
        return cls(
            *(
                # Not to wait for a free connection makes sense; not to wait for an answer does not.
                None
                if part is None
                else check_seconds(f"timeout.{name}", part, zero=name == "pool")
                for name, part in zip(names, parts)
            )
        )

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
    on_response: Optional[Callable[[response.ResponseInfo], object]] = None

    def __repr__(self) -> str:
        """Show no value of a header, of which one may be a key."""
        names = [name for name, _ in self.headers]
        shown = {**self._asdict(), "headers": names}
        return f"Options({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def changed(
        self,
        *,
        timeout: Union[float, httpx.Timeout, httpx2.Timeout, None, NotGiven] = NOT_GIVEN,
        deadline: Union[float, None, NotGiven] = NOT_GIVEN,
        max_retries: Union[int, None, NotGiven] = NOT_GIVEN,
        retry_unsafe: Union[bool, NotGiven] = NOT_GIVEN,
        headers: Union[Mapping[str, str], None, NotGiven] = NOT_GIVEN,
        on_response: Union[Callable[[response.ResponseInfo], object], None, NotGiven] = NOT_GIVEN,
    ) -> Options:
        """Give these options with some of them changed, each checked."""
        changes: dict[str, Any] = {}
        if not isinstance(timeout, NotGiven):
            changes["timeouts"] = Timeouts.of(timeout)
        if not isinstance(deadline, NotGiven):
            changes["deadline"] = None if deadline is None else check_seconds("deadline", deadline)
        if max_retries is not None and not isinstance(max_retries, NotGiven):
            if isinstance(max_retries, bool) or not isinstance(max_retries, int):
                raise TypeError(f"max_retries must be a whole number, not {_shown(max_retries)}")
            if max_retries < 0:
                raise InvalidArgumentError(
                    f"max_retries must be 0 or more, not {_shown(max_retries)}"
                )
            changes["max_retries"] = max_retries
        if not isinstance(retry_unsafe, NotGiven):
            changes["retry_unsafe"] = bool(retry_unsafe)
        if headers is not None and not isinstance(headers, NotGiven):
            if not isinstance(headers, Mapping):
                raise TypeError(f"headers must be a mapping, not {type(headers).__name__}")
            added = [_header(name, value) for name, value in headers.items()]
            replaced = {name.lower() for name, _ in added}
            kept = [pair for pair in self.headers if pair[0].lower() not in replaced]
            changes["headers"] = (*kept, *added)
        if not isinstance(on_response, NotGiven):
            if on_response is not None and not callable(on_response):
                raise TypeError(f"on_response must be callable, not {_shown(on_response)}")
            changes["on_response"] = on_response
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


def warn_of_no_timeout() -> None:
    """Warn that a call may wait for ever, which is not what 0.1.0 did with the same argument."""
    import warnings

    warnings.warn(
        "timeout=None is no bound, so a call may wait for ever; in 0.1.0 it meant 30 seconds. "
        "Leave it out for 30 seconds, or pass httpx.Timeout(None) to have no bound on purpose",
        stacklevel=stack_level(),
    )


def stack_level() -> int:
    """How many frames above the caller the first one is that is not this SDK's."""
    level = 1
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("flowmaestro"):
        frame = frame.f_back
        level += 1
    return level


def check_seconds(name: str, value: object, *, zero: bool = False) -> Optional[float]:
    """Check a number of seconds that a user hands in.

    Args:
        name: What the number is for, to say in an error.
        value: The number.
        zero: Whether 0 makes sense.

    Returns:
        The seconds, or None for so many that they are no bound, infinity among them.

    Raises:
        TypeError: It is no number.
        InvalidArgumentError: It is below 0 (or 0), or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {_shown(value)}")
    if not (value >= 0 if zero else value > 0):
        least = "0 seconds or more" if zero else "more than 0 seconds"
        raise InvalidArgumentError(f"{name} must be {least}, not {_shown(value)}")
    return None if value >= NO_BOUND else float(value)


def _shown(value: object) -> str:
    """Show a value in an error, however long it is, and also where Python refuses to."""
    try:
        text = repr(value)
    except Exception:
        # A whole number of more than 4,300 digits, or an object of the user's that cannot.
        return f"{'an' if isinstance(value, int) else 'a'} {type(value).__name__} that is too long"
    return text if len(text) <= 100 else f"{text[:100]}..."


def resolve_api_key(
    given: Union[str, Secret, None], environ: Mapping[str, str] = os.environ
) -> Secret:
    """Find the key and check its form; the error never repeats it.

    The key must not stand in the locals of any frame when the error is shown, and the
    environment holds it as well.
    """
    secret = given if isinstance(given, Secret) else Secret(given)
    del given
    from_environment = secret.reveal() is None
    if from_environment:
        secret = Secret(environ.get("FLOWMAESTRO_API_KEY"))
    del environ
    source = "FLOWMAESTRO_API_KEY" if from_environment else "api_key"
    problem = _key_problem(secret, source)
    if problem is not None:
        raise (ConfigurationError if from_environment else ValueError)(problem)
    return secret


def _key_problem(secret: Secret, source: str) -> Optional[str]:
    key = secret.reveal()
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
    """Find the address and check it.

    Returns:
        The address without a slash or a version at its end, its scheme and host in lower case.

    Raises:
        TypeError: It is no string.
        ValueError: It is no address, or one that no request can be sent to; a
            ``ConfigurationError`` where it comes from the environment.
    """
    url, source = given, "base_url"
    error: type[ValueError] = ValueError
    if url is None or url == "":
        url = environ.get("FLOWMAESTRO_BASE_URL") or DEFAULT_BASE_URL
        source, error = "FLOWMAESTRO_BASE_URL", ConfigurationError
    # The environment holds the key, which no traceback may show.
    del environ
    if not isinstance(url, str):
        raise TypeError(f"{source} must be a string, not {type(url).__name__}")
    try:
        return _address_of(url)
    except ValueError as why:
        problem = str(why)
    raise error(f"{source} {problem}: {masked(url)!r}")


def _address_of(url: str) -> str:
    """Give the address that a text stands for, or raise a ValueError that says why it is none."""
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError("has white space or a control character in it")
    if "?" in url or "#" in url:
        raise ValueError("may not have a query or a fragment (? or #)")
    if "\\" in url:
        raise ValueError("has a backslash in it")
    match = _ADDRESS.fullmatch(url)
    if "@" in (match["host"] if match else url.partition("://")[2].partition("/")[0]):
        raise ValueError("may not have a user name; the key goes into api_key")
    if match is None or not match["host"]:
        raise ValueError(f"must be a whole address such as {DEFAULT_BASE_URL!r}")
    host, port, path = match["host"].lower(), match["port"], match["path"] or ""
    if not host.isascii():
        host = _ascii_host(host)
    problem = host_problem(host)
    if problem:
        raise ValueError(f"has a host that {problem}")
    if port and not 1 <= port_number(port) <= 65535:
        raise ValueError("has a port that is none (1 to 65535)")
    port = f":{port_number(port)}" if port else ""
    return f"{match['scheme'].lower()}://{host}{port}{_path_of(path)}"


def _path_of(path: str) -> str:
    """Take the version off the end of an address's path, or raise a ValueError for a bad one."""
    path = path.rstrip("/")
    if path.endswith(API_PREFIX):
        path = path[: -len(API_PREFIX)].rstrip("/")
    elif re.search(r"/v[0-9]+$", path, re.IGNORECASE):
        raise ValueError(f"ends in a version, but not in {API_PREFIX}: leave the version out")
    if not _PATH.fullmatch(path):
        raise ValueError("has a character in its path that must be written with % and two digits")
    segments = path.split("/")
    if f"{API_PREFIX}/" in f"{path}/".lower():
        raise ValueError(f"has more behind {API_PREFIX}: leave out what follows")
    if "" in segments[1:] or "." in segments or ".." in segments:
        raise ValueError("has an empty part, or one of dots, in its path")
    return path


def _ascii_host(host: str) -> str:
    """Write a host of any script as names are looked up, or give it back where it is none."""
    # httpx and anyio bring it.
    import idna

    try:
        return idna.encode(host).decode("ascii")
    except idna.IDNAError:
        return host


def port_number(digits: str) -> int:
    """Read a port of any number of digits; one that is too long stays too large."""
    return int(digits.lstrip("0")[:9] or 0)


def host_problem(host: str) -> str:
    """Say why a host in lower case cannot be connected to; empty for one that can."""
    import ipaddress

    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1] if "%" not in host else "")
            return ""
        if _IPV4.fullmatch(host):
            ipaddress.IPv4Address(host)
            return ""
    except ValueError:
        return "is no IP address"
    labels = host[:-1].split(".") if host.endswith(".") else host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "is no name of a machine"
    return ""


def masked(text: str) -> str:
    """Give an address of any form without the user name and the password in it."""
    hidden = re.sub(r"^(\w+://)?.*@", r"\1***@", text, flags=re.DOTALL)
    return hidden if len(hidden) <= 200 else f"{hidden[:200]}..."


def _header(name: object, value: object) -> tuple[str, str]:
    """Check a header as it is sent; no error shows its value, which may be a key."""
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise InvalidArgumentError(f"headers: {_shown(name)} is no header name")
    if name.lower() in _OWN_HEADERS:
        raise InvalidArgumentError(f"headers: {name!r} belongs to the connection and cannot be set")
    if not isinstance(value, str):
        raise TypeError(f"headers: the value of {name!r} must be a string")
    if value != value.strip():
        raise InvalidArgumentError(
            f"headers: the value of {name!r} has white space at its beginning or end"
        )
    if _CONTROL.search(value.replace("\t", "")):
        raise InvalidArgumentError(f"headers: the value of {name!r} has a control character in it")
    if not value.isascii():
        raise InvalidArgumentError(
            f"headers: the value of {name!r} has a character that is not ASCII"
        )
    return name, value
