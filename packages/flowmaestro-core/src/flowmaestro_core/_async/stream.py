"""Event streams that end right: connected again, checked on the side, closed when left."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from types import TracebackType
from typing import Any, Callable, Generic, NamedTuple, Optional, TypeVar, Union

from .. import errors
from ..clock import monotonic
from ..liveness import Liveness
from ..logs import logger
from ..response import Unanswered
from ..retries import RetryPolicy
from ..sse import EventDecoder, EventTooLarge, Frame
from .compat import AsyncPump, sleep

__all__ = ["AsyncEventStream", "AsyncSource"]

EventT = TypeVar("EventT")

# Ids of events that a reconnect may bring again.
_REMEMBERED_IDS = 1000

# Connections that are tried for the last events of an execution that is over.
_MOST_CATCH_UPS = 8

# Errors after which a connection is tried again; any other one is the caller's.
_PASSING = (
    errors.ConnectionError,
    errors.TimeoutError,
    errors.ServerError,
    errors.RateLimitError,
)


class AsyncSource(NamedTuple):
    """Where a stream comes from, and what it means."""

    # What the stream is of, for error messages: "execution 'exec_1'".
    name: str
    # Connects; given the last event id, and whether this is the first time.
    open: Callable[[str, bool], Awaitable[Union[AsyncPump, AsyncGenerator[dict[str, Any], None]]]]
    # Makes an event of a frame; raises ValueError for one that is none.
    decode: Callable[[Frame], dict[str, Any]]
    # True for the event after which there is no other; None where there is no such event.
    ends: Optional[Callable[[dict[str, Any]], bool]] = None
    # Asks for the status, and gives the last event if it is over.
    check: Optional[Callable[[], Awaitable[Optional[dict[str, Any]]]]] = None
    # False where a second connection would do something twice or bring another stream.
    reconnects: bool = True
    # True where the backend may simply close the stream when there is nothing more.
    may_just_close: bool = False
    max_retries: int = 3
    deadline: Optional[float] = None


class AsyncEventStream(Generic[EventT]):
    """An iterator over events that is also a context manager.

    Leaving the loop early frees the connection; ``async with`` or ``aclose()`` does so
    at once.
    """

    def __init__(self, source: AsyncSource) -> None:
        self._events = _Follower(source).events()

    def __aiter__(self) -> AsyncIterator[EventT]:
        # Not the stream itself: one call less for each event.
        return self._events

    async def __anext__(self) -> EventT:
        event: EventT = await self._events.__anext__()
        return event

    async def __aenter__(self) -> AsyncEventStream[EventT]:
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the stream and free its connection."""
        await self._events.aclose()

    close = aclose  # async only


class _Follower:
    """Follows one stream over all of its connections."""

    def __init__(self, source: AsyncSource) -> None:
        self._source = source
        self._policy = RetryPolicy(max_retries=source.max_retries)
        # A stream that is read once and to its end is bounded by its read timeout alone.
        self._is_watched = source.reconnects or source.deadline is not None
        self._connected = False
        self._last_event_id = ""
        self._ids: deque[str] = deque(maxlen=_REMEMBERED_IDS)
        self._ending: Optional[dict[str, Any]] = None
        self._retry_after: Optional[float] = None
        self._no_connection = False
        self._catch_ups = 0

    async def events(self) -> AsyncGenerator[Any, None]:
        """Give every event once, in order, to the last."""
        source = self._source
        ends = source.ends
        now = monotonic()
        self._until = None if source.deadline is None else now + source.deadline
        self._liveness = Liveness(
            now, max_retries=source.max_retries, checks=source.check is not None
        )
        opened: Any = await source.open("", True)
        while True:
            reason = "the server closed the stream"
            if isinstance(opened, AsyncPump):
                pump = opened
                decoder = EventDecoder(last_event_id=self._last_event_id)
                self._liveness.opened(monotonic())
                try:
                    while True:
                        if self._is_watched:
                            chunk = await pump.next(self._pause, self._look)
                        else:
                            chunk = await pump.read()
                        if chunk is None or isinstance(chunk, Unanswered) or not chunk:
                            break
                        for event in self._events_in(decoder, chunk):
                            yield event
                            if ends is not None and ends(event):
                                await pump.finish()
                                return
                finally:
                    await pump.aclose()
                if isinstance(chunk, Unanswered):
                    reason = chunk.error.message
                elif chunk is None:
                    reason = "the server fell silent"
                elif source.may_just_close:
                    return
                if not source.reconnects:
                    raise self._lost(reason)
            elif isinstance(opened, errors.FlowMaestroError):
                reason = opened.message
            else:
                # Where the backend cannot stream, the events come from elsewhere.
                try:
                    async for event in opened:
                        yield event
                finally:
                    await opened.aclose()
                return
            if self._ending is None:
                await self._wait_to_reconnect(reason)
            if self._ending is not None:
                if not await self._may_catch_up():
                    yield self._ending
                    return
                self._liveness.ending(monotonic())
            opened = await self._reopen()

    def _events_in(self, decoder: EventDecoder, chunk: bytes) -> list[dict[str, Any]]:
        """Decode a chunk into the events that are new."""
        comments = decoder.comments
        try:
            frames = decoder.feed(chunk)
        except EventTooLarge as too_large:
            problem = errors.StreamError(
                f"the stream of {self._source.name} is broken: {too_large}", code="event_too_large"
            )
        else:
            self._last_event_id = decoder.last_event_id
            events: list[dict[str, Any]] = []
            for frame in frames:
                event = self._event_in(frame)
                if event is not None:
                    events.append(event)
            self._liveness.heard(
                monotonic(), event=bool(events), comment=decoder.comments > comments
            )
            return events
        raise problem

    def _event_in(self, frame: Frame) -> Optional[dict[str, Any]]:
        """Give the event of a frame, or None if it is known or cannot be read."""
        if frame.id:
            if frame.id in self._ids:
                return None
            self._ids.append(frame.id)
        try:
            event = self._source.decode(frame)
        except ValueError as why:
            problem = f"an event of {self._source.name} cannot be read: {why}"
        else:
            if event["type"] != "connected":
                return event
            first, self._connected = not self._connected, True
            return event if first else None
        if not self._source.reconnects:
            raise errors.StreamError(problem, code="event_invalid")
        logger.warning("%s; it is left out", problem)
        return None

    def _pause(self) -> float:
        now = monotonic()
        pause = self._liveness.pause(now)
        return pause if self._until is None else max(min(pause, self._until - now), 0.0)

    async def _look(self) -> bool:
        """Look around while the stream is silent; True ends the reading."""
        now = monotonic()
        self._check_deadline(now)
        if self._liveness.is_over(now) or self._liveness.is_stale(now):
            return True
        if self._liveness.check_is_due(now):
            await self._check()
        return self._no_connection

    def _check_deadline(self, now: float) -> None:
        if self._until is not None and now >= self._until:
            raise errors.TimeoutError(
                f"the stream of {self._source.name} did not end within its deadline of "
                f"{self._source.deadline:g} s",
                code="deadline_exceeded",
            )

    async def _check(self) -> None:
        """Ask for the status; a check that fails in passing is left out."""
        assert self._source.check is not None
        retry_after = None
        try:
            self._ending = await self._source.check()
        except _PASSING as error:
            retry_after = getattr(error, "retry_after", None)
            # The stream itself holds the only connection of the user's pool: let it go.
            self._no_connection = error.code == "pool_timeout"
        now = monotonic()
        if self._ending is not None:
            self._liveness.ending(now)
        self._liveness.checked(now, retry_after=retry_after)

    async def _wait_to_reconnect(self, reason: str) -> None:
        """Pause before the next connection, or give up."""
        now = monotonic()
        self._check_deadline(now)
        if self._no_connection:
            self._no_connection = False
            await sleep(self._policy.backoff(1, random.random))
            return
        failures = self._liveness.lost(now)
        if failures is None:
            # The execution may have ended while its stream could not be had.
            if self._source.check is not None:
                await self._check()
            if self._ending is None:
                raise self._lost(reason)
            return
        wait = self._policy.backoff(failures, random.random)
        logger.warning(
            "the stream of %s broke (%s); connecting again in %.1f s",
            self._source.name,
            reason,
            wait,
        )
        wait = max(wait, self._retry_after or 0.0)
        await sleep(wait if self._until is None else max(min(wait, self._until - now), 0.0))

    async def _may_catch_up(self) -> bool:
        """Say whether a new connection may bring what a dead one kept back before the end.

        Only where the server gives ids does it send again what was missed.
        """
        if not self._last_event_id or self._catch_ups >= _MOST_CATCH_UPS:
            return False
        self._catch_ups += 1
        if self._catch_ups > 1:
            await sleep(self._policy.backoff(min(self._catch_ups, 3) - 2, random.random))
        return True

    async def _reopen(self) -> Any:
        """Connect again; an error that may pass is given back, not raised."""
        self._retry_after = None
        try:
            return await self._source.open(self._last_event_id, False)
        except _PASSING as error:
            wait = getattr(error, "retry_after", None)
            if wait is not None and wait <= self._policy.longest_wait:
                self._retry_after = wait
            return error

    def _lost(self, reason: str) -> errors.StreamError:
        return errors.StreamError(
            f"the stream of {self._source.name} was lost: {reason}", code="stream_lost"
        )
