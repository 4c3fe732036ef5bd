"""Delivers webhooks over real HTTP: signed, retried, recorded."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import itertools
import json
import threading
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union
from urllib.parse import urlsplit

from .clock import monotonic, timestamp
from .records import DeliveryRecord, WebhookRecord, new_id, now

__all__ = ["Deliveries", "signature_of"]

_TIMEOUT = 10.0
_RETRIED = frozenset({408, 425, 429})
_AT_ONCE = 8


def signature_of(body: bytes, secret: str) -> str:
    """Sign a body as the backend does."""
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Deliveries:
    """Sends events to the webhooks that ask for them.

    Args:
        webhooks: The subscriptions, which may change.
        pauses: Seconds before each retry. The backend waits for minutes; a test cannot.
    """

    def __init__(self, webhooks: dict[str, WebhookRecord], pauses: Sequence[float]) -> None:
        self.records: dict[str, list[DeliveryRecord]] = {}
        self._webhooks = webhooks
        self._pauses = tuple(pauses)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        # A delivery's id is a number, unlike its event's; none comes again after a restart.
        self._numbers = itertools.count(int(timestamp() * 1000))

    def tell(self, kind: str, data: dict[str, Any], tenant: str) -> None:
        """Deliver an event to every webhook of a tenant that is on and asks for it."""
        for webhook in list(self._webhooks.values()):
            if webhook.is_active and kind in webhook.events and webhook.tenant == tenant:
                record = DeliveryRecord(str(next(self._numbers)), webhook.id, kind)
                self.records.setdefault(webhook.id, []).append(record)
                body = _body(new_id(), kind, data, record.created_at)
                task = self._loop.create_task(self._deliver(webhook, record, body))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def test(self, webhook: WebhookRecord) -> dict[str, Any]:
        """Deliver a test event once, and say how it went."""
        delivery_id = f"test_{int(timestamp() * 1000)}"
        data = {"message": "This is a test webhook from FlowMaestro", "webhook_id": webhook.id}
        body = _body(delivery_id, "test", data, now())
        began = monotonic()
        outcome = await self._send(webhook, delivery_id, None, body)
        took = {"response_time_ms": round((monotonic() - began) * 1000)}
        if isinstance(outcome, str):
            return {
                "success": False,
                "error": "fetch failed",
                "message": "Failed to deliver test webhook",
                **took,
            }
        if 200 <= outcome < 300:
            message = "Test webhook delivered successfully"
        else:
            message = f"Test webhook failed with status {outcome}"
        return {
            "success": 200 <= outcome < 300,
            "status_code": outcome,
            "message": message,
            **took,
        }

    async def stop(self) -> None:
        """Give up what is on its way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, webhook: WebhookRecord, record: DeliveryRecord, body: bytes) -> None:
        for pause in (*self._pauses, None):
            async with self._turns:
                outcome = await self._send(webhook, record.id, record.event_type, body)
            record.attempts += 1
            record.last_attempt_at = now()
            if isinstance(outcome, str):
                record.error_message = outcome
            else:
                record.response_status = outcome
                record.error_message = None if outcome < 300 else f"HTTP {outcome}"
                if 200 <= outcome < 300:
                    record.status = "success"
                    return
                if outcome < 500 and outcome not in _RETRIED:
                    break
            if pause is None:
                break
            record.status = "retrying"
            await asyncio.sleep(pause)
        record.status = "failed"

    async def _send(
        self, webhook: WebhookRecord, delivery_id: str, kind: Optional[str], body: bytes
    ) -> Union[int, str]:
        """Post a body once: the status of the answer, or what went wrong."""
        headers = {
            **(webhook.headers or {}),
            "Content-Type": "application/json",
            "User-Agent": "FlowMaestro-Webhook/1.0",
            "X-FlowMaestro-Signature": signature_of(body, webhook.secret),
            "X-FlowMaestro-Delivery-ID": delivery_id,
        }
        if kind is not None:
            headers["X-FlowMaestro-Event"] = kind
        future: asyncio.Future[Union[int, str]] = self._loop.create_future()

        def work() -> None:
            outcome = _post(webhook.url, body, headers)
            try:
                self._loop.call_soon_threadsafe(_settle, future, outcome)
            except RuntimeError:
                # The server has stopped meanwhile.
                return

        threading.Thread(target=work, name="flowmaestro-local-webhook", daemon=True).start()
        return await future


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if not future.done():
        future.set_result(outcome)


def _body(event_id: str, kind: str, data: dict[str, Any], created_at: str) -> bytes:
    event = {"id": event_id, "event": kind, "created_at": created_at, "data": data}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def _post(url: str, body: bytes, headers: dict[str, str]) -> Union[int, str]:
    parts = urlsplit(url)
    connection_class: Callable[..., http.client.HTTPConnection] = (
        http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection = connection_class(parts.hostname or "", parts.port, timeout=_TIMEOUT)
        try:
            connection.request("POST", target, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()
    except Exception as problem:
        # Whatever an address or a header does, the delivery has an end.
        return str(problem) or type(problem).__name__
