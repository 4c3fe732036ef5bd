"""What a ``LocalServer`` is made of, and the site that is put together from it at each start."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from starlette.types import Receive, Scope, Send

from .access import Access
from .api import Api
from .app import make_app
from .bus import Bus
from .deliveries import Deliveries
from .engine import Engine
from .faults import Faults
from .records import RecordedRequest, WebhookRecord
from .registry import Registry
from .store import Store

__all__ = ["LocalSite", "Parts"]


@dataclass
class Parts:
    """What a server is made of, whether it runs or not."""

    documented: bool
    live_events: bool
    keepalive: float
    max_running: int
    handler_timeout: Optional[float]
    max_body_bytes: int
    webhook_pauses: Sequence[float]
    registry: Registry
    access: Access
    requests: deque[RecordedRequest]
    faults: Faults
    store: Store
    webhooks: dict[str, WebhookRecord] = field(default_factory=dict[str, WebhookRecord])


class LocalSite:
    """The FlowMaestro API over what is registered; made in the server's event loop."""

    def __init__(self, parts: Parts, stopping: asyncio.Event) -> None:
        self._store = parts.store
        self._deliveries = Deliveries(parts.webhooks, parts.webhook_pauses)
        bus = Bus()
        self._engine = Engine(
            parts.registry,
            parts.store,
            bus,
            max_running=parts.max_running,
            handler_timeout=parts.handler_timeout,
            tell_webhooks=self._deliveries.tell,
        )
        api = Api(
            parts.registry,
            parts.store,
            bus,
            self._engine,
            parts.access,
            parts.webhooks,
            self._deliveries,
            documented=parts.documented,
            live_events=parts.live_events,
            keepalive=parts.keepalive,
            max_body_bytes=parts.max_body_bytes,
            stopping=stopping,
        )
        self._app = make_app(api, parts.faults, parts.requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._app(scope, receive, send)

    async def stop(self) -> None:
        """End executions, replies and deliveries."""
        await self._engine.stop()
        await self._deliveries.stop()

    def close(self) -> None:
        """Close the store."""
        # What began while the server was stopping.
        self._store.fail_interrupted()
        self._store.close()
