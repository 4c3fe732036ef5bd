"""Agents: list, get, create threads."""

from __future__ import annotations

from flowmaestro_core.lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async import AsyncAgents
    from ._sync import Agents

__version__ = "1.0.0"

__all__ = [
    "Agents",
    "AsyncAgents",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AsyncAgents": "._async",
        "Agents": "._sync",
    },
)
