"""The memory of agents: what a request may ask of it, and the search of conversations.

The API searches by the meaning of embeddings. Here, messages are ranked by the words that they
share with the query (see ``search``), and the best one always has a similarity of 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Optional, cast

from .answers import Refusal
from .records import MessageRecord
from .search import rank
from .store import Store

__all__ = ["MEMORY_CONFIG", "SearchOptions", "messages_of", "new_memory_of", "search_messages"]

# The settings of every agent's memory, with keys that the API sends.
MEMORY_CONFIG = {
    "max_messages": 50,
    "embeddings_enabled": True,
    "working_memory_enabled": True,
}

# Messages before and after one that was found.
_CONTEXT = 2
# Results of a search, by default and at most.
_RESULTS = 10
_MAX_RESULTS = 50
_THRESHOLD = 0.7


class SearchOptions(NamedTuple):
    """What a search asks for."""

    query: str
    top_k: int
    similarity_threshold: float
    # None for all users.
    user_id: Optional[str]

    @classmethod
    def of(cls, body: dict[str, Any], *, documented: bool) -> SearchOptions:
        """Read the body of a search.

        Raises:
            Refusal: It asks for something that the API does not have (400).
        """
        query: Any = body.get("query")
        if not isinstance(query, str) or not query.strip():
            raise _invalid("query is required and must be a non-empty string")
        top_k = body.get("top_k")
        number = _number(_RESULTS if top_k is None else top_k)
        if number is None or not 1 <= number <= _MAX_RESULTS or number != int(number):
            raise _invalid(f"top_k must be a whole number from 1 to {_MAX_RESULTS}")
        threshold = body.get("similarity_threshold")
        if threshold is None or (threshold == 0 and not documented):
            # The API takes 0 for a value that was left out.
            threshold = _THRESHOLD
        least = _number(threshold)
        if least is None or not 0 <= least <= 1:
            raise _invalid("similarity_threshold must be a number from 0 to 1")
        user_id: Any = body.get("user_id")
        if user_id is not None and not isinstance(user_id, str):
            raise _invalid("user_id must be a string")
        return cls(query.strip(), int(number), least, user_id)


def new_memory_of(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Read the text and the metadata of the body that sets a memory.

    Raises:
        Refusal: It has no text (400).
    """
    text: Any = body.get("working_memory")
    if not isinstance(text, str) or not text.strip():
        raise _invalid("working_memory is required and must be a non-empty string")
    metadata: Any = body.get("metadata")
    return text.strip(), cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}


def messages_of(
    store: Store, tenant: str, agent_id: str, user_id: Optional[str] = None
) -> Iterator[list[MessageRecord]]:
    """Give the messages of each thread with an agent.

    Args:
        store: Where the threads are.
        tenant: Whose threads.
        agent_id: With which agent.
        user_id: Only the threads whose metadata have this ``user_id``, or None for all.
    """
    for thread in store.threads.values():
        if thread.tenant != tenant or thread.agent_id != agent_id:
            continue
        if user_id is None or thread.metadata.get("user_id") == user_id:
            yield store.messages[thread.id]


def search_messages(
    threads: list[list[MessageRecord]], options: SearchOptions, *, documented: bool
) -> list[dict[str, Any]]:
    """Find the messages that share words with the query, best first, each with those around it."""
    places = [(thread, index) for thread in threads for index in range(len(thread))]
    ranked = rank(options.query, [thread[index].content for thread, index in places])
    results: list[dict[str, Any]] = []
    for place, score in ranked[: options.top_k]:
        best = ranked[0][1]
        # A word that every one of very many messages has is worth nothing.
        similarity = round(score / best, 4) if best else 1.0
        if similarity < options.similarity_threshold:
            break
        thread, index = places[place]
        before = range(max(index - _CONTEXT, 0), index)
        after = range(index + 1, min(index + 1 + _CONTEXT, len(thread)))
        results.append(
            {
                "content": thread[index].content,
                "role": thread[index].role,
                "similarity": similarity,
                "execution_id": None,
                "context_before": [_show(thread, one, documented) for one in before],
                "context_after": [_show(thread, one, documented) for one in after],
            }
        )
    return results


def _show(thread: list[MessageRecord], index: int, documented: bool) -> dict[str, Any]:
    message = thread[index]
    if documented:
        return {"role": message.role, "content": message.content}
    return {
        "message_id": message.id,
        "message_role": message.role,
        "message_index": index,
        "content": message.content,
        "created_at": message.created_at,
    }


def _number(value: Any) -> Optional[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value


def _invalid(message: str) -> Refusal:
    return Refusal(400, "validation_error", message)
