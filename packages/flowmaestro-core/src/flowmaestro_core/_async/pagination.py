"""Walking over a list page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any, Callable

__all__ = ["iterate"]


async def iterate(
    fetch: Callable[[int], Awaitable[dict[str, Any]]], page: int
) -> AsyncIterator[Any]:
    """Give the items of a page, then fetch the next, until there is none.

    Lists come newest first, so whatever is added meanwhile pushes items onto the next
    page: those that were on the page before are not given twice.
    """
    before: set[Any] = set()
    while True:
        answer = await fetch(page)
        items = answer["data"]
        here = {item.get("id") for item in items}
        for item in items:
            if item.get("id") is None or item["id"] not in before:
                yield item
        if not items or not answer["pagination"]["has_more"]:
            return
        before = here
        page += 1
