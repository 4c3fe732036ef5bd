"""The clock that timeouts, deadlines and pauses are measured with."""

from __future__ import annotations

import time
from types import BuiltinFunctionType
from typing import Callable

__all__ = ["monotonic"]


def _real_monotonic() -> Callable[[], float]:
    """Find the clock of the operating system, also while a test has frozen time.

    freezegun puts its own function in the place of ``time.monotonic`` in every module, so
    that a deadline would never come. The clock is taken from where it does not look.
    """
    if isinstance(time.monotonic, BuiltinFunctionType) or not hasattr(time, "CLOCK_MONOTONIC"):
        return time.monotonic
    return lambda: time.clock_gettime(time.CLOCK_MONOTONIC)


def _clock(now: Callable[[], float]) -> Callable[[], float]:
    def monotonic() -> float:
        """Return the seconds of a clock that never goes back and cannot be set or frozen."""
        return now()

    return monotonic


# In a closure, and not as an attribute of this module, where freezegun would replace it.
monotonic = _clock(_real_monotonic())
