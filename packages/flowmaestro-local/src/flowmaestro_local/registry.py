"""What the user registers: workflows, agents, knowledge bases, triggers; each checked."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from .handlers import Arguments, Handler, arguments_of
from .records import new_id, now
from .search import chunks_of

__all__ = ["Agent", "Chunk", "KnowledgeBase", "Registry", "Trigger", "Workflow"]


@dataclass
class Workflow:
    """A workflow and the function that is it."""

    id: str
    name: str
    description: Optional[str]
    inputs: Optional[dict[str, Any]]
    # None for a workflow that cannot be run, as one without nodes on the backend.
    handler: Optional[Handler]
    arguments: Arguments
    created_at: str = field(default_factory=now)


@dataclass
class Agent:
    """An agent and the function that answers for it."""

    id: str
    name: str
    description: Optional[str]
    handler: Handler
    arguments: Arguments
    model: str
    provider: str
    system_prompt: Optional[str]
    temperature: float
    max_tokens: int
    tools: list[dict[str, Any]]
    created_at: str = field(default_factory=now)


@dataclass(frozen=True)
class Chunk:
    """A piece of a document."""

    id: str
    content: str
    document_id: str
    document_name: str
    metadata: dict[str, Any]


@dataclass
class KnowledgeBase:
    """Documents, cut into chunks."""

    id: str
    name: str
    description: Optional[str]
    chunk_size: int
    chunk_overlap: int
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    documents: int = 0
    created_at: str = field(default_factory=now)

    def add(self, name: str, text: str, metadata: Optional[dict[str, Any]] = None) -> str:
        """Add a document.

        Args:
            name: What it is called, as in ``"handbook.pdf"``.
            text: What it says.
            metadata: Given back with each of its chunks.

        Returns:
            The document's id.
        """
        document_id = new_id()
        self.documents += 1
        for content in chunks_of(text, self.chunk_size, self.chunk_overlap):
            self.chunks.append(Chunk(new_id(), content, document_id, name, metadata or {}))
        return document_id


@dataclass
class Trigger:
    """What starts a workflow."""

    id: str
    workflow_id: str
    name: str
    trigger_type: str
    enabled: bool
    count: int = 0
    last_triggered_at: Optional[str] = None
    created_at: str = field(default_factory=now)


class Registry:
    """Everything that a test or a program has registered, by id."""

    def __init__(self) -> None:
        self.workflows: dict[str, Workflow] = {}
        self.agents: dict[str, Agent] = {}
        self.knowledge_bases: dict[str, KnowledgeBase] = {}
        self.triggers: dict[str, Trigger] = {}

    def add(self, kind: str, things: dict[str, Any], thing: Any) -> None:
        """Register a thing under its id.

        Args:
            kind: What it is, as in ``"an agent"``.
            things: Those of its kind.
            thing: The thing.

        Raises:
            ValueError: The id is empty or taken.
        """
        if not isinstance(thing.id, str) or not thing.id:
            raise ValueError(f"the id of {kind} must be a string that is not empty")
        if thing.id in things:
            raise ValueError(
                f"there is {kind} {thing.id!r} already ({things[thing.id].name}); "
                "give this one another id"
            )
        things[thing.id] = thing


def check_handler(handler: object, what: str, names: Sequence[str]) -> Arguments:
    """Check at registration that a handler can be called.

    Args:
        handler: The user's function.
        what: What it is for: ``"workflow 'wf_123'"``.
        names: The names of what it can be called with, in order.

    Returns:
        The arguments that it takes.

    Raises:
        TypeError: It cannot be called with them.
    """
    if not callable(handler):
        raise TypeError(f"the handler of {what} must be a function, not {handler!r}")
    arguments = arguments_of(handler, names)
    if arguments is None:
        name = getattr(handler, "__name__", repr(handler))
        raise TypeError(
            f"the handler of {what} can take {' and '.join(names)}, "
            f"but {name}{inspect.signature(handler)} requires more"
        )
    return arguments
