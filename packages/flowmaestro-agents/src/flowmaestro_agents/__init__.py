"""Agents: list, get, create threads, manage memory."""

from flowmaestro_core.lazy import lazy_exports as _lazy_exports

# False, in a form that editors do not take for code which is never reached.
TYPE_CHECKING = bool()  # noqa: UP018
if TYPE_CHECKING:
    from ._async.agents import AsyncAgents
    from ._async.memory import AsyncAgentMemory
    from ._sync.agents import Agents
    from ._sync.memory import AgentMemory
del TYPE_CHECKING

__version__ = "1.0.0"

__all__ = [
    "AgentMemory",
    "Agents",
    "AsyncAgentMemory",
    "AsyncAgents",
]

__getattr__, __dir__ = _lazy_exports(
    __name__,
    {
        "AsyncAgentMemory": "._async.memory",
        "AsyncAgents": "._async.agents",
        "AgentMemory": "._sync.memory",
        "Agents": "._sync.agents",
    },
)
