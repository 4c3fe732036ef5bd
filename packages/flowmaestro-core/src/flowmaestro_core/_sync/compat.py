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
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union

from ..reading import (
    LONGEST_END,
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
from ..response import Unanswered

if TYPE_CHECKING:
    import httpx

__all__ = [
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


class Scoped(Generic[T]):
    """Holds one thing per process: a child made by fork may not use its parent's sockets."""

    def __init__(self) -> None:
        self.forget()
        _scoped.add(self)

    def forget(self) -> None:
        """Begin anew, in a child process."""
        self._thing: Optional[T] = None
        self._lock = threading.Lock()

    def get(self, make: Callable[[], T]) -> T:
        """Give this process's thing, made at the first time."""
        thing = self._thing
        if thing is None:
            with self._lock:
                thing = self._thing
                if thing is None:
                    thing = self._thing = make()
        return thing

    def take(self) -> Optional[T]:
        """Give this process's thing up, if there is one."""
        with self._lock:
            thing, self._thing = self._thing, None
        return thing


_scoped: weakref.WeakSet[Scoped[Any]] = weakref.WeakSet()


def _forget_all() -> None:
    for scoped in list(_scoped):
        scoped.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


class Limiter:
    """Lets a number of calls through at a time; the others wait in line."""

    def __init__(self, calls: int) -> None:
        self._semaphore = threading.Semaphore(calls)

    def enter(self, within: Optional[float]) -> bool:
        """Wait for a place, at most so many seconds; False if there was none."""
        return self._semaphore.acquire(timeout=within)

    def leave(self) -> None:
        """Give the place back."""
        self._semaphore.release()


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
        self._thread = start_thread(take_steps, items, self._asked, self._taken)

    def next(self, seconds: float) -> Optional[list[T]]:
        """Wait for a step.

        Returns:
            A list with the item; an empty list where there is none yet; None at the end.
        """
        if not self._is_under_way:
            self._is_under_way = True
            self._asked.put(True)
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

    def __init__(
        self,
        response: httpx.Response,
        failed: Callable[[Exception], Unanswered],
        closed: Callable[[], None],
    ) -> None:
        self._response = response
        self._failed = failed
        self._closed = closed
        self._chunks = chunks_of(response)
        self._beside: Union[Watched, Ahead, None] = None
        # Held by who ends the reading, so that nobody's is ended who has the connection next.
        # A signal's handler may come while its own thread holds it.
        self._ending = threading.RLock()
        self._is_closed = False

    def read(self) -> Union[bytes, Unanswered]:
        """Give the next bytes; none at the end of the response."""
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
        beside = self._beside
        if beside is None:
            way = Watched if is_interruptible(self._response) else Ahead
            beside = self._beside = way(self._response, self._chunks, self._failed)
        return beside.next(pause, look)

    def finish(self) -> None:
        """Give the server a moment to end the response, so that its connection is kept."""
        if self._beside is not None:
            self._beside.finish()

    def interrupt(self) -> None:
        """End a reading that goes on in another thread."""
        with self._ending:
            if self._is_closed:
                return
            if self._beside is None:
                interrupt(self._response)
            else:
                self._beside.interrupt()

    def close(self) -> None:
        """Close the response and free its connection."""
        with self._ending:
            if self._is_closed:
                return
            self._is_closed = True
        if self._beside is not None:
            self._beside.close()
        self._response.close()
        self._closed()


def chunks_of(response: httpx.Response) -> Iterator[bytes]:
    """Iterate over a body; what is not packed needs none of httpx's layers of decoding."""
    if response.is_stream_consumed or "content-encoding" in response.headers:
        return response.iter_bytes()
    stream: Any = response.stream
    return iter(stream)


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
    closed: Callable[[], None],
) -> Pump:
    """Make a pump that owns the response from its first moment on.

    Args:
        response: What is to be read.
        failed: Makes a result of what the HTTP library raised.
        closed: Called when the response is closed.
    """
    return Pump(response, failed, closed)
