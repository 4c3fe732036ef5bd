"""One request as a value: what is asked, and whether asking twice does harm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional, cast
from urllib.parse import quote, unquote, urlencode

from .codec import encode
from .config import API_PREFIX
from .errors import FlowMaestroError, InvalidArgumentError
from .shapes import Check, an_object

__all__ = [
    "Request",
    "at_least_one",
    "check_text",
    "deleted_before",
    "identifier",
    "page_query",
    "path",
    "raw_request",
]

# Given the error of a repeated request whose first try was lost on the way: the answer
# that the lost one must have had, or None if the error is a real one.
AlreadyDone = Callable[[FlowMaestroError], Optional[dict[str, Any]]]

_DELETED = an_object(id=str, deleted=bool)


class Request(NamedTuple):
    """What is sent to the backend, free of any HTTP library."""

    method: str
    # The path below the API prefix, escaped, with its query.
    path: str
    body: Optional[bytes] = None
    # False where a second processing would do something twice: start an execution,
    # post a message, make a webhook.
    repeatable: bool = True
    # Seconds that this call may need for its answer by its nature.
    read_timeout: Optional[float] = None
    already_done: Optional[AlreadyDone] = None
    # What a caller should look at when the outcome is unknown.
    check: str = ""
    # Says what is wrong with the ``data`` of a response; None where any will do.
    expects: Optional[Check] = None
    # The ``data`` of a success that has none: where nothing is to be returned, the API
    # may send 204 or an empty body.
    if_empty: Optional[dict[str, Any]] = None
    # True where any JSON is a success, or none: the route is not one that the SDK knows.
    is_raw: bool = False

    @classmethod
    def get(cls, path: str, expects: Optional[Check] = None) -> Request:
        """Ask for something."""
        return cls("GET", path, expects=expects)

    @classmethod
    def post(cls, path: str, body: object = None, **facts: Any) -> Request:
        """Start, make or ask something with a JSON body."""
        return cls("POST", path, None if body is None else encode(body), **facts)

    @classmethod
    def delete(cls, template: str, thing_id: str) -> Request:
        """Delete what has this id. A success needs no body."""

        def already_done(error: FlowMaestroError) -> Optional[dict[str, Any]]:
            return deleted_before(thing_id, error)

        return cls(
            "DELETE",
            path(template, thing_id),
            already_done=already_done,
            expects=_DELETED,
            if_empty={"id": thing_id, "deleted": True},
        )


# The methods whose requests may be sent twice, as HTTP has it.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

_METHOD = re.compile(r"[A-Z]+")
# What stands in a path as it is; everything else is written with % and two digits.
_PATH_CHARACTERS = "/%:@!$&'()*+,;=~"


def raw_request(
    method: str,
    path: str,
    json: object,
    params: Optional[Mapping[str, object]],
    *,
    idempotent: Optional[bool],
) -> Request:
    """Write a request to any route.

    Args:
        method: Of HTTP, in any case.
        path: Below the version, with or without ``/api/v1`` before it.
        json: The body, or None for none.
        params: The query. None is left out, a list repeats its name, a bool is written as in JSON.
        idempotent: Whether the request may be sent twice; None asks the method.

    Raises:
        TypeError: An argument is of the wrong type, or JSON cannot carry the body.
        InvalidArgumentError: The method or the path cannot be sent.
    """
    verb = check_text("method", method).upper()
    if not _METHOD.fullmatch(verb):
        raise InvalidArgumentError(f"method must be one of HTTP, such as 'GET', not {method!r}")
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(f"params must be a mapping, not {type(params).__name__}")
    return Request(
        verb,
        _route_of(path) + _query_of(path, params or {}),
        None if json is None else encode(json),
        repeatable=verb in _IDEMPOTENT if idempotent is None else idempotent,
        is_raw=True,
    )


def _route_of(path: str) -> str:
    """Check a path and give it without its query, escaped, below the version."""
    if re.search(r"[\x00-\x1f\x7f\\#]", check_text("path", path)):
        raise InvalidArgumentError(
            f"path has a backslash, a # or a control character in it: {path!r}"
        )
    if not path.startswith("/") or path.startswith("//"):
        raise InvalidArgumentError(
            f"path must begin with one slash, such as '/workflows', not {path!r}; the address is "
            "the client's base_url"
        )
    route = path.partition("?")[0]
    if f"{route}/".startswith(f"{API_PREFIX}/"):
        route = route[len(API_PREFIX) :]
    if any(unquote(segment) in (".", "..") for segment in route.split("/")):
        raise InvalidArgumentError(f"path has a segment of dots in it: {path!r}")
    return quote(route, safe=_PATH_CHARACTERS)


def _query_of(path: str, params: Mapping[str, object]) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        several = isinstance(value, (list, tuple))
        values: list[object] = list(cast("Any", value)) if several else [value]
        for one in values:
            if isinstance(one, bool):
                pairs.append((name, str(one).lower()))
            elif one is not None:
                pairs.append((name, str(one)))
    query = path.partition("?")[2]
    query = "&".join(filter(None, [query, urlencode(pairs, quote_via=quote)]))
    return f"?{query}" if query else ""


def deleted_before(thing_id: str, error: FlowMaestroError) -> Optional[dict[str, Any]]:
    """Read "not found" as what it is when the first answer to a deletion was lost."""
    if error.status_code != 404:
        return None
    return {"data": {"id": thing_id, "deleted": True}}


def path(template: str, *identifiers: str) -> str:
    """Fill each ``{}`` with an escaped id: ``path("/threads/{}", thread_id)``."""
    return template.format(*(quote(one, safe="") for one in identifiers))


def identifier(name: str, value: object) -> str:
    """Check an id before anything is sent.

    Raises:
        TypeError: It is not a string.
        InvalidArgumentError: It is empty, or one that a path cannot carry.
    """
    text = check_text(name, value)
    if text in (".", ".."):
        # Escaping cannot save these: servers read %2E%2E as two dots.
        raise InvalidArgumentError(f"{name} cannot be {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{name} is no valid Unicode: {text!r}") from None
    return text


def check_text(name: str, value: object) -> str:
    """Check that something is a string with more than white space in it."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}: {value!r}")
    if not value.strip():
        raise InvalidArgumentError(f"{name} must not be empty")
    return value


def page_query(
    page: Optional[int] = None, per_page: Optional[int] = None, **filters: Optional[str]
) -> str:
    """Write the query of a list, ``?page=2&per_page=50``, or nothing.

    A filter that is None or empty is left out.

    Raises:
        TypeError: A number is none, or a filter is no string.
        InvalidArgumentError: A number is below 1, or a filter is nothing but white space.
    """
    pairs: list[str] = []
    for name, number in (("page", page), ("per_page", per_page)):
        if number is not None:
            pairs.append(f"{name}={at_least_one(name, number)}")
    for name, text in filters.items():
        if text is not None and text != "":
            pairs.append(f"{name}={quote(str.__str__(check_text(name, text)), safe='')}")
    return "?" + "&".join(pairs) if pairs else ""


def at_least_one(name: str, value: object) -> int:
    """Check a count."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise InvalidArgumentError(f"{name} must be 1 or more, not {value}")
    return value
