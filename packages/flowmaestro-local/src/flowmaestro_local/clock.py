"""A clock that tests of the user's do not stop: freezegun, time-machine or a patched ``time``.

What the server shows, such as ``created_at``, follows such tests; its timers cannot, or it would
wait for ever. And a test that gives ``time.time`` a list of values wants them for its own code.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Callable

__all__ = ["close_event_loop", "monotonic", "new_event_loop", "timestamp"]


def _unpatched_clock() -> Callable[[], float]:
    """Give a monotonic clock from a copy of the module ``time`` that nobody has patched."""
    spec: Any = time.__spec__
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if sys.platform == "win32":
        clock: Callable[[], float] = module.monotonic
        return clock
    # time-machine changes monotonic() itself, in every copy, but not this.
    return lambda: float(module.clock_gettime(module.CLOCK_MONOTONIC))


class _Clock:
    # freezegun replaces what modules have; an attribute of a class is left alone.
    monotonic = staticmethod(_unpatched_clock())


def monotonic() -> float:
    """Seconds of a clock that only goes forward."""
    return _Clock.monotonic()


def timestamp() -> float:
    """Seconds since 1970, as a test may have frozen them."""
    return datetime.now(timezone.utc).timestamp()


class _Loop(asyncio.SelectorEventLoop):
    def time(self) -> float:
        return monotonic()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop whose timers run on ``monotonic``."""
    return _Loop()


def close_event_loop(
    loop: asyncio.AbstractEventLoop,
    seconds: float,
    cancelled: Collection[asyncio.Task[Any]] = (),
) -> None:
    """Cancel what still runs on an event loop, give it some seconds to end, and close it.

    Args:
        loop: The event loop, which does not run.
        seconds: How long tasks have to clean up.
        cancelled: Tasks that were cancelled before; a second time would end their cleaning up.
    """
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        if task not in cancelled:
            task.cancel()
    # Whatever tasks of the user's raise here, the loop is closed.
    with suppress(BaseException):
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=seconds))
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
