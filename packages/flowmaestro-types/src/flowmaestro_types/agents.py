"""Agents: who a conversation is held with, and what they remember."""

from __future__ import annotations

from typing import Any, Optional

from ._typing import NotRequired, TypedDict

__all__ = [
    "Agent",
    "AgentMemoryMessage",
    "AgentMemorySearch",
    "AgentMemorySearchRequest",
    "AgentMemorySearchResult",
    "AgentMemoryStats",
    "AgentTool",
    "DeletedWorkingMemory",
    "WorkingMemory",
    "WorkingMemoryRequest",
]


class AgentTool(TypedDict):
    """Something an agent can use."""

    id: str
    name: str
    description: Optional[str]
    type: str


class Agent(TypedDict):
    """An agent. The fields below ``updated_at`` are there in ``get``, not in ``list``."""

    id: str
    name: str
    description: Optional[str]
    model: str
    provider: str
    created_at: str
    updated_at: str
    system_prompt: NotRequired[Optional[str]]
    temperature: NotRequired[Optional[float]]
    max_tokens: NotRequired[Optional[int]]
    available_tools: NotRequired[list[AgentTool]]


class WorkingMemory(TypedDict):
    """What an agent remembers of one user: its working memory."""

    agent_id: str
    user_id: str
    working_memory: str
    metadata: dict[str, Any]
    created_at: str
    updated_at: str


class WorkingMemoryRequest(TypedDict):
    """The body of a ``memory.set`` call."""

    working_memory: str
    metadata: NotRequired[dict[str, Any]]


class DeletedWorkingMemory(TypedDict):
    """The response of ``memory.delete``."""

    agent_id: str
    user_id: str
    deleted: bool


class AgentMemorySearchRequest(TypedDict):
    """The body of a ``memory.search`` call."""

    query: str
    # 1 to 50. Defaults to 10.
    top_k: NotRequired[int]
    # 0 to 1. Defaults to 0.7.
    similarity_threshold: NotRequired[float]
    user_id: NotRequired[str]


class AgentMemoryMessage(TypedDict):
    """A message before or after one that a search found. The API may send more keys."""

    role: str
    content: str


class AgentMemorySearchResult(TypedDict):
    """One message that fits; ``similarity`` is 0 to 1, and higher for a better fit."""

    content: str
    role: str
    similarity: float
    execution_id: Optional[str]
    context_before: list[AgentMemoryMessage]
    context_after: list[AgentMemoryMessage]


class AgentMemorySearch(TypedDict):
    """What a search of an agent's memory found, best first."""

    agent_id: str
    query: str
    results: list[AgentMemorySearchResult]
    result_count: int


class AgentMemoryStats(TypedDict):
    """How much an agent remembers. ``memory_config`` has the keys that the API sends."""

    agent_id: str
    working_memory_count: int
    embedding_count: int
    memory_config: dict[str, Any]
