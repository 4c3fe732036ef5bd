"""What is done to a connection without its pool: it is let go, or kept from being used again."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

__all__ = ["expire_if_left_over", "release"]

# Layers of httpx and httpcore between a response and its connection; today there are five.
_MOST_LAYERS = 8


def release(stream: Any) -> None:
    """Close this process's handle of a connection, without a word to the other side.

    For connections that another process or a closed event loop owns. Shutting one down, or
    telling its event loop, would reach into what the owner still uses.
    """
    sock: Any = None if stream is None else stream.get_extra_info("socket")
    # asyncio and trio give a wrapper around the socket itself.
    sock = getattr(sock, "_sock", sock)
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            sock.close()


def expire_if_left_over(response: Any) -> None:
    """Keep a connection from being used again where there are bytes after its response.

    They would be taken for the response to the next request. To be called when the body was
    read, and before the response is closed, which gives the connection back to its pool.

    Args:
        response: A response of httpx's.
    """
    layer = response.stream
    for _ in range(_MOST_LAYERS):
        connection = getattr(layer, "_connection", None)
        if connection is not None:
            break
        layer = getattr(layer, "_stream", None) or getattr(layer, "_httpcore_stream", None)
        if layer is None:
            return
    else:
        return
    state = getattr(connection, "_h11_state", None)
    if state is None:
        # HTTP/2 numbers its responses.
        return
    if state.trailing_data[0] or _has_buffered(getattr(connection, "_network_stream", None)):
        # For one that is given back after this, and for one that a hook has given back.
        connection._keepalive_expiry = -1.0
        connection._expire_at = -1.0


def _has_buffered(stream: Any) -> bool:
    """Say whether a stream has read more than was taken from it.

    What is still with the operating system is seen by httpcore, before it uses a connection.
    """
    for _ in range(_MOST_LAYERS):
        if stream is None:
            return False
        if getattr(stream, "_early", None):
            return True
        # Of anyio on asyncio.
        if getattr(getattr(stream, "_protocol", None), "read_queue", None):
            return True
        # What TLS has not unpacked: of anyio's stream, trio's, and httpcore's in a tunnel.
        for name in ("_read_bio", "_incoming"):
            packed = getattr(stream, name, None)
            if packed is not None and getattr(packed, "pending", False):
                return True
        stream = (
            getattr(stream, "_stream", None)
            or getattr(stream, "transport_stream", None)
            or getattr(stream, "_inner", None)
        )
    return False
