"""Workflows: list, get, execute."""

from __future__ import annotations

from flowmaestro_core.lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async import AsyncWorkflows
    from ._sync import Workflows

__version__ = "1.0.0"

__all__ = [
    "Workflows",
    "AsyncWorkflows",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AsyncWorkflows": "._async",
        "Workflows": "._sync",
    },
)
