"""``SyncAgents`` and ``AsyncAgents``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowmaestro_agents import Agents as SyncAgents
    from flowmaestro_agents import AsyncAgents

__all__ = ["AsyncAgents", "SyncAgents"]

__getattr__, __dir__ = old_names(__name__, {"agents": GROUPS["agents"]})
