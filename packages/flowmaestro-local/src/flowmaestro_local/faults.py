"""Faults on demand: what networks and backends do on a bad day, repeatable by a seed."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["KINDS", "Fault", "Faults", "FaultyApp"]

KINDS = (
    "status",
    "latency",
    "reset_before",
    "reset_after",
    "truncate",
    "drip",
    "cut_stream",
    "duplicate_event",
    "garbage_frame",
    "stall",
)

# Where a connection's transport is found; see ``http.py``.
TRANSPORT = "flowmaestro_local.transport"


@dataclass
class Fault:
    """One fault and the requests that it falls on."""

    kind: str
    match: str
    times: Optional[int]
    probability: float
    status: int
    headers: Mapping[str, str]
    body: Union[bytes, str, dict[str, Any]]
    seconds: float
    after: int
    used: int = field(default=0)


class Faults:
    """The faults that are set; add and clear them at any time, from any thread."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(
        self,
        kind: str,
        match: str = "*",
        *,
        times: Optional[int] = 1,
        probability: float = 1.0,
        status: int = 503,
        headers: Optional[Mapping[str, str]] = None,
        body: Union[bytes, str, dict[str, Any], None] = None,
        seconds: float = 1.0,
        after: int = 1,
    ) -> Fault:
        """Set a fault.

        Args:
            kind: What happens.

                * ``status``: the answer is ``status`` with ``headers`` and ``body``; no work
                  is done.
                * ``latency``: the answer is late by ``seconds``.
                * ``reset_before``: the connection is reset; no work is done.
                * ``reset_after``: the work is done, then the connection is reset before
                  the answer.
                * ``truncate``: the work is done, half of the answer is sent.
                * ``drip``: the answer comes in 20 pieces over ``seconds``.
                * ``cut_stream``: the connection is reset after ``after`` events.
                * ``duplicate_event``: event number ``after`` comes twice.
                * ``garbage_frame``: a frame that is no JSON comes after ``after`` events.
                * ``stall``: nothing comes any more after ``after`` events, for ``seconds``,
                  or for good where ``seconds`` is ``inf``; of an answer that is no stream,
                  nothing comes at all.
            match: Which requests, as ``"POST */execute"``: a method and a path with ``*``,
                or a path alone, or ``"*"`` for all.
            times: How many requests; None for no bound.
            probability: How likely each of them is hit, from 0 to 1, by the server's seed.
            status: The status of ``status``.
            headers: The headers of ``status``.
            body: The body of ``status``; the backend's error shape where it is left out.
            seconds: How long.
            after: How many events.

        Returns:
            The fault; its ``used`` counts.

        Raises:
            ValueError: There is no such kind, or a number makes no sense.
        """
        if kind not in KINDS:
            raise ValueError(f"there is no fault {kind!r}; there are {', '.join(KINDS)}")
        if not 0 <= probability <= 1:
            raise ValueError(f"probability runs from 0 to 1, not to {probability}")
        if times is not None and times < 1:
            raise ValueError(f"times must be 1 or more, or None, not {times}")
        if body is None:
            body = {"error": {"code": "injected_fault", "message": f"an injected {status}"}}
        fault = Fault(
            kind, match, times, probability, status, dict(headers or {}), body, seconds, after
        )
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Take all faults back."""
        with self._lock:
            self._faults.clear()

    @property
    def injected(self) -> dict[str, int]:
        """How many faults happened, by kind; ``status`` with its number."""
        with self._lock:
            return dict(self._counts)

    def pick(self, method: str, path: str) -> Optional[Fault]:
        """Choose the fault of a request: the first one set that falls on it."""
        with self._lock:
            for fault in self._faults:
                if fault.times is not None and fault.used >= fault.times:
                    continue
                if not _matches(fault.match, method, path):
                    continue
                if fault.probability < 1 and self._random.random() >= fault.probability:
                    continue
                fault.used += 1
                name = f"status {fault.status}" if fault.kind == "status" else fault.kind
                self._counts[name] += 1
                return fault
        return None


def _matches(pattern: str, method: str, path: str) -> bool:
    wanted, _, where = pattern.rpartition(" ")
    return wanted in ("", method) and fnmatch.fnmatchcase(path, where)


class FaultyApp:
    """An ASGI app in front of another, where faults happen."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, with its fault if it has one."""
        fault = self._faults.pick(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await _Faulty(self._app, fault, scope, receive, send).answer()


class _Faulty:
    """One request with its fault."""

    def __init__(
        self, app: ASGIApp, fault: Fault, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._app = app
        self._fault = fault
        self._scope = scope
        self._receive = receive
        self._send = send
        self._events = 0
        self._is_stream = False
        self._is_cut = False

    async def answer(self) -> None:
        fault = self._fault
        if fault.kind == "status":
            await self._answer_status()
        elif fault.kind == "latency":
            await asyncio.sleep(fault.seconds)
            await self._app(self._scope, self._receive, self._send)
        elif fault.kind == "reset_before":
            self._reset()
        elif fault.kind in ("reset_after", "truncate", "drip"):
            await self._spoil_whole()
        else:
            await self._app(self._scope, self._receive, self._spoil_stream)

    async def _answer_status(self) -> None:
        body = self._fault.body
        if isinstance(body, dict):
            body = json.dumps(body)
        raw = body.encode() if isinstance(body, str) else body
        headers = {"content-type": "application/json", **self._fault.headers}
        headers["content-length"] = str(len(raw))
        await self._start(self._fault.status, headers)
        await self._send({"type": "http.response.body", "body": raw})

    async def _spoil_whole(self) -> None:
        """Do the work, keep the answer, and then treat it as the fault wants."""
        start: Message = {}
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._app(self._scope, self._receive, keep)
        body = b"".join(parts)
        if self._fault.kind == "reset_after":
            self._reset()
            return
        await self._send(start)
        if self._fault.kind == "truncate":
            half = {"type": "http.response.body", "body": body[: len(body) // 2]}
            await self._send({**half, "more_body": True})
            # What was written has to be on its way before the connection goes.
            await asyncio.sleep(0.01)
            self._reset()
            return
        size = max(len(body) // 20, 1)
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        for piece in pieces:
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(self._fault.seconds / len(pieces))
        await self._send({"type": "http.response.body", "body": b""})

    async def _spoil_stream(self, message: Message) -> None:
        """Pass on what the app sends, counting events, until it is the fault's turn."""
        fault = self._fault
        if self._is_cut:
            return
        if message["type"] == "http.response.start":
            kinds = dict(message["headers"])
            self._is_stream = kinds.get(b"content-type", b"").startswith(b"text/event-stream")
            if not self._is_stream and fault.kind == "stall":
                await self._stall()
            await self._send(message)
            return
        body: bytes = message.get("body", b"")
        if not self._is_stream or not body.startswith((b"event:", b"id:", b"data:")):
            if self._is_stream and self._events >= fault.after and fault.kind == "stall":
                return
            await self._send(message)
            return
        self._events += 1
        await self._send(message)
        if self._events == fault.after:
            if fault.kind == "cut_stream":
                await asyncio.sleep(0.01)
                self._reset()
            elif fault.kind == "duplicate_event":
                await self._send(message)
            elif fault.kind == "garbage_frame":
                garbage = b'event: node:started\ndata: {"type": "node:sta\xff\n\n'
                await self._send({**message, "body": garbage, "more_body": True})
            elif fault.kind == "stall":
                await self._stall()

    async def _stall(self) -> None:
        await asyncio.sleep(self._fault.seconds)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    def _reset(self) -> None:
        """Break the connection as a crash would: with a reset, not a clean end."""
        self._is_cut = True
        transport = self._scope[TRANSPORT]
        sock = transport.get_extra_info("socket")
        if sock is not None:
            linger_for_no_time = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
        transport.abort()
