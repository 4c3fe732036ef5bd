"""What tests of the local server share."""

from __future__ import annotations

import pytest


@pytest.fixture
def still_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock of the rate limiter, so that no minute ends in the middle of a test."""
    monkeypatch.setattr("flowmaestro_local.access.timestamp", lambda: 1_800_000_030.0)
