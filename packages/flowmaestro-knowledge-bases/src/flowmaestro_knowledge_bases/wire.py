"""What the backend says of a search, in the documented words: ``similarity`` and ``chunk_id``."""

from __future__ import annotations

from typing import Any

from flowmaestro_core.codec import is_array

__all__ = ["query_result_of"]


def query_result_of(answer: dict[str, Any], query: str) -> dict[str, Any]:
    """Read a search's answer.

    Today's backend says ``score`` where ``similarity`` is documented, and ``id`` for
    ``chunk_id``.
    """
    data: Any = answer["data"]
    # A later backend may give the results alone.
    rest: dict[str, Any] = {"results": data} if is_array(data) else data
    found: list[Any] = rest.get("results") or []
    results = [_result_of(result) for result in found]
    return {**answer, "data": {"query": query, **rest, "results": results}}


def _result_of(found: dict[str, Any]) -> dict[str, Any]:
    result = dict(found)
    if "score" in result:
        result.setdefault("similarity", result.pop("score"))
    if "id" in result:
        result.setdefault("chunk_id", result.pop("id"))
    result.setdefault("metadata", {})
    return result
