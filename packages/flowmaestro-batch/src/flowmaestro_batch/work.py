"""A row on its way, and what an answer means for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

from flowmaestro import (
    AuthenticationError,
    AuthorizationError,
    FlowMaestroError,
    NotFoundError,
    RateLimit,
    RateLimitError,
    ValidationError,
)

from .clock import ApiClock
from .journal import Entry
from .rows import Row
from .texts import storable

__all__ = ["Work", "fate_of", "is_passing", "latest_limit"]

# The backend's word for a row that it could not start.
_NOT_STARTED = "execution_failed"


@dataclass
class Work:
    """A row between its reading and its end.

    Attributes:
        row: The row, or None where the journal knows it and this run has not read it yet.
        earlier: What the journal had of it at the start.
        submitted_at: When its last request left, by the backend's clock.
        sent_at: The same by the monotonic clock, where this process has sent it.
        doubtful_since: Since when no request of it is on its way, by the monotonic clock.
        refused: What the API said as it refused to start the execution that it left behind.
        asked_at: When its execution was last asked for by itself, by the monotonic clock.
        accepted: How many submissions the API had accepted when this one last failed.
        is_to_blame: True once others were accepted while it was not.
        first_sent_at: When its first request left, by the monotonic clock, if one did.
        attempts: How often the API failed to accept it.
        error: The last error of its submission.
    """

    row: Optional[Row]
    earlier: Optional[Entry] = None
    submitted_at: float = 0.0
    sent_at: Optional[float] = None
    doubtful_since: float = 0.0
    refused: Optional[str] = None
    asked_at: float = 0.0
    accepted: int = 0
    is_to_blame: bool = False
    first_sent_at: Optional[float] = None
    attempts: int = 0
    error: Optional[FlowMaestroError] = None

    @classmethod
    def left(cls, entry: Entry, now: float) -> Work:
        """Take up a row that an earlier run has left under way."""
        return cls(
            None,
            entry,
            submitted_at=entry.submitted_at or 0.0,
            doubtful_since=now,
            refused=entry.error,
            attempts=entry.attempts,
        )

    @property
    def key(self) -> str:
        """The row's key."""
        if self.row is not None:
            return self.row.key
        assert self.earlier is not None
        return self.earlier.key

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the inputs that were sent, or are to be."""
        # What an earlier run has sent may have had its key spelled otherwise.
        if self.earlier is not None:
            return self.earlier.inputs
        assert self.row is not None
        return self.row.fingerprint

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs, of a row that was read."""
        assert self.row is not None
        return self.row.inputs

    def age(self, clock: ApiClock, now: float) -> float:
        """Give the seconds since it was last submitted.

        Args:
            clock: The API's, for what an earlier run has submitted.
            now: By the monotonic clock.
        """
        return clock.now() - self.submitted_at if self.sent_at is None else now - self.sent_at

    def since(self, clock: ApiClock) -> float:
        """Give the least time that the API can have written into its execution."""
        since = self.submitted_at
        if self.sent_at is not None:
            since = min(since, clock.earliest(self.sent_at))
        return since - clock.margin

    def is_given_up(self, accepted: int, now: float, attempts: int, patience: float) -> bool:
        """Count one more submission that failed, and say whether it was the last.

        An API that fails for all rows is waited for; one that fails for this row only is not.

        Args:
            accepted: How many submissions the API has accepted by now.
            now: By the monotonic clock.
            attempts: How often the API may answer this row with 5xx while it accepts others.
            patience: Seconds for which it may fail to accept it otherwise.
        """
        if self.error is None or isinstance(self.error, RateLimitError):
            return False
        accepts_others, self.accepted = accepted > self.accepted, accepted
        self.is_to_blame = self.is_to_blame or accepts_others
        status = self.error.status_code
        if status is not None and status >= 500:
            self.attempts += accepts_others or self.error.code == _NOT_STARTED
        first = now if self.first_sent_at is None else self.first_sent_at
        return self.attempts >= attempts or (self.is_to_blame and now - first > patience)

    def refusal(self) -> Optional[str]:
        """Give what the API said as it failed to start the row's execution, or None."""
        status = None if self.error is None else self.error.status_code
        return self.refused if status is None or status < 500 else str(self.error)

    def entry(
        self,
        state: str,
        execution_id: Optional[str] = None,
        outputs: Any = None,
        error: Optional[str] = None,
    ) -> Entry:
        """Write what the journal is to know."""
        return Entry(
            self.key,
            self.fingerprint,
            state,
            execution_id,
            self.submitted_at,
            self.attempts,
            outputs,
            storable(error),
        )


def fate_of(error: FlowMaestroError) -> str:
    """Say what an error of a submission means for the row.

    Returns:
        ``"doubt"`` where it may have been submitted all the same, ``"again"`` where it was
        not and can be, ``"failed"`` where the backend refuses the row.
    """
    if error.outcome_unknown:
        return "doubt"
    # Those of the key and the workflow end the run, and say nothing of the row.
    if isinstance(error, (AuthenticationError, AuthorizationError, NotFoundError)):
        return "again"
    return "again" if is_passing(error) else "failed"


def is_passing(error: FlowMaestroError) -> bool:
    """True for an error after which the same request may succeed."""
    if isinstance(error, ValidationError):
        return False
    status = error.status_code
    # A success that cannot be read is a proxy's page, or half of a response.
    is_unreadable = error.code == "invalid_response" or error.outcome_unknown
    return status is None or status in (408, 429) or status >= 500 or is_unreadable


def latest_limit(limits: Iterable[Optional[RateLimit]]) -> Optional[RateLimit]:
    """Of what several answers said, take what is true now: of the last minute, the least."""
    told = [limit for limit in limits if limit is not None]
    return min(told, key=lambda one: (-(one.reset or 0), one.remaining), default=None)
