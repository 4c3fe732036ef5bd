"""The client: every resource on one set of connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from flowmaestro_core._async.client import AsyncCoreClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowmaestro_agents._async import AsyncAgents
    from flowmaestro_executions._async import AsyncExecutions
    from flowmaestro_knowledge_bases._async import AsyncKnowledgeBases
    from flowmaestro_threads._async import AsyncThreads
    from flowmaestro_triggers._async import AsyncTriggers
    from flowmaestro_types import Execution
    from flowmaestro_webhooks._async import AsyncWebhooks
    from flowmaestro_workflows._async import AsyncWorkflows

__all__ = ["AsyncFlowMaestroClient"]


class AsyncFlowMaestroClient(AsyncCoreClient):
    """A client of FlowMaestro: asynchronous, under asyncio or trio.

    Args:
        api_key: Your key; where it is None, the variable ``FLOWMAESTRO_API_KEY``.
        base_url: The backend's address, with or without ``/api/v1``; where it is None,
            the variable ``FLOWMAESTRO_BASE_URL``, or else the public backend.
        timeout: Seconds for each step of a request (connecting, sending, each wait for
            bytes), or an ``httpx.Timeout``, or None for no bound.
        max_retries: How often a failed request is tried again, where that does no harm.
        headers: Added to every request.
        retry_unsafe: Try calls again that may have been carried out (``execute``,
            ``send_message`` and the like): accept that it may happen twice.
        http_client: Your own httpx client, for proxies, client certificates, HTTP/2,
            hooks or tests. It is used as it is, and never closed.
        max_response_bytes: Answers that are longer are cut with an error.

    Attributes:
        workflows: List, get and execute workflows.
        executions: Look at executions, wait for them, follow them, cancel them.
        agents: List and get agents, begin threads.
        threads: Talk to agents.
        triggers: List and pull triggers.
        knowledge_bases: List and search knowledge bases.
        webhooks: Manage webhooks.

    Raises:
        ValueError: There is no key, or an argument makes no sense.
        TypeError: An argument is of the wrong type.

    Example:
        Run a workflow and print what it gives::

            async with AsyncFlowMaestroClient(api_key="fm_live_...") as client:
                result = await client.run("wf_123", {"name": "Ada"})
                print(result["outputs"])
    """

    workflows: AsyncWorkflows
    executions: AsyncExecutions
    agents: AsyncAgents
    threads: AsyncThreads
    triggers: AsyncTriggers
    knowledge_bases: AsyncKnowledgeBases
    webhooks: AsyncWebhooks

    def _attach(self) -> None:
        # Imported with the first client, like httpx: importing this module stays cheap.
        from flowmaestro_agents._async import AsyncAgents
        from flowmaestro_executions._async import AsyncExecutions
        from flowmaestro_knowledge_bases._async import AsyncKnowledgeBases
        from flowmaestro_threads._async import AsyncThreads
        from flowmaestro_triggers._async import AsyncTriggers
        from flowmaestro_webhooks._async import AsyncWebhooks
        from flowmaestro_workflows._async import AsyncWorkflows

        self.workflows = AsyncWorkflows(self)
        self.executions = AsyncExecutions(self)
        self.agents = AsyncAgents(self)
        self.threads = AsyncThreads(self)
        self.triggers = AsyncTriggers(self)
        self.knowledge_bases = AsyncKnowledgeBases(self)
        self.webhooks = AsyncWebhooks(self)

    async def run(
        self,
        workflow_id: str,
        inputs: Optional[Mapping[str, Any]] = None,
        *,
        poll_interval: float = 1.0,
        timeout: Optional[float] = 300.0,
        raise_on_failure: bool = False,
    ) -> Execution:
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
            TimeoutError: It was not over in time; ``error.execution`` is how it stood.
            ExecutionFailedError: It failed, with ``raise_on_failure``.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``POST /api/v1/workflows/{id}/execute``, then ``GET /api/v1/executions/{id}``

        Example:
            One line from question to answer::

                result = await client.run("wf_123", {"name": "Ada"})
                print(result["status"], result["outputs"])
        """
        started = await self.workflows.execute(workflow_id, inputs)
        return await self.executions.wait_for_completion(
            started["data"]["execution_id"],
            poll_interval=poll_interval,
            timeout=timeout,
            raise_on_failure=raise_on_failure,
        )
