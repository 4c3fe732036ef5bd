"""What words cannot translate, for asyncio and trio: see the file of this name in ``_sync``."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from concurrent.futures import wait
from typing import Any, Callable, Optional, cast

import anyio
import anyio.to_thread

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroError

from ..files import FileFormat
from ..rows import Item, items_of
from ..sending import Engine, Sent, Ticket, hand_over, refused, sent_by, sent_of

__all__ = ["aside", "next_item", "open_items", "send_all", "sleep"]

sleep = anyio.sleep


class _Items:
    """Items of a source of either kind; no generator, which would have to be closed."""

    def __init__(self, values: AsyncIterator[Any]) -> None:
        self._values = values

    def __aiter__(self) -> _Items:
        return self

    async def __anext__(self) -> Item:
        return Item(await self._values.__anext__())


class _AtOnce:
    """Items of a source that never waits."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items

    def __aiter__(self) -> _AtOnce:
        return self

    async def __anext__(self) -> Item:
        item = next(self._items, None)
        if item is None:
            raise StopAsyncIteration
        return item


def open_items(rows: Any, key: Optional[str], form: FileFormat) -> AsyncIterator[Item]:
    """Open a source, which may be asynchronous itself."""
    if isinstance(rows, AsyncIterable):
        return _Items(cast("Any", rows).__aiter__())
    return _AtOnce(items_of(rows, key, form))


async def next_item(items: AsyncIterator[Item]) -> Optional[Item]:
    """Give the next item, or None at the end."""
    try:
        return await items.__anext__()
    except StopAsyncIteration:
        return None


async def aside(function: Callable[[], None]) -> None:
    """Call what writes to the disk, while the event loop goes on."""
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(function)


async def send_all(
    client: AsyncFlowMaestroClient,
    engine: Optional[Engine],
    tickets: Sequence[Ticket],
    results: list[Optional[Sent]],
) -> None:
    """Submit rows at the same time, and put what came of each where its ticket stands.

    Cancelled, it waits for what has begun, so that the journal learns of it.
    """

    async def send(index: int, ticket: Ticket) -> None:
        once = client.with_options(max_retries=0)
        try:
            answer = await once.workflows.execute(ticket.workflow_id, ticket.inputs)
            results[index] = sent_of(answer, client.rate_limit)
        except (FlowMaestroError, TypeError, ValueError) as error:
            results[index] = refused(error, client.rate_limit)

    with anyio.CancelScope(shield=True):
        if engine is not None:
            futures = [hand_over(engine, ticket) for ticket in tickets]
            await anyio.to_thread.run_sync(wait, futures)
            results[:] = [sent_by(future) for future in futures]
            return
        async with anyio.create_task_group() as group:
            for index, ticket in enumerate(tickets):
                group.start_soon(send, index, ticket)
