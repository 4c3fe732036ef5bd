"""Answers as a cassette has it, without the API that it was recorded from."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Optional

from starlette.types import Receive, Scope, Send

from .answers import json_response
from .cassette import Exchange, Matcher, read
from .http import disconnected, read_body
from .records import RecordedRequest
from .request_log import RequestLog, new_request_log, path_of
from .running import Running, listen

__all__ = ["Replay"]

# Seconds between two comments in a stream that goes on.
_KEEPALIVE = 30.0


class Replay:
    """A server that answers as recorded; see ``LocalServer.replay``."""

    def __init__(self, cassette: Path) -> None:
        self._exchanges = read(cassette)
        self._matcher = Matcher(self._exchanges)
        self._requests = new_request_log()
        self._running: Optional[Running] = None

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request that came, the oldest first."""
        return list(self._requests)

    @property
    def unused(self) -> list[Exchange]:
        """What was recorded and not asked for, for a test to assert that it is nothing."""
        return self._matcher.unused

    def start(self, port: int = 0, host: str = "127.0.0.1") -> Running:
        """Start the server in a thread of its own, at the beginning of the cassette.

        Args:
            port: Where to listen; 0 takes a free one.
            host: The address to listen on.

        Returns:
            A context manager that gives the URL, and stops the server at its end.

        Raises:
            OSError: The port is in use.
            RuntimeError: It runs already.
        """
        if self._running is not None and self._running.is_running:
            raise RuntimeError(f"this replay runs already, at {self._running.url}")
        sock = listen(host, port)
        self._matcher = Matcher(self._exchanges)
        self._running = Running(lambda _: _Player(self._matcher, self._requests), sock)
        return self._running


class _Player:
    """The ASGI app of a replay."""

    def __init__(self, matcher: Matcher, requests: deque[RecordedRequest]) -> None:
        self._matcher = matcher
        self._app = RequestLog(self._respond, requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._app(scope, receive, send)

    async def stop(self) -> None:
        """Do nothing: open streams end with their connections."""

    def close(self) -> None:
        """Do nothing: the cassette was closed once it was read."""

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        if body is None:
            return
        request = (scope["method"], path_of(scope), scope["query_string"].decode("latin-1"), body)
        exchange = self._matcher.match(*request)
        if exchange is None:
            error = {"code": "not_recorded", "message": self._matcher.explain(*request)}
            response = json_response(501, {"error": error})
            await response(scope, receive, send)
            return
        pairs = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in exchange.headers
        ]
        content = exchange.content()
        is_broken = exchange.end == "broken"
        if not exchange.is_stream and not is_broken:
            pairs.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": exchange.status, "headers": pairs})
        if not exchange.is_stream:
            await send({"type": "http.response.body", "body": content, "more_body": is_broken})
        for event in exchange.events:
            body = event.encode("utf-8", "surrogatepass")
            await send({"type": "http.response.body", "body": body, "more_body": True})
        # A response that is broken is not complete, at which uvicorn hangs up.
        if exchange.is_stream and not is_broken:
            if exchange.end == "left":
                await self._stay_silent(receive, send)
            await send({"type": "http.response.body", "body": b""})

    async def _stay_silent(self, receive: Receive, send: Send) -> None:
        """Leave a stream open that the program left when it was recorded."""
        left = asyncio.ensure_future(disconnected(receive))
        try:
            # A server that stops ends the connection.
            while not left.done():
                await asyncio.wait({left}, timeout=_KEEPALIVE)
                keepalive = {"type": "http.response.body", "body": b": keepalive\n\n"}
                await send({**keepalive, "more_body": True})
        finally:
            left.cancel()
