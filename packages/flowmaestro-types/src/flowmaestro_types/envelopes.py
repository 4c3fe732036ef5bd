"""What every answer is wrapped in: ``data``, ``pagination`` and ``meta``."""

from __future__ import annotations

from typing import Generic, TypeVar

from ._typing import NotRequired, TypedDict

__all__ = ["Deleted", "Meta", "Page", "Pagination", "Response"]

T = TypeVar("T")


class Meta(TypedDict):
    """Which request this was, for support, and when it was answered."""

    request_id: str
    timestamp: str


class Pagination(TypedDict):
    """Where a page stands in the whole list."""

    page: int
    per_page: int
    total_count: int
    has_more: bool
    total_pages: NotRequired[int]
    has_next: NotRequired[bool]
    has_prev: NotRequired[bool]


class Response(TypedDict, Generic[T]):
    """One answer: ``response["data"]`` is what was asked for."""

    data: T
    meta: NotRequired[Meta]


class Page(TypedDict, Generic[T]):
    """One page of a list: ``page["data"]`` holds its items."""

    data: list[T]
    pagination: Pagination
    meta: NotRequired[Meta]


class Deleted(TypedDict):
    """What ``delete`` answers."""

    id: str
    deleted: bool
