"""``SyncKnowledgeBases`` and ``AsyncKnowledgeBases``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowmaestro_knowledge_bases import AsyncKnowledgeBases
    from flowmaestro_knowledge_bases import KnowledgeBases as SyncKnowledgeBases

__all__ = ["AsyncKnowledgeBases", "SyncKnowledgeBases"]

__getattr__, __dir__ = old_names(__name__, {"knowledge_bases": GROUPS["knowledge_bases"]})
