"""A loopback server that is never the bottleneck: prepared answers, no framework.

    python benchmarks/server.py [CERTIFICATE KEY]

Prints the address it serves. An execution's id holds the moment at which it is over, so
that nothing has to be remembered.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import time
from typing import Any, Optional

RUN_SECONDS = 3.0
HEADERS = (
    b"HTTP/1.1 200 OK\r\n"
    b"x-ratelimit-limit: 1000000\r\nx-ratelimit-remaining: 999994\r\n"
    b"x-ratelimit-reset: 1795463820\r\nx-ratelimit-limit-day: 10000000\r\n"
    b"x-ratelimit-remaining-day: 9999994\r\ndate: Mon, 23 Nov 2026 19:56:24 GMT\r\n"
    b"connection: keep-alive\r\nkeep-alive: timeout=72\r\n"
)
WORKFLOW = {
    "id": "8d635123-5d33-4a06-989b-7fd45d593d25",
    "name": "Lead enrichment",
    "description": "Looks a company up and writes a summary",
    "version": 3,
    "inputs": {"company": {"type": "text", "label": "Company", "required": True}},
    "created_at": "2026-11-23T19:55:15.436Z",
    "updated_at": "2026-11-23T19:55:15.436Z",
}
META = {
    "request_id": "c7c7ab9a-8a23-46e0-bcf9-5516dc632671",
    "timestamp": "2026-11-23T19:56:24.488Z",
}
PAGE = {"page": 1, "per_page": 20, "total_count": 20, "total_pages": 1, "has_next": False}
CONNECTED = b'event: connected\ndata: {"executionId":"e","status":"running"}\n\n'
COMPLETED = (
    b'event: execution:completed\ndata: {"executionId":"e","status":"completed",'
    b'"outputs":{"summary":"done"},"completedAt":"2026-11-23T19:56:24.488Z"}\n\n'
)


def token(number: int) -> bytes:
    """Write one event as an agent's stream has them."""
    data = {
        "type": "node:stream",
        "executionId": "8d635123-5d33-4a06-989b-7fd45d593d25",
        "nodeId": "llm_1",
        "chunk": f"token {number} of the answer ",
        "timestamp": "2026-11-23T19:56:24.488Z",
    }
    return f"event: node:stream\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def answer(content: Any) -> bytes:
    """Write a whole HTTP answer."""
    body = json.dumps(content, separators=(",", ":")).encode()
    kind = b"content-type: application/json; charset=utf-8\r\ncontent-length: %d\r\n\r\n"
    return HEADERS + kind % len(body) + body


def body_of(size: int) -> Any:
    """Make an object of about so many bytes, of the kinds that outputs are made of."""
    row = {"name": "Ada Lovelace", "score": 0.9731, "tags": ["a", "b"], "seen": True, "n": 12345}
    rows = max(1, size // len(json.dumps(row, separators=(",", ":"))))
    return {"data": {**WORKFLOW, "inputs": {"rows": [row] * rows}}, "meta": META}


FIXED = {
    b"get": answer({"data": WORKFLOW, "meta": META}),
    b"list": answer({"data": [WORKFLOW] * 20, "pagination": PAGE, "meta": META}),
    b"models": answer({"object": "list", "data": [], "meta": META}),
}
SIZES = {size: answer(body_of(size)) for size in (1_000, 10_000, 100_000, 1_000_000, 10_000_000)}
TOKENS = [token(number) for number in range(1_000)]


class Protocol(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.buffer = b""
        self.stream: Optional[asyncio.Task[None]] = None
        self.may_write = asyncio.Event()
        self.may_write.set()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.may_write.set()
        if self.stream is not None:
            self.stream.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return
            self.buffer = self.buffer[size:]
            self.answer(*head.split(b" ", 2)[:2])

    def answer(self, method: bytes, target: bytes) -> None:
        path = target.partition(b"?")[0].rpartition(b"/api/v1")[2] or target
        parts = path.strip(b"/").split(b"/")
        if method == b"POST":
            due = int((time.time() + RUN_SECONDS) * 1000)
            started = {"execution_id": f"exec_{due}", "status": "running"}
            self.transport.write(answer({"data": started, "meta": META}))
        elif parts[-1] == b"events":
            self.stream = asyncio.ensure_future(self.events(parts[-2].decode()))
        elif parts[0] == b"executions":
            self.transport.write(answer({"data": execution(parts[1].decode()), "meta": META}))
        elif parts[-1].startswith(b"size_"):
            self.transport.write(SIZES[int(parts[-1][5:])])
        else:
            fixed = parts[0] if parts[0] in FIXED else b"get" if len(parts) > 1 else b"list"
            self.transport.write(FIXED[fixed])

    async def events(self, name: str) -> None:
        """Send a stream: ``burst_N``, ``single_N``, or one of an execution that runs."""
        kind, _, count = name.partition("_")
        self.transport.write(HEADERS + b"content-type: text/event-stream\r\n")
        self.transport.write(b"transfer-encoding: chunked\r\n\r\n")
        self.write(CONNECTED)
        if kind == "burst":
            for start in range(0, int(count), 100):
                first = start % len(TOKENS)
                self.write(b"".join(TOKENS[first : first + 100]))
                await self.may_write.wait()
        elif kind == "single":
            for number in range(int(count)):
                self.write(TOKENS[number % len(TOKENS)])
                # One segment for each event: the reader is awake again before the next.
                await asyncio.sleep(0.0005)
        elif kind == "exec":
            pause = int(count) / 1000 - time.time()
            for _ in range(5):
                await asyncio.sleep(max(pause, 0.0) / 5)
                self.write(TOKENS[0])
        self.write(COMPLETED)
        self.transport.write(b"0\r\n\r\n")

    def write(self, part: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(part), part))


def execution(name: str) -> dict[str, Any]:
    """Tell an execution as it is at this moment."""
    over = name.startswith("exec_") and time.time() * 1000 >= int(name[5:])
    return {
        "id": name,
        "workflow_id": WORKFLOW["id"],
        "status": "completed" if over else "running",
        "inputs": {},
        "outputs": {"summary": "done"} if over else None,
        "error": None,
        "started_at": META["timestamp"],
        "completed_at": META["timestamp"] if over else None,
    }


async def main() -> None:
    context = None
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Protocol, "127.0.0.1", 0, ssl=context, backlog=2_000)
    port = server.sockets[0].getsockname()[1]
    print(f"{'https' if context else 'http'}://127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
