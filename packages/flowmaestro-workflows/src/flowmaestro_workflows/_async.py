"""Workflows: what there is to run, and running it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Optional

import flowmaestro_types as types
from flowmaestro_core import AsyncCoreClient
from flowmaestro_core._async.pagination import iterate
from flowmaestro_core.pages import page_of
from flowmaestro_core.request import Request, identifier, page_query, path
from flowmaestro_core.shapes import a_list, an_object
from flowmaestro_core.starting import STARTED, execute_result_of, inputs_body

__all__ = ["AsyncWorkflows"]

_WORKFLOW = an_object(id=str, inputs=dict)
_WORKFLOWS = a_list(id=str)


class AsyncWorkflows:
    """The workflows of your account."""

    def __init__(self, client: AsyncCoreClient) -> None:
        self._client = client

    async def list(
        self, *, page: Optional[int] = None, per_page: Optional[int] = None
    ) -> types.Page[types.Workflow]:
        """Get one page of workflows, the newest first.

        Args:
            page: Which page, from 1; the first where it is left out.
            per_page: How many, from 1 to 100; 20 where it is left out.

        Returns:
            ``data``: a list of workflows, without ``inputs``; ``pagination``: ``page``,
            ``per_page``, ``total_count``, ``has_more``.

        Raises:
            ValueError: A number is below 1.
            FlowMaestroError: The backend refused or failed; see ``flowmaestro_core.errors``.

        Endpoint:
            ``GET /api/v1/workflows``

        Example:
            Print the names of the first hundred::

                page = await client.workflows.list(per_page=100)
                for workflow in page["data"]:
                    print(workflow["name"])
        """
        request = Request.get("/workflows" + page_query(page, per_page), _WORKFLOWS)
        answer: Any = page_of(await self._client.call(request), page, per_page)
        return answer  # type: ignore[no-any-return]

    def iter(self, *, page: int = 1, per_page: int = 100) -> AsyncIterator[types.Workflow]:
        """Go over all workflows, fetching a page only when it is needed.

        Args:
            page: The page to begin with, from 1.
            per_page: How many to fetch at a time, from 1 to 100.

        Returns:
            An iterator over workflows, without ``inputs``.

        Raises:
            ValueError: A number is below 1.
            FlowMaestroError: The backend refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/workflows``, once a page

        Example:
            Find a workflow by its name::

                async for workflow in client.workflows.iter():
                    if workflow["name"] == "Onboarding":
                        print(workflow["id"])
        """
        page_query(page, per_page)

        async def fetch(number: int) -> Any:
            return await self.list(page=number, per_page=per_page)

        return iterate(fetch, page)

    async def get(self, workflow_id: str) -> types.Response[types.Workflow]:
        """Get one workflow with the inputs that it takes.

        Args:
            workflow_id: Its id.

        Returns:
            ``data``: the workflow; its ``inputs`` map names to ``type``, ``label`` and
            ``required``, or are None.

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such workflow.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``GET /api/v1/workflows/{id}``

        Example:
            See what a workflow asks for::

                workflow = (await client.workflows.get("wf_123"))["data"]
                print(list(workflow["inputs"] or {}))
        """
        request = Request.get(
            path("/workflows/{}", identifier("workflow_id", workflow_id)), _WORKFLOW
        )
        answer: Any = await self._client.call(request)
        answer["data"].setdefault("id", workflow_id)
        answer["data"].setdefault("inputs", None)
        return answer  # type: ignore[no-any-return]

    async def execute(
        self, workflow_id: str, inputs: Optional[Mapping[str, Any]] = None
    ) -> types.Response[types.ExecuteResult]:
        """Start a workflow. It runs on; follow it by the ``execution_id``.

        A call that may have been carried out is never repeated: it raises an error whose
        ``outcome_unknown`` is True.

        Args:
            workflow_id: The workflow's id.
            inputs: Its inputs by name: anything that JSON can carry.

        Returns:
            ``data``: ``execution_id``, ``workflow_id``, ``status`` (``pending``), ``inputs``.

        Raises:
            TypeError: JSON cannot carry an input; the message has the path to it.
            ValueError: The id is empty, or an input is NaN or infinite.
            NotFoundError: There is no such workflow.
            ValidationError: The workflow cannot be run as it is.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``POST /api/v1/workflows/{id}/execute``

        Example:
            Start, then wait for the end::

                started = await client.workflows.execute("wf_123", {"name": "Ada"})
                execution_id = started["data"]["execution_id"]
                result = await client.executions.wait_for_completion(execution_id)
                print(result["outputs"])
        """
        request = Request.post(
            path("/workflows/{}/execute", identifier("workflow_id", workflow_id)),
            inputs_body(inputs),
            repeatable=False,
            check=f"look at executions.list(workflow_id={workflow_id!r}) before trying again",
            expects=STARTED,
        )
        answer: Any = execute_result_of(await self._client.call(request))
        answer["data"].setdefault("workflow_id", workflow_id)
        return answer  # type: ignore[no-any-return]
