"""``SyncThreads`` and ``AsyncThreads``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

__all__ = ["AsyncThreads", "SyncThreads"]  # pyright: ignore[reportUnsupportedDunderAll]

__getattr__, __dir__ = old_names(__name__, {"threads": GROUPS["threads"]})
