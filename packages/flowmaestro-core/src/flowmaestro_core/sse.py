"""Server-Sent Events: bytes in, frames out.

Written here and not taken from httpx-sse because a stream of ours has to see what that
decoder throws away: comments, which tell a silent connection from a dead one; an empty
``id:``, which clears the last id; and lines without an end, which must not fill memory.
The tests hold the two decoders against each other on any stream in any chunking.
"""

from __future__ import annotations

import re
from typing import Callable, NamedTuple, Optional, cast

__all__ = ["MAX_EVENT_BYTES", "EventDecoder", "EventTooLarge", "Frame"]

# More than any event of FlowMaestro's, and little enough to hold a few of.
MAX_EVENT_BYTES = 10_000_000

_LINE_END = re.compile(rb"\r\n|\n|\r")
_PLAIN_EVENT = re.compile(rb"(?m)^event: ([^\n]*)\ndata: ([^\n]*)\n\n")
_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """An event, or a line, is longer than the limit."""


class Frame(NamedTuple):
    """One event as it stood in the stream."""

    event: str
    data: bytes
    # The frame's own id, or None if it had none.
    id: Optional[str] = None


# Makes a Frame in half the time.
_new = cast(
    "Callable[[type[Frame], tuple[str, bytes, None]], Frame]",
    getattr(tuple, "__new__"),  # noqa: B009
)


class EventDecoder:
    """Turns chunks, cut anywhere, into frames.

    Attributes:
        last_event_id: What a reconnect should send as ``Last-Event-ID``; empty for nothing.
        comments: How many comment lines came so far.
        retry: The pause in ms that the server asked for, or None.
    """

    def __init__(self, *, last_event_id: str = "", max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.last_event_id = last_event_id
        self.comments = 0
        self.retry: Optional[int] = None
        self._max_event_bytes = max_event_bytes
        # The line that has no end yet, in the pieces it came in: joining them only at
        # its end keeps the cost linear however small the pieces are.
        self._pieces: list[bytes] = []
        self._size = 0
        self._started = False
        self._skip_newline = False
        self._event = b""
        self._data: list[bytes] = []
        self._id: Optional[str] = None

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next bytes and give the frames that they complete.

        Raises:
            EventTooLarge: An event is longer than the limit; the stream is of no more use.
        """
        frames: list[Frame] = []
        if self._skip_newline and chunk:
            # The last chunk ended in a return; a newline right behind it is the same end.
            self._skip_newline = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        if b"\n" not in chunk and b"\r" not in chunk:
            if chunk:
                self._pieces.append(chunk)
                self._grow(len(chunk))
            return frames
        if self._pieces:
            # They counted while their line had no end; from here on the line counts.
            self._size += len(chunk)
            self._pieces.append(chunk)
            chunk = b"".join(self._pieces)
            self._size -= len(chunk)
        if b"\r" in chunk:
            lines = _LINE_END.split(chunk)
            self._skip_newline = chunk.endswith(b"\r")
        else:
            if not self._data and not self._event and self._id is None:
                plain = self._plain_events(chunk)
                if plain is not None:
                    return plain
            lines = chunk.split(b"\n")
        rest = lines.pop()
        self._pieces = [rest] if rest else []
        if not self._started:
            self._started = True
            if lines[0].startswith(_BOM):
                lines[0] = lines[0][3:]
        for line in lines:
            if not line:
                if self._data:
                    frames.append(self._frame())
                self._event = b""
                self._id = None
                self._size = 0
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
                self._size += len(line)
            elif line.startswith(b":"):
                self.comments += 1
            else:
                self._field(line)
            if self._size > self._max_event_bytes:
                self._grow(0)
        self._grow(len(rest))
        return frames

    def _plain_events(self, chunk: bytes) -> Optional[list[Frame]]:
        """Decode whole events of two lines, ``event: ...`` and ``data: ...``, all at once.

        Nearly all are written so, and one regular expression takes a third of the time that
        going from line to line takes.

        Returns:
            None where there is anything else; then nothing was taken.
        """
        end = chunk.rfind(b"\n\n") + 2
        if end < 2 or end > self._max_event_bytes or chunk.startswith(_BOM):
            return None
        whole, rest = (chunk, b"") if end == len(chunk) else (chunk[:end], chunk[end:])
        found: list[tuple[bytes, bytes]] = _PLAIN_EVENT.findall(whole)
        # Each match has three newlines and begins at a line: no line is left between them.
        if 3 * len(found) != whole.count(b"\n"):
            return None
        self._started = True
        self._pieces = [rest] if rest else []
        self._size = 0
        self._grow(len(rest))
        return [_new(Frame, (name.decode("utf-8", "replace"), data, None)) for name, data in found]

    def _frame(self) -> Frame:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data = []
        return Frame(self._event.decode("utf-8", "replace"), data, self._id)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"event":
            self._event = value
        elif name == b"data":
            self._data.append(value)
        elif name == b"id" and b"\0" not in value:
            self._id = self.last_event_id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = int(value)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._max_event_bytes:
            raise EventTooLarge(
                f"an event is longer than {self._max_event_bytes:,} bytes; the stream is cut"
            )
