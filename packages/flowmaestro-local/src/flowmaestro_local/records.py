"""What the server remembers: executions, threads, messages, memories, webhooks, keys, requests."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional
from uuid import UUID

__all__ = [
    "ApiKey",
    "DeliveryRecord",
    "ExecutionRecord",
    "MemoryRecord",
    "MessageRecord",
    "RecordedRequest",
    "ThreadRecord",
    "WebhookRecord",
    "new_id",
    "now",
]

TERMINAL = ("completed", "failed", "cancelled")


def now() -> str:
    """The time as the backend writes it: ISO 8601 with milliseconds and Z."""
    moment = datetime.now(timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def new_id() -> str:
    """An id as the backend makes them."""
    # Not by uuid4(), which the user's tests may have patched.
    return str(UUID(bytes=os.urandom(16), version=4))


@dataclass
class ExecutionRecord:
    """One run of a registered workflow, as it stands."""

    id: str
    workflow_id: str
    inputs: dict[str, Any]
    status: str = "pending"
    outputs: Optional[dict[str, Any]] = None
    error: Optional[str] = None
    started_at: Optional[str] = None
    completed_at: Optional[str] = None
    created_at: str = field(default_factory=now)
    trigger_id: Optional[str] = None
    # Whose it is; "" for the keys that were added without a tenant.
    tenant: str = ""

    @property
    def is_over(self) -> bool:
        """True once nothing more will happen."""
        return self.status in TERMINAL


@dataclass
class ThreadRecord:
    """One conversation."""

    id: str
    agent_id: str
    metadata: dict[str, Any]
    title: Optional[str] = None
    status: str = "active"
    created_at: str = field(default_factory=now)
    updated_at: str = ""
    last_message_at: Optional[str] = None
    tenant: str = ""

    def __post_init__(self) -> None:
        self.updated_at = self.updated_at or self.created_at


@dataclass
class MessageRecord:
    """One message of a thread."""

    id: str
    thread_id: str
    role: str
    content: str
    created_at: str = field(default_factory=now)


@dataclass
class MemoryRecord:
    """What an agent remembers of one user."""

    id: str
    agent_id: str
    user_id: str
    working_memory: str
    metadata: dict[str, Any]
    created_at: str = field(default_factory=now)
    updated_at: str = ""
    tenant: str = ""

    def __post_init__(self) -> None:
        self.updated_at = self.updated_at or self.created_at

    @property
    def key(self) -> tuple[str, str, str]:
        """There is one memory for each tenant, agent and user."""
        return self.tenant, self.agent_id, self.user_id


@dataclass
class WebhookRecord:
    """One subscription."""

    id: str
    name: str
    url: str
    events: list[str]
    headers: Optional[dict[str, str]]
    secret: str
    is_active: bool = True
    created_at: str = field(default_factory=now)
    updated_at: str = ""
    tenant: str = ""

    def __post_init__(self) -> None:
        self.updated_at = self.updated_at or self.created_at


@dataclass
class DeliveryRecord:
    """One event on its way to a receiver."""

    id: str
    webhook_id: str
    event_type: str
    status: str = "pending"
    attempts: int = 0
    response_status: Optional[int] = None
    error_message: Optional[str] = None
    created_at: str = field(default_factory=now)
    last_attempt_at: Optional[str] = None


@dataclass
class ApiKey:
    """A key that the server knows. Without any, every key of the right form is good."""

    value: str
    scopes: Optional[frozenset[str]]
    per_minute: int
    per_day: int
    is_expired: bool = False
    is_revoked: bool = False
    tenant: str = ""


@dataclass
class RecordedRequest:
    """A request that the server got, for a test to assert on."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, or None if it is empty."""
        return json.loads(self.body) if self.body else None
