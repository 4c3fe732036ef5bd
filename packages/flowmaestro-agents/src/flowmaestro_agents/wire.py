"""What the API sends about the memory of agents, in the documented form."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Optional

from flowmaestro_core.codec import is_array, is_object
from flowmaestro_core.pages import key_of
from flowmaestro_core.shapes import a_list_problem, an_object_problem

__all__ = [
    "deleted_memory_of",
    "memory_key_of",
    "memory_of",
    "memory_search_of",
    "memory_search_problem",
    "memory_stats_of",
]

_SEARCH: dict[str, type] = {"agent_id": str, "query": str, "results": list, "result_count": int}
_RESULT: dict[str, type] = {
    "content": str,
    "role": str,
    "context_before": list,
    "context_after": list,
}


def memory_of(memory: dict[str, Any], agent_id: str, user_id: Optional[str]) -> dict[str, Any]:
    """Read a memory: its ids and ``metadata`` are always there.

    A list has no ``agent_id``.

    Args:
        memory: As the API sends it.
        agent_id: The agent that was asked for.
        user_id: The user that was asked for, or None for a memory of a list.
    """
    ids = {"agent_id": agent_id} if user_id is None else _ids(agent_id, user_id)
    return {**ids, **memory, "metadata": memory.get("metadata") or {}}


def memory_key_of(memory: Any) -> Hashable:
    """Tell memories apart that have no id: by their user, and when they were created.

    An API that keeps memories of single threads too lists several of one user.
    """
    if is_object(memory):
        user_id, created_at = memory.get("user_id"), memory.get("created_at")
        if isinstance(user_id, str) and isinstance(created_at, str):
            return f"{user_id} {created_at}"
    return key_of(memory)


def deleted_memory_of(deleted: dict[str, Any], agent_id: str, user_id: str) -> dict[str, Any]:
    """Read what a deletion returns."""
    return {**_ids(agent_id, user_id), "deleted": True, **deleted}


def memory_search_problem(data: Any) -> Optional[str]:
    """Say what is wrong with the ``data`` of a search, or None."""
    return an_object_problem("data", data, _SEARCH) or a_list_problem(
        "data.results", data.get("results"), _RESULT
    )


def memory_search_of(found: dict[str, Any], agent_id: str, query: str) -> dict[str, Any]:
    """Read what a search found, with every documented key."""
    given: list[Any] = found.get("results") or []
    results = [_result_of(result) for result in given]
    searched = {"agent_id": agent_id, "query": query, "result_count": len(results)}
    return {**searched, **found, "results": results}


def memory_stats_of(stats: dict[str, Any], agent_id: str) -> dict[str, Any]:
    """Read how much an agent remembers: ``agent_id`` and ``memory_config`` are always there."""
    return {"agent_id": agent_id, **stats, "memory_config": stats.get("memory_config") or {}}


def _result_of(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "execution_id": None,
        **result,
        "context_before": _messages_of(result.get("context_before")),
        "context_after": _messages_of(result.get("context_after")),
    }


def _messages_of(messages: Any) -> list[Any]:
    return [_message_of(message) for message in messages] if is_array(messages) else []


def _message_of(message: Any) -> Any:
    """Read a message beside a result, whose ``role`` the API sends as ``message_role``."""
    if is_object(message) and "role" not in message and "message_role" in message:
        return {**message, "role": message["message_role"]}
    return message


def _ids(agent_id: str, user_id: str) -> dict[str, Any]:
    return {"agent_id": agent_id, "user_id": user_id}
