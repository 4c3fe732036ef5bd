"""What ``data`` of a response must look like: declared per request, checked in one place.

A check takes ``data`` and returns what is wrong with it in words, or None. Only what the
SDK and its documentation rely on is checked: anything else passes through as it came.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from .codec import is_array, is_object

__all__ = ["Check", "a_list", "a_list_problem", "an_object", "an_object_problem", "is_identifier"]

Check = Callable[[Any], Optional[str]]

_NAMES: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def an_object(*needs: str, **types: type) -> Check:
    """Make a check that accepts an object.

    Args:
        needs: Keys that must hold an id: without it the caller cannot continue.
        types: What other keys hold. They may be missing or null.
    """

    def check(data: Any) -> Optional[str]:
        return an_object_problem("data", data, types, needs)

    return check


def a_list(*needs: str, **types: type) -> Check:
    """Make a check that accepts an array of objects; null is an empty one.

    Args:
        needs: Keys that must hold an id in each object.
        types: What the keys of each object hold. They may be missing or null.
    """

    def check(data: Any) -> Optional[str]:
        return a_list_problem("data", data, types, needs)

    return check


def an_object_problem(
    where: str, value: Any, types: dict[str, type], needs: tuple[str, ...] = ()
) -> Optional[str]:
    """Say what is wrong with an object, or None; ``where`` is the path to it."""
    if not is_object(value):
        return _unexpected(where, value, dict)
    for key in needs:
        if not is_identifier(value.get(key)):
            found = f"is {value[key]!r:.100}" if key in value else "is missing"
            return f"{where}.{key} {found}, expected an id"
    for key, kind in types.items():
        content = value.get(key)
        if content is not None and not isinstance(content, kind):
            return _unexpected(f"{where}.{key}", content, kind)
    return None


def a_list_problem(
    where: str, value: Any, types: dict[str, type], needs: tuple[str, ...] = ()
) -> Optional[str]:
    """Say what is wrong with an array of objects, or None; ``where`` is the path to it."""
    if value is None:
        return None
    if not is_array(value):
        return _unexpected(where, value, list)
    for index, item in enumerate(value):
        problem = an_object_problem(where, item, types, needs)
        if problem is not None:
            return f"{where}[{index}]" + problem[len(where) :]
    return None


def _unexpected(where: str, value: object, expected: type) -> str:
    return f"{where} is {_NAMES.get(type(value), 'unknown')}, expected {_NAMES[expected]}"


def is_identifier(value: object) -> bool:
    """True for a text that can be an id: a path can carry it."""
    if not isinstance(value, str) or not value.strip() or value in (".", ".."):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
