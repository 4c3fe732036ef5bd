"""What a batch gives: an outcome for each row, its progress, and a summary at the end."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

__all__ = ["Outcome", "Progress", "Summary"]


class Outcome(NamedTuple):
    """How a row ended.

    Attributes:
        key: The row's key, or an empty text where the row has none.
        status: ``"completed"``, ``"failed"``, ``"cancelled"``, or ``"unknown"`` where it
            cannot be told whether the row was run.
        outputs: The execution's outputs, or None.
        error: Why it failed or is unknown, or None.
        execution_id: The execution's id, or None where there is none.
        inputs: The row itself.
        number: The row's place among the rows, from 1.
        line: Where it begins in its file, from 1, or None.
        resumed: True where it ended in an earlier run, and the journal told so.
    """

    key: str
    status: str
    outputs: Any
    error: Optional[str]
    execution_id: Optional[str]
    inputs: dict[str, Any]
    number: int
    line: Optional[int]
    resumed: bool = False


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        read: Rows read so far.
        completed: Rows that completed, those of earlier runs included.
        failed: Rows that failed, those that are no good included.
        cancelled: Rows whose execution was cancelled.
        unknown: Rows of which nobody knows whether they were run.
        resumed: Of all these, how many ended in an earlier run.
        running: Executions under way, and submissions whose fate is being looked up.
        requests: Requests sent by this run.
        refused: Of these, how many were answered with 429.
        seconds: How long this run goes on.
        waiting: What the run waits for, in words, where it waits for long; else None.
        wait_seconds: For how long it still waits for that.
    """

    read: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    unknown: int = 0
    resumed: int = 0
    running: int = 0
    requests: int = 0
    refused: int = 0
    seconds: float = 0.0
    waiting: Optional[str] = None
    wait_seconds: float = 0.0

    @property
    def done(self) -> int:
        """Rows that have their outcome."""
        return self.completed + self.failed + self.cancelled + self.unknown

    @property
    def rate(self) -> float:
        """Rows a second that ended in this run."""
        return (self.done - self.resumed) / self.seconds if self.seconds > 0 else 0.0


class Summary(NamedTuple):
    """What a run did; ``print(summary)`` says it in a few lines.

    Attributes:
        rows: Rows read.
        completed: Rows that completed, those of earlier runs included.
        failed: Rows that failed, those that are no good included.
        cancelled: Rows whose execution was cancelled.
        unknown: Rows of which nobody knows whether they were run.
        resumed: Of all these, how many ended in an earlier run.
        left: Executions that were left running, for the next start.
        requests: Requests sent by this run.
        refused: Of these, how many were answered with 429.
        seconds: How long this run took.
    """

    rows: int
    completed: int
    failed: int
    cancelled: int
    unknown: int
    resumed: int
    left: int
    requests: int
    refused: int
    seconds: float

    @classmethod
    def of(cls, progress: Progress) -> Summary:
        """Make the summary of a run that stands so."""
        return cls(
            progress.read,
            progress.completed,
            progress.failed,
            progress.cancelled,
            progress.unknown,
            progress.resumed,
            progress.running,
            progress.requests,
            progress.refused,
            progress.seconds,
        )

    def __str__(self) -> str:
        counts = [f"{self.completed} completed", f"{self.failed} failed"]
        counts += [f"{self.cancelled} cancelled"] if self.cancelled else []
        counts += [f"{self.unknown} unknown"] if self.unknown else []
        counts += [f"{self.left} left running"] if self.left else []
        earlier = f" ({self.resumed} of them in earlier runs)" if self.resumed else ""
        refused = f", {self.refused} of them refused" if self.refused else ""
        return (
            f"{self.rows} rows: {', '.join(counts)}{earlier}; "
            f"{self.requests} requests{refused} in {self.seconds:.1f} s"
        )
