"""Triggers: what starts workflows, and pulling one by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from flowmaestro_core._async.pagination import iterate
from flowmaestro_core.pages import page_of
from flowmaestro_core.request import Request, identifier, page_query, path
from flowmaestro_core.shapes import a_list
from flowmaestro_core.starting import STARTED, execute_result_of, inputs_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from flowmaestro_core import AsyncCoreClient
    from flowmaestro_types import Page, Response, Trigger, TriggerExecuteResult

__all__ = ["AsyncTriggers"]

_TRIGGERS = a_list(id=str)


class AsyncTriggers:
    """The triggers of your account."""

    def __init__(self, client: AsyncCoreClient) -> None:
        self._client = client

    async def list(
        self, *, page: Optional[int] = None, per_page: Optional[int] = None
    ) -> Page[Trigger]:
        """Get one page of triggers, the newest first.

        Args:
            page: Which page, from 1; the first where it is left out.
            per_page: How many, from 1 to 100; 20 where it is left out.

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
        request = Request.get("/triggers" + page_query(page, per_page), _TRIGGERS)
        answer: Any = page_of(await self._client.call(request), page, per_page)
        return answer  # type: ignore[no-any-return]

    def iter(self, *, page: int = 1, per_page: int = 100) -> AsyncIterator[Trigger]:
        """Go over all triggers, fetching a page only when it is needed.

        Args:
            page: The page to begin with, from 1.
            per_page: How many to fetch at a time, from 1 to 100.

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
        page_query(page, per_page)

        async def fetch(number: int) -> Any:
            return await self.list(page=number, per_page=per_page)

        return iterate(fetch, page)

    async def execute(
        self, trigger_id: str, inputs: Optional[Mapping[str, Any]] = None
    ) -> Response[TriggerExecuteResult]:
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
