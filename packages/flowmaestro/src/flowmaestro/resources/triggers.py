"""``SyncTriggers`` and ``AsyncTriggers``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

__all__ = ["AsyncTriggers", "SyncTriggers"]  # pyright: ignore[reportUnsupportedDunderAll]

__getattr__, __dir__ = old_names(__name__, {"triggers": GROUPS["triggers"]})
