"""The threads that run a module's code: which ones there were, and whether they have ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock


@contextmanager
def threads_started_by(module: str) -> Iterator[list[threading.Thread]]:
    """Give the list of the threads that are started while the block runs, and run a module's code.

    The code is the thread's target, or the function of a timer; names mean nothing. The list
    grows while the block runs, and stays as it is afterwards::

        with threads_started_by("flowmaestro_core") as threads:
            ...
        assert threads
        assert all_ended(threads)

    Args:
        module: How the module's name begins.
    """
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        # A thread forgets what it runs when it has ended.
        if _home_of(thread).startswith(module):
            started.append(thread)
        start(thread)

    with mock.patch.object(threading.Thread, "start", noted):
        yield started


def all_ended(threads: Iterable[threading.Thread], seconds: float = 60.0) -> bool:
    """Wait until threads have ended; False if one of them has not within so many seconds."""
    threads = list(threads)
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0.0))
    return not any(thread.is_alive() for thread in threads)


def _home_of(thread: threading.Thread) -> str:
    """Name the module of what a thread runs: its target, a timer's function, or its class."""
    runs: Any = getattr(thread, "_target", None) or getattr(thread, "function", None)
    # What functools.partial made has no module of its own.
    runs = getattr(runs, "func", runs) or type(thread)
    return str(getattr(runs, "__module__", "") or "")
