"""JSON in and out, with errors that a person can act on."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Optional, Union, cast

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

try:
    import orjson as _orjson
except ImportError:
    _orjson = None  # type: ignore[assignment]

__all__ = ["decode", "encode", "is_array", "is_object"]


def encode(body: object) -> bytes:
    """Write JSON.

    Raises:
        TypeError: A value that JSON cannot carry; the message has the path to it.
        ValueError: A number that is none (NaN, infinity), or a value inside itself.
    """
    try:
        return _ENCODER.encode(body).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        problem = _first_problem(body, "", set())
    raise problem or ValueError("the body is nested too deep for JSON")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def decode(body: Union[bytes, str]) -> Any:
    """Read JSON; with orjson where it is installed, and the same results.

    Raises:
        ValueError: It is none, or one that is nested too deep to read.
    """
    if _orjson is not None and not _may_hold_a_big_number(body):
        try:
            return _orjson.loads(body)
        except ValueError:
            # The standard library reads more (NaN, lone surrogates, UTF-16), and has the last word.
            pass
    try:
        return json.loads(body)
    except RecursionError:
        problem = "it is nested too deep"
    except UnicodeDecodeError:
        problem = "it is no UTF-8"
    raise ValueError(problem)


def _may_hold_a_big_number(body: Union[bytes, str]) -> bool:
    """True where orjson might make a float of a whole number that needs more than 64 bits.

    Such a number has 19 digits or more. Of those in a row, every sixth character sees at
    least three, so that little of the text has to be looked at.
    """
    if isinstance(body, str):
        return bool(_DIGITS.search(body[::6])) and bool(_BIG_NUMBER.search(body))
    return bool(_DIGITS_BYTES.search(body[::6])) and bool(_BIG_NUMBER_BYTES.search(body))


_DIGITS, _BIG_NUMBER = re.compile("[0-9]{3}"), re.compile("[0-9]{19}")
_DIGITS_BYTES, _BIG_NUMBER_BYTES = re.compile(b"[0-9]{3}"), re.compile(b"[0-9]{19}")


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """True for what a JSON object becomes."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """True for what a JSON array becomes."""
    return isinstance(value, list)


def _first_problem(value: Any, at: str, above: set[int]) -> Optional[Exception]:
    """Find what JSON cannot carry, and say where: ``inputs.user.born``."""
    where = at or "the body"
    if value is None or isinstance(value, (str, bool, int)):
        return None
    if isinstance(value, float):
        if math.isfinite(value):
            return None
        return ValueError(f"{where} is {value}, which JSON cannot carry; use None instead")
    if not isinstance(value, (dict, list, tuple)):
        hint = "; use .isoformat()" if hasattr(value, "isoformat") else ""
        return TypeError(f"{where} is a {type(value).__name__}, which JSON cannot carry{hint}")
    inside = cast("Any", value)
    if id(inside) in above:
        return ValueError(f"{where} holds itself, which JSON cannot carry")
    if len(above) > 500:
        return ValueError(f"{at[:80]}... is nested too deep for JSON")
    above.add(id(inside))
    for child_at, child in _children_of(inside, at):
        problem = _first_problem(child, child_at, above)
        if problem is not None:
            return problem
    above.discard(id(inside))
    if is_object(inside):
        for key in inside:
            if not isinstance(key, (str, int, float, bool, type(None))):
                return TypeError(f"{where} has the key {key!r}; JSON keys are strings")
    return None


def _children_of(value: Any, at: str) -> list[tuple[str, Any]]:
    """Give what an object or array holds, each with the path to it."""
    if is_object(value):
        return [(f"{at}.{key}" if at else str(key), child) for key, child in value.items()]
    return [(f"{at}[{index}]", child) for index, child in enumerate(value)]
