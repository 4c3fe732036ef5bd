"""Stands between a program and the real API, and records what passes as a cassette."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Optional, Union
from urllib.parse import urlsplit

from starlette.types import Receive, Scope, Send

from .answers import framework_error
from .cassette import (
    Exchange,
    body_of,
    header_line,
    headers_to_keep,
    masked,
    masked_event,
    masked_query,
    to_line,
)
from .clock import monotonic
from .http import disconnected, read_body
from .request_log import path_of, target_of
from .running import Running, listen

__all__ = ["Recorder"]

_CONNECT_TIMEOUT = 10.0
_CHUNK = 65_536
# Headers of one connection, which the other one has of its own.
_HOP_BY_HOP = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Recorder:
    """Passes requests on to an API, and writes them to a cassette with their responses.

    API keys and secrets pass through, and are masked in the cassette. Webhooks are left alone:
    their deliveries go from the API to their receivers, as they do without it.

    Args:
        cassette: The file to write; one that is there is replaced.
        to: The API's address, as in ``https://api.flowmaestro.ai``.

    Raises:
        ValueError: ``to`` is not an address.

    Example:
        A cassette of one program::

            recorder = LocalServer.record("cassette.jsonl", to="https://api.flowmaestro.ai")
            with recorder.start() as url:
                client = FlowMaestroClient(base_url=url)
                client.run("wf_123", {"name": "Ada"})
    """

    def __init__(self, cassette: Path, to: str) -> None:
        _check_address(to)
        self._cassette = cassette
        self._to = to.rstrip("/")
        self._running: Optional[Running] = None

    def start(self, port: int = 0, host: str = "127.0.0.1") -> Running:
        """Start to record, in a thread of its own.

        Args:
            port: Where to listen; 0 takes a free one.
            host: The address to listen on.

        Returns:
            A context manager that gives the URL for programs, and stops at its end.

        Raises:
            OSError: The port is in use, or the cassette cannot be written.
            RuntimeError: It records already.
        """
        if self._running is not None and self._running.is_running:
            raise RuntimeError(f"this recorder runs already, at {self._running.url}")
        sock = listen(host, port)
        try:
            tape = _Tape(self._cassette, self._to)
        except OSError:
            sock.close()
            raise
        self._running = Running(lambda stopping: _Proxy(self._to, tape, stopping), sock)
        return self._running


def _check_address(to: str) -> None:
    """Check the address of an API.

    Raises:
        ValueError: It is none, or has more than an address has.
    """
    example = "to must be an address such as https://api.example.com"
    try:
        parts = urlsplit(to)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(f"{example}, not {to!r}") from None
    if not is_address:
        raise ValueError(f"{example}, not {to!r}")
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown, as it may be a password.
        raise ValueError(f"{example}, without a user name, a query or a fragment")


class _Tape:
    """The cassette that is written, a line as soon as an exchange is over."""

    def __init__(self, path: Path, recorded_from: str) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._write(header_line(recorded_from))
        self._numbers = itertools.count(1)

    def next_number(self) -> int:
        return next(self._numbers)

    def add(self, exchange: Exchange) -> None:
        self._write(to_line(exchange))

    def close(self) -> None:
        self._file.close()

    def _write(self, line: str) -> None:
        self._file.write(line)
        self._file.flush()


class _Head(NamedTuple):
    status: int
    headers: list[tuple[str, str]]


# What comes from the API, in order: a head, pieces of the body, and None at the end; or what
# went wrong.
_Part = Union[_Head, bytes, None, Exception]


class _Upstream:
    """One request to the API, in a thread of its own."""

    def __init__(
        self, to: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        self.parts: asyncio.Queue[_Part] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._request = (method, urlsplit(to).path + target, body, headers)
        self._connection = _connection_to(to)
        # The connection forgets it once a response without a length has begun.
        self._sock: Optional[socket.socket] = None
        self._is_left = False
        threading.Thread(target=self._work, name="flowmaestro-local-record", daemon=True).start()

    def leave(self) -> None:
        """Close the connection, as the program has left."""
        self._is_left = True
        if self._sock is not None:
            # Wakes the thread that reads; closing alone does not.
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def _work(self) -> None:
        method, target, body, headers = self._request
        try:
            self._connection.connect()
            self._sock = sock = self._connection.sock
            # An open stream may be silent for as long as the program likes.
            sock.settimeout(None)
            if self._is_left:
                return
            self._connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                self._connection.putheader(name, value)
            self._connection.endheaders(body or None)
            response = self._connection.getresponse()
            self._put(_Head(response.status, response.getheaders()))
            while chunk := response.read1(_CHUNK):
                self._put(chunk)
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
            self._put(None)
        except (OSError, ValueError, http.client.HTTPException) as exc:
            self._put(exc)
        finally:
            self._connection.close()

    def _put(self, part: _Part) -> None:
        # The recorder may have stopped meanwhile.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.parts.put_nowait, part)


def _connection_to(to: str) -> http.client.HTTPConnection:
    parts = urlsplit(to)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            host, parts.port, timeout=_CONNECT_TIMEOUT, context=context
        )
    return http.client.HTTPConnection(host, parts.port, timeout=_CONNECT_TIMEOUT)


class _Proxy:
    """The ASGI app of a recorder."""

    def __init__(self, to: str, tape: _Tape, stopping: asyncio.Event) -> None:
        self._to = to
        self._tape = tape
        self._stopping = stopping

    async def stop(self) -> None:
        """Do nothing: requests in progress end by themselves, as the recorder stops."""

    def close(self) -> None:
        """Close the cassette."""
        self._tape.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its response back."""
        number = self._tape.next_number()
        began = monotonic()
        body = await read_body(receive)
        if body is None:
            return
        headers = _request_headers(scope, self._to, body)
        upstream = _Upstream(self._to, scope["method"], target_of(scope), headers, body)
        head = await self._next(upstream, receive)
        if not isinstance(head, _Head):
            upstream.leave()
            if isinstance(head, Exception):
                message = f"the recorder has no response from {self._to}: {head}"
                response = framework_error(502, "Bad Gateway", message, "RECORDER_NO_RESPONSE")
                await response(scope, receive, send)
            return
        exchange = Exchange(
            number=number,
            method=scope["method"],
            path=masked(path_of(scope)),
            query=masked_query(scope["query_string"].decode("latin-1")),
            body=body_of(body),
            status=head.status,
            headers=headers_to_keep(head.headers),
        )
        try:
            await self._pass_on(upstream, head, exchange, receive, send)
        finally:
            upstream.leave()
            exchange.seconds = round(monotonic() - began, 3)
            self._tape.add(exchange)

    async def _pass_on(
        self,
        upstream: _Upstream,
        head: _Head,
        exchange: Exchange,
        receive: Receive,
        send: Send,
    ) -> None:
        pairs = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in head.headers
            if name.lower() not in _HOP_BY_HOP
        ]
        await send({"type": "http.response.start", "status": head.status, "headers": pairs})
        lower = {name.lower(): value.lower() for name, value in head.headers}
        is_stream = lower.get("content-type", "").startswith("text/event-stream")
        received = bytearray()
        try:
            while True:
                part = await self._next(upstream, receive)
                if part is None:
                    await send({"type": "http.response.body", "body": b""})
                    break
                if not isinstance(part, bytes):
                    # The API broke off, or the program has left, or the recorder stops.
                    # What is not complete is broken for the program, too: uvicorn hangs up.
                    exchange.end = "broken" if isinstance(part, Exception) else "left"
                    break
                received += part
                await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            if is_stream:
                text = received.decode("utf-8", "replace").replace("\r\n", "\n")
                *blocks, rest = text.split("\n\n")
                exchange.events = [masked_event(block) + "\n\n" for block in blocks]
                # Half an event is no event, unless the stream ended with it.
                if rest and exchange.end != "left":
                    exchange.events.append(masked_event(rest))
            else:
                coding = lower.get("content-encoding", "")
                exchange.response = body_of(bytes(received), coding) or {"text": ""}

    async def _next(self, upstream: _Upstream, receive: Receive) -> Union[_Part, _Left]:
        """Wait for what the API sends next, or until the program leaves or the recorder stops."""
        part = asyncio.ensure_future(upstream.parts.get())
        left = asyncio.ensure_future(disconnected(receive))
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({part, left, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return part.result() if part.done() else _LEFT
        finally:
            for task in (part, left, stopped):
                task.cancel()


def _request_headers(scope: Scope, to: str, body: bytes) -> list[tuple[str, str]]:
    """Give the headers of a request as they came, for another connection."""
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    headers = [("host", urlsplit(to).netloc)]
    headers += [(name, value) for name, value in pairs if name not in _HOP_BY_HOP]
    # Packed, it could not be read in the cassette.
    headers.append(("accept-encoding", "identity"))
    if body or any(name in ("content-length", "transfer-encoding") for name, _ in pairs):
        headers.append(("content-length", str(len(body))))
    return headers


class _Left:
    """The program has left, or the recorder stops."""


_LEFT = _Left()
