"""Are two inputs the same, one as we sent it and one as the backend tells it?"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Union

__all__ = ["EXACT", "fingerprint"]

# The API reads numbers as JavaScript does, and pandas in floats: whole ones beyond this lose
# digits.
EXACT = 2**53


def fingerprint(inputs: object) -> str:
    """Give a text that is equal for equal inputs, whoever wrote their JSON.

    Raises:
        TypeError: JSON cannot carry a value.
        ValueError: JSON cannot carry a number (NaN, infinity), or a value holds itself.
    """
    text = json.dumps(inputs, allow_nan=False)
    plain = json.loads(text, parse_float=_number, parse_int=_number)
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return blake2b(canonical.encode("ascii"), digest_size=16).hexdigest()


def _number(text: str) -> Union[int, float]:
    """Read a number so that 1, 1.0 and 1e0 are the same."""
    try:
        exact = int(text)
    except ValueError:
        number = float(text)
        return int(number) if number.is_integer() else number
    try:
        return exact if abs(exact) <= EXACT else int(float(exact))
    except OverflowError:
        return exact
