"""The resources under the names that 0.1.0 had for them; each use gives a ``DeprecationWarning``.

Now each group is a package of its own, such as ``flowmaestro_workflows`` with ``Workflows`` and
``AsyncWorkflows``.
"""

from __future__ import annotations

from ._old import GROUPS, old_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowmaestro_agents import Agents as SyncAgents
    from flowmaestro_agents import AsyncAgents
    from flowmaestro_executions import AsyncExecutions
    from flowmaestro_executions import Executions as SyncExecutions
    from flowmaestro_knowledge_bases import AsyncKnowledgeBases
    from flowmaestro_knowledge_bases import KnowledgeBases as SyncKnowledgeBases
    from flowmaestro_threads import AsyncThreads
    from flowmaestro_threads import Threads as SyncThreads
    from flowmaestro_triggers import AsyncTriggers
    from flowmaestro_triggers import Triggers as SyncTriggers
    from flowmaestro_webhooks import AsyncWebhooks
    from flowmaestro_webhooks import Webhooks as SyncWebhooks
    from flowmaestro_workflows import AsyncWorkflows
    from flowmaestro_workflows import Workflows as SyncWorkflows

__all__ = [
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
