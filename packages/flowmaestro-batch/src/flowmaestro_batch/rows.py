"""Rows out of a CSV file, a JSON Lines file, a DataFrame, or anything that gives mappings.

Read one at a time: a file of a million rows takes no more memory than one of ten.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union, cast

from .errors import RowError
from .fingerprint import fingerprint

__all__ = ["Item", "Row", "RowReader", "count_rows", "items_of"]

_TABLES = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")


class Item(NamedTuple):
    """What stood at one place of the source, good or not."""

    value: Any
    line: Optional[int] = None
    problem: Optional[str] = None


class Row(NamedTuple):
    """One row: its place, its key, its inputs, and what is wrong with it, if anything is."""

    number: int
    line: Optional[int]
    key: str
    inputs: dict[str, Any]
    fingerprint: str
    problem: Optional[str] = None

    @property
    def place(self) -> str:
        """Where the row is, in words."""
        return f"row {self.number}" if self.line is None else f"line {self.line}"


class RowReader:
    """Makes rows of items, and numbers them."""

    def __init__(self, key: Optional[str]) -> None:
        self._key = key
        self.count = 0

    def row_of(self, item: Item) -> Row:
        """Make the next row; one that is no good says so in ``problem``."""
        self.count += 1
        value, problem = item.value, item.problem
        inputs: dict[str, Any] = {}
        if problem is None:
            if isinstance(value, Mapping):
                inputs = dict(cast("Mapping[str, Any]", value))
            else:
                problem = f"it is {type(value).__name__}, not a mapping of names to values"
        key, mark = "", ""
        if problem is None:
            key, problem = self._key_of(inputs)
        if problem is None:
            try:
                mark = fingerprint(inputs)
            except (TypeError, ValueError, RecursionError) as why:
                problem = f"JSON cannot carry it: {why}"
        return Row(self.count, item.line, key, inputs, mark, problem)

    def _key_of(self, inputs: dict[str, Any]) -> tuple[str, Optional[str]]:
        if self._key is None:
            return str(self.count), None
        if self._key not in inputs:
            return "", f"it has no {self._key!r}, which is the key"
        key = inputs[self._key]
        if isinstance(key, (str, int, float)) and str(key).strip():
            return str(key), None
        return "", f"its key {self._key!r} is {key!r}; a key is a text or a number"


def items_of(rows: Any, key: Optional[str]) -> Iterator[Item]:
    """Open a source. What can be checked before the first row is checked at once.

    Args:
        rows: A path, a DataFrame of pandas or polars, or an iterable of mappings.
        key: The column that must be there, or None.

    Raises:
        RowError: The file cannot be read, or has no such column.
        TypeError: There are no rows in this.
    """
    if isinstance(rows, (str, os.PathLike)):
        return _items_of_file(Path(cast("Any", rows)), key)
    if hasattr(rows, "columns"):
        return _items_of_frame(rows, key)
    if isinstance(rows, (bytes, bytearray, Mapping)) or not hasattr(rows, "__iter__"):
        kind = type(rows).__name__  # pyright: ignore[reportUnknownArgumentType]
        raise TypeError(f"rows must be a path, a DataFrame or an iterable of mappings, not {kind}")
    return (Item(value) for value in rows)


def count_rows(path: Union[str, os.PathLike[str]]) -> int:
    """Count the rows of a file, good or not.

    Raises:
        RowError: The file cannot be read.
    """
    return sum(1 for _ in items_of(path, None))


def _items_of_file(path: Path, key: Optional[str]) -> Iterator[Item]:
    suffix = path.suffix.lower()
    if suffix not in _TABLES and suffix not in _LINES:
        known = ", ".join([*_TABLES, *_LINES])
        raise RowError(f"{path} is of no kind that can be read ({known})", code="unknown_kind")
    try:
        if suffix in _LINES:
            with path.open("rb") as file:
                file.read(1)
            return _items_of_lines(path)
        columns = _columns_of(path, _TABLES[suffix])
    except OSError as why:
        raise RowError(f"{path} cannot be read: {why.strerror}", code="unreadable") from why
    except csv.Error as why:
        raise RowError(
            f"the first line of {path} cannot be read: {why}", code="unreadable"
        ) from why
    if key is not None and key not in columns:
        raise RowError(
            f"{path} has no column {key!r}; it has {', '.join(map(repr, columns))}",
            code="no_such_column",
        )
    return _items_of_table(path, _TABLES[suffix], columns)


def _columns_of(path: Path, delimiter: str) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        empty: list[str] = []
        columns = next(csv.reader(file, delimiter=delimiter), empty)
    if not columns:
        raise RowError(f"{path} has no first line with the names of its columns", code="no_header")
    bad = [column for column in columns if _broken(column)]
    if bad:
        raise RowError(f"the first line of {path} is not UTF-8", code="not_utf_8")
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise RowError(f"{path} has two columns {twice[0]!r}", code="duplicate_column")
    return columns


def _items_of_table(path: Path, delimiter: str, columns: list[str]) -> Iterator[Item]:
    # What is not UTF-8 becomes lone surrogates, by which the row is found.
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.reader(file, delimiter=delimiter)
        next(reader)
        while True:
            line = reader.line_num + 1
            try:
                values = next(reader, None)
            except csv.Error as why:
                yield Item(None, line, str(why))
                continue
            if values is None:
                return
            if not values:
                continue
            if len(values) != len(columns):
                problem = f"it has {len(values)} values for {len(columns)} columns"
                yield Item(None, line, problem)
            elif any(map(_broken, values)):
                yield Item(None, line, "it is not UTF-8")
            else:
                yield Item(dict(zip(columns, values)), line)


def _broken(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _items_of_lines(path: Path) -> Iterator[Item]:
    with path.open("rb") as file:
        for line, content in enumerate(file, 1):
            if line == 1:
                content = content[3:] if content.startswith(b"\xef\xbb\xbf") else content
            if not content.strip():
                continue
            try:
                yield Item(json.loads(content.decode("utf-8")), line)
            except UnicodeDecodeError:
                yield Item(None, line, "it is not UTF-8")
            except (ValueError, RecursionError) as why:
                yield Item(None, line, f"it is no JSON: {why}")


def _items_of_frame(frame: Any, key: Optional[str]) -> Iterator[Item]:
    columns = [str(column) for column in frame.columns]
    if key is not None and key not in columns:
        raise RowError(
            f"the DataFrame has no column {key!r}; it has {', '.join(map(repr, columns))}",
            code="no_such_column",
        )
    if hasattr(frame, "iter_rows"):
        rows = frame.iter_rows()
    else:
        rows = frame.itertuples(index=False, name=None)
    return (Item({name: _plain(value) for name, value in zip(columns, row)}) for row in rows)


def _plain(value: Any) -> Any:
    """Make what a cell holds something that JSON can carry; a missing value is None."""
    if value is None or isinstance(value, (str, bool, int, list, dict)):
        return cast("Any", value)
    # NaN, NaT and the like are not equal to themselves, and pandas' NA is equal to nothing.
    if not isinstance(value == value, bool) and type(value).__name__ == "NAType":
        return None
    if hasattr(value, "isoformat"):
        return None if type(value).__name__ == "NaTType" else value.isoformat()
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and value != value else value
