"""Threads: messages, answers, token streams."""

from __future__ import annotations

from flowmaestro_core.lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async import AsyncThreads
    from ._sync import Threads

__version__ = "1.0.0"

__all__ = [
    "Threads",
    "AsyncThreads",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AsyncThreads": "._async",
        "Threads": "._sync",
    },
)
