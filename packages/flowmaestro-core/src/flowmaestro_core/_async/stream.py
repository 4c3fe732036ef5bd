"""Event streams that end right: reconnected, polled for the status beside, closed when left."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from types import TracebackType
from typing import Any, Callable, Generic, NamedTuple, Optional, TypeVar, Union

from .. import errors
from ..clock import monotonic
from ..config import RECONNECT_SECONDS
from ..events import is_heartbeat
from ..liveness import Liveness
from ..logs import logger
from ..response import Unanswered
from ..retries import RetryPolicy, is_transient, jitter
from ..sse import EventDecoder, EventTooLarge, Frame
from .compat import AsyncPump, Stepper, Stop, close_unless_running

__all__ = ["AsyncEventStream", "AsyncSource", "Connect", "Follower"]

EventT = TypeVar("EventT")

# Ids of events that a reconnect may bring again.
_REMEMBERED_IDS = 1000

# Connections that are spent on the last events of an execution that is over.
_MOST_CATCH_UPS = 8


class Connect(NamedTuple):
    """How a stream is to be opened."""

    # Where to go on; empty for the beginning.
    last_event_id: str
    # True for the first time, False for a reconnect.
    first: bool
    # Seconds left of the stream's deadline, or None without one.
    remaining: Optional[float]
    # Set when the stream is closed; for a source that goes on by itself.
    stop: Stop


class AsyncSource(NamedTuple):
    """Where a stream comes from, and what it means."""

    # What the stream is of, for error messages: "execution 'exec_1'".
    name: str
    open: Callable[[Connect], Awaitable[Union[AsyncPump, AsyncGenerator[dict[str, Any], None]]]]
    # Makes an event of a frame; raises ValueError for one that is none.
    decode: Callable[[Frame], dict[str, Any]]
    # True for the event after which there is no other; None where there is no such event.
    ends: Optional[Callable[[dict[str, Any]], bool]] = None
    # Polls the status, within so many seconds, and gives the last event if it is terminal.
    check: Optional[Callable[[Optional[float]], Awaitable[Optional[dict[str, Any]]]]] = None
    # False where a second connection would do something twice or bring another stream.
    reconnects: bool = True
    # True where the API may simply close the stream when there is nothing more.
    may_just_close: bool = False
    max_retries: int = 3
    deadline: Optional[float] = None
    # An event for every so many seconds without one, and those seconds; None for none.
    heartbeat: Optional[float] = None
    heartbeat_event: Optional[dict[str, Any]] = None
    # Where opening the stream has started something: what its errors say of it in ``details``.
    started: Optional[dict[str, Any]] = None


class AsyncEventStream(Generic[EventT]):
    """An iterator over events that is also a context manager.

    Leaving the loop early frees the connection; ``async with`` or ``aclose()`` does so
    at once. ``aclose()`` may also be called while a loop waits for the next event: the loop
    then ends.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._events = follower.events()
        if follower.source.heartbeat is not None:
            self._events = _with_heartbeats(self._events, follower)

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
        await self._follower.stop()
        await close_unless_running(self._events)

    close = aclose  # async only


async def _with_heartbeats(
    events: AsyncGenerator[Any, None], follower: Follower
) -> AsyncGenerator[Any, None]:
    """Give the events, and one of type ``heartbeat`` whenever none came for so long."""
    source = follower.source
    assert source.heartbeat is not None
    assert source.heartbeat_event is not None
    steps = Stepper(events, follower.stopped)
    try:
        while True:
            step = await steps.next(source.heartbeat)
            if step is None:
                break
            yield step[0] if step else dict(source.heartbeat_event)
    finally:
        error = follower.stop_error
        await follower.stop()
        await steps.aclose()
    if error is not None:
        raise error


class Follower:
    """Follows one stream over all of its connections."""

    def __init__(self, source: AsyncSource) -> None:
        self.source = source
        self.stopped = Stop()
        self._policy = RetryPolicy()
        # A stream that is read once and to its end is bounded by its read timeout alone.
        self._is_watched = source.reconnects or source.deadline is not None
        self._pump: Optional[AsyncPump] = None
        self.stop_error: Optional[errors.FlowMaestroError] = None
        self._was_open = False
        self._connected = False
        self._has_warned = False
        self._last_event_id = ""
        self._ids: deque[str] = deque(maxlen=_REMEMBERED_IDS)
        # The least pause before a reconnect: the server's own, in seconds, and what the last
        # response asked for.
        self._retry = 0.0
        self._retry_after: Optional[float] = None
        self._ending: Optional[dict[str, Any]] = None
        self._was_polled = False
        self._no_connection = False
        # What makes the rest of the stream of no use, once the events before it are given.
        self._invalid: Optional[errors.FlowMaestroError] = None
        self._catch_ups = 0
        # The clock begins with the first event that is asked for.
        self._until: Optional[float] = None
        self._liveness = self._new_liveness(0.0)

    async def events(self) -> AsyncGenerator[Any, None]:
        """Give every event once, in order, to the last."""
        source, stopped = self.source, self.stopped
        ends = source.ends
        now = monotonic()
        self._until = None if source.deadline is None else now + source.deadline
        self._liveness = self._new_liveness(now)
        opened: Any = await self._open(first=True)
        while True:
            error: Optional[errors.FlowMaestroError] = None
            reason = "the server closed the stream"
            if isinstance(opened, AsyncPump):
                pump = self._pump = opened
                self._was_open = True
                decoder = EventDecoder(last_event_id=self._last_event_id)
                self._liveness.opened(monotonic())
                chunk: Union[bytes, Unanswered, None] = b""
                try:
                    while not stopped.is_set:
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
                            if stopped.is_set:
                                break
                        if self._invalid is not None:
                            raise self._invalid
                finally:
                    self._pump = None
                    await pump.aclose()
                if decoder.retry is not None:
                    self._retry = min(decoder.retry / 1000, self._policy.longest_wait)
                if isinstance(chunk, Unanswered):
                    reason = chunk.error.message
                elif chunk is None:
                    reason = "the server fell silent"
                elif source.may_just_close and not stopped.is_set:
                    return
                if not source.reconnects and not stopped.is_set:
                    raise self._lost(reason)
            elif isinstance(opened, errors.FlowMaestroError):
                error, reason = opened, opened.message
            elif opened is not None:
                # Where the API cannot stream, the events come from elsewhere.
                try:
                    async for event in opened:
                        yield event
                        if stopped.is_set:
                            break
                finally:
                    await opened.aclose()
                if not stopped.is_set:
                    return
            if self._ending is None and not stopped.is_set:
                await self._recover(reason, error)
            if stopped.is_set:
                break
            if self._ending is not None:
                if not await self._may_catch_up():
                    yield self._ending
                    return
                self._liveness.ending(monotonic())
            opened = await self._open(first=False)
        if self.stop_error is not None:
            raise self.stop_error

    async def stop(self, error: Optional[errors.FlowMaestroError] = None) -> None:
        """End the following from outside: another thread, another task, a signal's handler."""
        self.stop_error = self.stop_error or error
        self.stopped.set()
        pump = self._pump
        if pump is not None:
            await pump.interrupt()

    async def _open(self, *, first: bool) -> Any:
        """Connect; an error that a status may explain is given back, not raised."""
        self._retry_after = None
        remaining = self._remaining()
        if self._ending is not None:
            late = max(self._liveness.last_moment - monotonic(), 0.001)
            remaining = late if remaining is None else min(remaining, late)
        connect = Connect(self._last_event_id, first, remaining, self.stopped)
        with self.stopped.interruptible():
            try:
                return await self.source.open(connect)
            except errors.FlowMaestroError as error:
                if first and not (error.code == "no_event_stream" and self.source.check):
                    raise
                self._retry_after = getattr(error, "retry_after", None)
                return error
        return None

    def _events_in(self, decoder: EventDecoder, chunk: bytes) -> list[dict[str, Any]]:
        """Decode a chunk into the events that are new."""
        comments = decoder.comments
        try:
            frames = decoder.feed(chunk)
        except EventTooLarge as too_large:
            problem = self._error(
                errors.StreamError,
                f"the stream of {self.source.name} is broken: {too_large}",
                "event_too_large",
            )
        else:
            self._last_event_id = decoder.last_event_id
            events: list[dict[str, Any]] = []
            has_heartbeat = decoder.comments > comments
            is_new = False
            ends = self.source.ends
            for frame in frames:
                if is_heartbeat(frame):
                    has_heartbeat = True
                    continue
                if frame.id:
                    if frame.id in self._ids:
                        continue
                    self._ids.append(frame.id)
                    is_new = True
                event = self._event_in(frame)
                if self._invalid is not None:
                    break
                if event is not None:
                    events.append(event)
                    if ends is not None and ends(event):
                        break
            self._liveness.heard(
                monotonic(), event=bool(events), comment=has_heartbeat, is_new=is_new
            )
            return events
        raise problem

    def _event_in(self, frame: Frame) -> Optional[dict[str, Any]]:
        """Give the event of a frame, or None if it cannot be read or was the greeting."""
        try:
            event = self.source.decode(frame)
        except ValueError as why:
            problem = f"an event of {self.source.name} cannot be read: {why}"
        else:
            if event["type"] != "connected":
                return event
            first, self._connected = not self._connected, True
            return event if first else None
        if not self.source.reconnects:
            self._invalid = self._error(errors.StreamError, problem, "event_invalid")
            return None
        # Once: what sends one such event often sends them all along.
        log = logger.debug if self._has_warned else logger.warning
        log("%s; it is skipped, as are later ones", problem)
        self._has_warned = True
        return None

    def _pause(self) -> float:
        now = monotonic()
        pause = self._liveness.pause(now)
        return pause if self._until is None else max(min(pause, self._until - now), 0.0)

    async def _look(self) -> bool:
        """Look around while the stream is silent; True ends the reading."""
        now = monotonic()
        self._check_deadline(now)
        liveness = self._liveness
        if liveness.is_over(now) or liveness.is_stale(now) or liveness.is_gone(now):
            return True
        if liveness.check_is_due(now):
            await self._poll()
        return self._no_connection

    def _remaining(self) -> Optional[float]:
        return None if self._until is None else max(self._until - monotonic(), 0.001)

    def _check_deadline(self, now: float) -> None:
        if self._until is not None and now >= self._until:
            raise self._error(
                errors.TimeoutError,
                f"the stream of {self.source.name} did not end within its deadline of "
                f"{self.source.deadline:g} s",
                "deadline_exceeded",
            )

    async def _poll(self, *, warns: bool = True) -> None:
        """Poll the status; a poll that fails and may succeed later is left out.

        Args:
            warns: Say so in the log.
        """
        assert self.source.check is not None
        failure: Optional[errors.FlowMaestroError] = None
        began = monotonic()
        with self.stopped.interruptible():
            try:
                self._ending = await self.source.check(self._remaining())
            except errors.FlowMaestroError as error:
                if not is_transient(error):
                    raise
                failure = error
        self._was_polled = failure is None
        # The stream itself holds the only connection of the user's pool: let it go.
        self._no_connection = failure is not None and failure.code == "pool_timeout"
        now = monotonic()
        if self._ending is not None:
            self._liveness.ending(now, took=now - began)
        if warns and failure is not None and not self._no_connection:
            logger.warning("polling the status of %s failed (%s)", self.source.name, failure)
        self._liveness.checked(
            now,
            retry_after=getattr(failure, "retry_after", None),
            succeeded=failure is None,
            unreachable=isinstance(failure, (errors.ConnectionError, errors.TimeoutError)),
        )

    async def _recover(self, reason: str, error: Optional[errors.FlowMaestroError]) -> None:
        """Poll the status and pause before the next connection, or give up.

        Args:
            reason: Why there is no connection.
            error: What the last attempt to connect ended with, or None after a break.
        """
        now = monotonic()
        self._check_deadline(now)
        liveness, has_status = self._liveness, self.source.check is not None
        asked_for = self._retry_after or 0.0
        passes = error is None or (is_transient(error) and asked_for <= self._policy.longest_wait)
        # The execution may have ended while its stream could not be had. A reconnect that
        # hangs must not put off the next poll.
        if has_status and (
            not passes
            or liveness.is_first_loss
            or liveness.check_is_due(now + 2 * RECONNECT_SECONDS)
        ):
            try:
                # A warning follows in any case, or an error.
                await self._poll(warns=False)
            except errors.FlowMaestroError as refused:
                raise error or refused from None
            if self._ending is not None or self.stopped.is_set:
                return
        if error is not None and not passes and not self._can_go_on_without(error):
            raise error
        if self._no_connection:
            self._no_connection = False
            await self.stopped.sleep(self._policy.backoff(1, jitter))
            return
        now = monotonic()
        asked_for = min(asked_for, self._policy.longest_wait)
        failures = liveness.lost(now, asked_for=asked_for)
        if failures is None:
            raise self._lost(reason, liveness.outage(now))
        wait = max(self._policy.backoff(failures, jitter), self._retry, asked_for)
        logger.warning(
            "the stream of %s broke (%s); connecting again in %.1f s",
            self.source.name,
            reason,
            wait,
        )
        await self._wait(wait)

    def _can_go_on_without(self, error: errors.FlowMaestroError) -> bool:
        """Say whether polls can stand in for a stream that is refused when it is opened again."""
        if self.source.check is None or not self._was_open:
            return False
        if isinstance(error, (errors.AuthenticationError, errors.AuthorizationError)):
            return False
        return self._was_polled or not isinstance(error, errors.RateLimitError)

    async def _wait(self, seconds: float) -> None:
        """Pause before a reconnect, and poll the status when that is due."""
        remaining = self._remaining()
        left = seconds if remaining is None else min(seconds, remaining)
        while left > 0 and self._ending is None and not self.stopped.is_set:
            now = monotonic()
            pause = min(left, self._liveness.until_check(now))
            await self.stopped.sleep(pause)
            left -= pause
            if left > 0 and not self.stopped.is_set:
                await self._poll()

    async def _may_catch_up(self) -> bool:
        """Say whether a new connection may bring what a dead one kept back before the end.

        Only where the server gives ids does it send again what was missed.
        """
        if not self._last_event_id or self._catch_ups >= _MOST_CATCH_UPS:
            return False
        now = monotonic()
        if not self._catch_ups:
            self._liveness.catching_up(now)
        elif now >= self._liveness.last_moment:
            return False
        self._catch_ups += 1
        if self._catch_ups > 1:
            await self.stopped.sleep(self._policy.backoff(min(self._catch_ups, 3) - 2, jitter))
        return True

    def _new_liveness(self, now: float) -> Liveness:
        return Liveness(
            now, max_retries=self.source.max_retries, checks=self.source.check is not None
        )

    def _lost(self, reason: str, outage: float = 0.0) -> errors.FlowMaestroError:
        away = f" (no progress for {outage:.0f} s)" if outage >= 1 else ""
        message = f"the stream of {self.source.name} was lost: {reason}{away}"
        return self._error(errors.StreamError, message, "stream_lost")

    def _error(
        self, cls: type[errors.FlowMaestroError], message: str, code: str
    ) -> errors.FlowMaestroError:
        started = self.source.started
        return cls(message, code=code, details=started, outcome_unknown=started is not None)
