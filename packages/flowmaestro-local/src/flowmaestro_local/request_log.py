"""A record of every request, for tests to assert on."""

from __future__ import annotations

from collections import deque

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .records import RecordedRequest

__all__ = ["RequestLog", "new_request_log", "path_of", "target_of"]

# Requests that are kept for tests to look at.
_KEPT_REQUESTS = 100_000


def new_request_log() -> deque[RecordedRequest]:
    """Make a log that forgets the oldest requests once it has very many."""
    return deque(maxlen=_KEPT_REQUESTS)


def path_of(scope: Scope) -> str:
    """Give the path of a request as it was sent: an escaped slash in an id stays escaped."""
    raw: bytes = scope["raw_path"]
    return raw.decode("latin-1")


def target_of(scope: Scope) -> str:
    """Give the path and query of a request as they were sent."""
    query: str = scope["query_string"].decode("latin-1")
    return path_of(scope) + (f"?{query}" if query else "")


class RequestLog:
    """An ASGI app in front of another, which keeps what was asked."""

    def __init__(self, app: ASGIApp, requests: deque[RecordedRequest]) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep a request, and let it be answered."""
        # Recorded before the answer, which a test may have before this line is done.
        record = RecordedRequest(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            b"",
        )
        self._requests.append(record)
        parts: list[bytes] = []

        async def keep() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    record.body = b"".join(parts)
            return message

        await self._app(scope, keep, send)
