"""What words cannot translate, for threads: see the file of this name in ``_async``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Callable, Optional

from flowmaestro import FlowMaestroClient

from ..rows import Item, items_of
from ..sending import Engine, Sent, Ticket, send, sent_by

__all__ = ["aside", "next_item", "open_items", "send_all", "sleep"]

sleep = time.sleep
open_items = items_of

# A wait that is cut in pieces can be interrupted by Ctrl-C on every system.
_PIECE = 0.5


def next_item(items: Iterator[Item]) -> Optional[Item]:
    """Give the next item, or None at the end."""
    return next(items, None)


def aside(function: Callable[[], None]) -> None:
    """Call what writes to the disk."""
    function()


def send_all(
    client: FlowMaestroClient,
    engine: Optional[Engine],
    tickets: Sequence[Ticket],
    results: list[Optional[Sent]],
) -> None:
    """Submit rows at the same time, and put what came of each where its ticket stands.

    Interrupted by Ctrl-C, it waits for what has begun, so that the journal learns of it. A
    second Ctrl-C gives up at once; what has no answer then stays None.
    """
    if engine is not None:
        futures = [engine.submit(ticket) for ticket in tickets]
    else:
        futures = [_in_a_thread(client, ticket) for ticket in tickets]
    try:
        _wait(futures)
    except KeyboardInterrupt:
        _wait(futures)
        raise
    finally:
        for index, future in enumerate(futures):
            if future.done():
                results[index] = sent_by(future)


def _wait(futures: list[Future[Sent]]) -> None:
    while wait(futures, _PIECE).not_done:
        pass


def _in_a_thread(client: FlowMaestroClient, ticket: Ticket) -> Future[Sent]:
    """Submit in a thread of its own, which does not keep the program from ending."""
    future: Future[Sent] = Future()

    def run() -> None:
        try:
            future.set_result(send(client, ticket))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="flowmaestro-batch", daemon=True).start()
    return future
