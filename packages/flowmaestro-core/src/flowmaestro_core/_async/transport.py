"""One call from its first try to its last: deadlines, retries, errors, the log."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union
from weakref import WeakValueDictionary

from .. import errors
from ..clock import monotonic, wall_clock
from ..config import Options, Timeouts
from ..logs import log_request, logger
from ..response import (
    Answer,
    RateLimit,
    ResponseInfo,
    Unanswered,
    error_of,
    failure_of,
    read_data,
    read_json,
)
from ..retries import LOST, Failure, RetryPolicy, jitter
from .compat import AsyncPump, settle, sleep, time_limit

if TYPE_CHECKING:
    from ..request import Request
    from .connections import AsyncConnections
    from .stream import Follower

__all__ = ["AsyncTransport"]

Opened = TypeVar("Opened")
_DEBUG = 10


class AsyncTransport:
    """What the clients of one set of connections share."""

    def __init__(self, connections: AsyncConnections) -> None:
        self._connections = connections
        self._limits: dict[str, str] = {}
        # Of the streams that are read; a loop over one keeps nothing else of it.
        self._followers: WeakValueDictionary[int, Follower] = WeakValueDictionary()
        self.is_closed = False

    @property
    def base_url(self) -> str:
        """The address, without a version at its end."""
        return self._connections.base_url

    @property
    def rate_limit(self) -> Optional[RateLimit]:
        """What the last answer said of the key's limits."""
        return RateLimit.of(self._limits)

    async def call(self, request: Request, options: Options) -> Any:
        """Send a request, again if need be, and give the JSON object of its answer.

        One that is raw gives any JSON, or None for an empty response.
        """

        async def one_try(timeouts: Timeouts, until: Optional[float]) -> Union[Answer, Unanswered]:
            return await self._connections.exchange(request, options, timeouts, until)

        answer = await self._repeat(request, options, one_try)
        if isinstance(answer, dict):
            return answer
        try:
            if request.is_raw:
                return read_json(answer)
            return read_data(answer, request.expects, request.if_empty)
        except errors.FlowMaestroError as error:
            problem = error
        # The backend did something, and only its word of it is unreadable.
        raise _with_outcome(problem, request, not request.repeatable)

    async def open(
        self, request: Request, options: Options, last_event_id: str = ""
    ) -> Union[AsyncPump, dict[str, Any]]:
        """Open an event stream.

        Returns:
            The pump of the stream, or the JSON object where the backend answered with one.

        Raises:
            StreamError: The answer is neither.
        """

        async def one_try(
            timeouts: Timeouts, until: Optional[float]
        ) -> Union[Answer, Unanswered, AsyncPump]:
            return await self._connections.open(request, options, timeouts, until, last_event_id)

        opened = await self._repeat(request, options, one_try)
        if not isinstance(opened, Answer):
            return opened
        kind = opened.headers.get("content-type", "nothing")
        try:
            return read_data(opened, request.expects)
        except errors.FlowMaestroError as error:
            message = f"the answer is no event stream but {kind}; {error.message}"
        raise _with_outcome(
            errors.StreamError(message, code="no_event_stream", status_code=opened.status),
            request,
            not request.repeatable,
        )

    def add(self, follower: Follower) -> None:
        """Note a stream, to end it when the client is closed."""
        self._followers[id(follower)] = follower

    async def aclose(self) -> None:
        """Close the connections; every later call is an error."""
        self.is_closed = True
        # A list at one go: other threads may begin streams meanwhile.
        for reference in self._followers.valuerefs():
            follower = reference()
            if follower is not None:
                await follower.stop(_client_closed())
        await self._connections.aclose()

    async def _repeat(
        self,
        request: Request,
        options: Options,
        one_try: Callable[
            [Timeouts, Optional[float]], Awaitable[Union[Answer, Unanswered, Opened]]
        ],
    ) -> Union[Answer, Opened, dict[str, Any]]:
        until = None if options.deadline is None else monotonic() + options.deadline
        policy = RetryPolicy(max_retries=options.max_retries)
        timeouts = _timeouts_for(request, options)
        repeatable = request.repeatable or options.retry_unsafe
        attempt = 0
        lost = False
        while True:
            if self.is_closed:
                raise _client_closed()
            began = monotonic()
            remaining = None if until is None else until - began
            result: Union[Answer, Unanswered, Opened, None] = None
            with time_limit(remaining):
                result = await one_try(timeouts.within(remaining), until)
            if result is None or (until is not None and _is_late(result, until)):
                result = _past_deadline(options)
            status = result.status if isinstance(result, Answer) else None
            if isinstance(result, Answer):
                if "x-ratelimit-limit" in result.headers:
                    self._limits = result.headers
            elif not isinstance(result, Unanswered):
                status = 200
            error, failure = _judge(result, request)
            if options.on_response is not None:
                await _report(result, request, options.on_response, monotonic() - began, attempt)
            if logger.isEnabledFor(_DEBUG):
                log_request(
                    request.method,
                    request.path,
                    status,
                    monotonic() - began,
                    attempt,
                    error.request_id if error is not None else _request_id(result),
                )
            if error is None:
                assert not isinstance(result, Unanswered)
                return result
            if lost and request.already_done is not None:
                settled = request.already_done(error)
                if settled is not None:
                    return settled
            lost = lost or failure.outcome_unknown
            if until is not None:
                remaining = until - monotonic()
            wait = policy.next_wait(
                failure,
                attempt,
                repeatable=repeatable,
                remaining=remaining,
                random=jitter,
            )
            if wait is None:
                break
            logger.warning(
                "%s %s failed (%s); trying again in %.1f s (retry %d of %d)",
                request.method,
                request.path,
                error,
                wait,
                attempt + 1,
                options.max_retries,
            )
            await sleep(wait)
            attempt += 1
        raise _with_outcome(error, request, lost and not request.repeatable)


async def _report(
    result: object,
    request: Request,
    on_response: Callable[[ResponseInfo], object],
    seconds: float,
    attempt: int,
) -> None:
    """Tell the user's callback of a response; what it raises must not cost the response."""
    head = result.head if isinstance(result, AsyncPump) else result
    if not isinstance(head, Answer):
        return
    info = ResponseInfo(
        request.method,
        request.path,
        head.status,
        dict(head.headers),
        seconds,
        attempt + 1,
        _request_id(head) or head.headers.get("x-request-id"),
    )
    try:
        await settle(on_response(info))
    except Exception:
        logger.exception("on_response failed for %s %s", request.method, request.path)


def _client_closed() -> errors.FlowMaestroError:
    return errors.FlowMaestroError("the client is closed; make a new one", code="client_closed")


def _timeouts_for(request: Request, options: Options) -> Timeouts:
    """Give a call that is slow by nature its time, unless the caller said how long."""
    timeouts = options.timeouts
    if request.read_timeout is None or options.timeout_is_exact or timeouts.read is None:
        return timeouts
    return timeouts._replace(read=max(timeouts.read, request.read_timeout))


def _judge(result: object, request: Request) -> tuple[Optional[errors.FlowMaestroError], Failure]:
    """Tell success from failure; a success has no error."""
    if isinstance(result, Unanswered):
        return result.error, Failure(network=result.network, final=result.final)
    if isinstance(result, Answer) and not 200 <= result.status < 300:
        now = wall_clock()
        error = error_of(result, now, request.path)
        return error, failure_of(result, error, now)
    return None, Failure()


def _is_late(result: object, until: float) -> bool:
    """True where whatever broke a try off was there to keep the deadline."""
    lost = isinstance(result, Unanswered) and result.network == LOST
    return lost and monotonic() >= until


def _past_deadline(options: Options) -> Unanswered:
    return Unanswered(
        errors.TimeoutError(
            f"the call was not done within its deadline of {options.deadline or 0:g} s",
            code="deadline_exceeded",
        ),
        LOST,
        final=True,
    )


def _with_outcome(
    error: errors.FlowMaestroError, request: Request, unknown: bool
) -> errors.FlowMaestroError:
    """Say in the error that the request may have been carried out all the same."""
    if unknown:
        error.outcome_unknown = True
        hint = f"; {request.check}" if request.check else ""
        error.message += f" - it may have been carried out all the same{hint}"
    return error


def _request_id(result: object) -> Optional[str]:
    """Find the request id without decoding the body a second time: it stands at its end."""
    if not isinstance(result, Answer):
        return None
    _, found, rest = result.body[-400:].rpartition(b'"request_id"')
    return rest.split(b'"')[1].decode("ascii", "replace") if found and b'"' in rest else None
