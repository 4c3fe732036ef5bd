"""Agents: whom there is to talk to, and beginning a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import Any, Optional

import flowmaestro_types as types
from flowmaestro_core import AsyncCoreClient
from flowmaestro_core._async.pagination import iterate
from flowmaestro_core.pages import page_of
from flowmaestro_core.request import Request, identifier, page_query, path
from flowmaestro_core.shapes import a_list, an_object
from flowmaestro_core.statuses import THREAD_STATUSES, with_status

from .memory import AsyncAgentMemory

__all__ = ["AsyncAgents"]

_AGENT = an_object(id=str, available_tools=list)
_AGENTS = a_list(id=str)
# Without the id, nothing can be said in the thread.
_THREAD = an_object("id", status=str)


class AsyncAgents:
    """The agents of your account."""

    def __init__(self, client: AsyncCoreClient) -> None:
        self._client = client

    @cached_property
    def memory(self) -> AsyncAgentMemory:
        """What agents remember of users: get, set, delete and search it."""
        return AsyncAgentMemory(self._client)

    async def list(
        self, *, page: Optional[int] = None, per_page: Optional[int] = None
    ) -> types.Page[types.Agent]:
        """Get one page of agents, the newest first.

        Args:
            page: Which page, from 1; the first where it is left out.
            per_page: How many, from 1 to 100; 20 where it is left out.

        Returns:
            ``data``: a list of agents, without prompt and tools; ``pagination``: ``page``,
            ``per_page``, ``total_count``, ``has_more``.

        Raises:
            ValueError: A number is below 1.
            FlowMaestroError: The backend refused or failed; see ``flowmaestro_core.errors``.

        Endpoint:
            ``GET /api/v1/agents``

        Example:
            Print who there is::

                page = await client.agents.list()
                print([(agent["name"], agent["model"]) for agent in page["data"]])
        """
        request = Request.get("/agents" + page_query(page, per_page), _AGENTS)
        answer: Any = page_of(await self._client.call(request), page, per_page)
        return answer  # type: ignore[no-any-return]

    def iter(self, *, page: int = 1, per_page: int = 100) -> AsyncIterator[types.Agent]:
        """Go over all agents, fetching a page only when it is needed.

        Args:
            page: The page to begin with, from 1.
            per_page: How many to fetch at a time, from 1 to 100.

        Returns:
            An iterator over agents, without prompt and tools.

        Raises:
            ValueError: A number is below 1.
            FlowMaestroError: The backend refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/agents``, once a page

        Example:
            Print every agent's name::

                async for agent in client.agents.iter():
                    print(agent["name"])
        """
        page_query(page, per_page)

        async def fetch(number: int) -> Any:
            return await self.list(page=number, per_page=per_page)

        return iterate(fetch, page)

    async def get(self, agent_id: str) -> types.Response[types.Agent]:
        """Get one agent with its prompt, settings and tools.

        Args:
            agent_id: Its id.

        Returns:
            ``data``: the agent, with ``system_prompt``, ``temperature``, ``max_tokens`` and
            ``available_tools``.

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such agent.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``GET /api/v1/agents/{id}``

        Example:
            See which tools an agent has::

                agent = (await client.agents.get("agent_123"))["data"]
                print([tool["name"] for tool in agent["available_tools"]])
        """
        request = Request.get(path("/agents/{}", identifier("agent_id", agent_id)), _AGENT)
        answer: Any = await self._client.call(request)
        answer["data"].setdefault("id", agent_id)
        return answer  # type: ignore[no-any-return]

    async def create_thread(
        self, agent_id: str, metadata: Optional[Mapping[str, Any]] = None
    ) -> types.Response[types.Thread]:
        """Begin a conversation with an agent.

        A call that may have been carried out is never repeated: it raises an error whose
        ``outcome_unknown`` is True.

        Args:
            agent_id: The agent's id.
            metadata: Anything of yours that JSON can carry, to be kept with the thread.
                Today's backend accepts it and forgets it.

        Returns:
            ``data``: the thread, with ``id``, ``agent_id``, ``status``, ``created_at``.

        Raises:
            TypeError: JSON cannot carry the metadata; the message has the path to it.
            ValueError: The id is empty.
            NotFoundError: There is no such agent.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``POST /api/v1/agents/{id}/threads``

        Example:
            Begin, and say hello::

                thread = (await client.agents.create_thread("agent_123"))["data"]
                answer = await client.threads.send_message(thread["id"], "Hello!")
                print(answer["data"]["message"])
        """
        if metadata is not None and not isinstance(metadata, Mapping):
            raise TypeError(f"metadata must be a mapping, not {type(metadata).__name__}")
        request = Request.post(
            path("/agents/{}/threads", identifier("agent_id", agent_id)),
            {} if metadata is None else {"metadata": dict(metadata)},
            repeatable=False,
            check="a second call makes a second thread",
            expects=_THREAD,
        )
        answer: Any = await self._client.call(request)
        with_status(answer["data"], THREAD_STATUSES).setdefault("agent_id", agent_id)
        return answer  # type: ignore[no-any-return]
