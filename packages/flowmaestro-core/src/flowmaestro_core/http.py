"""What both halves need of httpx; with the two ``connections.py``, the room that owns it."""

from __future__ import annotations

import copy
import platform
import ssl
from ipaddress import ip_address
from typing import Any, Callable, Optional, TypeVar, Union

import httpx

from . import __version__, errors
from .coding import CodingError, UnknownCoding, Unpacker, codings_of, unpacker_for
from .config import Options, Secret, Timeouts, stack_level
from .environment import certificate_error, connection_hint, proxy_for
from .libraries import is_error, library_of, transport_errors
from .response import Answer, Unanswered
from .retries import LOST, NOT_SENT

__all__ = [
    "CALL_LIMITS",
    "CLIENT_LIMITS",
    "CONNECTIONS_EACH",
    "IDLE_SECONDS",
    "MAX_CALLS",
    "STREAM_LIMITS",
    "answer_of",
    "client_busy",
    "headers_for",
    "is_unreadable",
    "is_patched",
    "own_of",
    "proxy_of",
    "set_content",
    "ssl_context_for",
    "steps_of",
    "too_large",
    "transport_failures",
    "transports_of",
    "unanswered",
    "unpacker_of",
    "with_first_hook",
]

ClientT = TypeVar("ClientT", httpx.Client, httpx.AsyncClient)

# Calls at the same time on one client; more wait for their turn. Streams stand outside,
# so that a thousand of them leave room for calls.
MAX_CALLS = 100

# Requests that one transport has under way: as many calls, and as many streams.
CONNECTIONS_EACH = 10

# 30 s idle is below the backend's 72 s, so that a connection is not used as it closes.
IDLE_SECONDS = 30.0

# The calls are bounded by MAX_CALLS and not by a pool, which holds streams as well.
CALL_LIMITS = httpx.Limits(
    max_connections=None,
    max_keepalive_connections=CONNECTIONS_EACH,
    keepalive_expiry=IDLE_SECONDS,
)
STREAM_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=0)
CLIENT_LIMITS = httpx.Limits(
    max_connections=None, max_keepalive_connections=MAX_CALLS, keepalive_expiry=IDLE_SECONDS
)


def transport_failures() -> tuple[type[Exception], ...]:
    """Give what a transport may raise.

    OSError stands beside the libraries' own for the backends that let one through, as when a
    socket breaks while it is closed, and UnicodeError for cookies.
    """
    return (*transport_errors(), OSError, UnicodeError, CodingError)


def is_unreadable(failure: Exception) -> bool:
    """True for a body that is not in the coding that its headers name."""
    return isinstance(failure, CodingError) or is_error(failure, "DecodingError")


# Seconds from which on a step has no bound. Sockets wait at most 24 days on some systems.
_NO_BOUND = 2_000_000.0


class _Headers(httpx.Headers):
    """Headers whose repr, as a traceback shows it, has no key in it.

    httpx hides ``Authorization``, and not the header that the key has beside it.
    """

    def copy(self) -> _Headers:
        return _Headers(self)

    def __repr__(self) -> str:
        return f"Headers({list(self)})"


def steps_of(timeouts: Timeouts) -> dict[str, Optional[float]]:
    """Write the timeouts of a request's steps in httpx's way."""
    return {
        name: None if seconds is None or seconds >= _NO_BOUND else seconds
        for name, seconds in timeouts._asdict().items()
    }


def headers_for(
    secret: Secret, options: Options, *, key_header: bool, user_agent: Optional[str] = None
) -> httpx.Headers:
    """Write the headers of every request with these options.

    Args:
        secret: The key.
        options: Whose ``headers`` are added and win.
        key_header: Send the key as ``X-API-Key``, because ``Authorization`` is taken.
        user_agent: In place of the SDK's own.
    """
    names = {name.lower() for name, _ in options.headers}
    headers = _Headers(
        {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": user_agent or _USER_AGENT,
        }
    )
    if key_header or "authorization" in names:
        headers["X-API-Key"] = secret.reveal()
    else:
        headers["Authorization"] = "Bearer " + secret.reveal()
    for name, value in options.headers:
        headers[name] = value
    return headers


_USER_AGENT = (
    f"flowmaestro-python/{__version__} Python/{platform.python_version()} httpx/{httpx.__version__}"
)


def own_of(client: Union[httpx.Client, httpx.AsyncClient]) -> tuple[Optional[str], bool]:
    """Say what a client of the user's adds that the SDK's own headers would replace.

    Returns:
        The user agent that was set on it, and whether it has a use for ``Authorization``.
    """
    agent = client.headers.get("user-agent", "")
    is_set = agent and not agent.startswith(("python-httpx/", "python-httpx2/"))
    return agent if is_set else None, client.auth is not None or "authorization" in client.headers


def transports_of(client: Union[httpx.Client, httpx.AsyncClient]) -> list[Any]:
    """List the transports of a client, those for proxies among them."""
    mounts: dict[Any, Any] = getattr(client, "_mounts", {})
    return [getattr(client, "_transport", None), *mounts.values()]


def with_first_hook(client: ClientT, hook: Callable[..., Any]) -> ClientT:
    """Give a client that shares all with another, and calls a hook for a response first.

    The user's own stays as it is: it may be used for other things at the same time.
    """
    view = copy.copy(client)
    hooks: dict[str, list[Callable[..., Any]]] = client.event_hooks
    view.event_hooks = {**hooks, "response": [hook, *hooks["response"]]}
    return view


def unpacker_of(response: httpx.Response) -> Optional[Unpacker]:
    """Choose how to unpack a body; None where httpx has to, with a package of the user's.

    Raises:
        UnknownCoding: Nobody here can unpack it.
    """
    codings = codings_of(response.headers["content-encoding"])
    try:
        return unpacker_for(codings)
    except UnknownCoding:
        # httpx says what it can unpack, by what is installed.
        with httpx.Client(transport=httpx.BaseTransport()) as client:
            known = codings_of(client.headers["accept-encoding"])
        if not all(name in known for name in codings):
            raise
        return None


def set_content(response: httpx.Response, body: Optional[bytes]) -> None:
    """Note a body that was read, as ``response.read()`` does; None for one that is too long."""
    response._content = body or b""  # pyright: ignore[reportPrivateUsage]
    response.is_stream_consumed = True


def ssl_context_for(base_url: str) -> ssl.SSLContext:
    """Make what certificates are verified with, once for all connections.

    Loading the trusted certificates takes some 30 ms, which a plain ``http://`` address
    has no use for: it gets a context that trusts nobody.

    Raises:
        ConfigurationError: The environment names certificates that cannot be loaded.
    """
    if base_url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.create_ssl_context()
    except (OSError, ValueError) as failure:
        problem = certificate_error(failure)
    raise problem


def proxy_of(base_url: str) -> Optional[httpx.Proxy]:
    """Give the proxy that the environment names for an address, or None.

    Raises:
        ConfigurationError: What the environment names cannot be used.
    """
    proxy = proxy_for(base_url)
    if proxy is None:
        return None
    encrypted = proxy.url.startswith("https://")
    return httpx.Proxy(proxy.url, ssl_context=ssl_context_for(proxy.url) if encrypted else None)


def answer_of(response: httpx.Response, body: bytes) -> Answer:
    """Take what is plain data out of httpx's response."""
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1")
        for name, value in response.headers.raw
    }
    return Answer(response.status_code, headers, body)


def too_large(response: httpx.Response, limit: int) -> Unanswered:
    """Say that an answer was cut at the limit."""
    return Unanswered(
        errors.ServerError(
            f"the answer is longer than {limit:,} bytes and was cut; see max_response_bytes",
            code="response_too_large",
            status_code=response.status_code,
        ),
        LOST,
        final=True,
    )


def client_busy() -> Unanswered:
    """Say that a call did not get its turn among the client's own calls."""
    error = errors.TimeoutError(
        f"the client has {MAX_CALLS} calls under way, and none of them ended in time",
        code="client_busy",
    )
    return Unanswered(error, NOT_SENT)


def unanswered(
    failure: Exception, address: str, timeouts: Timeouts, *, was_sent: bool = True
) -> Unanswered:
    """Map an exception of the HTTP library to an error of ours.

    Args:
        failure: What was raised.
        address: Whom the request was for.
        timeouts: What the request was given, for the message.
        was_sent: False where it is known that not even the request's head was sent.
    """
    untrusted, what = _reason_of(failure)
    if is_error(failure, "PoolTimeout"):
        error: errors.FlowMaestroError = errors.TimeoutError(
            "no free connection in the pool of http_client", code="pool_timeout"
        )
        return Unanswered(error, NOT_SENT, no_connection=True)
    if is_error(failure, "ConnectTimeout"):
        error = errors.TimeoutError(
            f"no connection to {address} within {_seconds(timeouts.connect)}"
            f"{connection_hint(address, untrusted=False)}",
            code="connect_timeout",
        )
        return Unanswered(error, NOT_SENT)
    if is_error(failure, "TimeoutException") and not was_sent:
        error = errors.TimeoutError(
            f"no connection to {address} within {_seconds(timeouts.read)}: "
            "the proxy did not open one",
            code="connect_timeout",
        )
        return Unanswered(error, NOT_SENT)
    if is_error(failure, "TimeoutException"):
        error = errors.TimeoutError(
            f"no answer from {address} within {_seconds(timeouts.read)}", code="read_timeout"
        )
        return Unanswered(error, LOST)
    if is_error(failure, "ConnectError", "ProxyError"):
        error = errors.ConnectionError(
            f"cannot connect to {address}: {what}{connection_hint(address, untrusted=untrusted)}",
            code="certificate_untrusted" if untrusted else "connection_failed",
        )
        return Unanswered(error, NOT_SENT, final=untrusted)
    # A UnicodeError is a cookie that the user's client was given, and cannot send back.
    if isinstance(failure, UnicodeError) or is_error(
        failure, "UnsupportedProtocol", "LocalProtocolError", "InvalidURL"
    ):
        error = errors.ConnectionError(
            f"the request to {address} cannot be sent: {what}", code="request_invalid"
        )
        return Unanswered(error, NOT_SENT, final=True)
    if is_unreadable(failure):
        error = errors.ServerError(
            f"the response from {address} cannot be unpacked: {what}",
            code="invalid_response",
        )
        # Its status is not known, and was none of an error.
        error.status_code = None
        return Unanswered(error, LOST, final=isinstance(failure, UnknownCoding))
    if not was_sent:
        error = errors.ConnectionError(
            f"cannot connect to {address}: {what}", code="connection_failed"
        )
        return Unanswered(error, NOT_SENT)
    error = errors.ConnectionError(
        f"the connection to {address} broke: {what}", code="connection_lost"
    )
    return Unanswered(error, LOST)


def _reason_of(failure: Exception) -> tuple[bool, str]:
    """Find out whether a certificate is not trusted, and what else there is to say.

    Under trio the failure itself has no text; what it comes from has.
    """
    chain: list[BaseException] = []
    link: Optional[BaseException] = failure
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return True, str(link)
    texts = (str(link) for link in chain)
    text = next(filter(None, texts), type(failure).__name__)
    return "CERTIFICATE_VERIFY_FAILED" in text, text


def _seconds(value: Optional[float]) -> str:
    return "the time of the operating system" if value is None else f"{value:g} s"


def check_http_client(http_client: object, kind: str) -> Any:
    """Give the library that a client is of, before the first call fails on one of another kind."""
    library = library_of(http_client, kind)
    if library is None:
        cls = type(http_client)
        raise TypeError(
            f"http_client must be an httpx.{kind} or an httpx2.{kind}, "
            f"not {cls.__module__}.{cls.__qualname__}"
        )
    return library


def is_patched(client: type[Any]) -> bool:
    """True where something watches what clients send, such as Sentry's or New Relic's agent."""
    send = client.send
    return hasattr(send, "__wrapped__") or not str(send.__module__).startswith("httpx.")


def warn_of_plain_http(base_url: str) -> None:
    """Warn once per address when the key would cross a network in the clear."""
    url = httpx.URL(base_url)
    # "testserver" is what the test clients of web frameworks call their application.
    if url.scheme == "http" and url.host != "testserver" and not _is_this_machine(url.host):
        import warnings

        warnings.warn(
            f"base_url {base_url!r} is not encrypted: the API key crosses the network in the clear",
            stacklevel=stack_level(),
        )


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
