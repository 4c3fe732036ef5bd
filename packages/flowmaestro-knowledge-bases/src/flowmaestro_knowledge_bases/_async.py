"""Knowledge bases: what there is to search, and searching it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Optional

import flowmaestro_types as types
from flowmaestro_core import AsyncCoreClient
from flowmaestro_core._async.pagination import iterate
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

from .wire import query_result_of, query_result_problem

__all__ = ["AsyncKnowledgeBases"]

_KNOWLEDGE_BASE = an_object(id=str)
_KNOWLEDGE_BASES = a_list(id=str)


class AsyncKnowledgeBases:
    """The knowledge bases of your account."""

    def __init__(self, client: AsyncCoreClient) -> None:
        self._client = client

    async def list(
        self, *, page: Optional[int] = None, per_page: Optional[int] = None
    ) -> types.Page[types.KnowledgeBase]:
        """Get one page of knowledge bases, the newest first.

        Args:
            page: Which page, from 1; the first where it is left out.
            per_page: How many, from 1 to 100; 20 where it is left out.

        Returns:
            ``data``: a list of knowledge bases; ``pagination``: ``page``, ``per_page``,
            ``total_count``, ``has_more``.

        Raises:
            ValueError: A number is below 1.
            FlowMaestroError: The backend refused or failed; see ``flowmaestro_core.errors``.

        Endpoint:
            ``GET /api/v1/knowledge-bases``

        Example:
            Print how much there is::

                page = await client.knowledge_bases.list()
                print([(base["name"], base["document_count"]) for base in page["data"]])
        """
        request = Request.get("/knowledge-bases" + page_query(page, per_page), _KNOWLEDGE_BASES)
        answer: Any = page_of(await self._client.call(request), page, per_page)
        return answer  # type: ignore[no-any-return]

    def iter(self, *, page: int = 1, per_page: int = 100) -> AsyncIterator[types.KnowledgeBase]:
        """Go over all knowledge bases, fetching a page only when it is needed.

        Args:
            page: The page to begin with, from 1.
            per_page: How many to fetch at a time, from 1 to 100.

        Returns:
            An iterator over knowledge bases.

        Raises:
            ValueError: A number is below 1.
            FlowMaestroError: The backend refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/knowledge-bases``, once a page

        Example:
            Print every name::

                async for base in client.knowledge_bases.iter():
                    print(base["name"])
        """
        page_query(page, per_page)

        async def fetch(number: int) -> Any:
            return await self.list(page=number, per_page=per_page)

        return iterate(fetch, page)

    async def get(self, knowledge_base_id: str) -> types.Response[types.KnowledgeBase]:
        """Get one knowledge base with its settings.

        Args:
            knowledge_base_id: Its id.

        Returns:
            ``data``: the knowledge base, with ``embedding_model``, ``chunk_size`` and
            ``chunk_overlap``.

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such knowledge base.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``GET /api/v1/knowledge-bases/{id}``

        Example:
            See how its documents are cut::

                base = (await client.knowledge_bases.get("kb_123"))["data"]
                print(base["chunk_size"], base["chunk_overlap"])
        """
        request = Request.get(
            path("/knowledge-bases/{}", identifier("knowledge_base_id", knowledge_base_id)),
            _KNOWLEDGE_BASE,
        )
        answer: Any = await self._client.call(request)
        answer["data"].setdefault("id", knowledge_base_id)
        return answer  # type: ignore[no-any-return]

    async def query(
        self, knowledge_base_id: str, query: str, top_k: Optional[int] = 5
    ) -> types.Response[types.QueryResult]:
        """Search a knowledge base by meaning.

        Args:
            knowledge_base_id: Its id.
            query: What to look for, in words.
            top_k: How many chunks at most, from 1; the API gives 20 at most. None is 5.

        Returns:
            ``data``: ``results``, best first, each with ``content``, ``similarity`` (higher
            is better), ``chunk_id``, ``document_id``, ``document_name`` and ``metadata``;
            and ``query``. ``score`` and ``id`` are there too, as other names for
            ``similarity`` and ``chunk_id``.

        Raises:
            ValueError: The id or the query is empty, or ``top_k`` is below 1.
            NotFoundError: There is no such knowledge base.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``POST /api/v1/knowledge-bases/{id}/query``

        Example:
            Print the best answers with their sources::

                found = await client.knowledge_bases.query("kb_123", "reset password", top_k=3)
                for result in found["data"]["results"]:
                    print(f"{result['similarity']:.2f} {result['document_name']}")
        """
        top_k = 5 if top_k is None else at_least_one("top_k", top_k)
        body = {"query": check_text("query", query), "top_k": top_k}
        request = Request.post(
            path("/knowledge-bases/{}/query", identifier("knowledge_base_id", knowledge_base_id)),
            body,
            expects=query_result_problem,
        )
        answer: Any = query_result_of(await self._client.call(request), query)
        return answer  # type: ignore[no-any-return]
