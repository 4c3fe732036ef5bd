"""Time that passes only where the SDK sleeps, so that no pause takes any."""

from __future__ import annotations

import sys
import time
from typing import Any

import anyio
import pytest

from flowmaestro_core._async import compat as async_compat
from flowmaestro_core._sync import compat as sync_compat


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


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def no_pauses_of_streams(clock: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the pauses that end sooner when somebody closes a stream."""

    async def asleep(_: object, seconds: float) -> None:
        await clock.asleep(seconds)

    monkeypatch.setattr(async_compat.Stop, "sleep", asleep)
    monkeypatch.setattr(sync_compat.Stop, "sleep", lambda _, seconds: clock.sleep(seconds))


@pytest.fixture(autouse=True)
def _no_pauses(clock: Time, monkeypatch: pytest.MonkeyPatch) -> None:
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
