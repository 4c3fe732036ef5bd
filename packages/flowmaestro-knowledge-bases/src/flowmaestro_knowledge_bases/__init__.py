"""Knowledge bases: list, get, search."""

from __future__ import annotations

from flowmaestro_core.lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async import AsyncKnowledgeBases
    from ._sync import KnowledgeBases

__version__ = "1.0.0"

__all__ = [
    "KnowledgeBases",
    "AsyncKnowledgeBases",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AsyncKnowledgeBases": "._async",
        "KnowledgeBases": "._sync",
    },
)
