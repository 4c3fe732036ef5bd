"""Event streams, in the words of each dialect."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Callable, Optional

from .bus import Bus, Subscription, Told
from .records import TERMINAL, ExecutionRecord

__all__ = ["EVENT_STREAM_HEADERS", "answer_frames", "execution_frames", "thread_frames"]

EVENT_STREAM_HEADERS = {
    "cache-control": "no-cache",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
}

# How long the backend leaves a stream open after its last event.
_LINGER = 0.5

_TERMINAL_EVENTS = tuple(f"execution:{status}" for status in TERMINAL)


def frame(name: str, data: dict[str, Any], number: Optional[int] = None) -> bytes:
    """Write one event."""
    text = f"id: {number}\n" if number is not None else ""
    text += f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
    return text.encode()


async def execution_frames(
    bus: Bus,
    execution: ExecutionRecord,
    *,
    documented: bool,
    live: bool,
    keepalive: float,
    last_event_id: Optional[str],
    stopping: asyncio.Event,
) -> AsyncIterator[bytes]:
    """Tell how an execution goes on.

    Args:
        bus: Where its events come from.
        execution: The execution.
        documented: Whether types are in the data, keys are snake_case, and events have ids.
        live: Whether events come at all: on today's backend a stream that was opened
            while the execution ran is silent for ever.
        keepalive: Seconds between two comments.
        last_event_id: What a reader has already; later events are sent again.
        stopping: Set when the server stops.
    """
    subscription = bus.subscribe(execution.id)
    try:
        if documented and last_event_id is not None and last_event_id.isdigit():
            missed = bus.since(execution.id, int(last_event_id))
        else:
            missed = []
        # Asked once: what ends it later comes through the subscription.
        was_over = execution.is_over
        if was_over and not missed:
            yield _ended(execution, documented)
            if not documented:
                await asyncio.sleep(_LINGER)
            return
        connected = {"execution_id": execution.id, "status": execution.status}
        yield frame("connected", {"type": "connected", **connected} if documented else connected)
        for told in missed:
            if _is_shown(told, documented):
                yield _frame_of(told, documented)
        if was_over:
            return
        async with _live(subscription, keepalive, stopping) as events:
            async for news in events:
                if news is None:
                    yield b": keepalive\n\n"
                    continue
                if live and _is_shown(news, documented):
                    yield _frame_of(news, documented)
                if live and news.event["type"] in _TERMINAL_EVENTS:
                    if not documented:
                        await asyncio.sleep(_LINGER)
                    return
    finally:
        bus.unsubscribe(execution.id, subscription)


async def thread_frames(
    bus: Bus, thread_id: str, keepalive: float, stopping: asyncio.Event
) -> AsyncIterator[bytes]:
    """Tell what an agent says in a thread; only the documented dialect has this stream."""
    subscription = bus.subscribe(thread_id)
    try:
        yield frame("connected", {"type": "connected", "thread_id": thread_id})
        async with _live(subscription, keepalive, stopping) as events:
            async for told in events:
                if told is None:
                    yield b": keepalive\n\n"
                else:
                    yield frame(told.event["type"], told.event, told.number)
    finally:
        bus.unsubscribe(thread_id, subscription)


async def answer_frames(
    begin: Callable[[Callable[[dict[str, Any]], None]], Awaitable[object]],
    keepalive: float,
    stopping: asyncio.Event,
) -> AsyncIterator[bytes]:
    """Tell the answer to one message, as the agent makes it.

    Args:
        begin: Posts the message; given what is to be called with each event.
        keepalive: Seconds between two comments.
        stopping: Set when the server stops.
    """
    subscription = Subscription()
    numbers = itertools.count(1)
    await begin(lambda event: subscription.put(Told(next(numbers), event)))
    async with _live(subscription, keepalive, stopping) as events:
        async for told in events:
            if told is None:
                yield b": keepalive\n\n"
                continue
            yield frame(told.event["type"], told.event, told.number)
            if told.event["type"] in ("message:completed", "message:failed"):
                return


@asynccontextmanager
async def _live(
    subscription: Subscription, keepalive: float, stopping: asyncio.Event
) -> AsyncGenerator[AsyncIterator[Optional[Told]], None]:
    """Follow a topic for a block, at whose end nothing goes on."""
    events = _events(subscription, keepalive, stopping)
    try:
        yield events
    finally:
        await events.aclose()


async def _events(
    subscription: Subscription, keepalive: float, stopping: asyncio.Event
) -> AsyncGenerator[Optional[Told], None]:
    """Give events as they come, None where a keepalive is due; end when the server stops."""
    stop = asyncio.ensure_future(stopping.wait())
    try:
        while not (subscription.is_cut and subscription.queue.empty()):
            if not subscription.queue.empty():
                yield subscription.queue.get_nowait()
                continue
            get = asyncio.ensure_future(subscription.queue.get())
            try:
                await asyncio.wait(
                    {get, stop}, timeout=keepalive, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                # Before a keepalive is given: an event that this took meanwhile would be lost.
                get.cancel()
            if get.done():
                yield get.result()
            elif stop.done():
                return
            else:
                yield None
    finally:
        stop.cancel()


def _ended(execution: ExecutionRecord, documented: bool) -> bytes:
    """Write the one frame of a stream that was opened after the end."""
    name = f"execution:{execution.status}"
    data: dict[str, Any] = {
        "execution_id": execution.id,
        "status": execution.status,
        "outputs": execution.outputs,
        "error": execution.error,
    }
    if execution.completed_at is not None:
        data["completed_at"] = execution.completed_at
    return frame(name, {"type": name, **data} if documented else data)


# What the backend sends, and its documentation does not have.
_UNDOCUMENTED_EVENTS = ("execution:resumed",)
_UNDOCUMENTED_KEYS = {
    "node:completed": {"node_name", "node_type"},
    "node:failed": {"node_name", "node_type"},
    "execution:paused": {"paused_at_node_id", "paused_at_node_name", "pause_context"},
}


def _is_shown(told: Told, documented: bool) -> bool:
    return not documented or told.event["type"] not in _UNDOCUMENTED_EVENTS


def _frame_of(told: Told, documented: bool) -> bytes:
    name = told.event["type"]
    if documented:
        return frame(name, _as_documented(told.event), told.number)
    return frame(name, _as_backend(told.event))


def _as_documented(event: dict[str, Any]) -> dict[str, Any]:
    """Leave out the keys that the documentation does not have."""
    extra = _UNDOCUMENTED_KEYS.get(event["type"], ())
    return {key: value for key, value in event.items() if key not in extra}


# The documented words that the backend says otherwise, beyond camelCase.
_WORDS = {"progress": "percentage"}


def _as_backend(event: dict[str, Any]) -> dict[str, Any]:
    """Say an event with the backend's own keys."""
    return {
        re.sub(r"_([a-z])", lambda match: match[1].upper(), _WORDS.get(key, key)): value
        for key, value in event.items()
    }
