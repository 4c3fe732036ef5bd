"""What the backend shows of each kind of record."""

from __future__ import annotations

from typing import Any, Union

from .records import (
    DeliveryRecord,
    ExecutionRecord,
    MemoryRecord,
    MessageRecord,
    ThreadRecord,
    WebhookRecord,
)
from .registry import Agent, KnowledgeBase, Trigger, Workflow

__all__ = [
    "show_agent",
    "show_delivery",
    "show_execution",
    "show_knowledge_base",
    "show_listed_memory",
    "show_memory",
    "show_message",
    "show_thread",
    "show_trigger",
    "show_webhook",
    "show_workflow",
]


def show_workflow(workflow: Workflow) -> dict[str, Any]:
    """Show a workflow as a list has it."""
    return {
        "id": workflow.id,
        "name": workflow.name,
        "description": workflow.description,
        "version": 1,
        "created_at": workflow.created_at,
        "updated_at": workflow.created_at,
    }


def show_execution(record: ExecutionRecord) -> dict[str, Any]:
    """Show an execution."""
    return _without(record, "trigger_id", "tenant")


def show_agent(agent: Agent) -> dict[str, Any]:
    """Show an agent as a list has it."""
    return {
        "id": agent.id,
        "name": agent.name,
        "description": agent.description,
        "model": agent.model,
        "provider": agent.provider,
        "created_at": agent.created_at,
        "updated_at": agent.created_at,
    }


def show_message(message: MessageRecord) -> dict[str, Any]:
    """Show a message."""
    return {
        "id": message.id,
        "role": message.role,
        "content": message.content,
        "tool_calls": None,
        "created_at": message.created_at,
    }


def show_trigger(trigger: Trigger) -> dict[str, Any]:
    """Show a trigger."""
    return {
        "id": trigger.id,
        "workflow_id": trigger.workflow_id,
        "name": trigger.name,
        "trigger_type": trigger.trigger_type,
        "enabled": trigger.enabled,
        "last_triggered_at": trigger.last_triggered_at,
        "trigger_count": trigger.count,
        "created_at": trigger.created_at,
        "updated_at": trigger.created_at,
    }


def show_knowledge_base(base: KnowledgeBase) -> dict[str, Any]:
    """Show a knowledge base as a list has it."""
    return {
        "id": base.id,
        "name": base.name,
        "description": base.description,
        "document_count": base.documents,
        "chunk_count": len(base.chunks),
        "created_at": base.created_at,
        "updated_at": base.created_at,
    }


def show_webhook(webhook: WebhookRecord) -> dict[str, Any]:
    """Show a webhook, without its secret."""
    return _without(webhook, "secret", "tenant")


def show_delivery(delivery: DeliveryRecord) -> dict[str, Any]:
    """Show a delivery."""
    return _without(delivery, "webhook_id")


def show_thread(thread: ThreadRecord) -> dict[str, Any]:
    """Show a thread."""
    return _without(thread, "tenant")


def show_memory(memory: MemoryRecord) -> dict[str, Any]:
    """Show what an agent remembers of a user."""
    return _without(memory, "id", "tenant")


def show_listed_memory(memory: MemoryRecord) -> dict[str, Any]:
    """Show a memory as a list has it."""
    return _without(memory, "id", "tenant", "agent_id")


def _without(
    record: Union[ExecutionRecord, ThreadRecord, MemoryRecord, WebhookRecord, DeliveryRecord],
    *names: str,
) -> dict[str, Any]:
    data = dict(vars(record))
    for name in names:
        del data[name]
    return data
