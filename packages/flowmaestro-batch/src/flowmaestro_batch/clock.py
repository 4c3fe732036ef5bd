"""The API's clock, as the machine's monotonic one and an offset that each response measures."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Optional, cast

from flowmaestro_core.clock import monotonic, wall_clock

__all__ = ["ApiClock", "created_at"]

# Seconds by which the clocks of one machine may seem to differ, as one of them is rounded.
_ROUNDED = 0.01

# Seconds before a submission in which its execution may seem to have been made, by clocks
# that were compared; without a comparison, a minute.
_MARGIN, _BLIND_MARGIN = 2.0, 60.0

# Changes of the offset that are remembered: a clock that is corrected for ever changes it by
# little each time.
_REMEMBERED = 1_000


class ApiClock:
    """What time it is for the API.

    No clock of this machine that can be set has a part in it: where the machine's is wrong, or
    is put right while a batch runs, nothing happens. Where the API's own clock is set, or a
    sleep of this machine stops the monotonic one, the next response shows it.
    """

    def __init__(self) -> None:
        self.margin = _BLIND_MARGIN
        self._was_measured = False
        self._offset = wall_clock() - monotonic()
        # The offsets there were, each with the time of its last use.
        self._earlier: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)

    def now(self) -> float:
        """Give the API's time, in seconds since 1970."""
        return monotonic() + self._offset

    def heard(self, meta: object, sent: float, received: float) -> None:
        """Take the time that a response tells.

        Args:
            meta: Of the response: its ``timestamp`` tells when it was made.
            sent: When it was asked for, by the monotonic clock.
            received: When it came.
        """
        told = None
        if isinstance(meta, Mapping):
            told = _moment(cast("Mapping[str, object]", meta).get("timestamp"))
        if told is None:
            return
        # It was made at any moment between the two; within that, the clocks agree.
        least, most = told - received - _ROUNDED, told - sent + _ROUNDED
        # What a slow response cannot show: the clock may have been set by as much meanwhile.
        margin = _MARGIN + received - sent
        if not self._was_measured:
            self._was_measured, self.margin = True, margin
            if not least <= self._offset <= most:
                self._offset = told - (sent + received) / 2
            return
        self.margin = max(self.margin, margin)
        offset = min(max(self._offset, least), most)
        if offset != self._offset:
            self._earlier.append((received, self._offset))
            self._offset = offset

    def earliest(self, moment: float) -> float:
        """Give the least time that the API can have told since a moment.

        Args:
            moment: By the monotonic clock.
        """
        since = [offset for last_used, offset in self._earlier if last_used >= moment]
        return moment + min([self._offset, *since])


def created_at(execution: dict[str, Any]) -> Optional[float]:
    """Read when an execution was created, in seconds since 1970, or None."""
    return _moment(execution.get("created_at") or execution.get("started_at"))


def _moment(text: object) -> Optional[float]:
    """Read a time as the API writes it, ``2026-11-23T19:56:24.488Z``."""
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
        # Without a zone it is not this machine's time.
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None
