"""Agents: who a conversation is held with."""

from __future__ import annotations

from typing import Optional

from ._typing import NotRequired, TypedDict

__all__ = ["Agent", "AgentTool"]


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
