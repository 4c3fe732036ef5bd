"""Whether a call is tried again, and when: pure decisions, without clocks or sockets."""

from __future__ import annotations

import math
from random import SystemRandom
from typing import Callable, NamedTuple, Optional

from . import errors

__all__ = [
    "LOST",
    "NOT_SENT",
    "Failure",
    "RetryPolicy",
    "is_transient",
    "jitter",
    "parse_retry_after",
]

# The numbers from 0 to 1 behind random pauses. Not those of ``random.random``: processes that
# were forked from one parent share its state, and would all come back at the same moment.
jitter = SystemRandom().random

# How far a request got that has no answer.
NOT_SENT = "not sent"
LOST = "lost"

_PASSING = frozenset({408, 429, 500, 502, 503, 504})


class Failure(NamedTuple):
    """What is known of a try that failed."""

    # The status of the answer, or None if there was none.
    status: Optional[int] = None
    # NOT_SENT, or LOST where the request may have arrived; None if there was an answer.
    network: Optional[str] = None
    retry_after: Optional[float] = None
    # True where trying again cannot help: a certificate that is not trusted, an id
    # that cannot exist.
    final: bool = False

    @property
    def was_not_processed(self) -> bool:
        """True only where it is certain that the backend did nothing."""
        if self.status is None:
            return self.network == NOT_SENT
        return self.status == 429 or (self.status == 503 and self.retry_after is not None)

    @property
    def outcome_unknown(self) -> bool:
        """True where the backend may have done what was asked."""
        if self.status is None:
            return self.network == LOST
        if self.final:
            return False
        return self.status == 408 or (self.status >= 500 and not self.was_not_processed)


class RetryPolicy(NamedTuple):
    """How often and how long, in seconds."""

    max_retries: int = 3
    # The ceilings of the random pauses: 0.5, 1, 2, 4, 8, 8, ...
    initial: float = 0.5
    maximum: float = 8.0
    # A server that asks for a longer pause than this gets no sleep but an error with
    # its figure: a minute's limit is waited for, a day's is not.
    longest_wait: float = 60.0

    def backoff(self, attempt: int, random: Callable[[], float]) -> float:
        """The pause after try number ``attempt`` (from 0): exponential, full jitter."""
        ceiling = min(self.maximum, self.initial * 2.0 ** min(attempt, 30))
        return ceiling * random()

    def next_wait(
        self,
        failure: Failure,
        attempt: int,
        *,
        repeatable: bool,
        remaining: Optional[float],
        random: Callable[[], float],
    ) -> Optional[float]:
        """Seconds to wait before the next try, or None if there is none.

        Args:
            failure: What went wrong.
            attempt: How many tries there were before this one.
            repeatable: Whether doing it twice does no harm.
            remaining: Seconds left of the call's deadline, or None without one.
            random: Gives numbers from 0 to 1.
        """
        if failure.final or attempt >= self.max_retries:
            return None
        if failure.status is not None and failure.status not in _PASSING:
            return None
        if not repeatable and not failure.was_not_processed:
            return None
        wait = self.backoff(attempt, random)
        if failure.retry_after is not None:
            if failure.retry_after > self.longest_wait:
                return None
            # A little more than asked for, so that a crowd does not come back as one.
            wait = failure.retry_after + min(wait, 1.0)
        if remaining is not None and wait >= remaining:
            return None
        return wait


def parse_retry_after(value: object, now: float, *, sent: Optional[str] = None) -> Optional[float]:
    """Read a ``Retry-After``: seconds, or a date in any of the three forms of HTTP.

    Args:
        value: The header's text, or a number from the body.
        now: Seconds since 1970.
        sent: The ``Date`` header beside it. A date is counted from that one, so that a clock
            of this machine that is wrong makes no pause too short or too long.

    Returns:
        Seconds, 0 or more; ``inf`` where the number is beyond reading; None for garbage.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_since_1970(str(value)) - _sent_at(sent, now)
    except OverflowError:
        return math.inf
    return None if math.isnan(seconds) else max(seconds, 0.0)


def _sent_at(date: Optional[str], now: float) -> float:
    """Read the ``Date`` header, or give this machine's time if there is none to read."""
    seconds = math.nan if date is None else _seconds_since_1970(date)
    return now if math.isnan(seconds) else seconds


def _seconds_since_1970(date: str) -> float:
    """Read an HTTP date (RFC 1123, RFC 850 or asctime), or give NaN."""
    from datetime import timezone
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(date.strip())
        if moment.tzinfo is None:
            # asctime names no zone; HTTP dates are always UTC.
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return math.nan


# Codes of errors that stay however often the request is sent.
_PERMANENT_CODES = frozenset(
    {"certificate_untrusted", "request_invalid", "response_too_large", "client_closed"}
)
_PERMANENT_STATUSES = frozenset({501, 505})

_TRANSIENT = (
    errors.ConnectionError,
    errors.TimeoutError,
    errors.RateLimitError,
    errors.ServerError,
)


def is_transient(error: errors.FlowMaestroError) -> bool:
    """Say whether the same request may succeed a moment later.

    Waits and streams ride out what is transient, within their own time, and raise the rest.
    """
    return (
        isinstance(error, _TRANSIENT)
        and error.code not in _PERMANENT_CODES
        and error.status_code not in _PERMANENT_STATUSES
    )
