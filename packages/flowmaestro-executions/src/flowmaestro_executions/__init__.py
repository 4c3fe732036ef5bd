"""Executions: list, get, cancel, wait, stream."""

from flowmaestro_core.lazy import lazy_exports as _lazy_exports

# False, in a form that editors do not take for code which is never reached.
TYPE_CHECKING = bool()  # noqa: UP018
if TYPE_CHECKING:
    from ._async import AsyncExecutions
    from ._sync import Executions
del TYPE_CHECKING

__version__ = "1.0.0"

__all__ = [
    "Executions",
    "AsyncExecutions",
]

__getattr__, __dir__ = _lazy_exports(
    __name__,
    {
        "Executions": "._sync",
        "AsyncExecutions": "._async",
    },
)
