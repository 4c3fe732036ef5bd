"""An embedded FlowMaestro-compatible server, for testing and developing your own code."""

from importlib import import_module as _import_module

# False, in a form that editors do not take for code which is never reached.
TYPE_CHECKING = bool()  # noqa: UP018
if TYPE_CHECKING:
    from .faults import Fault, Faults
    from .records import ExecutionRecord, MemoryRecord, MessageRecord, RecordedRequest
    from .registry import KnowledgeBase, Trigger
    from .run import ExecutionCancelled, Node, Run
    from .running import Running
    from .server import LocalServer
del TYPE_CHECKING

__version__ = "1.0.0"

__all__ = [
    "ExecutionCancelled",
    "ExecutionRecord",
    "Fault",
    "Faults",
    "KnowledgeBase",
    "LocalServer",
    "MemoryRecord",
    "MessageRecord",
    "Node",
    "RecordedRequest",
    "Run",
    "Running",
    "Trigger",
]

# Loaded at their first use: pytest imports this package, for its plugin, in every run.
_MODULES = {
    "ExecutionCancelled": ".run",
    "ExecutionRecord": ".records",
    "Fault": ".faults",
    "Faults": ".faults",
    "KnowledgeBase": ".registry",
    "LocalServer": ".server",
    "MemoryRecord": ".records",
    "MessageRecord": ".records",
    "Node": ".run",
    "RecordedRequest": ".records",
    "Run": ".run",
    "Running": ".running",
    "Trigger": ".registry",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        value: object = getattr(_import_module(_MODULES[name], __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
