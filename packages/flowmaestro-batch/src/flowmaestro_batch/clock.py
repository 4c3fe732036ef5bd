"""The backend's clock, and ours."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Optional

__all__ = ["clock_offset", "created_at"]

# Seconds by which the clocks of one machine may seem to differ, as one of them is rounded.
_ROUNDED = 0.01


def created_at(execution: dict[str, Any]) -> Optional[float]:
    """Read when an execution was created, in seconds since 1970, or None."""
    return _moment(execution.get("created_at") or execution.get("started_at"))


def clock_offset(meta: dict[str, Any], sent: float, received: float) -> Optional[float]:
    """Compare the backend's clock with ours: how far ahead it is, in seconds.

    Args:
        meta: Of an answer: its ``timestamp`` tells when it was made.
        sent: Our time when it was asked for.
        received: Our time when it came.
    """
    theirs = _moment(meta.get("timestamp"))
    if theirs is None:
        return None
    # The answer may have been made at any moment between; within that, the clocks agree.
    agree = sent - _ROUNDED <= theirs <= received + _ROUNDED
    return 0.0 if agree else theirs - (sent + received) / 2


def _moment(text: object) -> Optional[float]:
    """Read a time as the backend writes it, ``2026-11-23T19:56:24.488Z``."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
