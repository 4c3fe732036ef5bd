"""What tests of the local server share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture
def still_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock of the rate limiter, so that no minute ends in the middle of a test."""
    clock = SimpleNamespace(time=lambda: 1_800_000_030.0)
    monkeypatch.setattr("flowmaestro_local.access.time", clock)
