"""The resources under the names that 0.1.0 had for them; each use gives a ``DeprecationWarning``.

Now each group is a package of its own, such as ``flowmaestro_workflows`` with ``Workflows`` and
``AsyncWorkflows``.
"""

from __future__ import annotations

from ._old import GROUPS, old_names

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "AsyncAgents",
    "SyncAgents",
    "AsyncExecutions",
    "SyncExecutions",
    "AsyncKnowledgeBases",
    "SyncKnowledgeBases",
    "AsyncThreads",
    "SyncThreads",
    "AsyncTriggers",
    "SyncTriggers",
    "AsyncWebhooks",
    "SyncWebhooks",
    "AsyncWorkflows",
    "SyncWorkflows",
]

__getattr__, __dir__ = old_names(__name__, GROUPS)
