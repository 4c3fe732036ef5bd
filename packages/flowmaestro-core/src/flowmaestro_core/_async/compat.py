"""What cannot be translated: the asynchronous half of a hand-written pair.

Its twin is ``_sync/compat.py``. Both give the same names with the same meaning, so that
everything built on them is written once. asyncio is named here and nowhere else.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union
from weakref import WeakKeyDictionary

import anyio

from ..reading import LAST_MOMENT
from ..response import Unanswered

if TYPE_CHECKING:
    import httpx

__all__ = [
    "AsyncPump",
    "Limiter",
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

sleep = anyio.sleep

# Pieces that may be left of a chunk of 64 KiB, were each of them one byte.
_MOST_BUFFERED = 65_536

# Seconds that a look which is under way may still take when there is something to read.
_LONGEST_LOOK = 3.0


async def settle(result: object) -> None:
    """Wait for what a callback of the user's gave, if it is to be waited for."""
    if isinstance(result, Awaitable):
        await result


def time_limit(seconds: Optional[float]) -> AbstractContextManager[object]:
    """Leave a block when so many seconds have passed."""
    return _NO_LIMIT if seconds is None else anyio.move_on_after(seconds)


_NO_LIMIT = nullcontext()


class Scoped(Generic[T]):
    """Holds one thing per event loop: connections of one loop are of no use in another."""

    def __init__(self) -> None:
        self._things: WeakKeyDictionary[Any, T] = WeakKeyDictionary()

    def get(self, make: Callable[[], T]) -> T:
        """Give this loop's thing, made at the first time."""
        loop = _current_loop()
        thing = self._things.get(loop)
        if thing is None:
            thing = self._things[loop] = make()
        return thing

    def take(self) -> Optional[T]:
        """Give this loop's thing up, if there is one."""
        thing = self._things.pop(_current_loop(), None)
        # What belongs to other loops can only be closed there; those loops are over.
        self._things.clear()
        return thing


def _current_loop() -> Any:
    if "trio" in sys.modules:
        import trio

        try:
            return trio.lowlevel.current_trio_token()
        except RuntimeError:
            pass
    return asyncio.get_running_loop()


class Limiter:
    """Lets a number of calls through at a time; the others wait in line."""

    def __init__(self, calls: int) -> None:
        self._semaphore = anyio.Semaphore(calls, fast_acquire=True)

    async def enter(self, within: Optional[float]) -> bool:
        """Wait for a place, at most so many seconds; False if there was none."""
        try:
            self._semaphore.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(within):
                await self._semaphore.acquire()
                return True
            return False
        return True

    def leave(self) -> None:
        """Give the place back."""
        self._semaphore.release()


class AsyncPump:
    """Brings the bytes of an open response, while something else goes on beside.

    No task outlives a call of ``next``, so there is none to leak: leaving a stream early,
    cancelling it, or losing it to the garbage collector ends the reading with it.
    """

    def __init__(
        self,
        response: httpx.Response,
        failed: Callable[[Exception], Unanswered],
        closed: Callable[[], None],
    ) -> None:
        # Only where there is a response there is httpx: importing this module is cheap.
        from ..http import TRANSPORT_FAILURES

        self._chunks = _chunks_of(response, closed)
        self._failed = failed
        # The last one: the client was closed while the stream was read.
        self._failures = (*TRANSPORT_FAILURES, anyio.ClosedResourceError)
        on_asyncio = isinstance(_current_loop(), asyncio.AbstractEventLoop)
        self._beside = _by_timer if on_asyncio else _by_group

    async def read(self) -> Union[bytes, Unanswered]:
        """Give the next bytes; none at the end of the response."""
        try:
            return await self._chunks.__anext__()
        except StopAsyncIteration:
            return b""
        except self._failures as failure:
            return self._failed(failure)

    async def next(
        self, pause: Callable[[], float], look: Callable[[], Awaitable[bool]]
    ) -> Union[bytes, Unanswered, None]:
        """Give the next bytes, looking around while there are none.

        Args:
            pause: Tells how many seconds to wait before the next look.
            look: Called after each pause; True ends the reading.

        Returns:
            Bytes, none at the end of the response; None when a look ended it.
        """
        looks = _Looks(pause, look)
        result = await self._beside(self.read, looks)
        if result is None and looks.problem is not None:
            # Outside of a task group, which would wrap it.
            raise looks.problem
        return result

    async def finish(self) -> None:
        """Give the server a moment to end the response, so that its connection is kept."""
        with anyio.move_on_after(LAST_MOMENT):
            while await self.read():
                pass

    def interrupt(self) -> None:
        """End a reading that goes on elsewhere: closing the pool does so here."""

    async def aclose(self) -> None:
        """Close the response and free its connection."""
        with anyio.CancelScope(shield=True):
            await self._chunks.aclose()


class _Looks:
    """Looks, one after the other, while there is nothing to read."""

    def __init__(self, pause: Callable[[], float], look: Callable[[], Awaitable[bool]]) -> None:
        self.pause = pause
        self._look = look
        self._ended: Optional[anyio.Event] = None
        self.problem: Optional[Exception] = None

    async def go_on(self, reading: anyio.CancelScope) -> None:
        """Look, until a look ends the reading."""
        try:
            while True:
                self._ended = anyio.Event()
                if await self._look():
                    break
                self._ended.set()
                await anyio.sleep(self.pause())
        except Exception as raised:
            self.problem = raised
        reading.cancel()

    async def rest(self) -> None:
        """Wait a little for a look that is under way.

        A connection that is cancelled while it is made may be left open by anyio.
        """
        if self._ended is not None:
            with anyio.move_on_after(_LONGEST_LOOK):
                await self._ended.wait()


async def _by_timer(read: Callable[[], Awaitable[T]], looks: _Looks) -> Optional[T]:
    """Read beside looks, which begin by asyncio's own timer.

    Most reads are over before the first look, and a task group costs ten times as much.
    """
    loop = asyncio.get_running_loop()
    task: Optional[asyncio.Task[None]] = None

    def begin() -> None:
        nonlocal task
        task = loop.create_task(looks.go_on(reading))

    result: Optional[T] = None
    with anyio.CancelScope() as reading:
        timer = loop.call_later(looks.pause(), begin)
        try:
            result = await read()
            await looks.rest()
        finally:
            timer.cancel()
            if task is not None:
                task.cancel()
                with anyio.CancelScope(shield=True):
                    await asyncio.wait([task])
    return result


async def _by_group(read: Callable[[], Awaitable[T]], looks: _Looks) -> Optional[T]:
    """Read beside looks, in a task group."""
    result: Optional[T] = None

    async def begin() -> None:
        await anyio.sleep(looks.pause())
        await looks.go_on(group.cancel_scope)

    async with anyio.create_task_group() as group:
        group.start_soon(begin)
        result = await read()
        await looks.rest()
        group.cancel_scope.cancel()
    return result


async def _chunks_of(
    response: httpx.Response, closed: Callable[[], None]
) -> AsyncGenerator[bytes, None]:
    """Iterate over the bytes; as a generator it is closed by the event loop if it is lost."""
    chunks = chunks_of(response)
    try:
        yield b""
        async for chunk in chunks:
            yield chunk
    finally:
        try:
            await discard(response, chunks)
        finally:
            closed()


def chunks_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """Iterate over a body; what is not packed needs none of httpx's layers of decoding."""
    if response.is_stream_consumed or "content-encoding" in response.headers:
        return response.aiter_bytes()
    stream: Any = response.stream
    chunks: AsyncIterator[bytes] = stream.__aiter__()
    return chunks


def in_time(
    response: httpx.Response, chunks: AsyncIterator[bytes], until: Optional[float]
) -> AsyncIterator[bytes]:
    """Stand in for the twin's bound: ``time_limit`` cancels the reading."""
    return chunks


async def discard(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
    """Close a response that was not read to its end.

    httpx and httpcore have generators nested in each other. Closing the outer one leaves
    the inner ones to the garbage collector, of which trio complains. Reading on from a
    response that is closed ends them all: with what was in the buffer, and then with an
    error.
    """
    await response.aclose()
    for _ in range(_MOST_BUFFERED):
        try:
            await chunks.__anext__()
        except (StopAsyncIteration, Exception):
            return


async def open_pump(
    response: httpx.Response,
    failed: Callable[[Exception], Unanswered],
    closed: Callable[[], None],
) -> AsyncPump:
    """Make a pump that owns the response from its first moment on.

    Args:
        response: What is to be read.
        failed: Makes a result of what the HTTP library raised.
        closed: Called when the response is closed.
    """
    pump = AsyncPump(response, failed, closed)
    # A generator that never ran has nothing to clean up; one step makes it the owner.
    await pump.read()
    return pump
