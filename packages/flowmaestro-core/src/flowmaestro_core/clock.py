"""The clocks that timeouts, deadlines and pauses are measured with."""

from __future__ import annotations

import time
from types import BuiltinFunctionType
from typing import Callable

__all__ = ["monotonic", "wall_clock"]


def _real(name: str, system_clock: str) -> Callable[[], float]:
    """Find a clock of the operating system, also while a test has frozen time.

    freezegun puts its own functions in the place of those of ``time`` in every module, so
    that a deadline would never come. The clock is taken from where it does not look.
    """
    function: Callable[[], float] = getattr(time, name)
    if isinstance(function, BuiltinFunctionType) or not hasattr(time, system_clock):
        return function
    number: int = getattr(time, system_clock)
    return lambda: time.clock_gettime(number)


def _monotonic(now: Callable[[], float]) -> Callable[[], float]:
    def monotonic() -> float:
        """Return the seconds of a clock that never goes back and cannot be set or frozen."""
        return now()

    return monotonic


def _wall_clock(now: Callable[[], float]) -> Callable[[], float]:
    def wall_clock() -> float:
        """Return the seconds since 1970, by a clock that can be set but not frozen."""
        return now()

    return wall_clock


# In closures, and not as attributes of this module, where freezegun would replace them.
monotonic = _monotonic(_real("monotonic", "CLOCK_MONOTONIC"))
wall_clock = _wall_clock(_real("time", "CLOCK_REALTIME"))
