"""Walking over a list page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Hashable
from typing import Any, Callable

from ..pages import Progress, key_of

__all__ = ["iterate"]


async def iterate(
    fetch: Callable[[int], Awaitable[dict[str, Any]]],
    page: int,
    key: Callable[[Any], Hashable] = key_of,
) -> AsyncGenerator[Any, None]:
    """Give the items of a page, then fetch the next, until there is none.

    Lists come newest first, so whatever is added meanwhile pushes items onto the next
    page: those that were on one of the last pages are not given twice.

    Args:
        fetch: Gets the page of a number.
        page: The number of the first page.
        key: Tells items apart; see ``Progress``.

    Raises:
        ServerError: The pages go on without bringing anything new.
    """
    progress = Progress(key)
    while True:
        answer = await fetch(page)
        for item in progress.new_items(answer["data"]):
            yield item
        if not answer["pagination"]["has_more"]:
            return
        progress.check(page)
        page += 1
