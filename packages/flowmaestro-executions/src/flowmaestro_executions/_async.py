"""Executions: how runs of workflows stand, waiting for them, and following them live."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Hashable
from functools import partial
from typing import Any, Callable, Optional, Union

import flowmaestro_types as types
from flowmaestro_core import AsyncCoreClient, errors
from flowmaestro_core._async.compat import AsyncPump, settle, sleep
from flowmaestro_core._async.pagination import iterate
from flowmaestro_core._async.stream import AsyncEventStream, AsyncSource, Connect
from flowmaestro_core.clock import monotonic
from flowmaestro_core.config import NO_BOUND, check_options, check_seconds, reconnect_options
from flowmaestro_core.logs import logger
from flowmaestro_core.pages import key_of, page_of, says_has_more
from flowmaestro_core.request import Request, identifier, page_query, path
from flowmaestro_core.retries import is_transient
from flowmaestro_core.shapes import a_list, an_object
from flowmaestro_core.statuses import EXECUTION_STATUSES, with_status

from .wire import (
    TERMINAL_STATUSES,
    cancelled_before,
    execution_event_of,
    execution_of,
    execution_problem,
    executions_page,
    is_terminal,
    terminal_event_of,
)

__all__ = ["AsyncExecutions"]


_EXECUTIONS = a_list(id=str, workflow_id=str, status=str)
_CANCELLED = an_object(id=str, status=str)
_WORKFLOWS = a_list("id")
_MOST_PER_PAGE = 100

# Unreadable responses in a row after which a wait gives up: the next ones will be the same.
_MOST_UNREADABLE = 3


class AsyncExecutions:
    """The executions of your workflows."""

    def __init__(self, client: AsyncCoreClient) -> None:
        self._client = client

    async def list(
        self,
        *,
        page: Optional[int] = None,
        per_page: Optional[int] = None,
        workflow_id: Optional[str] = None,
        status: Union[types.ExecutionStatus, str, None] = None,
    ) -> types.Page[types.Execution]:
        """Get one page of executions, the newest first.

        The list of one workflow is exact. Without ``workflow_id``, or with a ``status`` as
        well, today's API filters rows after it has read them: a page can be short or empty
        while later ones have matches. ``iter`` gives every match.

        Args:
            page: Which page, from 1; the first where it is left out.
            per_page: How many, from 1 to 100; 20 where it is left out.
            workflow_id: Only those of this workflow.
            status: Only those that stand so, as ``ExecutionStatus.RUNNING`` or ``"running"``.

        Returns:
            ``data``: a list of executions; ``pagination``: ``page``, ``per_page``,
            ``total_count``, ``has_more``. Unless the list is exact, ``has_more`` is True for
            each full page, even if the next one is empty, and ``total_count`` counts no
            further than this page.

        Raises:
            ValueError: A number is below 1, or a filter is empty.
            FlowMaestroError: The backend refused or failed; see ``flowmaestro_core.errors``.

        Endpoint:
            ``GET /api/v1/executions``

        Example:
            See what runs::

                page = await client.executions.list(status="running")
                print([execution["id"] for execution in page["data"]])
        """
        query = page_query(page, per_page, workflow_id=workflow_id, status=status)
        answer = await self._client.call(Request.get("/executions" + query, _EXECUTIONS))
        exact = bool(workflow_id) and not status
        return executions_page(answer, page, per_page, exact=exact)  # type: ignore[return-value]

    def iter(
        self,
        *,
        page: int = 1,
        per_page: int = 100,
        workflow_id: Optional[str] = None,
        status: Union[types.ExecutionStatus, str, None] = None,
    ) -> AsyncIterator[types.Execution]:
        """Go over all executions, fetching a page only when it is needed.

        Every match is given, also where a list of today's API would miss some. With
        ``workflow_id``, the status is compared here, which costs a request for each page of
        that workflow. Without it, the newest executions come first; then, if the iteration
        gets so far, those that are left come workflow by workflow, newest first within each.
        This costs a request for each 100 workflows, at least one for each workflow, and the
        ids of the executions so far are kept in memory. It needs the scope
        ``workflows:read``; without it, a warning in the log says that matches may be missing.

        To cancel executions, collect them first: with a ``status``, each one that leaves the
        list while iterating moves the later ones forward, past the page that is fetched next.

        Args:
            page: The page to begin with, from 1. Without ``workflow_id``, only 1 gives every
                match.
            per_page: How many to fetch at a time, from 1 to 100.
            workflow_id: Only those of this workflow.
            status: Only those that stand so, as ``ExecutionStatus.RUNNING`` or ``"running"``.

        Returns:
            An iterator over executions.

        Raises:
            ValueError: A number is below 1, or a filter is empty.
            FlowMaestroError: The backend refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/executions``, once a page; without ``workflow_id`` also
            ``GET /api/v1/workflows``

        Example:
            Collect what went wrong::

                async for execution in client.executions.iter(status="failed"):
                    print(execution["id"], execution["error"])
        """
        page_query(page, per_page, workflow_id=workflow_id, status=status)
        if not workflow_id:
            return self._of_all_workflows(page, per_page, status or None)
        return self._of_workflow(workflow_id, page, per_page, status or None)

    async def get(self, execution_id: str) -> types.Response[types.Execution]:
        """Get one execution as it stands.

        Args:
            execution_id: Its id.

        Returns:
            ``data``: the execution, with ``status``, ``inputs``, ``outputs``, ``error`` and
            its times.

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such execution.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``GET /api/v1/executions/{id}``

        Example:
            Look once::

                execution = (await client.executions.get("exec_123"))["data"]
                print(execution["status"], execution["outputs"])
        """
        answer: Any = await self._client.call(_get(execution_id))
        answer["data"].setdefault("id", execution_id)
        execution_of(answer["data"])
        return answer  # type: ignore[no-any-return]

    async def cancel(self, execution_id: str) -> types.Response[types.CancelResult]:
        """Stop an execution that is not over.

        Args:
            execution_id: Its id.

        Returns:
            ``data``: ``id`` and ``status`` (``cancelled``).

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such execution.
            ValidationError: It is over; the message has its status.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``POST /api/v1/executions/{id}/cancel``

        Example:
            Stop what takes too long::

                await client.executions.cancel("exec_123")
        """
        identifier("execution_id", execution_id)

        def already_done(error: errors.FlowMaestroError) -> Optional[dict[str, Any]]:
            return cancelled_before(execution_id, error)

        request = Request.post(
            path("/executions/{}/cancel", execution_id),
            already_done=already_done,
            expects=_CANCELLED,
            if_empty={},
        )
        answer: Any = await self._client.call(request)
        answer["data"].setdefault("id", execution_id)
        answer["data"].setdefault("status", "cancelled")
        with_status(answer["data"], EXECUTION_STATUSES)
        return answer  # type: ignore[no-any-return]

    async def wait_for_completion(
        self,
        execution_id: str,
        poll_interval: float = 1.0,
        timeout: Optional[float] = 300.0,
        *,
        raise_on_failure: bool = False,
        on_update: Optional[Callable[[types.Execution], object]] = None,
    ) -> types.Execution:
        """Wait until an execution is over.

        Rate limits, an API that is away and failures of the network are waited out within
        ``timeout``, with a warning in the log for each poll that fails. Giving up does not
        cancel the execution.

        Args:
            execution_id: Its id.
            poll_interval: Seconds between two looks.
            timeout: Seconds to wait in all, or None for no bound.
            raise_on_failure: Raise an error for an execution that failed or was cancelled,
                which is else returned like any other.
            on_update: Called with the execution each time its status is a new one
                (``running``, ``paused``, ...); may be a coroutine function in the
                asynchronous client.

        Returns:
            The execution itself, not wrapped: ``result["outputs"]``.

        Raises:
            ValueError: The id is empty, or a number makes no sense.
            TimeoutError: It was not over in time; ``error.execution`` is how it stood.
            ExecutionFailedError: It failed, with ``raise_on_failure``.
            NotFoundError: There is no such execution.
            FlowMaestroError: The backend refused.

        Endpoint:
            ``GET /api/v1/executions/{id}``, once each ``poll_interval``

        Example:
            Wait for a minute at most::

                result = await client.executions.wait_for_completion("exec_123", timeout=60)
                print(result["status"], result["outputs"])
        """
        request = _get(execution_id)
        interval = check_seconds("poll_interval", poll_interval) or NO_BOUND
        options = self._client.options
        bound = None if timeout is None else check_seconds("timeout", timeout, zero=True)
        if options.deadline is not None and (bound is None or options.deadline < bound):
            bound = options.deadline
        until = None if bound is None else monotonic() + bound
        last: Optional[types.Execution] = None
        unreadable = 0
        while True:
            remaining = None if until is None else until - monotonic()
            # The last look gets a moment, so that an end in the last second is seen.
            looking = options._replace(
                max_retries=0, deadline=None if remaining is None else max(remaining, 2.0)
            )
            wait = interval
            try:
                answer: Any = await self._client.call(request, looking)
            except errors.FlowMaestroError as error:
                unreadable = unreadable + 1 if error.code == "invalid_response" else 0
                if not is_transient(error) or unreadable >= _MOST_UNREADABLE:
                    raise
                problem = f"; the last poll failed: {error}"
                wait = max(wait, min(getattr(error, "retry_after", None) or 0.0, NO_BOUND))
                logger.warning(
                    "polling execution %r failed (%s); polling again in %.1f s",
                    execution_id,
                    error,
                    wait,
                )
            else:
                problem, unreadable = "", 0
                seen: types.Execution = execution_of(answer["data"])
                if on_update is not None and (last is None or last["status"] != seen["status"]):
                    await settle(on_update(seen))
                last = seen
                if seen["status"] in TERMINAL_STATUSES:
                    break
            if until is not None:
                remaining = until - monotonic()
                if remaining <= 0:
                    raise _timed_out(execution_id, bound, last, problem)
                wait = min(wait, remaining)
            await sleep(wait)
        if raise_on_failure and last["status"] != "completed":
            reason = last["error"] or "no reason given"
            raise errors.ExecutionFailedError(
                f"execution {execution_id!r} {last['status']}: {reason}",
                code=f"execution_{last['status']}",
                execution=dict(last),
            )
        return last

    def stream(
        self, execution_id: str, *, heartbeat: Optional[float] = None
    ) -> AsyncEventStream[types.ExecutionEvent]:
        """Follow an execution live, to its end.

        The stream reconnects when it breaks, polls the status when it is silent or cannot be
        had, and ends with exactly one ``execution:completed``, ``execution:failed`` or
        ``execution:cancelled``, or with an error. It gets through an API that is away for
        30 s, with a warning in the log for each attempt, and gives up after a minute without
        a response.

        Args:
            execution_id: Its id.
            heartbeat: Seconds. After so long without an event, one of type ``heartbeat`` is
                given, so that the loop can do other things, such as to notice that nobody
                listens any more. None for no such events.

        Returns:
            An iterator over events, each with ``type`` and ``execution_id``, which is also
            a context manager. Events of before it was opened are not sent again. ``close()``
            ends a loop that waits in another thread or task.

        Raises:
            ValueError: The id is empty, or ``heartbeat`` is no number of seconds.
            NotFoundError: There is no such execution, while iterating.
            StreamError: The stream cannot be had any more, while iterating.
            TimeoutError: The ``deadline`` of ``with_options`` has passed, while iterating.
            FlowMaestroError: The API refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/executions/{id}/events``

        Example:
            Show how it goes on::

                async for event in client.executions.stream("exec_123"):
                    if event["type"] == "execution:progress":
                        print(f"{event['progress']:.0f} %")
                    elif event["type"] == "execution:completed":
                        print(event["outputs"])
        """
        status = _get(execution_id)
        request = Request.get(path("/executions/{}/events", execution_id))
        client = self._client
        identity = {"execution_id": execution_id}

        async def connect(how: Connect) -> AsyncPump:
            options = None if how.first else reconnect_options(client.options, how.remaining)
            opened = await client.open(request, how.last_event_id, options)
            if isinstance(opened, AsyncPump):
                return opened
            raise errors.StreamError(
                f"the response for the events of execution {execution_id!r} is JSON and no "
                "event stream",
                code="no_event_stream",
            )

        async def check(remaining: Optional[float]) -> Optional[dict[str, Any]]:
            answer = await client.call(status, check_options(client.options, remaining))
            return terminal_event_of(execution_of(answer["data"]))

        return client.follow(
            AsyncSource(
                name=f"execution {execution_id!r}",
                open=connect,
                decode=partial(execution_event_of, identity),
                ends=is_terminal,
                check=check,
                max_retries=client.options.max_retries,
                deadline=client.options.deadline,
                heartbeat=None if heartbeat is None else check_seconds("heartbeat", heartbeat),
                heartbeat_event={"type": "heartbeat", **identity},
            )
        )

    async def _of_workflow(
        self, workflow_id: str, page: int, per_page: int, status: Optional[str]
    ) -> AsyncGenerator[types.Execution, None]:
        """Give the executions of one workflow: its list is exact if no status is asked for."""

        async def fetch(number: int) -> Any:
            return await self.list(page=number, per_page=per_page, workflow_id=workflow_id)

        executions = iterate(fetch, page)
        try:
            async for execution in executions:
                if status is None or execution["status"] == status:
                    yield execution
        finally:
            await executions.aclose()

    async def _of_all_workflows(
        self, page: int, per_page: int, status: Optional[str]
    ) -> AsyncGenerator[types.Execution, None]:
        """Give the executions of all workflows, and each of them once.

        Today's API reads the newest rows of every account and filters them afterwards, so
        that a page says nothing of how many there are. The lists of single workflows do.
        """
        is_exact = False

        async def fetch(number: int) -> Any:
            nonlocal is_exact
            answer = await self._client.call(
                Request.get(
                    "/executions" + page_query(number, per_page, status=status), _EXECUTIONS
                )
            )
            is_exact = says_has_more(answer)
            return executions_page(answer, number, per_page, exact=False)

        given: set[Hashable] = set()
        executions = iterate(fetch, page)
        try:
            async for execution in executions:
                given.add(key_of(execution))
                yield execution
        finally:
            await executions.aclose()
        if is_exact or page > 1:
            return
        walked: set[str] = set()
        workflows = iterate(self._workflows, 1)
        try:
            async for workflow in workflows:
                workflow_id: str = workflow["id"]
                if workflow_id in walked:
                    continue
                walked.add(workflow_id)
                executions = self._of_workflow(workflow_id, 1, per_page, status)
                try:
                    async for execution in executions:
                        if key_of(execution) not in given:
                            yield execution
                finally:
                    await executions.aclose()
        finally:
            await workflows.aclose()

    async def _workflows(self, page: int) -> dict[str, Any]:
        """Get a page of workflows, or an empty one where the key may not list them."""
        query = page_query(page, _MOST_PER_PAGE)
        answer: dict[str, Any] = {"data": []}
        try:
            answer = await self._client.call(Request.get("/workflows" + query, _WORKFLOWS))
        except (errors.AuthorizationError, errors.NotFoundError) as error:
            logger.warning(
                "executions.iter() cannot list the workflows (%s), so executions that are missing "
                "from the API's list of all executions are left out; give the key the scope "
                "workflows:read, or pass workflow_id",
                error,
            )
        return page_of(answer, page, _MOST_PER_PAGE)


def _get(execution_id: str) -> Request:
    request_path = path("/executions/{}", identifier("execution_id", execution_id))
    return Request.get(request_path, execution_problem)


def _timed_out(
    execution_id: str, bound: Optional[float], last: Optional[types.Execution], problem: str
) -> errors.TimeoutError:
    status = "not seen yet" if last is None else last["status"]
    return errors.TimeoutError(
        f"execution {execution_id!r} was not over within {bound:g} s (status: {status}){problem}; "
        "it goes on: wait again or cancel it",
        code="wait_timeout",
        execution=None if last is None else dict(last),
    )
