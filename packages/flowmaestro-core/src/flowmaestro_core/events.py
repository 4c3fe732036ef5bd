"""From frames to events: plain dictionaries with a ``type`` and snake_case keys."""

from __future__ import annotations

import re
from typing import Any

from .codec import decode_text, is_object
from .sse import Frame

__all__ = ["event_of", "is_heartbeat"]

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
# The keys of events are few, so each is translated once. The bound keeps a server that
# invents keys from filling memory.
_KEYS: dict[str, str] = {}
_MAX_KEYS = 1000


# What servers and proxies send only to show that the connection is alive.
_HEARTBEATS = frozenset({"heartbeat", "keepalive", "keep-alive", "keep_alive", "ping", "pong"})
_EMPTY_DATA = frozenset({b"", b"null", b'""'})
_LONGEST_HEARTBEAT = 12


def is_heartbeat(frame: Frame) -> bool:
    """Say whether a frame carries no event but only shows that the connection is alive.

    Such a frame has no data, the data ``null``, or the word for it as its name or data.
    """
    # Nearly all events have a colon in their name and more data than a heartbeat.
    if ":" not in frame.event and frame.event.lower() in _HEARTBEATS:
        return True
    if len(frame.data) > _LONGEST_HEARTBEAT:
        return False
    data = frame.data.strip()
    if data in _EMPTY_DATA:
        return True
    word = data.strip(b'"').lower().decode("ascii", "replace")
    return not frame.event and (word == "{}" or word in _HEARTBEATS)


def event_of(frame: Frame, identity: dict[str, str]) -> dict[str, Any]:
    """Make an event of a frame.

    The type is the one in the data, or else the frame's name. Keys of the event itself
    become snake_case; what they hold belongs to the user and stays as it is.

    Args:
        frame: What the stream had.
        identity: Ids that the event must have, used where it has none of its own.

    Raises:
        ValueError: The data is no JSON object, or its type is not a string.
    """
    content = decode_text(frame.data)
    if not is_object(content):
        raise ValueError(f"the data of an event is {type(content).__name__}, not an object")
    event: dict[str, Any] = identity.copy()
    for key, value in content.items():
        name = _KEYS.get(key) or _snake_case(key)
        if name == key or name not in content:
            event[name] = value
    kind = event.get("type")
    if not kind:
        event["type"] = frame.event or "message"
    elif not isinstance(kind, str):
        raise ValueError(f"the type of an event is {type(kind).__name__}, not a string")
    return event


def _snake_case(key: str) -> str:
    name = _HUMP.sub(r"_\1", key).lower()
    if len(_KEYS) < _MAX_KEYS:
        _KEYS[key] = name
    return name
