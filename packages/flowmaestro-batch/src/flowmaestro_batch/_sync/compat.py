"""What words cannot translate, for threads: see the file of this name in ``_async``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Callable, Optional

from flowmaestro import FlowMaestroClient

from ..rows import Item, items_of
from ..sending import Engine, Sent, Ticket, hand_over, not_sent, send, sent_by

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
    futures: list[Future[Sent]] = []
    try:
        for ticket in tickets:
            if engine is not None:
                futures.append(hand_over(engine, ticket))
            else:
                futures.append(Future())
                _send_in_a_thread(client, ticket, futures[-1])
        _wait(futures)
    except KeyboardInterrupt:
        # What has not begun does not begin. Of an engine nobody knows what has; and a wait
        # for a cancelled future, whose thread may never have started, would not end.
        _wait(futures if engine is not None else [one for one in futures if not one.cancel()])
        raise
    finally:
        for index, future in enumerate(futures):
            if future.done():
                results[index] = sent_by(future)
        # An engine that was interrupted as it took a ticket may have it all the same.
        begun = len(futures) + (engine is not None)
        for index in range(begun, len(tickets)):
            results[index] = not_sent()


def _wait(futures: list[Future[Sent]]) -> None:
    while wait(futures, _PIECE).not_done:
        pass


def _send_in_a_thread(client: FlowMaestroClient, ticket: Ticket, future: Future[Sent]) -> None:
    """Submit in a thread of its own, which does not keep the program from ending."""

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(send(client, ticket))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="flowmaestro-batch", daemon=True).start()
