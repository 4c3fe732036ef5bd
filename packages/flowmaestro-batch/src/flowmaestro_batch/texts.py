"""Texts from outside, and whether UTF-8, and so a file or a database, can carry them."""

from __future__ import annotations

import re
from typing import Optional

__all__ = ["is_storable", "storable"]

# Half of a character, as a text has that was cut in the middle of an emoji by JavaScript, or
# a byte that was not in the encoding of its file.
_HALF = re.compile("[\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """True for a text that UTF-8 can carry."""
    return _HALF.search(text) is None


def storable(text: Optional[str]) -> Optional[str]:
    """Make a text from outside one that UTF-8 can carry."""
    return None if text is None else _HALF.sub("\ufffd", text)
