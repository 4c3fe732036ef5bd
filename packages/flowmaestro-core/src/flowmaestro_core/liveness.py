"""When a stream asks for the status, when it is dead, and when it is given up.

A clockwork without a clock: every method is told the time (monotonic, in seconds), so
that each rule can be tested with plain numbers.
"""

from __future__ import annotations

import math
from typing import Optional

__all__ = ["GRACE", "Liveness"]

# Pauses between two status checks while a stream is silent. Executions of up to some
# ten seconds are seen to end within 3 s, all others within 16 s, and an hour of silence
# costs 4 requests a minute.
_CHECK_PAUSES = (1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 4.0, 8.0, 15.0)

# How long the stream may still bring its own end after a check has seen it: events that
# are on their way arrive before the end is told.
GRACE = 0.5

# What has come while the consumer was busy is read before anything is looked at.
_LEAST_PAUSE = 0.02

# Where there is nothing to look at; clocks of operating systems take no endless wait.
_LONGEST_PAUSE = 60.0

# A connection that lasted this long did its work, even if it brought no event.
_LONG_ENOUGH = 10.0


class Liveness:
    """The state of one stream over all of its connections."""

    def __init__(self, now: float, *, max_retries: int, checks: bool) -> None:
        self._max_retries = max_retries
        self._checks = checks
        self._checked = 0
        self._quiet_since = now
        self._next_check = now + _CHECK_PAUSES[0] if checks else math.inf
        self._opened = now
        self._heard = now
        self._last_comment: Optional[float] = None
        self._usual_gap: Optional[float] = None
        self._failures = 0
        self._ending: Optional[float] = None

    def opened(self, now: float) -> None:
        """A connection is open."""
        self._opened = self._heard = now
        self._last_comment = None

    def heard(self, now: float, *, event: bool, comment: bool) -> None:
        """Bytes came; with an event of substance, or with a keepalive."""
        self._heard = now
        if comment:
            if self._last_comment is not None:
                gap = now - self._last_comment
                self._usual_gap = max(self._usual_gap or 0.0, gap)
            self._last_comment = now
        if event or comment:
            self._failures = 0
        if event and self._checks:
            self._checked = 0
            self._next_check = now + _CHECK_PAUSES[0]

    def check_is_due(self, now: float) -> bool:
        """True when it is time to ask for the status."""
        return self._ending is None and now >= self._next_check

    def checked(self, now: float, *, retry_after: Optional[float] = None) -> None:
        """The status was asked for; the next time is later."""
        self._checked = min(self._checked + 1, len(_CHECK_PAUSES) - 1)
        self._next_check = now + max(_CHECK_PAUSES[self._checked], retry_after or 0.0)

    def ending(self, now: float) -> None:
        """A check saw the end; the stream has a moment left to bring it."""
        self._ending = now + GRACE

    def is_over(self, now: float) -> bool:
        """True when that moment has passed."""
        return self._ending is not None and now >= self._ending

    def is_stale(self, now: float) -> bool:
        """True when the keepalives that this stream has shown stay away too long."""
        return self._usual_gap is not None and now - self._heard > 2 * self._usual_gap

    def pause(self, now: float) -> float:
        """Seconds until there is something to look at."""
        due = self._next_check if self._ending is None else self._ending
        if self._usual_gap is not None:
            due = min(due, self._heard + 2 * self._usual_gap + 0.001)
        return min(max(due - now, _LEAST_PAUSE), _LONGEST_PAUSE)

    def lost(self, now: float) -> Optional[int]:
        """A connection broke or could not be made.

        Returns:
            How many were lost in a row without progress before this one, or None when
            that is enough.
        """
        if self._usual_gap is not None and self.is_stale(now):
            # Where it was not the connection but the rhythm that was misjudged, as by a server
            # that begins with two comments at once, this ends the taking of one for the other.
            self._usual_gap *= 2
        if now - self._opened >= _LONG_ENOUGH:
            self._failures = 0
        self._opened = now
        self._failures += 1
        return self._failures - 1 if self._failures <= self._max_retries else None
