"""What cannot be translated: the synchronous half of a hand-written pair.

Its twin is ``_async/compat.py``, with the same names and meanings.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union

from ..response import Unanswered

if TYPE_CHECKING:
    import httpx

__all__ = [
    "Limiter",
    "Pump",
    "Scoped",
    "chunks_of",
    "discard",
    "open_pump",
    "settle",
    "sleep",
    "time_limit",
]

T = TypeVar("T")

sleep = time.sleep

# Seconds for the end of a response after its last event.
LAST_MOMENT = 0.02

# Chunks that are read ahead of a slow consumer, of up to 64 KiB each: after that the
# reading waits, and TCP tells the server.
_READ_AHEAD = 8


def settle(result: object) -> None:
    """Stand in for the twin's wait: a synchronous callback is done when it returns."""


class _NoLimit:
    """A thread cannot be cancelled: the timeouts of the request have to bound it."""

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

    ``read`` reads in the caller's thread. ``next``, which has to look around while it
    waits, leaves the reading to a thread of its own, started when it is first needed and
    ended with the pump.
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
        # Two queues of the kind that is written in C, one for the chunks and one for the room
        # that is left: a queue with a bound takes ten times as long.
        self._ahead: queue.SimpleQueue[Union[bytes, Unanswered]] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def read(self) -> Union[bytes, Unanswered]:
        """Give the next bytes; none at the end of the response."""
        return _read(self._chunks, self._failed)

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
        if self._thread is None:
            self._thread = threading.Thread(
                target=_read_ahead,
                args=(self._chunks, self._failed, self._ahead, self._room, self._stopped),
                name="flowmaestro-stream",
                daemon=True,
            )
            for _ in range(_READ_AHEAD):
                self._room.put(None)
            self._thread.start()
        while True:
            try:
                chunk = self._ahead.get(timeout=pause())
            except queue.Empty:
                if look():
                    return None
            else:
                self._room.put(None)
                return chunk

    def finish(self) -> None:
        """Give the server a moment to end the response, so that its connection is kept."""
        if self._thread is None:
            return
        end = time.monotonic() + LAST_MOMENT
        chunk: Union[bytes, Unanswered] = b"not the end"
        with contextlib.suppress(queue.Empty):
            while chunk and not isinstance(chunk, Unanswered):
                chunk = self._ahead.get(timeout=max(end - time.monotonic(), 0.0))
                self._room.put(None)
            # The thread ends with the response; it may be about to.
            self._thread.join(LAST_MOMENT)

    def interrupt(self) -> None:
        """End a reading that goes on in another thread.

        Closing a socket does not wake a thread that reads from it; shutting it down does.
        """
        stream = self._response.extensions.get("network_stream")
        sock = stream.get_extra_info("socket") if stream is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the response and free its connection."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._thread is not None:
            if self._thread.is_alive():
                self.interrupt()
            # The thread may be waiting for room.
            self._room.put(None)
            self._thread.join(timeout=2.0)
        self._response.close()
        self._closed()


def chunks_of(response: httpx.Response) -> Iterator[bytes]:
    """Iterate over a body; what is not packed needs none of httpx's layers of decoding."""
    if response.is_stream_consumed or "content-encoding" in response.headers:
        return response.iter_bytes()
    stream: Any = response.stream
    return iter(stream)


def discard(response: httpx.Response, chunks: Iterator[bytes]) -> None:
    """Close a response that was not read to its end."""
    response.close()


def _read(
    chunks: Iterator[bytes], failed: Callable[[Exception], Unanswered]
) -> Union[bytes, Unanswered]:
    # Only where there are chunks there is httpx: importing this module is cheap.
    from ..http import TRANSPORT_FAILURES

    try:
        return next(chunks)
    except StopIteration:
        return b""
    except TRANSPORT_FAILURES as failure:
        return failed(failure)


def _read_ahead(
    chunks: Iterator[bytes],
    failed: Callable[[Exception], Unanswered],
    ahead: queue.SimpleQueue[Union[bytes, Unanswered]],
    room: queue.SimpleQueue[None],
    stopped: threading.Event,
) -> None:
    """Read until the end. Holds no reference to the pump, which can so be collected."""
    while True:
        room.get()
        if stopped.is_set():
            return
        try:
            chunk = _read(chunks, failed)
        except Exception as failure:
            # Nobody would see it here, and the reader would wait for ever.
            chunk = failed(failure)
        ahead.put(chunk)
        if not chunk or isinstance(chunk, Unanswered):
            return


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
