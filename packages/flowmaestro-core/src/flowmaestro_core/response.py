"""What came back: bytes and headers in, data or a typed error out."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from . import errors
from .codec import decode, is_object
from .config import API_PREFIX
from .retries import Failure, parse_retry_after
from .shapes import Check

__all__ = [
    "Answer",
    "RateLimit",
    "ResponseInfo",
    "Unanswered",
    "error_of",
    "failure_of",
    "is_missing_route",
    "read_data",
    "read_json",
]

# The code of PostgreSQL for a text that is no UUID, and its message, which some routes
# send under a code of their own: such an id cannot exist.
_NOT_A_UUID = "22P02"
_NOT_A_UUID_TEXT = 'invalid input syntax for type uuid: "'
_EXCERPT = 200


class Answer(NamedTuple):
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Unanswered(NamedTuple):
    """A request that got no answer."""

    error: errors.FlowMaestroError
    # NOT_SENT or LOST.
    network: str
    # True where trying again cannot help.
    final: bool = False
    # True where it only lacked a free connection of the user's own pool.
    no_connection: bool = False


class ResponseInfo(NamedTuple):
    """What came with a response, as ``with_options(on_response=...)`` gets it.

    Attributes:
        method: The method of the request, such as ``"GET"``.
        path: Its path and query, below ``/api/v1``.
        status_code: The HTTP status.
        headers: The headers of the response, their names in lower case.
        duration: Seconds from the start of the attempt to the end of the response; for a
            stream, to its opening.
        attempt: 1 for the first attempt, 2 for the first retry.
        request_id: The API's id of the request, or None.
    """

    method: str
    path: str
    status_code: int
    headers: dict[str, str]
    duration: float
    attempt: int
    request_id: Optional[str]


class RateLimit(NamedTuple):
    """What the backend last said of the key's limits.

    Attributes:
        limit: Requests a minute.
        remaining: Requests left in this minute.
        reset: When the next minute begins, in seconds since 1970.
        limit_day: Requests a day.
        remaining_day: Requests left today (UTC).
    """

    limit: int
    remaining: int
    reset: Optional[int] = None
    limit_day: Optional[int] = None
    remaining_day: Optional[int] = None

    @classmethod
    def of(cls, headers: dict[str, str]) -> Optional[RateLimit]:
        """Read the headers of an answer; None where they do not say."""
        limit = _whole(headers.get("x-ratelimit-limit"))
        remaining = _whole(headers.get("x-ratelimit-remaining"))
        if limit is None or remaining is None:
            return None
        return cls(
            limit,
            remaining,
            _whole(headers.get("x-ratelimit-reset")),
            _whole(headers.get("x-ratelimit-limit-day")),
            _whole(headers.get("x-ratelimit-remaining-day")),
        )


def _whole(text: Optional[str]) -> Optional[int]:
    try:
        return int(text) if text is not None and len(text) < 20 else None
    except ValueError:
        return None


def read_data(
    answer: Answer,
    expects: Optional[Check] = None,
    if_empty: Optional[dict[str, Any]] = None,
) -> dict[str, Any]:
    """Give the JSON object of a successful answer.

    Args:
        answer: The answer.
        expects: Says what is wrong with its ``data``, or None.
        if_empty: The ``data`` of a success without any, where nothing is to be returned.

    Raises:
        ServerError: It is not a JSON object with the expected ``data``; the message says
            what was expected and shows the beginning.
        FlowMaestroError: It is an error after all, in spite of its status.
    """
    if if_empty is not None and not answer.body.strip():
        return {"data": dict(if_empty)}
    try:
        content = decode(answer.body)
    except ValueError as why:
        problem = f"the answer is no JSON ({why})" if answer.body else "the answer is empty"
    else:
        problem = "the answer is JSON, but no object with data"
        if content is None and if_empty is not None:
            return {"data": dict(if_empty)}
        if is_object(content):
            data = content.get("data")
            if data is None and content.get("error") is not None:
                raise _error_from(answer, content)
            if data is None and if_empty is not None and _says_only_success(content):
                return {**content, "data": dict(if_empty)}
            if "data" in content:
                unexpected = None if expects is None else expects(data)
                if unexpected is None:
                    return content
                problem = f"unexpected response: {unexpected}"
    raise errors.ServerError(
        f"{problem}: {_excerpt(answer.body)}",
        code="invalid_response",
        status_code=answer.status,
    )


def read_json(answer: Answer) -> Any:
    """Give what a successful response holds; None where it is empty.

    Raises:
        ServerError: It is no JSON.
    """
    if not answer.body.strip():
        return None
    try:
        return decode(answer.body)
    except ValueError as why:
        problem = f"the response is not valid JSON ({why}): {_excerpt(answer.body)}"
    raise errors.ServerError(problem, code="invalid_response", status_code=answer.status)


def _says_only_success(content: dict[str, Any]) -> bool:
    """True for ``{}``, ``{"success": true}`` and the like: nothing that needs reading."""
    success = content.get("success", True)
    return success is True and content.keys() <= {"data", "error", "message", "meta", "success"}


def error_of(answer: Answer, now: float, path: str = "") -> errors.FlowMaestroError:
    """Make the typed error of an answer that is no success, whatever its body looks like.

    Args:
        answer: The answer.
        now: Seconds since 1970, to read a ``Retry-After`` that is a date.
        path: The path and query of the request, to tell its ids from other values.
    """
    try:
        content = decode(answer.body)
    except ValueError:
        content = None
    return _error_from(answer, content if is_object(content) else {}, now, path)


def _error_from(
    answer: Answer, content: dict[str, Any], now: float = 0.0, path: str = ""
) -> errors.FlowMaestroError:
    """Read the three shapes of an error body.

    ``{"error": {"code", "message", "details"}, "meta"}`` from the backend's handlers,
    ``{"statusCode", "error": "Not Found", "message", "code"}`` from its framework, and
    ``{"success": false, "error": "text", "details"}``. A proxy's HTML is none of them.
    """
    status = answer.status
    error: Any = content.get("error")
    code: Any
    message: Any
    details: Any
    if is_object(error):
        code, message, details = error.get("code"), error.get("message"), error.get("details")
    else:
        code, details = content.get("code"), content.get("details")
        message = content.get("message") or error
    meta: Any = content.get("meta")
    request_id: Any = meta.get("request_id") if is_object(meta) else None
    if not isinstance(request_id, str):
        request_id = answer.headers.get("x-request-id")
    if details is not None and not is_object(details):
        details = {"details": details}

    if status == 500 and (code == _NOT_A_UUID or _names_an_id_of(path, message)):
        unknown = errors.NotFoundError(
            f"no such id: {message}",
            code="resource_not_found",
            status_code=404,
            request_id=request_id,
            details={**(details or {}), "message": message, "code": code, "status_code": status},
        )
        unknown.api_message = str(message)
        return unknown
    if not isinstance(message, str) or not message:
        message = _describe(answer)
    facts: dict[str, Any] = {
        "code": str(code) if code is not None else None,
        "status_code": status,
        "request_id": request_id,
        "details": details,
    }
    made: errors.FlowMaestroError
    if status == 429:
        wait = _retry_after(answer, now)
        if wait is None:
            wait = parse_retry_after((details or {}).get("retry_after"), now)
        made = errors.RateLimitError(message, retry_after=wait, **facts)
    else:
        made = _class_for(status)(message, **facts)
    # Of the class where the API gave none: this one is what the API said.
    made.code = facts["code"]
    made.api_message = message
    return made


def _names_an_id_of(path: str, message: object) -> bool:
    """True if the database refused an id of this very request as no UUID.

    The same text comes from the database node of a user's workflow, about a value of the
    user's: then the request was carried out as far as that node. So the value must be an id
    of the path (``/workflows/{id}/execute``) or of its query (``?workflow_id=``).
    """
    if not isinstance(message, str) or _NOT_A_UUID_TEXT not in message:
        return False
    from urllib.parse import parse_qsl, unquote

    route, _, query = path.partition("?")
    ids = [unquote(part) for part in route.split("/")[2::2]]
    ids += [value for name, value in parse_qsl(query) if name.endswith("id")]
    return any(f'{_NOT_A_UUID_TEXT}{one}"' in message for one in ids)


def _retry_after(answer: Answer, now: float) -> Optional[float]:
    """Read ``Retry-After``; a date is compared with the clock of who wrote it, if it tells."""
    headers = answer.headers
    return parse_retry_after(headers.get("retry-after"), now, sent=headers.get("date"))


def _class_for(status: int) -> type[errors.FlowMaestroError]:
    by_status: dict[int, type[errors.FlowMaestroError]] = {
        400: errors.ValidationError,
        401: errors.AuthenticationError,
        403: errors.AuthorizationError,
        404: errors.NotFoundError,
        408: errors.TimeoutError,
        409: errors.ConflictError,
        413: errors.RequestTooLargeError,
        414: errors.ValidationError,
        422: errors.ValidationError,
        431: errors.ValidationError,
    }
    if status >= 500:
        return errors.ServerError
    return by_status.get(status, errors.FlowMaestroError)


def _describe(answer: Answer) -> str:
    if 300 <= answer.status < 400:
        target = answer.headers.get("location", "somewhere else")
        return (
            f"the backend redirects to {target!r}; the key is not sent there: "
            "set base_url to the right address"
        )
    if answer.status == 413:
        return "the request body is larger than the API accepts: send less in one request"
    if answer.status in (414, 431):
        return "the URL or a header of the request is longer than the API accepts"
    if not answer.body:
        return "the answer is empty"
    return f"the answer is no error of FlowMaestro's: {_excerpt(answer.body)}"


def failure_of(answer: Answer, error: errors.FlowMaestroError, now: float) -> Failure:
    """Say what an error answer means for trying again."""
    if isinstance(error, errors.RateLimitError):
        wait = error.retry_after
    else:
        wait = _retry_after(answer, now)
    # An id that cannot exist comes as a 500, and stays one.
    final = answer.status == 500 and isinstance(error, errors.NotFoundError)
    return Failure(status=answer.status, retry_after=wait, final=final)


def is_missing_route(error: errors.FlowMaestroError) -> bool:
    """True where the backend has no such route, as opposed to no such thing."""
    return (
        error.status_code == 404
        and error.code is None
        and error.message.startswith("Route ")
        and API_PREFIX in error.message
    )


def _excerpt(body: bytes) -> str:
    text = body[: _EXCERPT * 4].decode("utf-8", "replace")
    return repr(text[:_EXCERPT] + ("..." if len(text) > _EXCERPT else ""))
