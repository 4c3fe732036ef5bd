"""Executions: how runs of workflows stand, waiting for them, and following them live."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from flowmaestro_core import errors
from flowmaestro_core._async.compat import AsyncPump, settle, sleep
from flowmaestro_core._async.pagination import iterate
from flowmaestro_core._async.stream import AsyncEventStream, AsyncSource
from flowmaestro_core.clock import monotonic
from flowmaestro_core.config import NO_BOUND, check_options, check_seconds
from flowmaestro_core.pages import page_of
from flowmaestro_core.request import Request, identifier, page_query, path
from flowmaestro_core.statuses import EXECUTION_STATUSES, with_status

from .wire import (
    TERMINAL_STATUSES,
    cancelled_before,
    execution_event_of,
    execution_of,
    is_terminal,
    terminal_event_of,
    with_more_if_full,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flowmaestro_core import AsyncCoreClient
    from flowmaestro_types import (
        CancelResult,
        Execution,
        ExecutionEvent,
        ExecutionStatus,
        Page,
        Response,
    )

__all__ = ["AsyncExecutions"]

# What passes: a wait goes on through it within its own time.
_PASSING = (
    errors.ConnectionError,
    errors.TimeoutError,
    errors.RateLimitError,
    errors.ServerError,
)


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
        status: Union[ExecutionStatus, str, None] = None,
    ) -> Page[Execution]:
        """Get one page of executions, the newest first.

        With ``workflow_id`` and ``status`` together, today's backend filters within a
        page: it can be short or empty while later ones have matches. ``iter`` gives every
        match.

        Args:
            page: Which page, from 1; the first where it is left out.
            per_page: How many, from 1 to 100; 20 where it is left out.
            workflow_id: Only those of this workflow.
            status: Only those that stand so, as ``ExecutionStatus.RUNNING`` or ``"running"``.

        Returns:
            ``data``: a list of executions; ``pagination``: ``page``, ``per_page``,
            ``total_count``, ``has_more``. With a ``status``, ``has_more`` may be True
            before an empty page, and ``total_count`` counts this page.

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
        answer: Any = await self._client.call(Request.get("/executions" + query))
        answer = page_of(answer, page, per_page)
        for execution in answer["data"]:
            execution_of(execution)
        if status is not None:
            with_more_if_full(answer)
        return answer  # type: ignore[no-any-return]

    def iter(
        self,
        *,
        page: int = 1,
        per_page: int = 100,
        workflow_id: Optional[str] = None,
        status: Union[ExecutionStatus, str, None] = None,
    ) -> AsyncIterator[Execution]:
        """Go over all executions, fetching a page only when it is needed.

        Every match is given: where the backend's filter would lose some (``workflow_id``
        and ``status`` together), the status is looked at here.

        Args:
            page: The page to begin with, from 1.
            per_page: How many to fetch at a time, from 1 to 100.
            workflow_id: Only those of this workflow.
            status: Only those that stand so, as ``ExecutionStatus.RUNNING`` or ``"running"``.

        Returns:
            An iterator over executions.

        Raises:
            ValueError: A number is below 1, or a filter is empty.
            FlowMaestroError: The backend refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/executions``, once a page

        Example:
            Collect what went wrong::

                async for execution in client.executions.iter(status="failed"):
                    print(execution["id"], execution["error"])
        """
        page_query(page, per_page, workflow_id=workflow_id, status=status)
        asked = None if workflow_id is not None else status

        async def fetch(number: int) -> Any:
            answer: Any = await self.list(
                page=number, per_page=per_page, workflow_id=workflow_id, status=asked
            )
            return answer

        executions = iterate(fetch, page)
        if status is None or workflow_id is None:
            return executions
        return _with_that_status(executions, status)

    async def get(self, execution_id: str) -> Response[Execution]:
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
        execution_of(answer["data"])
        return answer  # type: ignore[no-any-return]

    async def cancel(self, execution_id: str) -> Response[CancelResult]:
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
            path("/executions/{}/cancel", execution_id), already_done=already_done
        )
        answer: Any = await self._client.call(request)
        with_status(answer["data"], EXECUTION_STATUSES)
        return answer  # type: ignore[no-any-return]

    async def wait_for_completion(
        self,
        execution_id: str,
        poll_interval: float = 1.0,
        timeout: Optional[float] = 300.0,
        *,
        raise_on_failure: bool = False,
        on_update: Optional[Callable[[Execution], object]] = None,
    ) -> Execution:
        """Wait until an execution is over.

        Rate limits, failures of the backend and of the network are waited out within
        ``timeout``. Giving up does not cancel the execution.

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
        last: Optional[Execution] = None
        problem = ""
        while True:
            remaining = None if until is None else until - monotonic()
            # The last look gets a moment, so that an end in the last second is seen.
            looking = options._replace(
                max_retries=0, deadline=None if remaining is None else max(remaining, 2.0)
            )
            wait = interval
            try:
                answer: Any = await self._client.call(request, looking)
            except _PASSING as error:
                problem = f"; the last look failed: {error}"
                wait = max(wait, min(getattr(error, "retry_after", None) or 0.0, NO_BOUND))
            else:
                problem = ""
                seen: Execution = execution_of(answer["data"])
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

    def stream(self, execution_id: str) -> AsyncEventStream[ExecutionEvent]:
        """Follow an execution live, to its end.

        The stream connects again when it breaks, asks for the status on the side when it
        falls silent, and ends with exactly one ``execution:completed``,
        ``execution:failed`` or ``execution:cancelled``, or with an error.

        Args:
            execution_id: Its id.

        Returns:
            An iterator over events, each with ``type`` and ``execution_id``, which is also
            a context manager. Events of before it was opened are not sent again.

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such execution, while iterating.
            StreamError: The stream cannot be had any more, while iterating.
            FlowMaestroError: The backend refused or failed, while iterating.

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
        checking = check_options(client.options)

        async def connect(last_event_id: str, first: bool) -> AsyncPump:
            opened = await client.open(request, last_event_id, once=not first)
            if isinstance(opened, AsyncPump):
                return opened
            raise errors.StreamError(
                f"the answer for the events of execution {execution_id!r} is no event stream",
                code="no_event_stream",
            )

        async def check() -> Optional[dict[str, Any]]:
            answer = await client.call(status, checking)
            return terminal_event_of(execution_of(answer["data"]))

        return AsyncEventStream(
            AsyncSource(
                name=f"execution {execution_id!r}",
                open=connect,
                decode=partial(execution_event_of, {"execution_id": execution_id}),
                ends=is_terminal,
                check=check,
                max_retries=client.options.max_retries,
                deadline=client.options.deadline,
            )
        )


def _get(execution_id: str) -> Request:
    return Request.get(path("/executions/{}", identifier("execution_id", execution_id)))


def _timed_out(
    execution_id: str, bound: Optional[float], last: Optional[Execution], problem: str
) -> errors.TimeoutError:
    status = "not seen yet" if last is None else last["status"]
    return errors.TimeoutError(
        f"execution {execution_id!r} was not over within {bound:g} s (status: {status}){problem}; "
        "it goes on: wait again or cancel it",
        code="wait_timeout",
        execution=None if last is None else dict(last),
    )


async def _with_that_status(
    executions: AsyncIterator[Execution], status: str
) -> AsyncIterator[Execution]:
    async for execution in executions:
        if execution["status"] == status:
            yield execution
