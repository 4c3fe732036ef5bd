"""uvicorn whose connections faults can reach, and what ASGI apps without Starlette need."""

from __future__ import annotations

from typing import Any, Optional

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .faults import TRANSPORT

__all__ = ["MAX_HEAD_BYTES", "Protocol", "disconnected", "read_body"]

# Bytes of a request's first line and headers, at most.
MAX_HEAD_BYTES = 16_384


class Protocol(H11Protocol):
    """One connection, which tells the app its transport."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; one whose head is too long has a status of its own."""
        received, _ = self.conn.trailing_data
        if len(received) > MAX_HEAD_BYTES:
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()
        else:
            super().send_400_response(msg)

    def connection_made(self, transport: Any) -> None:
        """Remember the transport for the requests of this connection."""
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope[TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport


async def disconnected(receive: Receive) -> None:
    """Wait until the client has left, once its body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_body(receive: Receive) -> Optional[bytes]:
    """Read the whole body of a request; None if the client leaves before its end."""
    parts: list[bytes] = []
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
