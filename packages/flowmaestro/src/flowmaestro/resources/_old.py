"""How a class of 0.1.0 is found under its old name."""

from __future__ import annotations

from importlib import import_module
from typing import Callable

__all__ = ["GROUPS", "old_names"]

# Each module of resources, and the class that its package has for synchronous programs.
GROUPS = {
    "agents": "Agents",
    "executions": "Executions",
    "knowledge_bases": "KnowledgeBases",
    "threads": "Threads",
    "triggers": "Triggers",
    "webhooks": "Webhooks",
    "workflows": "Workflows",
}


def old_names(
    module: str, groups: dict[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a module of 0.1.0.

    Args:
        module: Its ``__name__``.
        groups: Those whose classes it has.
    """
    homes: dict[str, tuple[str, str]] = {}
    for group, name in groups.items():
        homes[f"Sync{name}"] = (f"flowmaestro_{group}", name)
        homes[f"Async{name}"] = (f"flowmaestro_{group}", f"Async{name}")

    def load(old: str) -> object:
        if old not in homes:
            raise AttributeError(f"module {module!r} has no attribute {old!r}")
        import warnings

        package, name = homes[old]
        warnings.warn(f"{module}.{old} is now {package}.{name}", DeprecationWarning, stacklevel=2)
        return getattr(import_module(package), name)

    return load, lambda: sorted(homes)
