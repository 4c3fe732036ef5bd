"""The client: every resource on one set of connections."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Optional

import flowmaestro_agents
import flowmaestro_executions
import flowmaestro_knowledge_bases
import flowmaestro_threads
import flowmaestro_triggers
import flowmaestro_types as types
import flowmaestro_webhooks
import flowmaestro_workflows
from flowmaestro_core import errors
from flowmaestro_core._async.client import AsyncCoreClient
from flowmaestro_core.config import check_seconds

__all__ = ["AsyncFlowMaestroClient"]


class AsyncFlowMaestroClient(AsyncCoreClient):
    """A client of FlowMaestro: asynchronous, under asyncio or trio.

    Args:
        api_key: Your key; where it is None, the variable ``FLOWMAESTRO_API_KEY``.
        base_url: The backend's address, with or without ``/api/v1``; where it is None,
            the variable ``FLOWMAESTRO_BASE_URL``, or else the public backend.
        timeout: Seconds for each step of a request (connecting, sending, each wait for
            bytes), or an ``httpx.Timeout``, or None for **no bound** (in 0.1.0: 30 seconds),
            of which a warning tells.
        max_retries: How often a failed request is tried again, where that does no harm; 3
            where it is None.
        headers: Added to every request.
        retry_unsafe: Try calls again that may have been carried out (``execute``,
            ``send_message`` and the like): accept that it may happen twice.
        http_client: Your own client of httpx or httpx2, for proxies, client certificates,
            HTTP/2, hooks or tests. It is used as it is, and never closed.
        max_response_bytes: Answers that are longer are cut with an error.

    Raises:
        ValueError: There is no key, or an argument makes no sense. For a variable of the
            environment it is a ``ConfigurationError``, which is a ``ValueError`` as well.
        TypeError: An argument is of the wrong type.

    Example:
        Run a workflow and print what it gives::

            async with AsyncFlowMaestroClient(api_key="fm_live_...") as client:
                result = await client.run("wf_123", {"name": "Ada"})
                print(result["outputs"])
    """

    # Each package loads its class when that is first used; many programs use one or two.

    @cached_property
    def workflows(self) -> flowmaestro_workflows.AsyncWorkflows:
        """Workflows: list, get and execute them."""
        return flowmaestro_workflows.AsyncWorkflows(self)

    @cached_property
    def executions(self) -> flowmaestro_executions.AsyncExecutions:
        """Executions: look at them, wait for them, follow them, cancel them."""
        return flowmaestro_executions.AsyncExecutions(self)

    @cached_property
    def agents(self) -> flowmaestro_agents.AsyncAgents:
        """Agents: list and get them, start threads, manage their memory."""
        return flowmaestro_agents.AsyncAgents(self)

    @cached_property
    def threads(self) -> flowmaestro_threads.AsyncThreads:
        """Threads: talk to agents."""
        return flowmaestro_threads.AsyncThreads(self)

    @cached_property
    def triggers(self) -> flowmaestro_triggers.AsyncTriggers:
        """Triggers: list and pull them."""
        return flowmaestro_triggers.AsyncTriggers(self)

    @cached_property
    def knowledge_bases(self) -> flowmaestro_knowledge_bases.AsyncKnowledgeBases:
        """Knowledge bases: list and search them."""
        return flowmaestro_knowledge_bases.AsyncKnowledgeBases(self)

    @cached_property
    def webhooks(self) -> flowmaestro_webhooks.AsyncWebhooks:
        """Webhooks: manage them."""
        return flowmaestro_webhooks.AsyncWebhooks(self)

    async def run(
        self,
        workflow_id: str,
        inputs: Optional[Mapping[str, Any]] = None,
        *,
        poll_interval: float = 1.0,
        timeout: Optional[float] = 300.0,
        raise_on_failure: bool = False,
    ) -> types.Execution:
        """Run a workflow to its end: execute it and wait.

        Args:
            workflow_id: The workflow's id.
            inputs: Its inputs by name: anything that JSON can carry.
            poll_interval: Seconds between two looks.
            timeout: Seconds to wait in all, or None for no bound. Giving up does not
                cancel the execution.
            raise_on_failure: Raise an error for an execution that failed or was cancelled,
                which is else returned like any other.

        Returns:
            The execution itself, not wrapped: ``result["outputs"]``.

        Raises:
            TypeError: JSON cannot carry an input; the message has the path to it.
            ValueError: The id is empty, or a number makes no sense.
            NotFoundError: There is no such workflow.
            TimeoutError: It was not over in time; ``error.execution`` is how it stood. This
                and every other error while waiting has the id of the execution in
                ``error.details["execution_id"]``, to wait for it again.
            ExecutionFailedError: It failed, with ``raise_on_failure``.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``POST /api/v1/workflows/{id}/execute``, then ``GET /api/v1/executions/{id}``

        Example:
            One line from question to answer::

                result = await client.run("wf_123", {"name": "Ada"})
                print(result["status"], result["outputs"])
        """
        # Before anything is started, which nobody would wait for then.
        check_seconds("poll_interval", poll_interval)
        if timeout is not None:
            check_seconds("timeout", timeout, zero=True)
        started = await self.workflows.execute(workflow_id, inputs)
        execution_id = started["data"]["execution_id"]
        try:
            return await self.executions.wait_for_completion(
                execution_id,
                poll_interval=poll_interval,
                timeout=timeout,
                raise_on_failure=raise_on_failure,
            )
        except errors.ExecutionFailedError:
            raise
        except errors.FlowMaestroError as error:
            # The workflow was started, and a second run would start it again.
            error.outcome_unknown = True
            error.details = {**(error.details or {}), "execution_id": execution_id}
            raise
