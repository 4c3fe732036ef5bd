"""The codes of errors that 0.1.0 knew by other names."""

from __future__ import annotations

from typing import Optional

__all__ = ["ALIASES", "with_alias"]

# 0.1.0 had one code for each of these kinds. ``error.code == "timeout"`` is still true.
ALIASES = {
    "answer_timeout": "timeout",
    "client_busy": "timeout",
    "connect_timeout": "timeout",
    "deadline_exceeded": "timeout",
    "pool_timeout": "timeout",
    "read_timeout": "timeout",
    "wait_timeout": "timeout",
    "certificate_untrusted": "connection_error",
    "connection_failed": "connection_error",
    "connection_lost": "connection_error",
    "request_invalid": "connection_error",
    "event_invalid": "stream_error",
    "event_too_large": "stream_error",
    "no_answer": "stream_error",
    "no_event_stream": "stream_error",
    "stream_lost": "stream_error",
}


class _Code(str):
    """A code that is also equal to its name in 0.1.0."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True or (
            isinstance(other, str) and str.__eq__(other, ALIASES[str.__str__(self)])
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    # Of its own name: in a set or a dictionary it is found by that one alone.
    __hash__ = str.__hash__


def with_alias(code: Optional[str]) -> Optional[str]:
    """Give a code that compares equal to its old name too, where it has one."""
    return _Code(code) if code in ALIASES else code
