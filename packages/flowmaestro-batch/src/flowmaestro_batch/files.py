"""Files of rows: CSV as RFC 4180 has it, and JSON Lines, in any encoding, also in gzip.

Read one row at a time: a file of a million rows takes no more memory than one of ten.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import threading
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, Optional, TextIO, cast

from .errors import RowError
from .texts import is_storable

__all__ = ["FileFormat", "Item", "items_of_file"]

_TABLES = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")

# What a file may begin with, the longer ones first, and the encoding that says so.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"

# Characters of a cell. The API takes about a million bytes for a whole request; what is much
# longer is no cell but a quote that was never closed.
_LONGEST_CELL = 20_000_000

# Of the csv module there is one limit for the whole process.
_cell_limit = threading.Lock()


class Item(NamedTuple):
    """What stood at one place of the source, good or not."""

    value: Any
    line: Optional[int] = None
    problem: Optional[str] = None


class FileFormat(NamedTuple):
    """How a file is to be read, where it does not say so itself.

    Attributes:
        delimiter: What stands between two cells; None for the one of the file's suffix.
        quotechar: What stands around a cell that has delimiters or line ends in it.
        encoding: The name of the encoding; None for the byte order mark's, or UTF-8.
    """

    delimiter: Optional[str] = None
    quotechar: str = '"'
    encoding: Optional[str] = None

    def checked(self) -> FileFormat:
        """Give the same format, if it makes sense.

        Raises:
            ValueError: It does not.
        """
        for name in ("delimiter", "quotechar"):
            text: object = getattr(self, name)
            if text is None and name == "delimiter":
                continue
            if not isinstance(text, str) or len(text) != 1 or text in "\r\n":
                raise ValueError(f"{name} must be one character, not {text!r}")
        if self.delimiter == self.quotechar:
            raise ValueError(f"delimiter and quotechar are both {self.quotechar!r}")
        if self.encoding is not None:
            try:
                # Of those that Python knows, some are none of texts: hex, zlib, rot13.
                io.TextIOWrapper(io.BytesIO(), self.encoding)
            except LookupError:
                raise ValueError(f"there is no text encoding {self.encoding!r}") from None
        return self


def items_of_file(path: Path, key: Optional[str], form: FileFormat) -> Iterator[Item]:
    """Open a file. What can be checked before the first row is checked at once.

    Raises:
        RowError: The file cannot be read, or its columns are no good.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in _TABLES and suffix not in _LINES:
        known = ", ".join([*_TABLES, *_LINES])
        raise RowError(
            f"{path} is of no kind that can be read ({known}, each also with .gz)",
            code="unknown_kind",
        )
    if suffix in _LINES:
        with _readable(path, form):
            pass
        return _items_of_lines(path, form)
    table = _Table(path, form._replace(delimiter=form.delimiter or _TABLES[suffix]))
    table.check_columns(key)
    return table.items()


@contextmanager
def _readable(path: Path, form: FileFormat) -> Generator[TextIO, None, None]:
    """Open a file of text; whatever is wrong with it as a whole is a ``RowError``."""
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP
            content = cast("BinaryIO", gzip.GzipFile(fileobj=raw) if packed else raw)
            encoding = form.encoding or _encoding_of(content)
            # What is no text in this encoding becomes lone surrogates, by which its row is
            # found. Line ends are the reader's: a cell may have some.
            with io.TextIOWrapper(content, encoding, "surrogateescape", newline="") as text:
                yield text
    except (OSError, EOFError, zlib.error) as why:
        problem = getattr(why, "strerror", None) or str(why)
        raise RowError(f"{path} cannot be read: {problem}", code="unreadable") from why
    except UnicodeError as why:
        raise RowError(f"{path} is not in its encoding: {why}", code="not_in_encoding") from why


def _encoding_of(content: Any) -> str:
    begin: bytes = content.peek(4)[:4]
    return next((name for mark, name in _MARKS if begin.startswith(mark)), "utf-8")


class _Table:
    """A file of cells, with the names of its columns in the first line."""

    def __init__(self, path: Path, form: FileFormat) -> None:
        self._path = path
        self._form = form

    def check_columns(self, key: Optional[str]) -> None:
        """See that each column has a name of its own, and the key is among them."""
        with _readable(self._path, self._form) as text:
            first = next(self._records(text), None)
        columns = [] if first is None else first[1]
        path = self._path
        if not any(columns):
            raise RowError(
                f"{path} has no first line with the names of its columns", code="no_header"
            )
        if not all(map(is_storable, columns)):
            raise RowError(f"the first line of {path} is not UTF-8", code="not_utf_8")
        if columns[0].lower().startswith("sep=") and len(columns) <= 2:
            raise RowError(
                f"the first line of {path} is {columns[0]!r}, as Excel writes it, and not the "
                "names of its columns: delete the line, and say delimiter= where it is not "
                f"{self._form.delimiter!r}",
                code="no_header",
            )
        twice = sorted({column for column in columns if columns.count(column) > 1 and column})
        if twice:
            raise RowError(f"{path} has two columns {twice[0]!r}", code="duplicate_column")
        if not all(columns):
            number = columns.index("") + 1
            raise RowError(
                f"column {number} of {path} has no name (pandas writes its index so: "
                "to_csv(..., index=False) does not)",
                code="unnamed_column",
            )
        if key is not None and key not in columns:
            hint = ""
            if len(columns) == 1:
                other = next((one for one in ";\t|," if one in columns[0]), None)
                hint = "" if other is None else f": is the delimiter {other!r}?"
            raise RowError(
                f"{path} has no column {key!r}; it has {', '.join(map(repr, columns))}{hint}",
                code="no_such_column",
            )

    def items(self) -> Iterator[Item]:
        """Give what each record has, by the names of the columns."""
        with _readable(self._path, self._form) as text:
            records = self._records(text)
            _, columns = next(records)
            for line, values in records:
                if not values:
                    continue
                if len(values) != len(columns):
                    problem = f"it has {len(values)} values for {len(columns)} columns"
                    yield Item(None, line, problem)
                elif not all(map(is_storable, values)):
                    yield Item(None, line, "it is not UTF-8")
                else:
                    yield Item(dict(zip(columns, values)), line)

    def _records(self, text: TextIO) -> Iterator[tuple[int, list[str]]]:
        """Give each record with the line where it begins.

        After an error the reader would go on in the middle of a record, and take its text for
        rows: the file ends there.
        """
        reader = csv.reader(
            _without_mark(text),
            delimiter=self._form.delimiter or ",",
            quotechar=self._form.quotechar,
            strict=True,
        )
        while True:
            line = reader.line_num + 1
            try:
                with _cell_limit:
                    before = csv.field_size_limit(_LONGEST_CELL)
                    try:
                        values = next(reader, None)
                    finally:
                        csv.field_size_limit(before)
            except csv.Error as why:
                self._refuse(line, reader.line_num, why)
            if values is None:
                return
            yield line, values

    def _refuse(self, first: int, last: int, why: csv.Error) -> NoReturn:
        quote = self._form.quotechar
        problem = str(why)
        if "end of data" in problem or "field limit" in problem:
            problem = f"a {quote} that opens a cell is never closed"
        elif "expected after" in problem:
            problem = f"a {quote} stands inside of a cell, where it must be doubled"
        lines = f"line {first}" if last <= first else f"the record of lines {first} to {last}"
        raise RowError(
            f"{lines} of {self._path} cannot be read: {problem}; no row was taken from there on",
            code="bad_csv",
        ) from why


def _without_mark(text: TextIO) -> Iterator[str]:
    """Give the lines, without a byte order mark that the encoding leaves in."""
    for number, line in enumerate(text):
        yield line.removeprefix("\ufeff") if number == 0 else line


def _items_of_lines(path: Path, form: FileFormat) -> Iterator[Item]:
    with _readable(path, form) as text:
        text.reconfigure(newline="\n")  # type: ignore[attr-defined]
        for number, line in enumerate(_without_mark(text), 1):
            if not line.strip():
                continue
            if not is_storable(line):
                yield Item(None, number, "it is not UTF-8")
                continue
            try:
                yield Item(
                    json.loads(line, object_pairs_hook=_one_of_each, parse_constant=_no_number),
                    number,
                )
            except (ValueError, RecursionError) as why:
                yield Item(None, number, f"it is no JSON: {why}")


def _one_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        seen = [name for name, _ in pairs]
        twice = next(name for name in seen if seen.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands in it twice")
    return names


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
