"""Time that passes only where the SDK sleeps, so that no pause takes any."""

from __future__ import annotations

import sys
import time
from typing import Any

import anyio
import pytest


class Time:
    """A clock that a sleep moves, a little ahead of the real one so that deadlines agree."""

    def __init__(self) -> None:
        self.slept = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)
        await anyio.lowlevel.checkpoint()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time()
    for name, module in list(sys.modules.items()):
        if not name.startswith("flowmaestro") or name.endswith(".compat"):
            continue
        is_async = "._async" in name
        if is_async or "._sync" in name:
            replaced: dict[str, Any] = {"monotonic": clock.monotonic}
            replaced["sleep"] = clock.asleep if is_async else clock.sleep
            for attribute, value in replaced.items():
                if hasattr(module, attribute):
                    monkeypatch.setattr(module, attribute, value)
