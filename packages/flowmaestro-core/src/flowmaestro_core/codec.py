"""JSON in and out, with errors that a person can act on."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any, Callable, Optional, Union, cast

from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

__all__ = ["decode", "decode_text", "encode", "is_array", "is_object"]


def encode(body: object) -> bytes:
    """Write JSON.

    Raises:
        TypeError: A value that JSON cannot carry; the message has the path to it.
        InvalidArgumentError: A number that is none (NaN, infinity), or a value inside itself.
    """
    try:
        return _ENCODER.encode(body).encode("ascii")
    except (TypeError, ValueError, RecursionError) as failure:
        problem = _first_problem(body, "", set()) or InvalidArgumentError(
            "the body is nested too deep for JSON"
            if isinstance(failure, RecursionError)
            else f"the body cannot be written as JSON: {failure}"
        )
    raise problem


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def decode(body: bytes) -> Any:
    """Read JSON; with orjson where it is installed, and the same results.

    Raises:
        ValueError: It is none, or one that is nested too deep to read.
    """
    fast = _fast_loads()
    if fast is not None and body.translate(_DIGITS_AS_ZEROS).find(_LONG_NUMBER) < 0:
        try:
            return fast(body)
        except ValueError:
            # The standard library reads more (NaN, lone surrogates, UTF-16): it has the last word.
            pass
    return _loads(body)


def decode_text(text: bytes) -> Any:
    """Read JSON of a text that is UTF-8 by definition; what is none becomes U+FFFD.

    Raises:
        ValueError: As with ``decode``.
    """
    fast = _fast_loads()
    if fast is not None and text.translate(_DIGITS_AS_ZEROS).find(_LONG_NUMBER) < 0:
        try:
            return fast(text)
        except ValueError:
            pass
    return _loads(text.decode("utf-8", "replace"))


@cache
def _fast_loads() -> Optional[Callable[[bytes], Any]]:
    """Import orjson for the first answer and not before: it takes longer than the SDK does."""
    try:
        import orjson
    except ImportError:
        return None
    return orjson.loads


def _loads(body: Union[bytes, str]) -> Any:
    try:
        try:
            # For a short text in half the time of json.loads, which has the last word.
            text = body if isinstance(body, str) else body.decode()
            value, end = _DECODER.raw_decode(text)
        except ValueError:
            pass
        else:
            if end == len(text) or not text[end:].strip(" \t\r\n"):
                return value
        return json.loads(body)
    except RecursionError:
        problem = "it is nested too deep"
    except UnicodeDecodeError:
        problem = "it is not text"
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python reads no longer ones, because it would take ever longer.
        problem = "it has a whole number of too many digits"
    raise ValueError(problem)


_DECODER = json.JSONDecoder()

# orjson makes a float of a whole number that needs more than 64 bits. Such a number has 19
# digits or more; looking for them so takes a tenth of the time of a regular expression.
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """True for what a JSON object becomes."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """True for what a JSON array becomes."""
    return isinstance(value, list)


def _first_problem(value: Any, at: str, above: set[int]) -> Optional[Exception]:
    """Find what JSON cannot carry, and say where: ``inputs.user.born``."""
    where = at or "the body"
    if value is None or isinstance(value, (str, bool)):
        return None
    if isinstance(value, int):
        if _is_writable(value):
            return None
        return InvalidArgumentError(
            f"{where} is a whole number of too many digits; send it as a string"
        )
    if isinstance(value, float):
        if math.isfinite(value):
            return None
        return InvalidArgumentError(
            f"{where} is {value}, which JSON cannot carry; use None instead"
        )
    if not isinstance(value, (dict, list, tuple)):
        hint = "; use .isoformat()" if hasattr(value, "isoformat") else ""
        return TypeError(f"{where} is a {type(value).__name__}, which JSON cannot carry{hint}")
    inside = cast("Any", value)
    if id(inside) in above:
        return InvalidArgumentError(f"{where} holds itself, which JSON cannot carry")
    if len(above) > 500:
        return InvalidArgumentError(f"{at[:80]}... is nested too deep for JSON")
    if is_object(inside):
        for key in inside:
            problem = _key_problem(key, where)
            if problem is not None:
                return problem
    above.add(id(inside))
    for child_at, child in _children_of(inside, at):
        problem = _first_problem(child, child_at, above)
        if problem is not None:
            return problem
    above.discard(id(inside))
    return None


def _key_problem(key: object, where: str) -> Optional[Exception]:
    if not isinstance(key, (str, int, float, bool, type(None))):
        return TypeError(f"{where} has the key {key!r}; JSON keys are strings")
    if isinstance(key, int) and not _is_writable(key):
        return InvalidArgumentError(f"{where} has a key of too many digits; JSON keys are strings")
    if isinstance(key, float) and not math.isfinite(key):
        return InvalidArgumentError(f"{where} has the key {key}; JSON keys are strings")
    return None


def _is_writable(number: int) -> bool:
    """False for a whole number that Python refuses to write, by its limit of digits."""
    try:
        int.__repr__(number)
    except ValueError:
        return False
    return True


def _children_of(value: Any, at: str) -> list[tuple[str, Any]]:
    """Give what an object or array holds, each with the path to it."""
    if is_object(value):
        return [(f"{at}.{key}" if at else str(key), child) for key, child in value.items()]
    return [(f"{at}[{index}]", child) for index, child in enumerate(value)]
