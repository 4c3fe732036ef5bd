"""What cannot be translated: the synchronous half of a hand-written pair.

Its twin is ``_async/compat.py``, with the same names and meanings.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import weakref
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, Protocol, TypeVar, Union

from .. import errors
from ..reading import (
    LONGEST_END,
    NOT_YOURS,
    Ahead,
    Step,
    Watched,
    interrupt,
    is_interruptible,
    read_from,
    read_until,
    start_thread,
    take_steps,
    wait_for,
)
from ..response import Answer, Unanswered
from ..sockets import expire_if_left_over, release

if TYPE_CHECKING:
    import httpx

    from ..coding import Unpacker

__all__ = [
    "INTERRUPTIONS",
    "Limiter",
    "Pump",
    "Scoped",
    "Stepper",
    "Stop",
    "chunks_of",
    "close_unless_running",
    "discard",
    "in_time",
    "open_pump",
    "settle",
    "sleep",
    "time_limit",
]

T = TypeVar("T")

sleep = time.sleep

# What leaves a request in the middle of a step: Ctrl-C, the exception of a signal's handler,
# one that is set in the thread from outside.
INTERRUPTIONS: tuple[type[BaseException], ...] = (BaseException,)


def settle(result: object) -> None:
    """Stand in for the twin's wait: a synchronous callback is done when it returns."""


class _NoLimit:
    """A thread cannot be cancelled: timeouts bound its steps, and ``in_time`` its reading."""

    def __enter__(self) -> _NoLimit:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def time_limit(seconds: Optional[float]) -> _NoLimit:
    """Stand in for the twin's bound."""
    return _NoLimit()


class _Closing(Protocol):
    """What can be closed, or let go."""

    def close(self) -> None: ...

    def abandon(self) -> None: ...


ThingT = TypeVar("ThingT", bound=_Closing)


class _Held(Generic[ThingT]):
    """What a process has of its own."""

    def __init__(self) -> None:
        self.thing: Optional[ThingT] = None
        # Not the parent's, which another of its threads may hold for ever.
        self.lock = threading.Lock()


class Scoped(Generic[ThingT]):
    """Holds one thing per process: a child made by fork may not use its parent's sockets.

    Python is not told of every fork, so the process is asked for each time.
    """

    def __init__(self) -> None:
        self._held: dict[int, _Held[ThingT]] = {}
        _scoped.add(self)

    def get(self, make: Callable[[], ThingT]) -> ThingT:
        """Give this process's thing, made at the first time."""
        held = self._held.get(os.getpid())
        if held is None:
            held = self._begin()
        thing = held.thing
        if thing is None:
            with held.lock:
                thing = held.thing
                if thing is None:
                    thing = held.thing = make()
        return thing

    def close(self) -> None:
        """Close this process's thing, if there is one."""
        held = self._begin()
        with held.lock:
            thing, held.thing = held.thing, None
        if thing is not None:
            thing.close()

    def leave_to_parent(self) -> None:
        """Let go of what a parent process has made."""
        process = os.getpid()
        for other in list(self._held):
            if other != process:
                held = self._held.pop(other, None)
                if held is not None and held.thing is not None:
                    held.thing.abandon()

    def _begin(self) -> _Held[ThingT]:
        # One step, for threads that come here at the same time.
        held = self._held.setdefault(os.getpid(), _Held())
        self.leave_to_parent()
        return held


_scoped: weakref.WeakSet[Scoped[Any]] = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for scoped in list(_scoped):
        scoped.leave_to_parent()


if hasattr(os, "register_at_fork"):
    # Also for a child that never makes a call: its copy would keep a connection open that
    # the parent closes.
    os.register_at_fork(after_in_child=_leave_all_to_parent)


class _Turn:
    """A call that may be under way. One that is lost goes back into the line by itself."""

    __slots__ = ("_line",)

    def __init__(self, line: queue.SimpleQueue[_Turn]) -> None:
        self._line = weakref.ref(line)

    def __del__(self) -> None:
        line = self._line()
        if line is not None:
            line.put(type(self)(line))


class Limiter:
    """Lets a number of calls through at a time, or any; the others wait in line."""

    def __init__(self, calls: Optional[int]) -> None:
        # Its steps are written in C: an exception that is set from outside comes before one
        # or after it, and not in the middle.
        self._line: Optional[queue.SimpleQueue[_Turn]] = None
        if calls is not None:
            self._line = queue.SimpleQueue()
            for _ in range(calls):
                self._line.put(_Turn(self._line))

    def enter(self, within: Optional[float]) -> Optional[object]:
        """Wait for a turn, at most so many seconds; None if there was none."""
        line = self._line
        if line is None:
            return self
        try:
            return wait_for(line, within)
        except queue.Empty:
            return None

    def leave(self, turn: object) -> None:
        """Give the turn back."""
        if self._line is not None and isinstance(turn, _Turn):
            self._line.put(turn)


class Stop:
    """Ends from outside what a stream waits for: a pause, or the next step.

    ``set`` may be called by any thread, and by a signal's handler in the middle of ``sleep``:
    the queue's ``put`` is made for that, where the locks of an event would wait for each other.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._wake: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Where else somebody waits.
        self.wakes: list[queue.SimpleQueue[Any]] = [self._wake]

    def set(self) -> None:
        """End the waiting of another thread, now and from now on."""
        self.is_set = True
        for waiting in self.wakes:
            waiting.put(None)

    def interruptible(self) -> _NoLimit:
        """Stand in for the twin's: a request that is under way is bounded by its timeouts."""
        return _NoLimit()

    def sleep(self, seconds: float) -> None:
        """Pause, at most until ``set`` is called."""
        with suppress(queue.Empty):
            wait_for(self._wake, seconds)


def close_unless_running(events: Generator[Any, None, None]) -> None:
    """Close a generator that no other thread, and no frame below, is in the middle of."""
    try:
        events.close()
    except ValueError as problem:
        if "already executing" not in str(problem):
            raise


class Stepper(Generic[T]):
    """Takes one step of an iterator at a time, and waits for it as long as it is told to.

    The steps are taken by a thread. One that takes longer goes on, and is what the next
    waiting is for.
    """

    def __init__(self, items: Generator[T, None, None], stop: Stop) -> None:
        self._items = items
        self._stop = stop
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._taken: queue.SimpleQueue[Optional[Step]] = queue.SimpleQueue()
        # A close from another thread does not wait for a step that cannot be interrupted.
        stop.wakes.append(self._taken)
        self._is_under_way = False
        try:
            self._thread = start_thread(take_steps, items, self._asked, self._taken)
        except RuntimeError as refused:
            # By the operating system, or at the exit of the interpreter.
            raise errors.StreamError(
                f"heartbeats need a thread, and none can be started: {refused}",
                code="thread_refused",
            ) from None

    def next(self, seconds: float) -> Optional[list[T]]:
        """Wait for a step.

        Returns:
            A list with the item; an empty list where there is none yet; None at the end.
        """
        if not self._is_under_way:
            self._is_under_way = True
            self._asked.put(True)
        step: Optional[Step] = None
        with suppress(queue.Empty):
            step = None if self._stop.is_set else wait_for(self._taken, seconds)
        if step is None:
            return None if self._stop.is_set else []
        self._is_under_way = False
        if step.problem is not None:
            raise step.problem
        return step.found

    def close(self) -> None:
        """End a step that is under way, and the iterator."""
        self._asked.put(False)
        if self._thread is not threading.current_thread():
            self._thread.join(LONGEST_END)
        close_unless_running(self._items)


class Pump:
    """Brings the bytes of an open response, while something else goes on beside.

    ``read`` reads and does nothing else. ``next`` looks around while it waits; the thread
    that it needs for this is started when it is first called, and ended with the pump.
    """

    # Until it is made.
    _is_closed = True

    def __init__(
        self,
        response: httpx.Response,
        failed: Callable[[Exception], Unanswered],
        closed: Callable[[], object],
    ) -> None:
        self._response = response
        self._failed = failed
        self._closed = closed
        self._chunks = chunks_of(response)
        self._beside: Union[Watched, Ahead, None] = None
        # Held by who ends the reading, so that nobody's is ended who has the connection next.
        # A signal's handler may come while its own thread holds it.
        self._ending = threading.RLock()
        self._process = os.getpid()
        self._is_closed = False

    @property
    def head(self) -> Answer:
        """The status and the headers of the response."""
        from ..http import answer_of

        return answer_of(self._response, b"")

    def read(self) -> Union[bytes, Unanswered]:
        """Give the next bytes; none at the end of the response."""
        if self._process != os.getpid():
            return self._failed(OSError(NOT_YOURS))
        return read_from(self._chunks, self._failed)

    def next(
        self, pause: Callable[[], float], look: Callable[[], bool]
    ) -> Union[bytes, Unanswered, None]:
        """Give the next bytes, looking around while there are none.

        Args:
            pause: Tells how many seconds to wait before the next look.
            look: Called after each pause; True ends the reading.

        Returns:
            Bytes, none at the end of the response; None when a look ended it.
        """
        if self._process != os.getpid():
            return self._failed(OSError(NOT_YOURS))
        beside = self._beside
        if beside is None:
            way = Watched if is_interruptible(self._response) else Ahead
            try:
                beside = self._beside = way(self._response, self._chunks, self._failed)
            except RuntimeError as refused:
                # By the operating system, or at the exit of the interpreter.
                return self._failed(OSError(f"no thread can be started to watch it: {refused}"))
        return beside.next(pause, look)

    def finish(self) -> None:
        """Give the server a moment to end the response, so that its connection is kept."""
        if self._beside is not None and self._process == os.getpid():
            self._beside.finish()

    def interrupt(self) -> None:
        """End a reading that goes on in another thread."""
        if self._process != os.getpid():
            return
        with self._ending:
            if self._is_closed:
                return
            if self._beside is None:
                interrupt(self._response)
            else:
                self._beside.interrupt()

    def close(self) -> None:
        """Close the response and free its connection."""
        if self._process != os.getpid():
            if not self._is_closed:
                self._is_closed = True
                # The threads are not here, and locks may be held by them for ever.
                release(self._response.extensions.get("network_stream"))
                _inherited.append((self._chunks, self._beside))
            return
        with self._ending:
            if self._is_closed:
                return
            self._is_closed = True
        try:
            if self._beside is not None:
                self._beside.close()
            expire_if_left_over(self._response)
            self._response.close()
        except BaseException:
            # The place is not given back: when it is lost, all that it had is closed.
            release(self._response.extensions.get("network_stream"))
            raise
        self._closed()

    def __del__(self) -> None:
        """Free the connection of a pump that was lost before anybody could close it.

        Nothing here takes a lock: the garbage collector may be here from any thread.
        """
        if not self._is_closed:
            self._is_closed = True
            release(self._response.extensions.get("network_stream"))
            if self._process != os.getpid():
                _inherited.append((self._chunks, self._beside))


# What was read in a parent process. Its end would take locks that nobody here gives back.
_inherited: list[object] = []


def chunks_of(response: httpx.Response) -> Iterator[bytes]:
    """Iterate over a body; what is not packed needs none of httpx's layers of decoding."""
    if response.is_stream_consumed:
        return response.iter_bytes()
    stream: Any = response.stream
    chunks: Iterator[bytes] = iter(stream)
    if "content-encoding" in response.headers:
        from ..http import unpacker_of

        unpacker = unpacker_of(response)
        return response.iter_bytes() if unpacker is None else _unpacked(chunks, unpacker)
    return chunks


def _unpacked(chunks: Iterator[bytes], unpacker: Unpacker) -> Iterator[bytes]:
    for chunk in chunks:
        yield from unpacker.feed(chunk)
    unpacker.end()


def in_time(
    response: httpx.Response, chunks: Iterator[bytes], until: Optional[float]
) -> Iterator[bytes]:
    """Iterate over a body that has to be read in time, however slowly it drips in.

    Args:
        response: Whose body it is.
        chunks: The body.
        until: When it is late, by the monotonic clock, or None.
    """
    return chunks if until is None else read_until(response, chunks, until)


def discard(response: httpx.Response, chunks: Iterator[bytes]) -> None:
    """Close a response that was not read to its end."""
    response.close()


def open_pump(
    response: httpx.Response,
    failed: Callable[[Exception], Unanswered],
    closed: Callable[[], object],
) -> Pump:
    """Make a pump that owns the response from its first moment on.

    Args:
        response: What is to be read.
        failed: Makes a result of what the HTTP library raised.
        closed: Called when the response is closed.
    """
    return Pump(response, failed, closed)
