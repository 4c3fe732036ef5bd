"""Servers that answer with any bytes at all."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Callable, Optional


@contextmanager
def raw_server(
    answer: Callable[[socket.socket], None],
    heads: Optional[list[bytes]] = None,
    tls: Optional[ssl.SSLContext] = None,
) -> Iterator[str]:
    """Answers every connection with whatever bytes it is told to, and keeps what was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    stopped = threading.Event()

    def talk(connection: socket.socket) -> None:
        # The client may be gone at every step.
        with suppress(OSError), connection:
            connection.settimeout(60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            with connection:
                head = connection.recv(65536)
                if heads is not None:
                    heads.append(head)
                answer(connection)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                continue
            if stopped.is_set():
                connection.close()
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{address[1]}"
    finally:
        stopped.set()
        # On no system does closing the listener surely wake a thread that accepts.
        socket.create_connection(address, 60).close()
        thread.join(60)
        listener.close()


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
