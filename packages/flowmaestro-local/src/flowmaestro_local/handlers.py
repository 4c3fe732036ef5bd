"""Calls the user's functions, whatever they are and whatever they do.

A handler is plain (it runs in a thread of its own), a coroutine function, a generator or an
asynchronous generator; or it is a callable that returns one of these. Coroutines run on an event
loop apart from the server's, so that neither one that blocks nor one that exits stops the server.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
import weakref
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Callable, NamedTuple, Optional

from .clock import close_event_loop, new_event_loop

__all__ = [
    "Arguments",
    "ExecutionCancelled",
    "Handler",
    "HandlerFailed",
    "HandlerThreads",
    "arguments_of",
    "error_message",
    "json_copy",
]

# Seconds in which an event loop that is not blocked has a turn for a new task.
_RESPONSIVE_WITHIN = 1.0
# Seconds that coroutines have to clean up when the server stops.
_CLEAN_UP_SECONDS = 1.0

# Levels of nesting that stay free for what is written around a value.
_NESTING_LEFT = 100

Handler = Callable[..., Any]
Stream = Callable[[Any], None]


class ExecutionCancelled(BaseException):
    """Raised in a handler, by the methods of ``run``, once its execution is cancelled.

    Not an ``Exception``, so that a handler that catches everything does not catch this.
    """


class HandlerFailed(Exception):
    """A handler raised, or returned a value that cannot be used.

    Args:
        message: What went wrong, for the execution's ``error``.
        is_cancelled: True if it stopped, as its execution was cancelled.
    """

    def __init__(self, message: str, *, is_cancelled: bool = False) -> None:
        super().__init__(message)
        self.is_cancelled = is_cancelled


# ---- How a handler is called


class Arguments(NamedTuple):
    """Which of the values that a handler is offered it takes, and how."""

    positional: tuple[str, ...]
    keywords: dict[str, str]

    def call(self, handler: Handler, values: dict[str, Any]) -> Any:
        """Call a handler with the values that it takes."""
        positional = [values[name] for name in self.positional]
        keywords = {keyword: values[name] for keyword, name in self.keywords.items()}
        return handler(*positional, **keywords)


def arguments_of(handler: Handler, names: Sequence[str]) -> Optional[Arguments]:
    """Choose the arguments of a handler: by name, and by position where it has to be.

    A parameter takes the value of its name, or ``run`` where it is annotated with ``Run``. Of
    the others, the first one and those without a default take what is left, in order.

    Args:
        handler: The user's function.
        names: The names of what there is, in order.

    Returns:
        The arguments, or None if the handler has parameters that nothing is there for.
    """
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        # Some callables written in C do not tell.
        return Arguments(tuple(names), {})
    given: dict[str, str] = {}
    for parameter in parameters:
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            name = "run" if _is_annotated_run(parameter) else parameter.name
            if name in names and name not in given.values():
                given[parameter.name] = name
    left = [name for name in names if name not in given.values()]
    positional: list[str] = []
    keywords: dict[str, str] = {}
    is_contiguous = True
    for index, parameter in enumerate(parameters):
        is_needed = parameter.default is parameter.empty
        if parameter.kind is parameter.VAR_POSITIONAL:
            if is_contiguous:
                positional += left
                left = []
        elif parameter.kind is parameter.VAR_KEYWORD:
            keywords.update({name: name for name in left})
        else:
            name = given.get(parameter.name, "")
            by_position = parameter.kind is not parameter.KEYWORD_ONLY
            if not name and left and by_position and (is_needed or index == 0):
                name = left.pop(0)
            if not name:
                if is_needed:
                    return None
                is_contiguous = False
            elif is_contiguous and by_position:
                positional.append(name)
            elif parameter.kind is not parameter.POSITIONAL_ONLY:
                keywords[parameter.name] = name
    return Arguments(tuple(positional), keywords)


def _is_annotated_run(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return re.search(r"\bRun\b", text or str(annotation)) is not None


# ---- What a handler gives


def json_copy(value: Any, what: str) -> Any:
    """Copy a value as JSON carries it, so that what the handler does to it later changes nothing.

    Raises:
        TypeError: JSON cannot carry it.
    """
    nested = value
    for _ in range(_NESTING_LEFT):
        nested = [nested]
    try:
        text = json.dumps(nested, allow_nan=False, ensure_ascii=False)
        text = text[_NESTING_LEFT:-_NESTING_LEFT]
        # A lone surrogate is valid in a Python string, and in no encoding.
        text.encode("utf-8")
        return json.loads(text)
    except RecursionError:
        raise TypeError(f"{what} is nested too deeply for JSON") from None
    except UnicodeEncodeError as exc:
        odd = exc.object[exc.start]
        raise TypeError(f"{what} has text with a lone surrogate, {odd!r}") from None
    except Exception as exc:
        raise TypeError(f"{what} cannot be written as JSON: {_text_of(exc)}") from None


def error_message(error: BaseException) -> str:
    """Say what a handler raised, so that its author can find it."""
    name = type(error).__name__
    if isinstance(error, SystemExit):
        return f"the handler called sys.exit({error.code!r})"
    if isinstance(error, (StopIteration, StopAsyncIteration)):
        return (
            f"the handler raised {name}, as next() does at the end of an iterator, "
            "and a Mock with side_effect=[...] once all its values are used"
        )
    text = _text_of(error)
    if not text:
        return name
    # A key alone, or what is no error of a program's own, says little without its type.
    needs_name = isinstance(error, (KeyError, RecursionError)) or not isinstance(error, Exception)
    return f"{name}: {text}" if needs_name else text


def _text_of(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException as exc:
        return f"{type(error).__name__}, whose text raises {type(exc).__name__}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# ---- Where a handler runs


class _Outcome(NamedTuple):
    """What became of a handler, made where the handler ran: nothing of the user's is left in it."""

    result: Any = None
    failure: Optional[HandlerFailed] = None
    # What a plain function returned to be awaited or iterated over.
    coroutine: Any = None


class HandlerThreads:
    """Runs handlers outside the server's own thread and event loop.

    Args:
        loop: The server's event loop, in which results arrive.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Coroutines share the last one; those before it were blocked.
        self._loops: list[_LoopThread] = []

    async def run(
        self,
        handler: Handler,
        arguments: Arguments,
        values: dict[str, Any],
        stream: Stream,
        finish: Callable[[Any], Any],
    ) -> Any:
        """Call a handler of any kind.

        Args:
            handler: The user's function.
            arguments: What it takes.
            values: What there is to take, by name.
            stream: Called with each value that it yields.
            finish: Makes what the server keeps of what the handler returned. It is called where
                the handler ran, as it may call code of the user's.

        Raises:
            HandlerFailed: It raised, whatever it was.
            asyncio.CancelledError: This task was cancelled; a coroutine handler is cancelled too.
        """

        def call() -> Any:
            return arguments.call(handler, values)

        if inspect.iscoroutinefunction(handler):
            # No thread is needed to make a coroutine.
            outcome = await self._in_coroutine(call, stream, finish)
        else:
            outcome = await self._in_thread(call, stream, finish)
            if outcome.coroutine is not None:
                coroutine = outcome.coroutine
                outcome = await self._in_coroutine(lambda: coroutine, stream, finish)
        if outcome.failure is not None:
            raise outcome.failure
        return outcome.result

    def stop(self) -> None:
        """Cancel the coroutines that still run, and give them a moment to clean up."""
        for loop in self._loops:
            loop.stop()
        if self._loops:
            self._loops[-1].join(_CLEAN_UP_SECONDS)

    async def _in_thread(
        self, call: Callable[[], Any], stream: Stream, finish: Callable[[Any], Any]
    ) -> _Outcome:
        future: asyncio.Future[_Outcome] = self._loop.create_future()

        def work() -> None:
            try:
                result = call()
                if inspect.isawaitable(result) or inspect.isasyncgen(result):
                    outcome = _Outcome(coroutine=result)
                else:
                    if inspect.isgenerator(result):
                        result = _exhaust(result, stream)
                    outcome = _Outcome(finish(result))
            except BaseException as exc:
                outcome = _Outcome(failure=_failure_of(exc))
            _settle_in(self._loop, future, outcome)

        try:
            threading.Thread(target=work, name="flowmaestro-local-handler", daemon=True).start()
        except RuntimeError as exc:
            raise HandlerFailed(f"no thread for the handler: {exc}") from exc
        return await future

    async def _in_coroutine(
        self, call: Callable[[], Any], stream: Stream, finish: Callable[[Any], Any]
    ) -> _Outcome:
        async def work() -> _Outcome:
            try:
                result = call()
                if inspect.isasyncgen(result):
                    async for chunk in result:
                        stream(chunk)
                    result = None
                elif inspect.isawaitable(result):
                    result = await result
                return _Outcome(finish(result))
            except BaseException as exc:
                return _Outcome(failure=_failure_of(exc))

        job = _Job(self._loop, work)
        if not self._loops:
            self._loops.append(_LoopThread())
        loop = self._loops[-1]
        loop.call(lambda: job.start(loop))
        try:
            await asyncio.wait({job.started}, timeout=_RESPONSIVE_WITHIN)
            if not job.started.done():
                # A coroutine that blocks holds up its event loop; later ones get another.
                if self._loops[-1] is loop:
                    self._loops.append(_LoopThread())
                other = self._loops[-1]
                other.call(lambda: job.start(other))
            return await job.outcome
        except asyncio.CancelledError:
            job.cancel()
            raise


class _Job:
    """A coroutine that runs on the first event loop that has a turn for it."""

    def __init__(
        self,
        server_loop: asyncio.AbstractEventLoop,
        work: Callable[[], Coroutine[Any, Any, _Outcome]],
    ) -> None:
        self.started: asyncio.Future[None] = server_loop.create_future()
        self.outcome: asyncio.Future[_Outcome] = server_loop.create_future()
        self._server_loop = server_loop
        self._work = work
        self._lock = threading.Lock()
        # The one task of those that were made that runs the coroutine.
        self._task: Optional[asyncio.Task[Optional[_Outcome]]] = None
        self._loop_thread: Optional[_LoopThread] = None
        self._is_cancelled = False

    def start(self, loop: _LoopThread) -> None:
        """Run the coroutine on the event loop that runs here, if no other one begins before."""
        task = asyncio.get_running_loop().create_task(self._run(loop))
        task.add_done_callback(self._report)

    def cancel(self) -> None:
        """Cancel the coroutine, from any thread."""
        with self._lock:
            self._is_cancelled = True
            task, loop = self._task, self._loop_thread
        if task is not None and loop is not None:
            loop.cancel(task)

    async def _run(self, loop: _LoopThread) -> Optional[_Outcome]:
        with self._lock:
            if self._task is not None or self._is_cancelled:
                return None
            self._task, self._loop_thread = asyncio.current_task(), loop
        _settle_in(self._server_loop, self.started, None)
        return await self._work()

    def _report(self, task: asyncio.Task[Optional[_Outcome]]) -> None:
        with self._lock:
            if self._task is None:
                # Cancelled before its first step, by another handler.
                self._task = task
            if self._task is not task:
                return
        outcome = None if task.cancelled() else task.result()
        if outcome is None:
            outcome = _Outcome(failure=_failure_of(asyncio.CancelledError()))
        _settle_in(self._server_loop, self.outcome, outcome)


class _LoopThread:
    """An event loop in a thread of its own, which does not keep the process alive."""

    def __init__(self) -> None:
        self._loop = new_event_loop()
        self._is_stopping = False
        self._cancelled: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._thread = threading.Thread(
            target=self._work, name="flowmaestro-local-handlers", daemon=True
        )
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Call a function on the event loop, from any thread; not once it is closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task of the event loop, from any thread."""

        def cancel() -> None:
            self._cancelled.add(task)
            task.cancel()

        self.call(cancel)

    def stop(self) -> None:
        """Cancel what runs and end the thread, as soon as the event loop is not blocked."""

        def stop() -> None:
            self._is_stopping = True
            self._loop.stop()

        self.call(stop)

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, but no longer than so many seconds."""
        self._thread.join(seconds)

    def _work(self) -> None:
        while not self._is_stopping:
            # A task of a handler's own that exits ends the loop, which then goes on.
            with suppress(BaseException):
                self._loop.run_forever()
        close_event_loop(self._loop, _CLEAN_UP_SECONDS, self._cancelled)


def _failure_of(error: BaseException) -> HandlerFailed:
    """Write a failure, whatever the texts of the user's error do."""
    try:
        message = error_message(error)
    except BaseException:
        message = type(error).__name__
    return HandlerFailed(message, is_cancelled=isinstance(error, ExecutionCancelled))


def _exhaust(generator: Any, stream: Stream) -> Any:
    """Stream what a generator yields; give what it returns."""
    while True:
        try:
            chunk = next(generator)
        except StopIteration as end:
            return end.value
        stream(chunk)


def _settle_in(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: object
) -> None:
    """Settle a future of an event loop, from any thread."""

    def settle() -> None:
        if not future.done():
            future.set_result(result)

    # The server may have stopped meanwhile.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(settle)
