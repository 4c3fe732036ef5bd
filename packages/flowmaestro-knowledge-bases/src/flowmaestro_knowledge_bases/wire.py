"""What the API says of a search, under both of its names for the same."""

from __future__ import annotations

from typing import Any, Optional

from flowmaestro_core.codec import is_array
from flowmaestro_core.shapes import a_list_problem, an_object_problem

__all__ = ["query_result_of", "query_result_problem"]

_RESULT: dict[str, type] = {"content": str, "metadata": dict}


def query_result_problem(data: Any) -> Optional[str]:
    """Say what is wrong with a search's ``data``: the results, or an object with them."""
    if is_array(data):
        return a_list_problem("data", data, _RESULT)
    return an_object_problem("data", data, {"results": list}) or a_list_problem(
        "data.results", data.get("results"), _RESULT
    )


def query_result_of(answer: dict[str, Any], query: str) -> dict[str, Any]:
    """Read the response to a search.

    Today's API says ``score`` where ``similarity`` is documented, and ``id`` for
    ``chunk_id``. Programs read either.
    """
    data: Any = answer["data"]
    # A later backend may give the results alone.
    rest: dict[str, Any] = {"results": data} if is_array(data) else data
    found: list[Any] = rest.get("results") or []
    results = [_result_of(result) for result in found]
    return {**answer, "data": {"query": query, **rest, "results": results}}


def _result_of(found: dict[str, Any]) -> dict[str, Any]:
    result = dict(found)
    for names in (("similarity", "score"), ("chunk_id", "id")):
        for name, other in (names, names[::-1]):
            if other in result:
                result.setdefault(name, result[other])
    if result.get("metadata") is None:
        result["metadata"] = {}
    return result
