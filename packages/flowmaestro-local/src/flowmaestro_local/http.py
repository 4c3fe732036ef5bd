"""uvicorn with two additions: faults can reach the connection, and stopping is quick."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .faults import TRANSPORT

__all__ = ["Protocol"]


class Protocol(H11Protocol):
    """One connection, which tells the app its transport."""

    def connection_made(self, transport: Any) -> None:
        """Remember the transport for the requests of this connection."""
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope[TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport

    def connection_lost(self, exc: Any) -> None:
        """End the connection; one that was reset by a fault is no news."""
        super().connection_lost(None if isinstance(exc, (OSError, asyncio.CancelledError)) else exc)
