"""What a cell holds, as JSON of the same meaning."""

from __future__ import annotations

import decimal
import uuid
from collections.abc import Mapping
from typing import Any, cast

from .fingerprint import EXACT

__all__ = ["plain", "plain_fields"]


def plain_fields(row: Mapping[Any, Any], *, missing_is_none: bool = False) -> dict[str, Any]:
    """Turn each value of a row into what JSON has.

    Args:
        row: Values by their names.
        missing_is_none: See ``plain``.

    Raises:
        ValueError: One of them has no equivalent; the message names it.
    """
    fields: dict[str, Any] = {}
    for name, value in row.items():
        try:
            fields[_name(name)] = plain(value, missing_is_none=missing_is_none)
        except Exception as why:  # of a library's object, anything may come
            raise ValueError(f"its {name!r} cannot be sent: {why}") from None
    return fields


def plain(value: Any, *, missing_is_none: bool = False) -> Any:
    """Turn values of numpy, pandas, pyarrow and the standard library into what JSON has.

    Args:
        value: What a cell or a mapping holds.
        missing_is_none: Take NaN, NaT and NA for a missing value, as data frames do.

    Raises:
        ValueError: JSON has nothing of the same meaning.
    """
    if value is None or isinstance(value, (str, bool, int)):
        # An enum of the standard library that is a str or int is written as such by json.
        return value
    if isinstance(value, float):
        return None if missing_is_none and value != value else value
    if isinstance(value, Mapping):
        fields = cast("dict[Any, Any]", value)
        return {
            _name(name): plain(inner, missing_is_none=missing_is_none)
            for name, inner in fields.items()
        }
    if isinstance(value, (list, tuple)):
        return [plain(inner, missing_is_none=missing_is_none) for inner in cast("list[Any]", value)]
    if isinstance(value, decimal.Decimal):
        return _number_of(value, missing_is_none)
    if isinstance(value, uuid.UUID):
        return str(value)
    kind = type(value).__name__
    if kind in ("NaTType", "NAType"):
        if missing_is_none:
            return None
        raise ValueError(f"{value!r} is a missing value; None is one that JSON has")
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "as_py"):
        return plain(value.as_py(), missing_is_none=missing_is_none)
    if hasattr(getattr(value, "dtype", None), "kind"):
        return _of_numpy(value, missing_is_none)
    # A column of pyarrow, or of polars.
    for name in ("to_pylist", "to_list"):
        if hasattr(value, name):
            return plain(getattr(value, name)(), missing_is_none=missing_is_none)
    raise ValueError(f"JSON cannot express {kind}")


def _of_numpy(value: Any, missing_is_none: bool) -> Any:
    """Turn an array, or a single value of numpy, into Python's own."""
    if value.dtype.kind in "mM":
        # A moment in nanoseconds becomes a bare number otherwise.
        if value.ndim:
            return [_of_numpy(inner, missing_is_none) for inner in value]
        text = str(value)
        if text != "NaT" and value.dtype.kind == "M":
            return text
        if text == "NaT" and missing_is_none:
            return None
        raise ValueError(f"JSON cannot express {value!r}")
    # Of a pandas Series, too.
    inner = value.tolist()
    if inner is value or hasattr(inner, "dtype"):
        raise ValueError(f"JSON cannot express {type(value).__name__}")
    return plain(inner, missing_is_none=missing_is_none)


def _number_of(value: decimal.Decimal, missing_is_none: bool) -> Any:
    if value.is_nan() and missing_is_none:
        return None
    if value.is_finite():
        if value == value.to_integral_value() and abs(value) <= EXACT:
            return int(value)
        number = float(value)
        if decimal.Decimal(repr(number)) == value:
            return number
    raise ValueError(f"{value} has more digits than a number of JSON keeps: make it a text")


def _name(name: Any) -> str:
    if isinstance(name, str):
        return name
    raise ValueError(f"the name {name!r} in it is {type(name).__name__}, and JSON's are texts")
