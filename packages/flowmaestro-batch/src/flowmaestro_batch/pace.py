"""When the next request may go, so that a plan's limits are used and not broken."""

from __future__ import annotations

from typing import Optional

from flowmaestro import RateLimit

__all__ = ["Pace"]

_UNLIMITED = 1_000_000

_MINUTE = 60.0
_DAY = 86_400.0

# Seconds after the beginning of a minute: the API's clock may be a little late.
_GUARD = 0.25

# Seconds by which the idea of the API's clock may be wrong.
_NEAR = 5.0

# Seconds of requests that may be made up for at once, after a slow answer.
_CATCH_UP = 1.0

# How much faster than the plan's own pace it may get, to use up what a minute has left.
_FASTEST = 4

# Requests that are kept from the day's last, to learn how the running executions end.
_DAY_RESERVE = 5

# Seconds after which one request goes although the API said that there are none left: it may
# have been wrong, or the plan a larger one by now.
_ASK_AGAIN = 3600.0


class Pace:
    """Spreads the requests of a minute over what is left of it.

    All times are of the monotonic clock, so that no clock that is set stalls anything. Only
    where a minute and a day begin, the API's clock says.
    """

    def __init__(self) -> None:
        self._limit: Optional[RateLimit] = None
        self._left = 0
        self._left_of_day: Optional[int] = None
        self._reset = 0.0
        self._due = 0.0
        self._closed_until = 0.0
        # When the figure of the day is tried, and when the day ends.
        self._day_until = 0.0
        self._day_ends = 0.0

    def heard(self, limit: Optional[RateLimit], now: float, api_now: float) -> None:
        """Take what a response said of the limits, when no other request is under way.

        Args:
            limit: What it said.
            now: By the monotonic clock.
            api_now: By the API's, in seconds since 1970.
        """
        if limit is None or limit.limit < 1:
            return
        self._limit = limit
        self._left = max(limit.remaining, 0)
        # One that is no moment of the next minute is of another clock, or in other units.
        seconds = float(limit.reset or 0) - api_now
        is_near = -_NEAR <= seconds <= _MINUTE + _NEAR
        self._reset = now + (seconds if is_near else _until_next(api_now, _MINUTE))
        if limit.remaining_day is not None:
            self._left_of_day = max(limit.remaining_day, 0)
            self._end_day(now, now + _until_next(api_now, _DAY))

    def refused(self, wait: float, now: float, window: Optional[str]) -> None:
        """Take a 429.

        Args:
            wait: The seconds until the next request.
            now: By the monotonic clock.
            window: Whose limit is used up, ``"minute"`` or ``"day"``, or None if not said.
        """
        if window == "day":
            self._left_of_day = 0
            self._end_day(now, now + min(wait, _DAY))
        longest = _MINUTE if window == "minute" else _ASK_AGAIN
        self._closed_until = max(self._closed_until, now + min(wait, longest))

    def _end_day(self, now: float, moment: float) -> None:
        self._day_ends = moment
        self._day_until = min(moment, now + _ASK_AGAIN)

    def allowed(self, now: float) -> int:
        """Say how many requests may go now; they are not counted before ``spend``."""
        self._turn(now)
        if now < self._closed_until or now < self._due:
            return 0
        if self._limit is None:
            return _UNLIMITED
        since = now - max(self._due, now - _CATCH_UP)
        return min(int(since / self.spacing(now)) + 1, self._left)

    def spend(self, count: int, now: float) -> None:
        """Count requests that go now."""
        self._due = max(self._due, now - _CATCH_UP) + count * self.spacing(now)
        self._left -= count
        if self._left_of_day is not None:
            self._left_of_day -= count

    def spacing(self, now: float) -> float:
        """Give the seconds between two requests; 0 where no limit is known."""
        if self._limit is None:
            return 0.0
        left = max(self._reset - now, 0.0)
        if self._left <= 0:
            return left + _GUARD
        return max(left / self._left, _MINUTE / self._limit.limit / _FASTEST)

    def wait(self, now: float) -> float:
        """Give the seconds until a request may go."""
        if self.allowed(now):
            return 0.0
        if self._limit is not None and self._left <= 0:
            return max(self._reset + _GUARD, self._closed_until) - now
        return max(self._due, self._closed_until, now) - now

    def rows_left_today(self, now: float) -> Optional[int]:
        """Give how many rows may be submitted before tomorrow; None where no limit is known."""
        self._turn(now)
        if self._left_of_day is None:
            return None
        return max(self._left_of_day - self._reserve(), 0)

    def tomorrow(self, now: float) -> float:
        """Give the seconds until the API counts a new day."""
        return max(self._day_ends - now, 0.0)

    def day_is_used_up(self, now: float) -> bool:
        """True where not even a poll may go before tomorrow."""
        self._turn(now)
        return self._left_of_day is not None and self._left_of_day <= 0

    def is_throttled(self, now: float) -> bool:
        """True for as long as a 429 asked for."""
        return now < self._closed_until

    def _reserve(self) -> int:
        return min(_DAY_RESERVE, (self._limit.limit_day or 0) // 20 if self._limit else 0)

    def _turn(self, now: float) -> None:
        """Begin a new minute, or a new day, if it is time."""
        if self._limit is not None and now >= self._reset + _GUARD:
            self._reset += ((now - self._reset) // _MINUTE + 1) * _MINUTE
            self._left = self._limit.limit
        if self._left_of_day is not None and now >= self._day_ends:
            self._left_of_day = None
        elif self._left_of_day is not None and now >= self._day_until:
            self._left_of_day = max(self._left_of_day, self._reserve() + 1)
            self._end_day(now, self._day_ends)


def _until_next(api_now: float, length: float) -> float:
    return length - api_now % length
