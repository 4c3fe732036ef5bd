"""``SyncAgents`` and ``AsyncAgents``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

__all__ = ["AsyncAgents", "SyncAgents"]  # pyright: ignore[reportUnsupportedDunderAll]

__getattr__, __dir__ = old_names(__name__, {"agents": GROUPS["agents"]})
