"""The few typing names that this package needs, from where each Python has them.

From 3.12 on the standard library has all that is needed, so ``typing_extensions``, which
takes longer to import than all of these types, is only needed before that. 3.11 has
generic TypedDicts as well, but pydantic refuses those of the standard library there.
"""

import sys

if sys.version_info >= (3, 12):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict

__all__ = ["NotRequired", "TypedDict"]
