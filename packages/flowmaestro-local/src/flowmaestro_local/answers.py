"""How the backend words its answers: envelopes, pages and the shapes of errors."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Optional

from starlette.requests import Request
from starlette.responses import Response

from .records import new_id, now

__all__ = [
    "DatabaseError",
    "FrameworkError",
    "NotAUuid",
    "Refusal",
    "check_uuid",
    "framework_error",
    "is_storable",
    "json_response",
    "not_found",
    "page_numbers",
    "page_of",
    "refused",
    "success",
    "to_json",
]

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I)


class Refusal(Exception):
    """A request that is answered with an error of the backend's own."""

    def __init__(
        self, status: int, code: str, message: str, details: Optional[dict[str, Any]] = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details or {}


class DatabaseError(Exception):
    """A value that the backend's database refuses.

    Args:
        message: What the database says.
        code: PostgreSQL's code, such as ``22P02``.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class NotAUuid(DatabaseError):
    """An id that the backend's database cannot read."""

    def __init__(self, text: str) -> None:
        super().__init__(f'invalid input syntax for type uuid: "{text}"', "22P02")


class FrameworkError(Exception):
    """A request that the backend's web framework refuses, before any code of its own runs."""

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        code: Optional[str] = None,
        *,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.code = code
        # True where the connection is closed, as the rest of the body is not read.
        self.closes = closes


def json_response(status: int, content: object) -> Response:
    """Write JSON with the backend's content type."""
    return Response(to_json(content), status, media_type="application/json; charset=utf-8")


def to_json(content: object) -> bytes:
    """Write JSON as JavaScript does: in UTF-8, with half a surrogate pair as an escape."""
    try:
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def meta() -> dict[str, str]:
    """Say which request this was; the id is nowhere else."""
    return {"request_id": new_id(), "timestamp": now()}


def success(data: object, status: int = 200) -> Response:
    """Answer with data."""
    return json_response(status, {"data": data, "meta": meta()})


def refused(refusal: Refusal) -> Response:
    """Answer with an error of a handler's."""
    error: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    if refusal.details:
        error["details"] = refusal.details
    return json_response(refusal.status, {"error": error, "meta": meta()})


def framework_error(status: int, error: str, message: str, code: Optional[str] = None) -> Response:
    """Answer with an error of the framework's, whose ``error`` is a string."""
    content: dict[str, Any] = {"statusCode": status, "error": error, "message": message}
    if code is not None:
        content["code"] = code
    return json_response(status, content)


def check_uuid(thing_id: str) -> None:
    """Check that the database can read an id.

    Raises:
        NotAUuid: It cannot.
    """
    if not _UUID.fullmatch(thing_id):
        raise NotAUuid(thing_id)


def is_storable(value: object) -> bool:
    """True for JSON that the database takes: without NUL, and without lone surrogates."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    # An escaped backslash before "u0000" is a text that shows the escape.
    return "\\u0000" not in text.replace("\\\\", "")


def not_found(resource: str, thing_id: str, *, ids_are_uuids: bool) -> Exception:
    """Say that there is no such thing: in the backend's way for ids that are no UUIDs."""
    if ids_are_uuids and not _UUID.fullmatch(thing_id):
        return NotAUuid(thing_id)
    return Refusal(
        404,
        "resource_not_found",
        f"{resource} with id '{thing_id}' not found",
        {"resource": resource, "id": thing_id},
    )


def page_numbers(request: Request) -> tuple[int, int]:
    """Read ``page`` and ``per_page`` as the backend does: clamped, garbage is the default."""
    page = _number(request.query_params.get("page"), 1)
    per_page = _number(request.query_params.get("per_page"), 20)
    return max(page, 1), min(max(per_page, 1), 100)


def _number(text: Optional[str], default: int) -> int:
    match = re.match(r"\s*[+-]?\d{1,9}", text or "")
    # Like the backend, take 0 for nothing.
    return (int(match.group()) if match else 0) or default


def page_of(
    items: Sequence[Any], page: int, per_page: int, *, total: int, documented: bool
) -> Response:
    """Answer with a page, whose ``items`` were cut already."""
    pages = -(-total // per_page)
    pagination: dict[str, Any] = {"page": page, "per_page": per_page, "total_count": total}
    if documented:
        pagination["has_more"] = page < pages
    else:
        pagination["total_pages"] = pages
        pagination["has_next"] = page < pages
        pagination["has_prev"] = page > 1
    return json_response(200, {"data": list(items), "pagination": pagination, "meta": meta()})
