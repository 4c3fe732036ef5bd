"""Knowledge bases: list, get, search."""

from flowmaestro_core.lazy import lazy_exports as _lazy_exports

# False, in a form that editors do not take for code which is never reached.
TYPE_CHECKING = bool()  # noqa: UP018
if TYPE_CHECKING:
    from ._async import AsyncKnowledgeBases
    from ._sync import KnowledgeBases
del TYPE_CHECKING

__version__ = "1.0.0"

__all__ = [
    "KnowledgeBases",
    "AsyncKnowledgeBases",
]

__getattr__, __dir__ = _lazy_exports(
    __name__,
    {
        "KnowledgeBases": "._sync",
        "AsyncKnowledgeBases": "._async",
    },
)
