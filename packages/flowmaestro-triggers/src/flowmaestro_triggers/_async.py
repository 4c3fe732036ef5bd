"""Triggers: what starts workflows, and pulling one by hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Optional

import flowmaestro_types as types
from flowmaestro_core import AsyncCoreClient
from flowmaestro_core._async.pagination import iterate
from flowmaestro_core.pages import page_of
from flowmaestro_core.request import Request, identifier, page_query, path
from flowmaestro_core.shapes import a_list
from flowmaestro_core.starting import STARTED, execute_result_of, inputs_body

__all__ = ["AsyncTriggers"]

_TRIGGERS = a_list(id=str)


class AsyncTriggers:
    """The triggers of your account."""

    def __init__(self, client: AsyncCoreClient) -> None:
        self._client = client

    async def list(
        self,
        *,
        page: Optional[int] = None,
        per_page: Optional[int] = None,
        workflow_id: Optional[str] = None,
    ) -> types.Page[types.Trigger]:
        """Get one page of triggers, the newest first.

        Args:
            page: Which page, from 1; the first where it is left out.
            per_page: How many, from 1 to 100; 20 where it is left out.
            workflow_id: Only those of this workflow. Today's API ignores this filter: the
                SDK then takes the others out of the page, which can be short or empty while
                later pages have matches. ``iter`` gives every match.

        Returns:
            ``data``: a list of triggers; ``pagination``: ``page``, ``per_page``,
            ``total_count``, ``has_more``.

        Raises:
            ValueError: A number is below 1.
            FlowMaestroError: The backend refused or failed; see ``flowmaestro_core.errors``.

        Endpoint:
            ``GET /api/v1/triggers``

        Example:
            Print which triggers are on::

                page = await client.triggers.list()
                print([trigger["name"] for trigger in page["data"] if trigger["enabled"]])
        """
        response = await self._page(page, per_page, workflow_id)
        response["data"] = [one for one in response["data"] if _is_of(one, workflow_id)]
        return response  # type: ignore[no-any-return]

    def iter(
        self, *, page: int = 1, per_page: int = 100, workflow_id: Optional[str] = None
    ) -> AsyncIterator[types.Trigger]:
        """Go over all triggers, fetching a page only when it is needed.

        Args:
            page: The page to begin with, from 1.
            per_page: How many to fetch at a time, from 1 to 100.
            workflow_id: Only those of this workflow.

        Returns:
            An iterator over triggers.

        Raises:
            ValueError: A number is below 1.
            FlowMaestroError: The backend refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/triggers``, once a page

        Example:
            Print every trigger's name::

                async for trigger in client.triggers.iter():
                    print(trigger["name"])
        """
        page_query(page, per_page, workflow_id=workflow_id)
        return self._matches(page, per_page, workflow_id)

    async def _matches(
        self, page: int, per_page: int, workflow_id: Optional[str]
    ) -> AsyncGenerator[Any, None]:
        async def fetch(number: int) -> Any:
            return await self._page(number, per_page, workflow_id)

        triggers = iterate(fetch, page)
        try:
            async for trigger in triggers:
                if _is_of(trigger, workflow_id):
                    yield trigger
        finally:
            await triggers.aclose()

    async def _page(
        self, page: Optional[int], per_page: Optional[int], workflow_id: Optional[str]
    ) -> Any:
        """Get a page as the API gives it, whether or not it heeds the filter."""
        query = page_query(page, per_page, workflow_id=workflow_id)
        request = Request.get("/triggers" + query, _TRIGGERS)
        return page_of(await self._client.call(request), page, per_page)

    async def execute(
        self, trigger_id: str, inputs: Optional[Mapping[str, Any]] = None
    ) -> types.Response[types.TriggerExecuteResult]:
        """Pull a trigger: its workflow starts. It runs on; follow it by the ``execution_id``.

        A call that may have been carried out is never repeated: it raises an error whose
        ``outcome_unknown`` is True.

        Args:
            trigger_id: The trigger's id.
            inputs: The workflow's inputs by name: anything that JSON can carry.

        Returns:
            ``data``: ``execution_id``, ``workflow_id``, ``trigger_id``, ``status``
            (``pending``), ``inputs``.

        Raises:
            TypeError: JSON cannot carry an input; the message has the path to it.
            ValueError: The id is empty, or an input is NaN or infinite.
            NotFoundError: There is no such trigger.
            ValidationError: The trigger is disabled.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``POST /api/v1/triggers/{id}/execute``

        Example:
            Pull a trigger and wait for the result::

                started = await client.triggers.execute("trigger_123", {"name": "Ada"})
                execution_id = started["data"]["execution_id"]
                result = await client.executions.wait_for_completion(execution_id)
                print(result["outputs"])
        """
        request = Request.post(
            path("/triggers/{}/execute", identifier("trigger_id", trigger_id)),
            inputs_body(inputs),
            repeatable=False,
            check="look at executions.list() before trying again",
            expects=STARTED,
        )
        answer: Any = execute_result_of(await self._client.call(request))
        answer["data"].setdefault("trigger_id", trigger_id)
        return answer  # type: ignore[no-any-return]


def _is_of(trigger: Any, workflow_id: Optional[str]) -> bool:
    """Say whether a trigger passes the filter."""
    return not workflow_id or trigger.get("workflow_id") == workflow_id
