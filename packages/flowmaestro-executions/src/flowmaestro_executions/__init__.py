"""Executions: list, get, cancel, wait, stream."""

from __future__ import annotations

from flowmaestro_core.lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async import AsyncExecutions
    from ._sync import Executions

__version__ = "1.0.0"

__all__ = [
    "Executions",
    "AsyncExecutions",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AsyncExecutions": "._async",
        "Executions": "._sync",
    },
)
