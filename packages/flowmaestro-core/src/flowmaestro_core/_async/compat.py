"""What cannot be translated: the asynchronous half of a hand-written pair.

Its twin is ``_sync/compat.py``. Both give the same names with the same meaning, so that
everything built on them is written once. asyncio is named here and nowhere else.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, Protocol, TypeVar, Union
from weakref import ref

import anyio

from ..coding import CodingError
from ..reading import LAST_MOMENT, NOT_YOURS
from ..response import Answer, Unanswered
from ..sockets import expire_if_left_over, release

if TYPE_CHECKING:
    import httpx

    from ..coding import Unpacker

__all__ = [
    "INTERRUPTIONS",
    "AsyncPump",
    "Limiter",
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
        self._semaphore = None if calls is None else anyio.Semaphore(calls)

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


class Stop:
    """Ends from outside what a stream waits for: a connection, a status, a pause."""

    def __init__(self) -> None:
        self.is_set = False
        self._waiting: Optional[anyio.CancelScope] = None
        self._loop: Any = None

    def set(self) -> None:
        """End the waiting of another task, now and from now on."""
        self.is_set = True
        # Where that loop is another one, it is over, or a thread's of which nothing is known.
        if self._waiting is not None and self._loop is _current_loop():
            self._waiting.cancel()

    @contextmanager
    def interruptible(self) -> Generator[None, None, None]:
        """Leave a block when ``set`` is called."""
        self._loop = _current_loop()
        with anyio.CancelScope() as self._waiting:
            if self.is_set:
                self._waiting.cancel()
            yield
        self._waiting = None

    async def sleep(self, seconds: float) -> None:
        """Pause, at most until ``set`` is called."""
        with self.interruptible():
            await anyio.sleep(seconds)


async def close_unless_running(events: Any) -> None:
    """Close a generator that no other task is in the middle of."""
    if not events.ag_running:
        await events.aclose()


class Stepper(Generic[T]):
    """Takes one step of an iterator at a time, and waits for it as long as it is told to.

    A step that takes longer goes on, and is what the next waiting is for.
    """

    def __init__(self, items: AsyncGenerator[T, None], stop: Stop) -> None:
        self._items = items
        self._step: Optional[_Step[T]] = None

    async def next(self, seconds: float) -> Optional[list[T]]:
        """Wait for a step.

        Returns:
            A list with the item; an empty list where there is none yet; None at the end.
        """
        if self._step is None:
            self._step = _Step(self._items)
        with anyio.move_on_after(seconds):
            await self._step.is_done.wait()
        if not self._step.is_done.is_set():
            return []
        step, self._step = self._step, None
        if step.problem is not None:
            raise step.problem
        return step.found

    async def aclose(self) -> None:
        """End a step that is under way, and the iterator."""
        with anyio.CancelScope(shield=True):
            if self._step is not None:
                self._step.cancel()
                await self._step.is_done.wait()
            await self._items.aclose()


class _Step(Generic[T]):
    """One step of an iterator, in a task of its own."""

    def __init__(self, items: AsyncIterator[T]) -> None:
        self.is_done = anyio.Event()
        self.found: Optional[list[T]] = None
        self.problem: Optional[Exception] = None
        self._items = items
        self._scope = anyio.CancelScope()
        if isinstance(_current_loop(), asyncio.AbstractEventLoop):
            self._task = asyncio.ensure_future(self._run())
        else:
            import trio

            trio.lowlevel.spawn_system_task(self._run)

    def cancel(self) -> None:
        """End it."""
        self._scope.cancel()

    async def _run(self) -> None:
        try:
            with self._scope:
                try:
                    self.found = [await self._items.__anext__()]
                except StopAsyncIteration:
                    pass
                except Exception as problem:
                    self.problem = problem
        finally:
            self.is_done.set()


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
        from ..http import transport_failures

        self._response = response
        self._ending = _Ending(response, closed)
        self._chunks = _chunks_of(self._ending)
        self._failed = failed
        self._process = os.getpid()
        # The last one: the client was closed while the stream was read.
        self._failures: tuple[type[Exception], ...] = (
            *transport_failures(),
            anyio.ClosedResourceError,
        )
        self._loop = _current_loop()
        self._beside: Union[_Watched, _Grouped, None] = None

    @property
    def head(self) -> Answer:
        """The status and the headers of the response."""
        from ..http import answer_of

        return answer_of(self._response, b"")

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
        beside = self._beside
        if beside is None:
            connection = _own_connection_of(self._response)
            on_asyncio = isinstance(self._loop, asyncio.AbstractEventLoop)
            if on_asyncio and connection is not None:
                beside = _Watched(self.read, connection, self._ending)
            else:
                beside = _Grouped(self.read)
            self._beside = beside
        return await beside.next(pause, look)

    async def finish(self) -> None:
        """Give the server a moment to end the response, so that its connection is kept."""
        with anyio.move_on_after(LAST_MOMENT):
            while await self.read():
                pass

    async def interrupt(self) -> None:
        """End a reading that goes on in another task of this loop."""
        if self._process != os.getpid():
            return
        if self._ending.has_come or self._loop is not _current_loop():
            return
        if self._beside is not None:
            await self._beside.interrupt()
        else:
            await _cut(_own_connection_of(self._response))

    async def aclose(self) -> None:
        """Close the response and free its connection."""
        if isinstance(self._beside, _Watched):
            self._beside.stop()
        if self._process != os.getpid():
            release(self._response.extensions.get("network_stream"))
            _inherited.append(self._chunks)
            return
        with anyio.CancelScope(shield=True):
            await self._ending.come()
            # A loop that ends closes all generators at once, and may be in this one.
            await close_unless_running(self._chunks)


def _own_connection_of(response: httpx.Response) -> Any:
    """Give the connection of a response, if it carries no other one; None if that is unknown."""
    if response.extensions.get("http_version") != b"HTTP/1.1":
        return None
    return response.extensions.get("network_stream")


async def _cut(connection: Any) -> None:
    """Close a connection, so that who waits for its bytes is told so."""
    if connection is not None:
        # Short, and to be done in a scope that is cancelled as well.
        with suppress(Exception), anyio.CancelScope(shield=True):
            await connection.aclose()


class _Watched:
    """Reads, watched by a timer of asyncio's that begins looks; a look ends it by a close.

    A chunk costs neither a task nor a timer: the time is noted, and the one timer, which goes
    off at the earliest time that was ever noted, is set again when it sees a later one.
    """

    def __init__(
        self, read: Callable[[], Awaitable[Any]], connection: Any, ending: _Ending
    ) -> None:
        self._read = read
        self._connection = connection
        self._ending = ending
        self._loop = asyncio.get_running_loop()
        self._pause: Callable[[], float] = lambda: math.inf
        self._look: Optional[Callable[[], Awaitable[bool]]] = None
        self._timer: Optional[asyncio.TimerHandle] = None
        # When to look, and when the timer goes off.
        self._due = self._wakes = math.inf
        self._looking: Optional[asyncio.Task[None]] = None
        self._is_reading = False
        self._has_ended = False
        self._problem: Optional[Exception] = None

    async def next(
        self, pause: Callable[[], float], look: Callable[[], Awaitable[bool]]
    ) -> Union[bytes, Unanswered, None]:
        """Give the next bytes, or None when a look ended the reading."""
        self._pause, self._look = pause, look
        self._look_after(pause())
        self._is_reading = True
        try:
            chunk: Union[bytes, Unanswered] = await self._read()
            self._is_reading = False
            if self._looking is not None:
                # A connection that is cancelled while it is made may be left open by anyio.
                await asyncio.wait([self._looking], timeout=_LONGEST_LOOK)
        finally:
            self._look = None
            if self._looking is not None:
                await self._end_look()
        if not self._has_ended or (chunk and not isinstance(chunk, Unanswered)):
            return chunk
        if self._problem is not None:
            raise self._problem
        return None

    async def interrupt(self) -> None:
        """End the reading: what waits for bytes of a closed connection is told so."""
        # After the end of the response, the connection is the next request's.
        if not self._ending.has_come:
            await _cut(self._connection)

    def stop(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_after(self, seconds: float) -> None:
        due = self._due = self._loop.time() + seconds
        if due < self._wakes:
            if self._timer is not None:
                self._timer.cancel()
            self._wakes = due
            self._timer = self._loop.call_at(due, self._wake)

    def _wake(self) -> None:
        self._wakes = math.inf
        if self._look is None:
            return
        if self._loop.time() < self._due:
            self._look_after(self._due - self._loop.time())
        elif self._looking is None:
            self._looking = self._loop.create_task(self._look_once(self._look))

    async def _look_once(self, look: Callable[[], Awaitable[bool]]) -> None:
        try:
            self._has_ended = await look()
        except Exception as raised:
            # For the reader, when it has stopped reading.
            self._problem = raised
            self._has_ended = True
        if self._has_ended and self._is_reading:
            await self.interrupt()
        else:
            # Bytes came after all, and there may be more: the next look sees what they bring.
            self._has_ended = False
            self._problem = None
            self._looking = None
            self._look_after(self._pause())

    async def _end_look(self) -> None:
        looking, self._looking = self._looking, None
        assert looking is not None
        looking.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([looking])


class _Grouped:
    """Reads beside looks, in a task group: for any event loop and any transport."""

    def __init__(self, read: Callable[[], Awaitable[Any]]) -> None:
        self._read = read
        self._scope: Optional[anyio.CancelScope] = None

    async def next(
        self, pause: Callable[[], float], look: Callable[[], Awaitable[bool]]
    ) -> Union[bytes, Unanswered, None]:
        """Give the next bytes, or None when a look ended the reading."""
        result: Union[bytes, Unanswered, None] = None
        problem: Optional[Exception] = None
        # Set while no look is under way.
        is_idle = anyio.Event()
        is_idle.set()

        async def look_around() -> None:
            nonlocal is_idle, problem
            try:
                while True:
                    await anyio.sleep(pause())
                    is_idle = anyio.Event()
                    if await look():
                        break
                    is_idle.set()
            except Exception as raised:
                # Outside of the group, which would wrap it.
                problem = raised
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            self._scope = group.cancel_scope
            group.start_soon(look_around)
            result = await self._read()
            # A connection that is cancelled while it is made may be left open by anyio.
            with anyio.move_on_after(_LONGEST_LOOK):
                await is_idle.wait()
            group.cancel_scope.cancel()
        self._scope = None
        if result is None and problem is not None:
            raise problem
        return result

    async def interrupt(self) -> None:
        """End the reading."""
        if self._scope is not None:
            self._scope.cancel()


class _Ending:
    """The end of a response that is read in pieces; it comes once."""

    def __init__(self, response: httpx.Response, closed: Callable[[], object]) -> None:
        self.chunks = chunks_of(response)
        self._response = response
        self._closed = closed
        self.has_come = False

    async def come(self) -> None:
        """Close the response, if nobody has done so."""
        if self.has_come:
            return
        self.has_come = True
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
    error. A transport that is not httpcore's may go on to wait for its next bytes.
    """
    await response.aclose()
    with anyio.move_on_after(LAST_MOMENT, shield=True):
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
