"""httpx, and httpx2 where a program has it: a fork with the same names.

httpx2 is never imported here. A client of it can only be handed in by a program that has
imported it, so that it is among the loaded modules.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator
from typing import Any, Optional

import httpx

__all__ = ["body_of", "is_error", "library_of", "transport_errors"]

# httpx first: it is the default.
_NAMES = ("httpx", "httpx2")


def _loaded() -> list[Any]:
    """Give the libraries that are loaded."""
    return [httpx, *filter(None, map(sys.modules.get, _NAMES[1:]))]


def library_of(client: object, kind: str) -> Optional[Any]:
    """Find the library that a client is of, or None where it is of neither.

    Args:
        client: What a user handed in.
        kind: ``"Client"`` or ``"AsyncClient"``.
    """
    for library in _loaded():
        if isinstance(client, getattr(library, kind)):
            return library
    return None


def is_error(error: BaseException, *names: str) -> bool:
    """True for an exception of one of these names, of any of the libraries."""
    return any(isinstance(error, getattr(library, name)) for library in _loaded() for name in names)


def transport_errors() -> tuple[type[Exception], ...]:
    """Give the base classes of what the libraries raise while a request is sent or read."""
    names = ("HTTPError", "InvalidURL", "StreamError")
    return tuple(getattr(library, name) for library in _loaded() for name in names)


def body_of(library: Any, content: bytes) -> Any:
    """Make the body of a request, given at once.

    The libraries' own is a generator. Where the sending breaks off, it is left to the garbage
    collector, of which trio complains.
    """
    return _body_class(library)(content)


@functools.cache
def _body_class(library: Any) -> type[Any]:
    base: type[httpx.AsyncByteStream] = library.AsyncByteStream

    class Body(base):  # type: ignore[valid-type, misc]
        def __init__(self, content: bytes) -> None:
            self._content = content

        def __aiter__(self) -> AsyncIterator[bytes]:
            return _Once(self._content)

    return Body


class _Once:
    def __init__(self, content: bytes) -> None:
        self._left = [content]

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()
