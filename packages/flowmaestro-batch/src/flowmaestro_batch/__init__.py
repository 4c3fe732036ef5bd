"""One workflow over many rows: resumable, at the plan's pace, on one machine or many."""

from __future__ import annotations

from ._async.batch import AsyncBatch
from ._sync.batch import Batch
from .dask import DaskEngine
from .errors import (
    BatchError,
    DayLimitError,
    JournalError,
    JournalInUseError,
    RowError,
    TooManyFailuresError,
    WorkerLostError,
)
from .outcomes import Outcome, Progress, Summary
from .sending import Engine, Sent, Ticket, send

__version__ = "1.0.0"

__all__ = [
    "Batch",
    "AsyncBatch",
    "Outcome",
    "Progress",
    "Summary",
    "DaskEngine",
    "Engine",
    "Ticket",
    "Sent",
    "send",
    "BatchError",
    "RowError",
    "JournalError",
    "JournalInUseError",
    "TooManyFailuresError",
    "DayLimitError",
    "WorkerLostError",
]
