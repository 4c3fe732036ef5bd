"""``SyncThreads`` and ``AsyncThreads``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowmaestro_threads import AsyncThreads
    from flowmaestro_threads import Threads as SyncThreads

__all__ = ["AsyncThreads", "SyncThreads"]

__getattr__, __dir__ = old_names(__name__, {"threads": GROUPS["threads"]})
