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
    ValidationError,
)

from .journal import Entry
from .rows import Row

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
        doubtful_since: Since when no request of it is on its way, by the backend's clock.
        accepted: How many submissions the backend had taken when this one was last tried.
        attempts: How often the backend failed to take it.
        error: The last error of its submission.
        failed: Why it is given up.
    """

    row: Optional[Row]
    earlier: Optional[Entry] = None
    submitted_at: float = 0.0
    doubtful_since: float = 0.0
    accepted: int = 0
    attempts: int = 0
    error: Optional[FlowMaestroError] = None
    failed: Optional[str] = None

    @classmethod
    def left(cls, entry: Entry, now: float) -> Work:
        """Take up a row that an earlier run has left under way."""
        work = cls(None, entry, entry.submitted_at or 0.0, now)
        work.attempts = entry.attempts
        return work

    @property
    def key(self) -> str:
        """The row's key."""
        return self.row.key if self.row is not None else self._known().key

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its inputs."""
        return self.row.fingerprint if self.row is not None else self._known().inputs

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs, of a row that was read."""
        assert self.row is not None
        return self.row.inputs

    def is_to_blame(self, accepted: int) -> bool:
        """True where the backend fails because of this row, and not for all of them.

        Args:
            accepted: How many submissions it has taken by now.
        """
        if self.error is None or (self.error.status_code or 0) < 500:
            return False
        return self.error.code == _NOT_STARTED or accepted > self.accepted

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
            error,
        )

    def _known(self) -> Entry:
        assert self.earlier is not None
        return self.earlier


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
    return status is None or status in (408, 429) or status >= 500


def latest_limit(limits: Iterable[Optional[RateLimit]]) -> Optional[RateLimit]:
    """Of what several answers said, take what is true now: of the last minute, the least."""
    told = [limit for limit in limits if limit is not None]
    return min(told, key=lambda one: (-(one.reset or 0), one.remaining), default=None)
