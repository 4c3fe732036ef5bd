"""What a batch was told to do, checked."""

from __future__ import annotations

import os
from typing import NamedTuple, Optional, Union

__all__ = ["Settings"]

_CHOICES = {"on_unknown": ("report", "retry"), "on_day_limit": ("wait", "stop")}


class Settings(NamedTuple):
    """The arguments of a batch; its docstring tells what they mean."""

    workflow_id: str
    journal: Union[str, os.PathLike[str]]
    concurrency: int
    poll_interval: float
    settle: float
    patience: float
    row_timeout: float
    attempts: int
    on_unknown: str
    on_day_limit: str
    retry_failed: bool
    stop_on_failures: Optional[int]
    strict: bool

    def checked(self) -> Settings:
        """Give the same settings, if they make sense.

        Raises:
            TypeError: One is of the wrong type.
            ValueError: One makes no sense.
        """
        if not isinstance(self.workflow_id, str):
            raise TypeError(f"workflow_id must be a text, not {self.workflow_id!r}")
        if not self.workflow_id.strip():
            raise ValueError("workflow_id is empty")
        for name, least in (("concurrency", 1), ("attempts", 1), ("stop_on_failures", 1)):
            number = getattr(self, name)
            if number is None and name == "stop_on_failures":
                continue
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"{name} must be a whole number, not {number!r}")
            if number < least:
                raise ValueError(f"{name} must be {least} or more, not {number}")
        for name in ("poll_interval", "settle", "patience", "row_timeout"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
                raise TypeError(f"{name} must be a number of seconds, not {seconds!r}")
            if not seconds > 0:
                raise ValueError(f"{name} must be more than 0 seconds, not {seconds}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                known = " or ".join(map(repr, choices))
                raise ValueError(f"{name} must be {known}, not {getattr(self, name)!r}")
        return self
