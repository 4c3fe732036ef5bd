"""The backend as a batch sees it: asked at its pace, and waited for when it fails."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Sequence
from typing import Any, Callable, Optional

from flowmaestro import (
    AsyncFlowMaestroClient,
    AuthenticationError,
    AuthorizationError,
    FlowMaestroError,
    NotFoundError,
    RateLimit,
    RateLimitError,
)
from flowmaestro_core.clock import monotonic

from ..clock import ApiClock
from ..pace import Pace
from ..sending import Engine, Sent, Ticket
from ..settings import Settings
from ..work import is_passing, latest_limit
from .compat import send_all, sleep

__all__ = ["LONGEST_NAP", "AsyncBackend"]

logger = logging.getLogger("flowmaestro.batch")

# Executions on a page: as many as the backend gives.
_PER_PAGE = 100

# Seconds of one sleep: a longer wait is cut in pieces, so that a stop is noticed.
LONGEST_NAP = 0.5

# Seconds between two tries of a backend that fails.
_LONGEST_PAUSE = 60.0


class _Outage:
    """How often and since when one kind of request has failed, each time."""

    def __init__(self) -> None:
        self._failures = 0
        self._since = 0.0

    def over(self) -> None:
        """Start anew, after an answer."""
        self._failures = 0

    def failed(self) -> float:
        """Count a failure, and give the seconds since the first."""
        if not self._failures:
            self._since = monotonic()
        self._failures += 1
        return monotonic() - self._since

    def pause(self) -> float:
        """The seconds to wait now: more with each failure."""
        longest: float = min(0.25 * 2.0**self._failures, _LONGEST_PAUSE)
        return longest * random.uniform(0.5, 1.0)


class AsyncBackend:
    """Asks, counts, and keeps the pace.

    Attributes:
        pace: When the next request may go.
        closed_until: Until when the backend is left alone, as it fails.
        failure: What the API failed with when it was left alone last.
        requests: Requests sent.
        refused: Of these, how many were answered with 429.
    """

    def __init__(self, client: AsyncFlowMaestroClient, settings: Settings) -> None:
        self._client = client.with_options(max_retries=0)
        self._settings = settings
        self.clock = ApiClock()
        # Apart, as a backend may tell of executions while it takes none.
        self._submitting, self._looking = _Outage(), _Outage()
        self.pace = Pace()
        self.closed_until = 0.0
        self.failure = ""
        self.requests = 0
        self.refused = 0

    async def begin(self) -> None:
        """See that the workflow is there, and compare the clocks."""
        client = self._client.with_options(max_retries=3)
        sent = monotonic()
        response: Any = await client.workflows.get(self._settings.workflow_id)
        self.clock.heard(response.get("meta"), sent, monotonic())
        self.requests += 1
        self._heard(self._client.rate_limit)

    async def page(self, number: int) -> Any:
        """Get a page of the workflow's executions, the newest first."""
        return await self._client.executions.list(
            workflow_id=self._settings.workflow_id, page=number, per_page=_PER_PAGE
        )

    async def single(self, execution_id: str) -> Any:
        """Get one execution; one that is gone is unknown."""
        try:
            return await self._client.executions.get(execution_id)
        except NotFoundError:
            problem = f"its execution {execution_id} is gone"
            gone = {"id": execution_id, "status": "unknown", "outputs": None, "error": problem}
            return {"data": gone}

    async def ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Ask when it is time; None where there is no answer, and to be asked later."""
        while True:
            now = monotonic()
            wait = self.pace.wait(now)
            if wait <= 0:
                break
            if wait > _LONGEST_PAUSE:
                return None
            await sleep(min(wait, LONGEST_NAP))
        self.pace.spend(1, now)
        self.requests += 1
        sent = monotonic()
        try:
            response = await call()
        except FlowMaestroError as error:
            if error.status_code is not None:
                self._heard(self._client.rate_limit)
            if not is_passing(error):
                raise
            self._failed(error, self._looking)
            return None
        self._looking.over()
        self.clock.heard(response.get("meta"), sent, monotonic())
        self._heard(self._client.rate_limit)
        return response

    async def send(
        self, engine: Optional[Engine], tickets: Sequence[Ticket], results: list[Optional[Sent]]
    ) -> None:
        """Submit rows, here or by an engine; what came of each is put where its ticket is."""
        self.pace.spend(len(tickets), monotonic())
        self.requests += len(tickets)
        await send_all(self._client, engine, tickets, results)

    def take(self, results: Sequence[Optional[Sent]]) -> None:
        """Learn from what came of submissions.

        Raises:
            FlowMaestroError: One that ends the run: of the key, of the workflow, or of a
                backend that has been away for too long.
        """
        told = [sent for sent in results if sent is not None]
        failed = [sent.error for sent in told if sent.error is not None]
        if len(failed) < len(told):
            self._submitting.over()
        if len(failed) < len(told) or any(error.status_code is not None for error in failed):
            self._heard(latest_limit(sent.rate_limit for sent in told))
        for error in failed:
            self._failed(error, self._submitting)

    def _heard(self, limit: Optional[RateLimit]) -> None:
        self.pace.heard(limit, monotonic(), self.clock.now())

    def _throttled(self, error: RateLimitError, outage: _Outage) -> None:
        """Take a 429: wait as long as it asks for, and longer each time, or give up."""
        now, window = monotonic(), (error.details or {}).get("window")
        wait = error.retry_after or 1.0
        # Of several that were refused together, one counts; a day is waited for in any case.
        if window != "day" and not self.pace.is_throttled(now):
            if outage.failed() > self._settings.patience + wait:
                raise error
            wait = max(wait, outage.pause())
        self.pace.refused(wait, now, window)

    def _failed(self, error: FlowMaestroError, outage: _Outage) -> None:
        """Take an error: wait a little, or give up."""
        if isinstance(error, (AuthenticationError, AuthorizationError, NotFoundError)):
            raise error
        if isinstance(error, RateLimitError):
            self.refused += 1
            self._throttled(error, outage)
            return
        if not is_passing(error):
            # It says something of a row, and nothing of the backend.
            return
        now = monotonic()
        if self.closed_until > now:
            # One of several that failed together.
            return
        if outage.failed() > self._settings.patience:
            raise error
        pause = outage.pause()
        self.closed_until = now + pause
        # Without what is different each time, as a request's id is.
        status = error.status_code
        self.failure = error.message if status is None else f"it answers HTTP {status}"
        logger.warning("%s; going on in %.1f s", error, pause)
