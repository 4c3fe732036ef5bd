"""What cannot be translated: the asynchronous half of a hand-written pair.

Its twin is ``_sync/compat.py``. Both give the same names with the same meaning, so that
everything built on them is written once. asyncio is named here and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, Protocol, TypeVar, Union
from weakref import ref

import anyio

from ..coding import CodingError
from ..reading import LAST_MOMENT, NOT_YOURS
from ..response import Unanswered
from ..sockets import expire_if_left_over, release

if TYPE_CHECKING:
    import httpx

    from ..coding import Unpacker

__all__ = [
    "INTERRUPTIONS",
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

# Stands in for the twin's: cancellation comes at an await only, where httpcore cleans up.
INTERRUPTIONS: tuple[type[BaseException], ...] = ()

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


class _Closing(Protocol):
    """What can be closed, or let go."""

    # False where there is nothing to close.
    is_ours: bool

    async def aclose(self) -> None: ...

    def abandon(self) -> None: ...


ThingT = TypeVar("ThingT", bound=_Closing)


class Scoped(Generic[ThingT]):
    """Holds one thing per event loop: connections of one loop are of no use in another.

    A loop that ends closes its thing, as it closes the generators that were begun in it. One
    that is closed without that has its thing taken away when another loop comes.
    """

    def __init__(self) -> None:
        self._things: dict[Any, tuple[ThingT, AsyncGenerator[None, bool]]] = {}
        self._process = os.getpid()

    def get(self, make: Callable[[], ThingT]) -> ThingT:
        """Give this loop's thing, made at the first time."""
        if self._process != os.getpid():
            self._leave_to_parent()
        loop = _current_loop()
        found = self._things.get(loop)
        if found is not None:
            return found[0]
        self._drop_closed()
        thing = make()
        closing = _closed_with_loop(ref(self), loop, thing)
        self._things[loop] = (thing, closing)
        if thing.is_ours:
            # Tells the loop of the generator.
            _step(closing.__anext__())
        return thing

    def __del__(self) -> None:
        for loop, (thing, closing) in self._things.items():
            if not isinstance(loop, asyncio.AbstractEventLoop) and thing.is_ours:
                # asyncio closes a generator that is collected; trio complains of it instead.
                thing.abandon()
                _step(closing.asend(True))

    async def aclose(self) -> None:
        """Close this loop's thing, if there is one, and let go of the others."""
        if self._process != os.getpid():
            self._leave_to_parent()
        found = self._things.pop(_current_loop(), None)
        self._drop_closed()
        # A loop that goes on elsewhere closes its own, as soon as nobody holds it.
        self._things.clear()
        if found is not None:
            await found[1].aclose()

    def forget(self, loop: object) -> None:
        """Forget the thing of a loop, which is closed."""
        self._things.pop(loop, None)

    def _drop_closed(self) -> None:
        for loop in list(self._things):
            if isinstance(loop, asyncio.AbstractEventLoop) and loop.is_closed():
                found = self._things.pop(loop, None)
                if found is not None:
                    found[0].abandon()

    def _leave_to_parent(self) -> None:
        """Let go of what a parent process has made, whose event loops are not here."""
        things, self._things, self._process = self._things, {}, os.getpid()
        for thing, closing in things.values():
            thing.abandon()
            _inherited.append(closing)


def _step(step: Any) -> None:
    """Run a generator to its next yield or its end, before which it does not wait."""
    with suppress(StopIteration, StopAsyncIteration):
        step.send(None)


# Generators of a parent process. One that is collected asks the parent's event loop to close
# it, through a socket that both processes have.
_inherited: list[object] = []


async def _closed_with_loop(
    scoped: ref[Scoped[Any]], loop: object, thing: _Closing
) -> AsyncGenerator[None, bool]:
    """Close a thing when the event loop ends that runs this, unless told that it is let go."""
    is_let_go = False
    try:
        is_let_go = yield
    finally:
        if not is_let_go:
            holder = scoped()
            if holder is not None:
                holder.forget(loop)
            await thing.aclose()


def _current_loop() -> Any:
    if "trio" in sys.modules:
        import trio

        try:
            return trio.lowlevel.current_trio_token()
        except RuntimeError:
            pass
    return asyncio.get_running_loop()


class Limiter:
    """Lets a number of calls through at a time, or any; the others wait in line."""

    def __init__(self, calls: Optional[int]) -> None:
        self._semaphore = None if calls is None else anyio.Semaphore(calls, fast_acquire=True)

    async def enter(self, within: Optional[float]) -> Optional[object]:
        """Wait for a turn, at most so many seconds; None if there was none."""
        semaphore = self._semaphore
        if semaphore is None:
            return self
        try:
            semaphore.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(within):
                await semaphore.acquire()
                return self
            return None
        return self

    def leave(self, turn: object) -> None:
        """Give the turn back."""
        if self._semaphore is not None:
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
        closed: Callable[[], object],
    ) -> None:
        # Only where there is a response there is httpx: importing this module is cheap.
        from ..http import TRANSPORT_FAILURES

        self._response = response
        self._ending = _Ending(response, closed)
        self._chunks = _chunks_of(self._ending)
        self._failed = failed
        self._process = os.getpid()
        # The last one: the client was closed while the stream was read.
        self._failures = (*TRANSPORT_FAILURES, anyio.ClosedResourceError)
        on_asyncio = isinstance(_current_loop(), asyncio.AbstractEventLoop)
        self._beside = _by_timer if on_asyncio else _by_group

    async def read(self) -> Union[bytes, Unanswered]:
        """Give the next bytes; none at the end of the response."""
        if self._process != os.getpid():
            return self._failed(OSError(NOT_YOURS))
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
        if self._process != os.getpid():
            release(self._response.extensions.get("network_stream"))
            _inherited.append(self._chunks)
            return
        with anyio.CancelScope(shield=True):
            await self._ending.come()
            # A loop that ends closes all generators at once, and may be in this one.
            chunks: Any = self._chunks
            if not chunks.ag_running:
                await chunks.aclose()


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


class _Ending:
    """The end of a response that is read in pieces; it comes once."""

    def __init__(self, response: httpx.Response, closed: Callable[[], object]) -> None:
        self.chunks = chunks_of(response)
        self._response = response
        self._closed = closed
        self._has_come = False

    async def come(self) -> None:
        """Close the response, if nobody has done so."""
        if self._has_come:
            return
        self._has_come = True
        expire_if_left_over(self._response)
        try:
            await discard(self._response, self.chunks)
        finally:
            self._closed()


async def _chunks_of(ending: _Ending) -> AsyncGenerator[bytes, None]:
    """Iterate over the bytes; as a generator it is closed by the event loop if it is lost."""
    try:
        yield b""
        async for chunk in ending.chunks:
            yield chunk
    finally:
        await ending.come()


def chunks_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """Iterate over a body; what is not packed needs none of httpx's layers of decoding."""
    if response.is_stream_consumed:
        return response.aiter_bytes()
    stream: Any = response.stream
    chunks: AsyncIterator[bytes] = stream.__aiter__()
    if "content-encoding" in response.headers:
        from ..http import unpacker_of

        unpacker = unpacker_of(response)
        return response.aiter_bytes() if unpacker is None else _unpacked(response, chunks, unpacker)
    return chunks


async def _unpacked(
    response: httpx.Response, chunks: AsyncIterator[bytes], unpacker: Unpacker
) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in chunks:
            for piece in unpacker.feed(chunk):
                yield piece
        unpacker.end()
    except CodingError:
        await discard(response, chunks)
        raise


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
    closed: Callable[[], object],
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
