"""A webhook receiver on the loopback, and a bounded wait."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable

from flowmaestro.webhooks import construct_event


@dataclass
class Delivery:
    headers: Any
    body: bytes

    def event(self, secret: str) -> Any:
        return construct_event(self.body, self.headers, secret)


class Receiver:
    """Answers every delivery with the next status of a list, and then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.deliveries: list[Delivery] = []
        self._statuses = list(statuses)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.deliveries.append(Delivery(self.headers, body))
                self.send_response(receiver._statuses.pop(0) if receiver._statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            # As many deliveries may wait to be accepted.
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something that happens elsewhere, and fail if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {seconds:g} s"
        time.sleep(0.005)


@contextlib.contextmanager
def soon(action: Callable[[], object], seconds: float = 0.5) -> Iterator[None]:
    """Do something in another thread while the block runs."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join(10)
