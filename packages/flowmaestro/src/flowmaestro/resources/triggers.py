"""``SyncTriggers`` and ``AsyncTriggers``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowmaestro_triggers import AsyncTriggers
    from flowmaestro_triggers import Triggers as SyncTriggers

__all__ = ["AsyncTriggers", "SyncTriggers"]

__getattr__, __dir__ = old_names(__name__, {"triggers": GROUPS["triggers"]})
