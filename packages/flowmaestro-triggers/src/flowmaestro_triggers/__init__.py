"""Triggers: list, execute."""

from __future__ import annotations

from flowmaestro_core.lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async import AsyncTriggers
    from ._sync import Triggers

__version__ = "1.0.0"

__all__ = [
    "Triggers",
    "AsyncTriggers",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AsyncTriggers": "._async",
        "Triggers": "._sync",
    },
)
