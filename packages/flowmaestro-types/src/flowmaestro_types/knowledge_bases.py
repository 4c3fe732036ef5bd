"""Knowledge bases and what a search in one finds."""

from __future__ import annotations

from typing import Any, Optional

from ._typing import NotRequired, TypedDict

__all__ = ["KnowledgeBase", "QueryRequest", "QueryResult", "SearchResult"]


class KnowledgeBase(TypedDict):
    """A knowledge base. The fields below ``updated_at`` are there in ``get``, not in ``list``."""

    id: str
    name: str
    description: Optional[str]
    document_count: int
    chunk_count: int
    created_at: str
    updated_at: str
    embedding_model: NotRequired[str]
    chunk_size: NotRequired[int]
    chunk_overlap: NotRequired[int]


class QueryRequest(TypedDict):
    """The body of a ``query`` call."""

    query: str
    # 5 where it is left out; the backend gives 20 at most.
    top_k: NotRequired[int]


class SearchResult(TypedDict):
    """One chunk that fits; ``similarity`` is higher for a better fit.

    ``id`` and ``score`` are other names for ``chunk_id`` and ``similarity``.
    """

    chunk_id: str
    id: str
    document_id: str
    document_name: str
    content: str
    similarity: float
    score: float
    metadata: dict[str, Any]


class QueryResult(TypedDict):
    """What a search found, best first."""

    results: list[SearchResult]
    query: str
    top_k: NotRequired[int]
