"""Ways for threads to read a response while something else goes on beside.

``read_until`` keeps a deadline. ``Watched`` reads in the caller's thread, and another thread
looks around when it takes long: a chunk costs no change of threads, but the reading must be
such that it can be ended from outside. ``Ahead`` is for all else: another thread reads, and
the caller's looks.
"""

from __future__ import annotations

import contextlib
import math
import queue
import socket
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional, TypeVar, Union

from .clock import monotonic
from .response import Unanswered

if TYPE_CHECKING:
    import httpx

__all__ = [
    "LAST_MOMENT",
    "LONGEST_END",
    "NOT_YOURS",
    "Ahead",
    "Step",
    "Watched",
    "interrupt",
    "is_interruptible",
    "read_from",
    "read_until",
    "start_thread",
    "take_steps",
    "wait_for",
]

# Seconds for the end of a response after its last event.
LAST_MOMENT = 0.02

# What reading says in a process that was forked off.
NOT_YOURS = "it belongs to the process that opened it"

# Chunks that are read ahead of a slow consumer, of up to 64 KiB each: after that the
# reading waits, and TCP tells the server.
_READ_AHEAD = 8

# Seconds to wait for a thread that was told to end.
LONGEST_END = 2.0

_NAME = "flowmaestro-stream"

T = TypeVar("T")
Chunk = Union[bytes, Unanswered]
Failed = Callable[[Exception], Unanswered]
Pause = Callable[[], float]
Look = Callable[[], bool]


class Step(NamedTuple):
    """What a step of an iterator gave: a list with the item, or None at the end; or an error."""

    found: Optional[list[Any]]
    problem: Optional[Exception] = None


def take_steps(
    items: Iterator[Any], asked: queue.SimpleQueue[bool], taken: queue.SimpleQueue[Optional[Step]]
) -> None:
    """Take a step of an iterator for each True that is asked; False is the last."""
    while asked.get():
        try:
            step = Step([next(items)])
        except StopIteration:
            step = Step(None)
        except Exception as problem:
            step = Step(None, problem)
        taken.put(step)


def wait_for(waiting: queue.SimpleQueue[T], within: Optional[float]) -> T:
    """Take the next thing from a queue.

    Raises:
        Empty: There is none in time.
    """
    try:
        return waiting.get_nowait()
    except queue.Empty:
        if within is not None and within <= 0:
            raise
    # Not without the try before it, which takes the queue's lock: where Python before 3.11
    # finds that free and then the time over, it waits for ever.
    is_bounded = within is not None and within <= threading.TIMEOUT_MAX
    return waiting.get(timeout=within if is_bounded else None)


def read_from(chunks: Iterator[bytes], failed: Failed) -> Chunk:
    """Give the next bytes; none at the end of the response."""
    # Only where there are chunks there is httpx: importing this module is cheap.
    from .http import transport_failures

    try:
        return next(chunks)
    except StopIteration:
        return b""
    except transport_failures() as failure:
        return failed(failure)


def _is_end(chunk: Optional[Chunk]) -> bool:
    return not chunk or isinstance(chunk, Unanswered)


def is_interruptible(response: httpx.Response) -> bool:
    """Say whether ``interrupt`` ends a reading of this response, and of no other.

    An HTTP/2 connection carries others as well. Windows does not promise to wake a thread
    that reads from a socket when that is shut down.
    """
    version = response.extensions.get("http_version")
    return sys.platform != "win32" and version == b"HTTP/1.1" and _socket_of(response) is not None


def interrupt(response: httpx.Response) -> None:
    """End a reading that goes on in another thread.

    Closing a socket does not wake a thread that reads from it; shutting it down does. That
    of TLS is left alone: it would be taken apart while the other thread is in it. A connection
    of HTTP/2 carries other responses too, and stays.
    """
    if response.extensions.get("http_version") == b"HTTP/2":
        return
    sock = _socket_of(response)
    if sock is not None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _socket_of(response: httpx.Response) -> Optional[socket.socket]:
    stream = response.extensions.get("network_stream")
    sock = None if stream is None else stream.get_extra_info("socket")
    return sock if isinstance(sock, socket.socket) else None


def read_until(response: httpx.Response, chunks: Iterator[bytes], until: float) -> Iterator[bytes]:
    """Iterate over a body; when it is late, the reading is ended by a timer.

    Raises:
        TimeoutError: It is late, and was not the timer's to end.
    """
    # The pool looks here when it begins to read the body, which most are with one chunk.
    timeout: dict[str, Optional[float]] = response.request.extensions["timeout"]
    left = max(until - monotonic(), 0.001)
    timeout["read"] = min(timeout["read"] or left, left)
    missing = _length_of(response)
    # Held to end the reading, so that nobody else's is ended, once this one is over.
    ending = threading.Lock()
    is_over = False
    timer: Optional[threading.Timer] = None

    def end() -> None:
        with ending:
            if not is_over:
                interrupt(response)

    try:
        for chunk in chunks:
            yield chunk
            missing -= len(chunk)
            left = until - monotonic()
            if left <= 0 < missing:
                raise TimeoutError("the deadline is over")
            if timer is None and missing > 0 and is_interruptible(response):
                timer = threading.Timer(min(left, threading.TIMEOUT_MAX), end)
                timer.daemon = True
                # Where no thread can be started, the deadline is kept between the chunks.
                with contextlib.suppress(RuntimeError):
                    timer.start()
    finally:
        with ending:
            is_over = True
        if timer is not None:
            timer.cancel()


def _length_of(response: httpx.Response) -> float:
    """Give the bytes that a body will have, or infinity where that is not known."""
    length = response.headers.get("content-length", "")
    is_known = "content-encoding" not in response.headers and length.isdecimal()
    return float(length) if is_known else math.inf


class _Begun:
    """Says that a thread has begun: what a thread's start waits for.

    Python's own is an Event, whose lock stays taken for ever where the waiting is interrupted
    at the wrong step; the new thread then never gets on. These steps are written in C.
    """

    def __init__(self) -> None:
        self._has_begun = False
        self._told: queue.SimpleQueue[None] = queue.SimpleQueue()

    def is_set(self) -> bool:
        return self._has_begun

    def set(self) -> None:
        self._has_begun = True
        self._told.put(None)

    def wait(self, timeout: Optional[float] = None) -> bool:
        if not self._has_begun:
            with contextlib.suppress(queue.Empty):
                wait_for(self._told, timeout)
        return self._has_begun

    def _at_fork_reinit(self) -> None:
        """Stand in for the Event's: there is no lock."""


class _Thread(threading.Thread):
    """A thread that ends with the program, and whose start may be interrupted."""

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        super().__init__(target=target, args=args, name=_NAME, daemon=True)
        if hasattr(self, "_started"):
            self._started = _Begun()


def start_thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    """Start a thread that ends with the program, and whose start may be interrupted.

    Raises:
        RuntimeError: The operating system gives none, or the interpreter is shutting down.
    """
    thread = _Thread(target, *arguments)
    thread.start()
    return thread


class Watched:
    """Reads in the caller's thread, watched by a thread that looks around."""

    def __init__(self, response: httpx.Response, chunks: Iterator[bytes], failed: Failed) -> None:
        self._chunks = chunks
        self._failed = failed
        self._response = response
        self._watch = _Watch(lambda: interrupt(response))
        self._is_interrupted = False

    def next(self, pause: Pause, look: Look) -> Optional[Chunk]:
        """Give the next bytes, or None when a look ended the reading."""
        watch = self._watch
        watch.begin(pause, look)
        # After Ctrl-C the stream is closed, and no look is waited for.
        chunk = read_from(self._chunks, self._failed)
        if self._is_interrupted:
            return b""
        watch.rest()
        if not (watch.has_ended and _is_end(chunk)):
            return chunk
        if watch.problem is not None:
            raise watch.problem
        return None

    def finish(self) -> None:
        """Read to the end, if it comes at once."""
        self._watch.begin(lambda: LAST_MOMENT, lambda: True)
        while not _is_end(read_from(self._chunks, self._failed)):
            pass
        self._watch.rest()

    def interrupt(self) -> None:
        """End the reading from another thread, without a wait for a look."""
        self._is_interrupted = True
        interrupt(self._response)

    def close(self) -> None:
        """End the watching."""
        self._watch.stop()


class _Watch:
    """A timer with a thread, that is set to another time at each reading.

    The caller only notes the time; the thread is woken for an earlier one than it waits for,
    and sees a later one when it wakes. While it waits it holds the bell alone, so that it ends
    when the watch is lost before anybody could stop it.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._pause: Pause = lambda: math.inf
        self._look: Look = lambda: False
        # Held while the thread looks.
        self._looking = threading.Lock()
        # A queue may be rung by the garbage collector as well, in any thread.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        # When to look, and when the thread wakes of itself.
        self._due = self._wakes = math.inf
        self._is_stopped = False
        self.has_ended = False
        self.problem: Optional[Exception] = None
        bell = self._bell
        this = weakref.ref(self, lambda _: bell.put(None))
        self._thread = start_thread(_watch, this, bell)

    def begin(self, pause: Pause, look: Look) -> None:
        """Look after each pause, until it is time to rest."""
        self._pause, self._look = pause, look
        due = self._due = monotonic() + pause()
        if due < self._wakes:
            self._bell.put(None)

    def rest(self) -> None:
        """Look no more; one look that is under way is waited for."""
        with self._looking:
            self._due = math.inf

    def stop(self) -> None:
        """End the thread."""
        self._is_stopped = True
        self._bell.put(None)
        # A look may take long; its thread ends after it. The garbage collector may be here
        # from any thread.
        if not self._looking.locked() and self._thread is not threading.current_thread():
            self._thread.join(LONGEST_END)

    def turn(self) -> Optional[float]:
        """Look if it is time to; give the seconds until it is, or None at the end."""
        if self._is_stopped:
            return None
        # From here on every `begin` rings, until it is known when to wake.
        self._wakes = math.inf
        self._wakes = due = self._due
        wait = due - monotonic()
        if wait <= 0 and self._is_over():
            self._end()
            return None
        return max(wait, 0.0)

    def _is_over(self) -> bool:
        """Look, if it is still time for it."""
        with self._looking:
            if self._due > monotonic():
                return False
            try:
                self.has_ended = self._look()
            except Exception as raised:
                # For the caller, when it has stopped reading.
                self.problem = raised
                self.has_ended = True
            self._due = monotonic() + self._pause()
            return self.has_ended


def _watch(this: weakref.ref[_Watch], bell: queue.SimpleQueue[None]) -> None:
    while True:
        watch = this()
        wait = None if watch is None else watch.turn()
        del watch
        if wait is None:
            return
        with contextlib.suppress(queue.Empty):
            wait_for(bell, wait)


class Ahead:
    """Reads in a thread of its own, some chunks ahead; the caller's thread looks around."""

    def __init__(self, response: httpx.Response, chunks: Iterator[bytes], failed: Failed) -> None:
        self._response = response
        # Two queues of the kind that is written in C, one for the chunks and one for the room
        # that is left: a queue with a bound takes ten times as long.
        self._ahead: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(_READ_AHEAD):
            self._room.put(None)
        self._stopped = threading.Event()
        self._thread = start_thread(
            _read_ahead, chunks, failed, self._ahead, self._room, self._stopped
        )

    def next(self, pause: Pause, look: Look) -> Optional[Chunk]:
        """Give the next bytes, or None when a look ended the reading."""
        while True:
            chunk = self._take(pause())
            if chunk is not None:
                return chunk
            problem: Optional[Exception] = None
            try:
                if not look():
                    continue
            except Exception as raised:
                problem = raised
            # What came during the look comes before what the look says.
            chunk = self._take(0.0)
            if not _is_end(chunk):
                return chunk
            if problem is not None:
                raise problem
            return None

    def _take(self, within: float) -> Optional[Chunk]:
        """Give the next chunk, or None where there is none in time."""
        try:
            chunk = wait_for(self._ahead, within)
        except queue.Empty:
            return None
        self._room.put(None)
        return chunk

    def finish(self) -> None:
        """Read to the end, if it comes at once."""
        end = monotonic() + LAST_MOMENT
        while not _is_end(self._take(max(end - monotonic(), 0.0))):
            pass
        # The thread ends with the response; it may be about to.
        self._thread.join(LAST_MOMENT)

    def interrupt(self) -> None:
        """End the reading from another thread."""
        interrupt(self._response)
        # Where that does not end it, the reader is told so all the same.
        self._ahead.put(b"")

    def __del__(self) -> None:
        """End the reading of one that was lost before anybody could close it."""
        self._stopped.set()
        self._room.put(None)

    def close(self) -> None:
        """End the reading."""
        self._stopped.set()
        if self._thread.is_alive():
            interrupt(self._response)
        # The thread may be waiting for room.
        self._room.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(LONGEST_END)


def _read_ahead(
    chunks: Iterator[bytes],
    failed: Failed,
    ahead: queue.SimpleQueue[Chunk],
    room: queue.SimpleQueue[None],
    stopped: threading.Event,
) -> None:
    """Read until the end. Holds no reference to the pump, which can so be collected."""
    while True:
        room.get()
        if stopped.is_set():
            return
        try:
            chunk = read_from(chunks, failed)
        except Exception as failure:
            # Nobody would see it here, and the reader would wait for ever.
            chunk = failed(failure)
        ahead.put(chunk)
        if _is_end(chunk):
            return
