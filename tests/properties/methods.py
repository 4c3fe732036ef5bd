"""Every public method of the clients that talks to the API, found by introspection.

A new method or parameter is covered by itself, or fails loudly with what to add here.
"""

from __future__ import annotations

import importlib
import inspect
from functools import cached_property
from typing import Any, Callable, get_type_hints

import anyio
import httpx

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from tests.conftest import KEY

URL = "http://127.0.0.1:1"

# Of the client itself: what makes no request.
_LOCAL = {"with_options", "close", "aclose", "call", "open", "follow"}

# A value for each parameter; None leaves an optional one out.
SAMPLES: dict[str, Any] = {
    "workflow_id": "wf_1",
    "execution_id": "exec_1",
    "agent_id": "agent_1",
    "thread_id": "thread_1",
    "trigger_id": "trigger_1",
    "knowledge_base_id": "kb_1",
    "webhook_id": "wh_1",
    "user_id": "user_1",
    "inputs": {"name": "Ada"},
    "metadata": {"team": "data"},
    "content": "Hello",
    "query": "reset password",
    "top_k": 3,
    "similarity_threshold": 0.5,
    "working_memory": "Ada likes short replies.",
    "name": "Ends",
    "url": "https://example.com/hook",
    "events": ["execution.completed"],
    "headers": {"X-Team": "data"},
    "is_active": False,
    "status": "failed",
    "page": 1,
    "per_page": 2,
    "poll_interval": 1.0,
    "timeout": 5.0,
    "raise_on_failure": True,
    "on_update": None,
    "heartbeat": 0.5,
    "stream": False,
    "method": "GET",
    "path": "/workflows",
    "json": {"name": "Ada"},
    "params": {"page": 1},
    "idempotent": None,
}

# What starts something: done twice, it would be there twice.
STARTS = {
    "run",
    "workflows.execute",
    "triggers.execute",
    "agents.create_thread",
    "threads.send_message",
    "threads.send_message_stream",
    "webhooks.create",
    "webhooks.test",
}

# POST requests that may be repeated: the second one changes nothing.
REPEATABLE_POSTS = {"executions.cancel", "knowledge_bases.query", "agents.memory.search"}

# These ask for the same thing again and again until it is there.
POLLS = {
    "run",
    "executions.wait_for_completion",
    "executions.stream",
    "threads.stream",
    "threads.send_message",
    "threads.send_message_stream",
}


def _methods() -> list[str]:
    found = []
    for name, member in inspect.getmembers(FlowMaestroClient):
        if name.startswith("_") or name in _LOCAL:
            continue
        if isinstance(member, cached_property):
            found += _methods_below(name, member)
        elif inspect.isfunction(member):
            found.append(name)
    return found


def _methods_below(prefix: str, resource: cached_property) -> list[str]:
    returned = get_type_hints(resource.func)["return"]
    # Both are loaded before time is replaced in them.
    importlib.import_module(returned.__module__.replace("_sync", "_async"))
    found = []
    for name, member in inspect.getmembers(returned):
        if name.startswith("_"):
            continue
        if isinstance(member, cached_property):
            found += _methods_below(f"{prefix}.{name}", member)
        elif inspect.isfunction(member):
            found.append(f"{prefix}.{name}")
    return found


METHODS = _methods()


def method_of(client: Any, method: str) -> Callable[..., Any]:
    for name in method.split("."):
        client = getattr(client, name)
    return client


def parameters_of(method: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give values for the parameters that a method must have, and for those that it may."""
    client = FlowMaestroClient(KEY, URL)
    needed: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    for name, parameter in inspect.signature(method_of(client, method)).parameters.items():
        assert name in SAMPLES, f"{method} has the parameter {name!r}: add a value to SAMPLES"
        value = SAMPLES[name]
        if parameter.default is inspect.Parameter.empty:
            needed[name] = value
        elif value is not None:
            optional[name] = value
    return needed, optional


def call(
    kind: str,
    transport: Any,
    method: str,
    arguments: dict[str, Any],
    most: int = 300,
    **options: Any,
) -> Any:
    """Call a method of one kind of client; iterators are consumed, up to so many items."""
    if kind == "sync":
        with httpx.Client(transport=transport) as http_client:
            client = FlowMaestroClient(KEY, URL, http_client=http_client, **options)
            result = method_of(client.with_options(deadline=60), method)(**arguments)
            return _first(result, most)

    async def main() -> Any:
        async with httpx.AsyncClient(transport=transport) as http_client:
            client = AsyncFlowMaestroClient(KEY, URL, http_client=http_client, **options)
            result = method_of(client.with_options(deadline=60), method)(**arguments)
            return await result if inspect.isawaitable(result) else await _afirst(result, most)

    return anyio.run(main)


def _first(result: Any, most: int) -> Any:
    if not hasattr(result, "close"):
        return result
    items = []
    try:
        for item in result:
            items.append(item)
            if len(items) >= most:
                break
    finally:
        result.close()
    return items


async def _afirst(result: Any, most: int) -> Any:
    items = []
    try:
        async for item in result:
            items.append(item)
            if len(items) >= most:
                break
    finally:
        await result.aclose()
    return items
