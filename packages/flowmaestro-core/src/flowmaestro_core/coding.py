"""Content codings: bytes that a server packed, unpacked piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

__all__ = ["CodingError", "UnknownCoding", "Unpacker", "codings_of", "unpacker_for"]

# Bytes that one step gives at most, so that a small body cannot fill the memory at once.
_STEP = 256 * 1024

# What zlib is told to expect: a header of gzip or of zlib, whichever comes; or no header.
_ANY_HEADER = 47
_NO_HEADER = -15


class CodingError(Exception):
    """A body is not what its ``Content-Encoding`` says."""


class UnknownCoding(CodingError):
    """A body has a ``Content-Encoding`` that cannot be read here."""


class Unpacker(Protocol):
    """Unpacks one coding."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give what these bytes unpack to.

        Raises:
            CodingError: The bytes are not in this coding.
        """
        ...

    def end(self) -> None:
        """Check that the body is whole.

        Raises:
            CodingError: It ends too early.
        """
        ...


def codings_of(header: str) -> list[str]:
    """List the codings of a ``Content-Encoding``, in the order in which they were applied."""
    names = [name.strip().lower() for name in header.split(",")]
    return [name for name in names if name not in ("", "identity")]


def unpacker_for(codings: list[str]) -> Unpacker:
    """Make what unpacks these codings.

    Raises:
        UnknownCoding: One of them is not known.
    """
    for name in codings:
        if name not in ("gzip", "x-gzip", "deflate"):
            raise UnknownCoding(f"its content coding {name!r} is not supported")
    return _Chain([_Zlib(name) for name in reversed(codings)])


class _Chain:
    """Undoes several codings, the last one first."""

    def __init__(self, unpackers: list[_Zlib]) -> None:
        self._unpackers = unpackers

    def feed(self, data: bytes) -> Iterator[bytes]:
        return self._through(0, data)

    def _through(self, index: int, data: bytes) -> Iterator[bytes]:
        if index == len(self._unpackers):
            yield data
            return
        for piece in self._unpackers[index].feed(data):
            yield from self._through(index + 1, piece)

    def end(self) -> None:
        for unpacker in self._unpackers:
            unpacker.end()


class _Zlib:
    """Unpacks gzip, of any number of members, and deflate with and without zlib's header."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._is_gzip = coding != "deflate"
        # None before the first byte, and between the members of gzip.
        self._member: Any = None
        self._has_begun = False
        # The first byte of a deflate body, held until the second tells what it is.
        self._held: bytes = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._member is None:
                if self._has_begun:
                    # gzip may be padded with zeros; deflate has one part only.
                    data = data.lstrip(b"\0") if self._is_gzip else b""
                if not data:
                    return
                begin: bytes = self._held + data
                if not self._is_gzip and len(begin) < 2:
                    self._held = begin
                    return
                data, self._held = begin, b""
                self._member = self._new_member(begin)
                self._has_begun = True
            member = self._member
            try:
                piece = member.decompress(data, _STEP)
            except zlib.error as why:
                raise self._error(str(why)) from None
            if piece:
                yield piece
            if member.eof:
                self._member = None
                data = member.unused_data
            elif member.unconsumed_tail:
                data = member.unconsumed_tail
            elif len(piece) == _STEP:
                # zlib may hold more of what it has read.
                data = b""
            else:
                return

    def _new_member(self, begin: bytes) -> Any:
        # zlib's header is a number that can be divided by 31, for the method 8.
        has_header = self._is_gzip or (begin[0] & 15 == 8 and not (begin[0] * 256 + begin[1]) % 31)
        return zlib.decompressobj(_ANY_HEADER if has_header else _NO_HEADER)

    def end(self) -> None:
        if self._member is not None or self._held:
            raise self._error("it ends too early")

    def _error(self, why: str) -> CodingError:
        return CodingError(f"it is no {self._coding}: {why}")
