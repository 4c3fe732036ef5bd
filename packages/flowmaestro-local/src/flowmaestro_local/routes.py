"""The routes of the v1 API: who answers, and what a key needs for it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Callable, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from .api import Api

__all__ = ["ROUTES", "Route"]


class Route(NamedTuple):
    """One route, what a key needs for it, and who answers."""

    method: str
    path: str
    scopes: tuple[str, ...]
    answer: Callable[[Api, Request, dict[str, Any]], Awaitable[Response]]
    # True for what is documented but missing in today's backend.
    documented_only: bool = False


ROUTES = (
    Route("GET", "/workflows", ("workflows:read",), Api.list_workflows),
    Route("GET", "/workflows/{id}", ("workflows:read",), Api.get_workflow),
    Route(
        "POST",
        "/workflows/{id}/execute",
        ("workflows:read", "workflows:execute"),
        Api.execute_workflow,
    ),
    Route("GET", "/executions", ("executions:read",), Api.list_executions),
    Route("GET", "/executions/{id}", ("executions:read",), Api.get_execution),
    Route(
        "POST",
        "/executions/{id}/cancel",
        ("executions:read", "executions:cancel"),
        Api.cancel_execution,
    ),
    Route("GET", "/executions/{id}/events", ("executions:read",), Api.execution_events),
    Route("GET", "/agents", ("agents:read",), Api.list_agents),
    Route("GET", "/agents/{id}", ("agents:read",), Api.get_agent),
    Route("POST", "/agents/{id}/threads", ("agents:read", "threads:write"), Api.create_thread),
    Route("GET", "/agents/{id}/memory", ("agents:read",), Api.list_memories),
    Route("POST", "/agents/{id}/memory/search", ("agents:read",), Api.search_memory),
    # Before the memory of a user, which this path would be as well.
    Route("GET", "/agents/{id}/memory/stats", ("agents:read",), Api.memory_stats),
    Route("GET", "/agents/{id}/memory/{user_id}", ("agents:read",), Api.get_memory),
    Route("PUT", "/agents/{id}/memory/{user_id}", ("agents:read",), Api.set_memory),
    Route("DELETE", "/agents/{id}/memory/{user_id}", ("agents:read",), Api.delete_memory),
    Route("GET", "/threads/{id}", ("threads:read",), Api.get_thread),
    Route("DELETE", "/threads/{id}", ("threads:write",), Api.delete_thread),
    Route("GET", "/threads/{id}/messages", ("threads:read",), Api.list_messages),
    Route("POST", "/threads/{id}/messages", ("threads:write", "agents:execute"), Api.send_message),
    Route("GET", "/threads/{id}/events", ("threads:read",), Api.thread_events, True),
    Route("GET", "/triggers", ("triggers:read",), Api.list_triggers),
    Route(
        "POST",
        "/triggers/{id}/execute",
        ("triggers:read", "triggers:execute"),
        Api.execute_trigger,
    ),
    Route("GET", "/knowledge-bases", ("knowledge-bases:read",), Api.list_knowledge_bases),
    Route("GET", "/knowledge-bases/{id}", ("knowledge-bases:read",), Api.get_knowledge_base),
    Route(
        "POST",
        "/knowledge-bases/{id}/query",
        ("knowledge-bases:read", "knowledge-bases:query"),
        Api.query_knowledge_base,
    ),
    Route("GET", "/webhooks", ("webhooks:read",), Api.list_webhooks),
    Route("POST", "/webhooks", ("webhooks:write",), Api.create_webhook),
    Route("GET", "/webhooks/{id}", ("webhooks:read",), Api.get_webhook),
    Route("PATCH", "/webhooks/{id}", ("webhooks:write",), Api.update_webhook),
    Route("DELETE", "/webhooks/{id}", ("webhooks:write",), Api.delete_webhook),
    Route("POST", "/webhooks/{id}/test", ("webhooks:write",), Api.test_webhook),
    Route("GET", "/webhooks/{id}/deliveries", ("webhooks:read",), Api.list_deliveries),
)
