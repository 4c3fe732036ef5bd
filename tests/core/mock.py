"""Transports that answer from a list, for clients of both kinds."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Callable, Union

import anyio
import httpx

Step = Union[httpx.Response, Exception, Callable[[httpx.Request], httpx.Response]]


class Script(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Gives the next answer of a list, the last one for ever, and keeps what was asked."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        if callable(step):
            step = step(request)
        # A client wraps the stream of what it gets: the same response may be given again.
        return httpx.Response(step.status_code, headers=step.headers, stream=step.stream)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


class Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces; an exception among them breaks it off."""

    def __init__(self, *chunks: Union[bytes, Exception]) -> None:
        self._chunks = chunks
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


class Slow(Chunks):
    """A body whose pieces come one by one, and are counted."""

    def __init__(self, *chunks: Union[bytes, Exception]) -> None:
        super().__init__(*chunks)
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in super().__iter__():
            time.sleep(0.02)
            self.count += 1
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in super().__iter__():
            await anyio.sleep(0.02)
            self.count += 1
            yield chunk


def data(content: Any = None, **headers: str) -> httpx.Response:
    """A success."""
    return httpx.Response(200, json={"data": content, "meta": {"request_id": "r"}}, headers=headers)


def error(status: int, code: str = "c", **headers: str) -> httpx.Response:
    """An error of a handler's."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json={"error": {"code": code, "message": "m"}}, headers=named)


def events(*frames: Union[str, Exception]) -> httpx.Response:
    """An event stream."""
    chunks = [frame if isinstance(frame, Exception) else frame.encode() for frame in frames]
    return httpx.Response(
        200, headers={"content-type": "text/event-stream"}, stream=Chunks(*chunks)
    )


def frame(name: str, **content: Any) -> str:
    """One frame."""
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"
