"""What cannot be translated: the synchronous half of a hand-written pair.

Its twin is ``_async/compat.py``, with the same names and meanings.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union

from ..reading import Ahead, Watched, interrupt, is_interruptible, read_from, read_until
from ..response import Unanswered

if TYPE_CHECKING:
    import httpx

__all__ = [
    "Limiter",
    "Pump",
    "Scoped",
    "chunks_of",
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
        interrupt(self._response)

    def close(self) -> None:
        """Close the response and free its connection."""
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
