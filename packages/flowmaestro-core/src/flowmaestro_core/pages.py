"""Pages of lists: what ``pagination`` promises, whatever the backend sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from .codec import is_object

__all__ = ["page_of", "slice_of"]

_DEFAULT_PER_PAGE = 20


def page_of(answer: dict[str, Any], page: Optional[int], per_page: Optional[int]) -> dict[str, Any]:
    """Give a page of a list with ``page, per_page, total_count, has_more`` always there.

    Today's backend says ``has_next`` where the documentation says ``has_more``.
    """
    said = answer.get("pagination")
    pagination = dict(said) if is_object(said) else {}
    items: list[Any] = answer.get("data") or []
    pagination.setdefault("page", page or 1)
    pagination.setdefault("per_page", per_page or _DEFAULT_PER_PAGE)
    so_far = (pagination["page"] - 1) * pagination["per_page"] + len(items)
    pagination.setdefault("total_count", so_far)
    if "has_more" not in pagination:
        pagination["has_more"] = bool(
            pagination.get("has_next", so_far < pagination["total_count"])
        )
    return {**answer, "data": items, "pagination": pagination}


def slice_of(
    answer: dict[str, Any], items: Sequence[Any], page: Optional[int], per_page: Optional[int]
) -> dict[str, Any]:
    """Give one page of a list that the backend sends whole.

    Without ``per_page`` the whole list is the one page.
    """
    size = per_page or max(len(items), 1)
    start = ((page or 1) - 1) * size
    pagination = {
        "page": page or 1,
        "per_page": size,
        "total_count": len(items),
        "has_more": start + size < len(items),
    }
    return {**answer, "data": list(items[start : start + size]), "pagination": pagination}
