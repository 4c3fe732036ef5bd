"""What names a row, whoever spells it: 1, 1.0, ``Decimal("1")`` and the text 1.0 are one key."""

from __future__ import annotations

import math
import re
from typing import Any

from .fingerprint import EXACT
from .texts import is_storable

__all__ = ["key_of", "spellings"]

# A whole number as a column of floats is written, as pandas does where a value is missing.
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+", re.ASCII)


def key_of(value: Any) -> str:
    """Give the text by which the journal knows a row.

    Args:
        value: What stands in the key column, as JSON has it.

    Raises:
        ValueError: It names nothing.
    """
    if isinstance(value, str):
        if not is_storable(value):
            raise ValueError(f"is {value!r}, which has half a character in it")
        whole = _WHOLE.fullmatch(value)
        if whole is not None:
            return key_of(int(whole[1]))
        if value.strip():
            return value
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        if abs(value) >= EXACT:
            raise ValueError(
                f"is {value!r}, a number too large to be exact: read the column as text"
            )
        return str(int(value)) if value == int(value) else repr(value)
    raise ValueError(f"is {value!r}; a key is a text or a number")


def spellings(key: str) -> list[Any]:
    """Give the values that have the same key, and may have stood in an earlier file."""
    found: list[Any] = [key]
    try:
        number = float(key)
    except ValueError:
        return found
    if not math.isfinite(number):
        return found
    if abs(number) < EXACT and number == int(number) and key == str(int(number)):
        found += [f"{key}.0", int(key)]
    elif key == repr(number):
        found.append(number)
    return found
