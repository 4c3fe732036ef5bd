"""The few typing names that this package needs, from where each Python has them.

From 3.11 on the standard library has generic TypedDicts and ``NotRequired``, so
``typing_extensions``, which takes longer to import than all of these types, is
only needed before that.
"""

import sys

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict

__all__ = ["NotRequired", "TypedDict"]
