"""The memory of agents: what they know about each user, and a search of their conversations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Optional

import flowmaestro_types as types
from flowmaestro_core import AsyncCoreClient
from flowmaestro_core._async.pagination import iterate
from flowmaestro_core.codec import encode
from flowmaestro_core.errors import FlowMaestroError, InvalidArgumentError
from flowmaestro_core.pages import page_of
from flowmaestro_core.request import (
    Request,
    at_least_one,
    check_text,
    identifier,
    page_query,
    path,
)
from flowmaestro_core.shapes import a_list, an_object

from ..wire import (
    deleted_memory_of,
    memory_key_of,
    memory_of,
    memory_search_of,
    memory_search_problem,
    memory_stats_of,
)

__all__ = ["AsyncAgentMemory"]

_MEMORY = an_object(agent_id=str, user_id=str, working_memory=str, metadata=dict)
_MEMORIES = a_list(user_id=str, working_memory=str, metadata=dict)
_DELETED = an_object(agent_id=str, user_id=str, deleted=bool)
_STATS = an_object(agent_id=str, working_memory_count=int, embedding_count=int, memory_config=dict)

# Results of a search, at most.
_MAX_RESULTS = 50
# The API reads a threshold of 0 as one that was left out, and uses 0.7.
_MIN_THRESHOLD = 1e-9


class AsyncAgentMemory:
    """What your agents remember.

    An agent keeps one text per user, its working memory. Its conversations can be searched.
    """

    def __init__(self, client: AsyncCoreClient) -> None:
        self._client = client

    async def list(
        self, agent_id: str, *, page: Optional[int] = None, per_page: Optional[int] = None
    ) -> types.Page[types.WorkingMemory]:
        """Get one page of an agent's memories, the last changed first.

        Args:
            agent_id: The agent's id.
            page: Page number, starting at 1. Defaults to 1.
            per_page: Items per page, 1 to 100. Defaults to 20.

        Returns:
            ``data``: a list of memories, each with ``user_id``, ``working_memory``,
            ``metadata``, ``created_at`` and ``updated_at``; ``pagination``: ``page``,
            ``per_page``, ``total_count``, ``has_more``.

        Raises:
            ValueError: The id is empty, or a number is below 1.
            NotFoundError: There is no such agent.
            FlowMaestroError: The API returned an error, or the request failed.

        Endpoint:
            ``GET /api/v1/agents/{id}/memory``

        Example:
            Print what an agent knows::

                page = await client.agents.memory.list("agent_123")
                for memory in page["data"]:
                    print(memory["user_id"], memory["working_memory"])
        """
        route = path("/agents/{}/memory", identifier("agent_id", agent_id))
        request = Request.get(route + page_query(page, per_page), _MEMORIES)
        answer: Any = page_of(await self._client.call(request), page, per_page)
        answer["data"] = [memory_of(memory, agent_id, None) for memory in answer["data"]]
        return answer  # type: ignore[no-any-return]

    def iter(
        self, agent_id: str, *, page: int = 1, per_page: int = 100
    ) -> AsyncIterator[types.WorkingMemory]:
        """Iterate over all memories of an agent, fetching a page only when it is needed.

        To delete memories, collect them first: each one that is deleted while iterating
        moves the later ones forward, past the page that is fetched next.

        Args:
            agent_id: The agent's id.
            page: Number of the first page, starting at 1.
            per_page: Items per page, 1 to 100.

        Returns:
            An iterator over memories, the last changed first.

        Raises:
            ValueError: The id is empty, or a number is below 1.
            NotFoundError: There is no such agent (raised while iterating).
            FlowMaestroError: The API returned an error, or the request failed (raised while
                iterating).

        Endpoint:
            ``GET /api/v1/agents/{id}/memory``, once a page

        Example:
            Count the users that an agent knows::

                users = set()
                async for memory in client.agents.memory.iter("agent_123"):
                    users.add(memory["user_id"])
        """
        identifier("agent_id", agent_id)
        page_query(page, per_page)

        async def fetch(number: int) -> Any:
            return await self.list(agent_id, page=number, per_page=per_page)

        return iterate(fetch, page, memory_key_of)

    async def get(self, agent_id: str, user_id: str) -> types.Response[types.WorkingMemory]:
        """Get what an agent remembers of one user.

        Args:
            agent_id: The agent's id.
            user_id: The user's id. The API takes UUIDs only.

        Returns:
            ``data``: the memory, with ``working_memory``, ``metadata``, ``created_at`` and
            ``updated_at``.

        Raises:
            ValueError: An id is empty, or the user's is ``stats``.
            NotFoundError: There is no such agent, or it has no memory of this user.
            FlowMaestroError: The API returned an error, or the request failed.

        Endpoint:
            ``GET /api/v1/agents/{id}/memory/{user_id}``

        Example:
            Print what an agent knows about a user::

                memory = await client.agents.memory.get("agent_123", "user_123")
                print(memory["data"]["working_memory"])
        """
        request = Request.get(_memory_path(agent_id, user_id), _MEMORY)
        answer: Any = await self._client.call(request)
        answer["data"] = memory_of(answer["data"], agent_id, user_id)
        return answer  # type: ignore[no-any-return]

    async def set(
        self,
        agent_id: str,
        user_id: str,
        working_memory: str,
        *,
        metadata: Optional[Mapping[str, Any]] = None,
    ) -> types.Response[types.WorkingMemory]:
        """Set what an agent remembers of one user.

        The text and the metadata are both replaced: without ``metadata``, the memory has
        none afterwards.

        Args:
            agent_id: The agent's id.
            user_id: The user's id. The API takes UUIDs only.
            working_memory: The text. The API removes whitespace at its ends.
            metadata: Any JSON object to keep with the text. Defaults to an empty one.

        Returns:
            ``data``: the memory as it is now, with ``working_memory``, ``metadata``,
            ``created_at`` and ``updated_at``.

        Raises:
            TypeError: ``metadata`` is not a mapping, or JSON cannot represent a value of it;
                the message has the path to the value.
            ValueError: An id or the text is empty, or the user's id is ``stats``.
            NotFoundError: There is no such agent.
            FlowMaestroError: The API returned an error, or the request failed.

        Endpoint:
            ``PUT /api/v1/agents/{id}/memory/{user_id}``

        Example:
            Tell an agent how to address a user::

                await client.agents.memory.set(
                    "agent_123",
                    "user_123",
                    "Ada prefers short replies.",
                    metadata={"source": "settings"},
                )
        """
        body: dict[str, Any] = {"working_memory": check_text("working_memory", working_memory)}
        if metadata is not None:
            if not isinstance(metadata, Mapping):
                raise TypeError(f"metadata must be a mapping, not {type(metadata).__name__}")
            body["metadata"] = dict(metadata)
        request = Request("PUT", _memory_path(agent_id, user_id), encode(body), expects=_MEMORY)
        answer: Any = await self._client.call(request)
        answer["data"] = memory_of(answer["data"], agent_id, user_id)
        return answer  # type: ignore[no-any-return]

    async def delete(
        self, agent_id: str, user_id: str
    ) -> types.Response[types.DeletedWorkingMemory]:
        """Delete what an agent remembers of one user.

        Args:
            agent_id: The agent's id.
            user_id: The user's id. The API takes UUIDs only.

        Returns:
            ``data``: ``agent_id``, ``user_id`` and ``deleted`` (True).

        Raises:
            ValueError: An id is empty, or the user's is ``stats``.
            NotFoundError: There is no such agent, or it has no memory of this user.
            FlowMaestroError: The API returned an error, or the request failed.

        Endpoint:
            ``DELETE /api/v1/agents/{id}/memory/{user_id}``

        Example:
            Forget a user::

                await client.agents.memory.delete("agent_123", "user_123")
        """
        route = _memory_path(agent_id, user_id)
        deleted = deleted_memory_of({}, agent_id, user_id)

        def already_done(error: FlowMaestroError) -> Optional[dict[str, Any]]:
            return {"data": dict(deleted)} if error.status_code == 404 else None

        request = Request(
            "DELETE",
            route,
            already_done=already_done,
            expects=_DELETED,
            if_empty=deleted,
        )
        answer: Any = await self._client.call(request)
        answer["data"] = deleted_memory_of(answer["data"], agent_id, user_id)
        return answer  # type: ignore[no-any-return]

    async def search(
        self,
        agent_id: str,
        query: str,
        *,
        top_k: int = 10,
        similarity_threshold: float = 0.7,
        user_id: Optional[str] = None,
    ) -> types.Response[types.AgentMemorySearch]:
        """Search the conversations of an agent by meaning.

        Args:
            agent_id: The agent's id.
            query: What to look for, in words.
            top_k: Maximum number of results, 1 to 50.
            similarity_threshold: Minimum similarity of a result, 0 to 1.
            user_id: Search the conversations with this user only. Defaults to all users.

        Returns:
            ``data``: ``results``, best first, each with ``content``, ``role``,
            ``similarity`` (0 to 1, higher is better), ``execution_id``, and the messages
            ``context_before`` and ``context_after`` it, each with ``role`` and ``content``;
            ``result_count``; ``agent_id`` and ``query``.

        Raises:
            TypeError: ``top_k`` is not a whole number, or ``similarity_threshold`` is not a
                number.
            ValueError: An id or the query is empty, ``top_k`` is not 1 to 50, or
                ``similarity_threshold`` is not 0 to 1.
            NotFoundError: There is no such agent.
            FlowMaestroError: The API returned an error, or the request failed.

        Endpoint:
            ``POST /api/v1/agents/{id}/memory/search``

        Example:
            Print what was said about a subject::

                found = await client.agents.memory.search("agent_123", "travel plans", top_k=3)
                for result in found["data"]["results"]:
                    print(f"{result['similarity']:.2f} {result['role']}: {result['content']}")
        """
        route = path("/agents/{}/memory/search", identifier("agent_id", agent_id))
        body: dict[str, Any] = {
            "query": check_text("query", query),
            "top_k": _check_top_k(top_k),
            "similarity_threshold": _check_threshold(similarity_threshold) or _MIN_THRESHOLD,
        }
        if user_id is not None:
            body["user_id"] = check_text("user_id", user_id)
        request = Request.post(route, body, expects=memory_search_problem)
        answer: Any = await self._client.call(request)
        answer["data"] = memory_search_of(answer["data"], agent_id, query)
        return answer  # type: ignore[no-any-return]

    async def stats(self, agent_id: str) -> types.Response[types.AgentMemoryStats]:
        """Get how much an agent remembers.

        Args:
            agent_id: The agent's id.

        Returns:
            ``data``: ``working_memory_count`` (users that it knows), ``embedding_count``
            (messages that can be searched) and ``memory_config``, the agent's settings, an
            object with any keys.

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such agent.
            FlowMaestroError: The API returned an error, or the request failed.

        Endpoint:
            ``GET /api/v1/agents/{id}/memory/stats``

        Example:
            Print how many users an agent knows::

                stats = (await client.agents.memory.stats("agent_123"))["data"]
                print(stats["working_memory_count"])
        """
        route = path("/agents/{}/memory/stats", identifier("agent_id", agent_id))
        answer: Any = await self._client.call(Request.get(route, _STATS))
        answer["data"] = memory_stats_of(answer["data"], agent_id)
        return answer  # type: ignore[no-any-return]


def _memory_path(agent_id: str, user_id: str) -> str:
    """Write the path of one memory.

    Raises:
        TypeError: An id is not a string.
        ValueError: An id is empty, or the path would be that of another route.
    """
    ids = identifier("agent_id", agent_id), identifier("user_id", user_id)
    if user_id == "stats":
        raise InvalidArgumentError(
            "user_id cannot be 'stats': the API has another route at this path"
        )
    return path("/agents/{}/memory/{}", *ids)


def _check_top_k(top_k: object) -> int:
    number = at_least_one("top_k", top_k)
    if number > _MAX_RESULTS:
        raise InvalidArgumentError(f"top_k must be {_MAX_RESULTS} or less, not {number}")
    return number


def _check_threshold(threshold: object) -> float:
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise TypeError(f"similarity_threshold must be a number, not {threshold!r}")
    if not 0 <= threshold <= 1:
        raise InvalidArgumentError(f"similarity_threshold must be from 0 to 1, not {threshold}")
    return threshold
