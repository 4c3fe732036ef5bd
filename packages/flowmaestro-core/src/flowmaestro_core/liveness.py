"""When a stream asks for the status, when it is dead, and when it is given up.

A clockwork without a clock: every method is told the time (monotonic, in seconds), so
that each rule can be tested with plain numbers.
"""

from __future__ import annotations

import math
from typing import Optional

__all__ = ["GRACE", "LAST_SECONDS", "Liveness"]

# Pauses between two status checks while a stream is silent. Executions of up to some
# ten seconds are seen to end within 3 s, all others within 16 s, and an hour of silence
# costs 4 requests a minute.
_CHECK_PAUSES = (1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 4.0, 8.0, 15.0)

# How long the stream may still bring its own end after a check has seen it: events that
# are on their way arrive before the end is told.
GRACE = 0.5

# Where the check was slow, events are as well, and each one may be followed by another. So many
# seconds after the check the connection is left in any case; new connections for what it kept
# back have as many again.
LAST_SECONDS = 3.0

# What has come while the consumer was busy is read before anything is looked at.
_LEAST_PAUSE = 0.02

# Where there is nothing to look at; clocks of operating systems take no endless wait.
_LONGEST_PAUSE = 60.0

# A connection that lasted this long did its work, even if it brought no event.
_LONG_ENOUGH = 10.0

# An event without an id counts as progress on a connection that is this many seconds old: a
# server that greets every connection with the same event, and closes it, makes no progress.
_SETTLED = 1.0

# Seconds for which the API may be away, without one response that shows it at work, before
# a stream gives up. A restart takes seconds, and 30 s must pass at any point of the pauses.
MAX_OUTAGE = 60.0


class Liveness:
    """The state of one stream over all of its connections."""

    def __init__(self, now: float, *, max_retries: int, checks: bool) -> None:
        self._reconnects = max_retries > 0
        self._checks = checks
        self._checked = 0
        self._next_check = now + _CHECK_PAUSES[0] if checks else math.inf
        # When this connection was opened; None while there is none.
        self._opened: Optional[float] = None
        self._heard = now
        self._last_comment: Optional[float] = None
        self._usual_gap: Optional[float] = None
        self._failures = 0
        # When the API was last seen at work, and the seconds of pause that it has asked for
        # since then.
        self._alive = now
        self._asked_for = 0.0
        self._is_unreachable = False
        # When the stream has had its moment to bring the end, how long that moment is, and when
        # it is over whatever comes, and whatever another connection may still bring.
        self._ending: Optional[float] = None
        self._moment = GRACE
        self.last_moment = 0.0

    def opened(self, now: float) -> None:
        """A connection is open."""
        self._opened = self._heard = now
        self._last_comment = None

    def heard(self, now: float, *, event: bool, comment: bool, is_new: bool = False) -> None:
        """Bytes came.

        Args:
            now: When.
            event: They hold an event of substance.
            comment: They hold a keepalive.
            is_new: An event among them has an id that was never seen before.
        """
        self._heard = now
        if event and self._ending is not None:
            self._ending = max(self._ending, min(now + self._moment, self.last_moment))
        if comment:
            if self._last_comment is not None:
                gap = now - self._last_comment
                self._usual_gap = max(self._usual_gap or 0.0, gap)
            self._last_comment = now
        if is_new or ((event or comment) and self._has_lasted(now, _SETTLED)):
            self._failures = 0
            self._is_alive(now)
        elif self._failures:
            # The same again after a break: the status is asked for as it was.
            return
        if event and self._checks:
            self._checked = 0
            self._next_check = now + _CHECK_PAUSES[0]

    def check_is_due(self, now: float) -> bool:
        """True when it is time to ask for the status."""
        return self._ending is None and now >= self._next_check

    def checked(
        self,
        now: float,
        *,
        retry_after: Optional[float] = None,
        succeeded: bool = True,
        unreachable: bool = False,
    ) -> None:
        """The status was asked for; the next time is later.

        Args:
            now: When the response was there.
            retry_after: Seconds that the API wants to be left alone.
            succeeded: The response has the status.
            unreachable: There was no response.
        """
        self._checked = min(self._checked + 1, len(_CHECK_PAUSES) - 1)
        self._next_check = now + max(_CHECK_PAUSES[self._checked], retry_after or 0.0)
        self._is_unreachable = unreachable
        if succeeded:
            self._is_alive(now)

    def until_check(self, now: float) -> float:
        """Seconds until the status is asked for again."""
        return max(self._next_check - now, 0.0)

    def ending(self, now: float, *, took: float = 0.0) -> None:
        """A check saw the end; the stream, or a new connection, has a moment to bring it.

        Args:
            now: When.
            took: Seconds that the check took.
        """
        if self._ending is None:
            self._moment = min(max(GRACE, 2 * took), LAST_SECONDS)
            self.last_moment = now + LAST_SECONDS
        self._ending = now + self._moment

    def catching_up(self, now: float) -> None:
        """From now on, new connections may bring what the last one kept back."""
        self.last_moment = now + LAST_SECONDS
        # One that is silent as well leaves time for another.
        self._moment = min(self._moment, LAST_SECONDS / 2)

    def is_over(self, now: float) -> bool:
        """True when that moment has passed."""
        return self._ending is not None and now >= self._ending

    def is_stale(self, now: float) -> bool:
        """True when the keepalives that this stream has shown stay away too long."""
        return self._usual_gap is not None and now - self._heard > 2 * self._usual_gap

    def is_gone(self, now: float) -> bool:
        """True when a silent connection leads nowhere: the API has long been unreachable."""
        silent = now - max(self._heard, self._alive)
        return self._is_unreachable and silent > MAX_OUTAGE

    def pause(self, now: float) -> float:
        """Seconds until there is something to look at."""
        due = self._next_check if self._ending is None else self._ending
        if self._usual_gap is not None:
            due = min(due, self._heard + 2 * self._usual_gap + 0.001)
        return min(max(due - now, _LEAST_PAUSE), _LONGEST_PAUSE)

    def lost(self, now: float, *, asked_for: float = 0.0) -> Optional[int]:
        """A connection broke or could not be made.

        Args:
            now: When.
            asked_for: Seconds that the API wants to be left alone; they are no outage.

        Returns:
            How many were lost in a row without progress before this one, or None when the
            API has been away for too long.
        """
        if self._usual_gap is not None and self.is_stale(now):
            # Where it was not the connection but the rhythm that was misjudged, as by a server
            # that begins with two comments at once, this ends the taking of one for the other.
            self._usual_gap *= 2
        if self._has_lasted(now, _LONG_ENOUGH):
            self._failures = 0
            self._is_alive(now)
        self._opened = None
        self._asked_for = min(self._asked_for + asked_for, _LONGEST_PAUSE)
        if not self._reconnects or self.outage(now) > MAX_OUTAGE + self._asked_for:
            return None
        self._failures += 1
        return self._failures - 1

    @property
    def is_first_loss(self) -> bool:
        """True where the connection that was just lost had made progress."""
        return self._failures == 0

    def outage(self, now: float) -> float:
        """Seconds since the API was last seen at work."""
        return now - self._alive

    def _has_lasted(self, now: float, seconds: float) -> bool:
        return self._opened is not None and now - self._opened >= seconds

    def _is_alive(self, now: float) -> None:
        self._alive = now
        self._asked_for = 0.0
