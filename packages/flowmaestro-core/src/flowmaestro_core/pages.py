"""Pages of lists: what ``pagination`` promises, whatever the backend sends."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any, Callable, Optional

from . import errors
from .codec import is_object

__all__ = ["Progress", "key_of", "page_of", "says_has_more", "slice_of"]

_DEFAULT_PER_PAGE = 20

# Pages whose items are known again. Whatever is added while a list is read pushes items at
# most so many pages further, unless it is added faster than pages are fetched.
_REMEMBERED_PAGES = 10

# A page that comes again unchanged: as many items as fit on a page can have been added in
# between, but hardly so often in a row.
_MAX_REPEATS = 3

# Empty pages in a row that say there are more. A filter that works within pages makes some.
_MAX_EMPTY_PAGES = 100


def page_of(answer: dict[str, Any], page: Optional[int], per_page: Optional[int]) -> dict[str, Any]:
    """Give a page of a list with ``page, per_page, total_count, has_more`` always there.

    Today's backend says ``has_next`` where the documentation says ``has_more``. A value of
    the wrong type counts as one that was not sent.

    Args:
        answer: The response; its ``data`` is an array or null.
        page: Which page was asked for.
        per_page: How many items were asked for.
    """
    said = answer.get("pagination")
    pagination = dict(said) if is_object(said) else {}
    items: list[Any] = answer.get("data") or []
    number = pagination["page"] = _count(pagination.get("page"), 1, page or 1)
    size = _count(pagination.get("per_page"), 1, per_page or _DEFAULT_PER_PAGE)
    pagination["per_page"] = size
    so_far = (number - 1) * size + len(items)
    total = pagination["total_count"] = _count(pagination.get("total_count"), 0, so_far)
    has_more = pagination.get("has_more")
    if not isinstance(has_more, bool):
        has_more = pagination.get("has_next")
    if not isinstance(has_more, bool):
        has_more = bool(items) and so_far < total
    pagination["has_more"] = has_more
    return {**answer, "data": items, "pagination": pagination}


def says_has_more(answer: dict[str, Any]) -> bool:
    """True where the API itself sends ``has_more``, as documented."""
    said = answer.get("pagination")
    return is_object(said) and isinstance(said.get("has_more"), bool)


def _count(value: object, least: int, default: int) -> int:
    """Read a whole number; some JSON writers make floats of them."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        return default
    return value


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


class Progress:
    """What a walk over pages has seen, so that it gives each item once and always ends.

    Args:
        key: Tells items apart. A tuple is for an item that may be equal to another one.
    """

    def __init__(self, key: Callable[[Any], Hashable]) -> None:
        self._key = key
        self._pages: deque[set[Hashable]] = deque(maxlen=_REMEMBERED_PAGES)
        self._last: list[Hashable] = []
        self._repeats = 0
        self._stale = 0
        self._empty = 0

    def new_items(self, items: Sequence[Any]) -> list[Any]:
        """Take the next page, and give those of its items that were not on the last pages."""
        keys = [self._key(item) for item in items]
        self._empty = 0 if keys else self._empty + 1
        self._repeats = self._repeats + 1 if keys and keys == self._last else 0
        known = set[Hashable]().union(*self._pages)
        self._stale = 0 if not keys or not known.issuperset(keys) else self._stale + 1
        self._pages.append(set(keys))
        self._last = keys
        if self._stale:
            return []
        # Without an id, equal items may be different things.
        return [
            item for item, key in zip(items, keys) if key not in known or isinstance(key, tuple)
        ]

    def check(self, page: int) -> None:
        """End a walk that goes on for ever.

        Args:
            page: The number of the page that was taken last.

        Raises:
            ServerError: The last pages brought nothing new, and yet there are more.
        """
        if self._repeats >= _MAX_REPEATS:
            problem = f"the last {_MAX_REPEATS + 1} pages have the same items"
        elif self._stale > _REMEMBERED_PAGES:
            problem = f"the last {self._stale} pages brought only items of the pages before them"
        elif self._empty >= _MAX_EMPTY_PAGES:
            problem = f"the last {self._empty} pages are empty"
        else:
            return
        raise errors.ServerError(
            f"the list is stuck at page {page}: {problem}, but the API says that there are more; "
            "narrow the list with a filter, or report this to FlowMaestro",
            code="pagination_stuck",
            status_code=200,
        )


def key_of(item: Any) -> Hashable:
    """Tell items apart: by their id, or else by all that they hold."""
    found = item.get("id") if is_object(item) else None
    return found if isinstance(found, (str, int)) else (repr(item),)
