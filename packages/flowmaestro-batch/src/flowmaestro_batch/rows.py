"""Rows out of a file, a DataFrame, or anything that gives mappings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union, cast

from .errors import RowError
from .files import FileFormat, Item, items_of_file
from .fingerprint import fingerprint
from .keys import key_of, spellings
from .values import plain_fields

__all__ = ["Item", "Row", "RowReader", "count_rows", "items_of"]

# Rows of a table of pyarrow that are turned into Python's values together.
_AT_ONCE = 100


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
            try:
                inputs = plain_fields(inputs)
                key = self._key_of(inputs)
                mark = fingerprint(inputs)
            except (TypeError, ValueError) as why:
                problem = str(why)
        return Row(self.count, item.line, key, inputs, mark, problem)

    def spellings_of(self, row: Row) -> Iterator[str]:
        """Give the fingerprints of the same row with its key spelled otherwise: 1, 1.0, "1"."""
        if self._key is not None:
            for key in spellings(row.key):
                yield fingerprint({**row.inputs, self._key: key})

    def _key_of(self, inputs: dict[str, Any]) -> str:
        if self._key is None:
            return str(self.count)
        if self._key not in inputs:
            raise ValueError(f"it has no {self._key!r}, which is the key")
        try:
            return key_of(inputs[self._key])
        except ValueError as why:
            raise ValueError(f"its key {self._key!r} {why}") from None


def items_of(rows: Any, key: Optional[str], form: Optional[FileFormat] = None) -> Iterator[Item]:
    """Open a source. What can be checked before the first row is checked at once.

    Args:
        rows: A path, a DataFrame of pandas or polars, a Table of pyarrow, or an iterable of
            mappings.
        key: The column that must be there, or None.
        form: How a file is to be read.

    Raises:
        RowError: The file cannot be read, or has no such column.
        TypeError: There are no rows in this.
    """
    form = FileFormat().checked() if form is None else form.checked()
    if isinstance(rows, (str, os.PathLike)):
        return items_of_file(Path(cast("Any", rows)), key, form)
    if form != FileFormat():
        raise TypeError("delimiter, quotechar and encoding say how a file is to be read")
    if hasattr(rows, "collect"):
        raise TypeError(f"a {type(rows).__name__} has no rows yet: hand over what collect() gives")
    if hasattr(rows, "columns") or hasattr(rows, "column_names"):
        return _items_of_frame(rows, key)
    given: object = rows
    # A column is no table, nor is an array: their values have no names.
    kind, is_column = type(given).__name__, hasattr(given, "dtype")
    is_iterable = hasattr(given, "__iter__")
    if is_column or not is_iterable or isinstance(given, (bytes, bytearray, Mapping)):
        raise TypeError(f"rows must be a path, a DataFrame or an iterable of mappings, not {kind}")
    return map(Item, rows)


def count_rows(path: Union[str, os.PathLike[str]], form: Optional[FileFormat] = None) -> int:
    """Count the rows of a file, good or not.

    Raises:
        RowError: The file cannot be read.
    """
    return sum(1 for _ in items_of(path, None, form))


def _items_of_frame(frame: Any, key: Optional[str]) -> Iterator[Item]:
    names: Any = frame.column_names if hasattr(frame, "column_names") else frame.columns
    columns = [str(column) for column in names]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise RowError(
            f"the {type(frame).__name__} has two columns {twice[0]!r}", code="duplicate_column"
        )
    if key is not None and key not in columns:
        raise RowError(
            f"the {type(frame).__name__} has no column {key!r}; "
            f"it has {', '.join(map(repr, columns))}",
            code="no_such_column",
        )
    return (_item_of_cells(columns, cells) for cells in _cells_of(frame))


def _cells_of(frame: Any) -> Iterator[Sequence[Any]]:
    if hasattr(frame, "iter_rows"):  # polars
        return cast("Iterator[Sequence[Any]]", frame.iter_rows())
    if hasattr(frame, "to_batches"):  # pyarrow
        return (
            cells
            for batch in frame.to_batches(max_chunksize=_AT_ONCE)
            for cells in _cells_of(batch)
        )
    if hasattr(frame, "to_pylist"):  # a RecordBatch of pyarrow
        return zip(*(column.to_pylist() for column in frame.columns))
    return cast("Iterator[Sequence[Any]]", frame.itertuples(index=False, name=None))


def _item_of_cells(columns: list[str], cells: Sequence[Any]) -> Item:
    try:
        return Item(plain_fields(dict(zip(columns, cells)), missing_is_none=True))
    except ValueError as why:
        return Item(None, None, str(why))
