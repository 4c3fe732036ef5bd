"""One request as a value: what is asked, and whether asking twice does harm."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import quote

from .codec import encode
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
