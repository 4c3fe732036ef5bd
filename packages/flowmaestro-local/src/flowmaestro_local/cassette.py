"""What a cassette holds: requests and the responses that they got, without keys and secrets.

A cassette is a text file with one JSON object a line. The first says where and when it was
recorded; each other one is an exchange. It can be read, edited and kept with the tests.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional, cast
from urllib.parse import parse_qsl, urlencode

from .answers import to_json
from .records import now

__all__ = [
    "CassetteError",
    "Exchange",
    "Matcher",
    "body_of",
    "header_line",
    "headers_to_keep",
    "masked",
    "masked_event",
    "masked_query",
    "read",
    "to_line",
]

VERSION = 1

# What stands for a key or a secret.
_MASK = "masked"
_KEY = re.compile(r"(fm_live_|whsec_)[A-Za-z0-9_\-]+")
# How names end whose values are secret, without what separates their words.
_SECRET_NAMES = re.compile(
    r"(secret|secrets|password|passwords|passwd|passphrase|authorization|credential|credentials"
    r"|cookie|cookies|(api|private|secret|access|signing)keys?"
    r"|(access|refresh|auth|bearer|id|session)token)$"
)
# Headers of one connection, and of how a body was packed on it.
_DROPPED_HEADERS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class CassetteError(ValueError):
    """A file is not a cassette, or is damaged."""


@dataclass
class Exchange:
    """One request and its response, masked.

    Attributes:
        number: Its place in the order in which requests came, from 1.
        method: The request's method.
        path: Its path, as it was sent.
        query: Its query, as it was sent.
        body: Its body; see ``body_of``.
        status: The response's status.
        headers: The response's headers.
        response: The response's body, or None for an event stream.
        events: The blocks of an event stream, each with the blank line behind it.
        end: How it ended: ``complete``; ``left``, where the client left first; or ``broken``, where
            the connection to the API broke.
        seconds: How long it took.
    """

    number: int
    method: str
    path: str
    query: str
    body: Optional[dict[str, Any]]
    status: int
    headers: list[list[str]]
    response: Optional[dict[str, Any]] = None
    events: list[str] = field(default_factory=list[str])
    end: str = "complete"
    seconds: float = 0.0

    @property
    def is_stream(self) -> bool:
        """True for an event stream."""
        return self.response is None

    def content(self) -> bytes:
        """Give the response's body as it is sent again."""
        return _bytes_of(self.response)


# ---- Keys and secrets


def masked(text: str) -> str:
    """Replace keys and secrets in a text: a path, a text, or JSON in any of its forms."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            without = _without_secrets(value)
            # As it was written, where there is nothing to replace.
            return text if without == value else json.dumps(without, ensure_ascii=False)
    return _KEY.sub(rf"\1{_MASK}", text)


def masked_query(query: str) -> str:
    """Replace keys and secrets in a query."""
    pairs = parse_qsl(query, keep_blank_values=True)
    without = [(name, _MASK if _is_secret(name) else masked(value)) for name, value in pairs]
    return query if without == pairs else urlencode(without)


def masked_event(block: str) -> str:
    """Replace keys and secrets in the lines of an event."""
    lines = block.split("\n")
    for number, line in enumerate(lines):
        name, colon, value = line.partition(":")
        lines[number] = name + colon + (" " if value[:1] == " " else "") + masked(value.lstrip(" "))
    return "\n".join(lines)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            masked(name): _MASK if item is not None and _is_secret(name) else _without_secrets(item)
            for name, item in cast("dict[str, Any]", value).items()
        }
    if isinstance(value, list):
        return [_without_secrets(item) for item in cast("Any", value)]
    return masked(value) if isinstance(value, str) else value


def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(re.sub(r"[^a-z0-9]", "", name.lower())) is not None


# ---- What is kept of a message


def headers_to_keep(headers: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Choose the headers that a cassette has, without secrets."""
    return [
        [name, _MASK if _is_secret(name) else masked(value)]
        for name, value in headers
        if name.lower() not in _DROPPED_HEADERS
    ]


def body_of(raw: bytes, content_coding: str = "") -> Optional[dict[str, Any]]:
    """Write a body for a cassette: as JSON or text where it is, so that people can read it.

    Args:
        raw: The body, as it came.
        content_coding: How it was packed: ``gzip``, ``deflate``, or nothing that is known.
    """
    raw = _unpacked(raw, content_coding)
    if not raw:
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = masked(raw.decode("latin-1"))
        return {"base64": base64.b64encode(text.encode("latin-1")).decode("ascii")}
    try:
        return {"json": _without_secrets(json.loads(text))}
    except (ValueError, RecursionError):
        return {"text": masked(text)}


def _unpacked(raw: bytes, content_coding: str) -> bytes:
    """Unpack a body, as ``content-encoding`` is not kept; one that is broken stays as it is."""
    try:
        if content_coding == "gzip":
            return gzip.decompress(raw)
        return zlib.decompress(raw) if content_coding == "deflate" else raw
    except (OSError, EOFError, zlib.error):
        return raw


def _bytes_of(body: Optional[dict[str, Any]]) -> bytes:
    if body is None:
        return b""
    if "base64" in body:
        return base64.b64decode(body["base64"])
    return str(body["text"]).encode() if "text" in body else to_json(body["json"])


# ---- The file


def header_line(recorded_from: str) -> str:
    """Write the first line of a cassette."""
    facts = {"flowmaestro_cassette": VERSION, "recorded_from": recorded_from, "recorded_at": now()}
    return json.dumps(facts) + "\n"


def to_line(exchange: Exchange) -> str:
    """Write an exchange as a line."""
    return json.dumps(asdict(exchange)) + "\n"


def read(path: Path) -> list[Exchange]:
    """Read a cassette.

    Returns:
        Its exchanges, in the order in which their requests came.

    Raises:
        OSError: The file cannot be read.
        CassetteError: It is not a cassette, or a line of it is damaged.
    """
    try:
        # An editor may have put a mark before the first line.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        lines = []
    version = _version_of(lines[0]) if lines else None
    if version is None:
        raise CassetteError(
            f"{path} is not a cassette; record one with "
            "`python -m flowmaestro_local record --to URL`"
        )
    if version != VERSION:
        raise CassetteError(
            f"{path} is a cassette of version {version}, and this release reads version "
            f"{VERSION}; record it again"
        )
    exchanges: list[Exchange] = []
    for number, line in enumerate(lines[1:], 2):
        if line.strip():
            try:
                exchanges.append(Exchange(**json.loads(line)))
            except (ValueError, TypeError) as exc:
                raise CassetteError(f"line {number} of {path} is damaged: {exc}") from None
    return sorted(exchanges, key=lambda exchange: exchange.number)


def _version_of(line: str) -> Optional[object]:
    try:
        first: Any = json.loads(line)
    except ValueError:
        return None
    is_map = isinstance(first, dict)
    return cast("dict[str, object]", first).get("flowmaestro_cassette") if is_map else None


# ---- Which response a request gets


class Matcher:
    """Gives each request the response that the same request got when it was recorded.

    Requests are the same if their method, path, query and body are, keys and secrets aside. Those
    that were sent several times get their responses in order; a ``GET`` gets the last one again,
    as a program may poll more often than it did.

    Args:
        exchanges: In the order in which they were recorded.
    """

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._exchanges = exchanges
        self._left: dict[str, list[Exchange]] = {}
        for exchange in exchanges:
            key = _key_of(exchange.method, exchange.path, exchange.query, exchange.body)
            self._left.setdefault(key, []).append(exchange)
        # By identity, as two lines of an edited file may have one number.
        self._used: set[int] = set()

    @property
    def unused(self) -> list[Exchange]:
        """The exchanges whose request has not come yet."""
        return [exchange for exchange in self._exchanges if id(exchange) not in self._used]

    def match(self, method: str, path: str, query: str, raw: bytes) -> Optional[Exchange]:
        """Give the response of a request, or None if there is none (left)."""
        left = self._left.get(_key_of(method, masked(path), masked_query(query), body_of(raw)), [])
        if not left:
            return None
        exchange = left[0]
        if method != "GET" or len(left) > 1:
            left.pop(0)
        self._used.add(id(exchange))
        return exchange

    def explain(self, method: str, path: str, query: str, raw: bytes) -> str:
        """Say why a request has no response, with what was recorded in its place."""
        asked = f"{method} {masked(path)}" + (f"?{masked_query(query)}" if query else "")
        body = body_of(raw)
        near = [one for one in self._exchanges if (one.method, one.path) == (method, masked(path))]
        if not near:
            return f"the cassette has no {asked}"
        key = _key_of(method, masked(path), masked_query(query), body)
        same = sum(_key_of(one.method, one.path, one.query, one.body) == key for one in near)
        if same:
            return f"the cassette has {asked} {same} times, and all of them are used"
        recorded = " or ".join(sorted({_shown(one.query, one.body) for one in near}))
        given = _shown(masked_query(query), body)
        return f"the cassette has {asked} with {recorded}, not with {given}"


def _key_of(method: str, path: str, query: str, body: Optional[Mapping[str, Any]]) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return json.dumps([method, path, pairs, body], sort_keys=True)


def _shown(query: str, body: Optional[Mapping[str, Any]]) -> str:
    parts = [f"the query {query}"] if query else []
    if body is not None:
        parts.append(f"the body {json.dumps(next(iter(body.values())), ensure_ascii=False)[:200]}")
    return " and ".join(parts) or "no query and no body"
