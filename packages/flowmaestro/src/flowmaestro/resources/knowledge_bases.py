"""``SyncKnowledgeBases`` and ``AsyncKnowledgeBases``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

__all__ = ["AsyncKnowledgeBases", "SyncKnowledgeBases"]  # pyright: ignore[reportUnsupportedDunderAll]

__getattr__, __dir__ = old_names(__name__, {"knowledge_bases": GROUPS["knowledge_bases"]})
