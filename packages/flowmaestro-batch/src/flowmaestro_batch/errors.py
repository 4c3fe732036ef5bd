"""What stops a batch. Everything that was done is in the journal: start again to go on."""

from __future__ import annotations

from typing import Any, Optional

from flowmaestro import FlowMaestroError

__all__ = [
    "BatchError",
    "DayLimitError",
    "JournalError",
    "JournalInUseError",
    "RowError",
    "TooManyFailuresError",
    "WorkerLostError",
]


class BatchError(FlowMaestroError):
    """The base of what stops a batch."""


class RowError(BatchError):
    """The rows cannot be read; with ``strict``, also a single row that is no good."""


class JournalError(BatchError):
    """The journal cannot be used, or does not fit the workflow or the rows."""


class JournalInUseError(JournalError):
    """Another process, or another batch of this one, has the journal."""


class TooManyFailuresError(BatchError):
    """As many rows failed as ``stop_on_failures`` allows."""


class DayLimitError(BatchError):
    """The key's requests of this day are used up, and ``on_day_limit`` is ``"stop"``.

    Attributes:
        retry_after: Seconds until the next day begins for the backend.
    """

    _more = ("retry_after",)

    def __init__(self, message: str, *, retry_after: Optional[float] = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class WorkerLostError(BatchError):
    """A worker was lost with a row that it may have submitted; the batch looks for it."""
