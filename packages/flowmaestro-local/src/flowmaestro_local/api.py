"""What each route of the v1 API does."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Callable, Optional, cast
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from .access import Access, check_scopes
from .answers import (
    DatabaseError,
    FrameworkError,
    Refusal,
    check_uuid,
    framework_error,
    is_storable,
    not_found,
    page_numbers,
    page_of,
    refused,
    success,
)
from .bus import Bus
from .deliveries import Deliveries
from .engine import AgentFailed, Engine
from .memory import MEMORY_CONFIG, SearchOptions, messages_of, new_memory_of, search_messages
from .records import (
    ExecutionRecord,
    MemoryRecord,
    MessageRecord,
    ThreadRecord,
    WebhookRecord,
    new_id,
    now,
)
from .registry import KnowledgeBase, Registry, Trigger, Workflow
from .search import rank
from .shapes import (
    show_agent,
    show_delivery,
    show_execution,
    show_knowledge_base,
    show_listed_memory,
    show_memory,
    show_message,
    show_thread,
    show_trigger,
    show_webhook,
    show_workflow,
)
from .store import Store
from .streams import EVENT_STREAM_HEADERS, answer_frames, execution_frames, thread_frames

__all__ = ["Api"]

EVENT_TYPES = (
    "execution.started",
    "execution.completed",
    "execution.failed",
    "execution.cancelled",
    "thread.message.created",
    "thread.message.completed",
    "thread.message.failed",
    "agent.execution.started",
    "agent.execution.completed",
    "agent.execution.failed",
)

logger = logging.getLogger("flowmaestro_local")

Answerer = Callable[["Api", Request, dict[str, Any]], Awaitable[Response]]

_INTERNAL = "Internal Server Error"

_LONGEST_ANSWER_MS = 120_000
# Results of a search, by default and at most.
_RESULTS = 5
_MOST_RESULTS = 20
# Characters of a webhook's name.
_LONGEST_NAME = 255


class Api:
    """Answers requests; what it answers is the backend's, in the chosen dialect."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        bus: Bus,
        engine: Engine,
        access: Access,
        webhooks: dict[str, WebhookRecord],
        deliveries: Deliveries,
        *,
        documented: bool,
        live_events: bool,
        keepalive: float,
        max_body_bytes: int,
        stopping: asyncio.Event,
    ) -> None:
        self.registry = registry
        self.store = store
        self.bus = bus
        self.engine = engine
        self.access = access
        self.webhooks = webhooks
        self.deliveries = deliveries
        self.documented = documented
        self.live_events = live_events
        self.keepalive = keepalive
        self.max_body_bytes = max_body_bytes
        self.stopping = stopping

    async def handle(self, answer: Answerer, scopes: tuple[str, ...], request: Request) -> Response:
        """Answer a request: its key, its body, its limits, its scopes, and then itself."""
        headers: dict[str, str] = {}
        try:
            body = await self._body(request)
            key = self.access.admit(request.headers)
            request.state.tenant = key.tenant
            headers, too_many = self.access.count(key)
            if too_many is not None:
                raise too_many
            check_scopes(key, scopes)
            response = await answer(self, request, body)
        except Refusal as refusal:
            response = refused(refusal)
        except DatabaseError as exc:
            response = framework_error(500, _INTERNAL, exc.message, exc.code)
        except FrameworkError as exc:
            response = framework_error(exc.status, exc.error, exc.message, exc.code)
            if exc.closes:
                response.headers["connection"] = "close"
        except Exception as exc:
            # Such as what a client sent that can be read, but is nested too deeply to be written.
            logger.exception("%s %s failed", request.method, request.url.path)
            response = framework_error(500, _INTERNAL, str(exc) or type(exc).__name__)
        if not isinstance(response, StreamingResponse):
            response.headers.update(headers)
        return response

    async def _body(self, request: Request) -> dict[str, Any]:
        """Read a body as the framework does, by its content type."""
        if request.method == "GET":
            return {}
        raw = await self._raw_body(request)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type == "text/plain" or not (raw or content_type):
            return {}
        if content_type != "application/json" and not self.documented:
            raise FrameworkError(
                415,
                "Unsupported Media Type",
                f"Unsupported Media Type: {content_type}",
                "FST_ERR_CTP_INVALID_MEDIA_TYPE",
            )
        if not raw:
            return {}
        try:
            return _object(json.loads(raw, parse_constant=_refuse, parse_float=_finite))
        except (ValueError, RecursionError):
            message = "Body is not valid JSON"
            if self.documented:
                code = "FST_ERR_CTP_INVALID_JSON_BODY"
                raise FrameworkError(400, "Bad Request", message, code) from None
            raise FrameworkError(500, _INTERNAL, message) from None

    async def _raw_body(self, request: Request) -> bytes:
        declared = request.headers.get("content-length", "")
        size = int(declared) if declared.isdigit() else 0
        parts: list[bytes] = []
        try:
            if size <= self.max_body_bytes:
                size = 0
                async for part in request.stream():
                    size += len(part)
                    if size > self.max_body_bytes:
                        break
                    parts.append(part)
        except ClientDisconnect:
            raise FrameworkError(400, "Bad Request", "the client has gone") from None
        if size > self.max_body_bytes:
            raise FrameworkError(
                413,
                "Payload Too Large",
                "Request body is too large",
                "FST_ERR_CTP_BODY_TOO_LARGE",
                closes=True,
            )
        return b"".join(parts)

    # Workflows

    async def list_workflows(self, request: Request, body: dict[str, Any]) -> Response:
        return self._page(request, _newest_first(self.registry.workflows), show_workflow)

    async def get_workflow(self, request: Request, body: dict[str, Any]) -> Response:
        workflow = self._find("Workflow", self.registry.workflows, request)
        return success({**show_workflow(workflow), "inputs": workflow.inputs})

    async def execute_workflow(self, request: Request, body: dict[str, Any]) -> Response:
        with _reported_as("execution_failed"):
            workflow = self._find("Workflow", self.registry.workflows, request)
        record = self._start(request, workflow, body)
        return success(
            {
                "execution_id": record.id,
                "workflow_id": workflow.id,
                "status": "pending",
                "inputs": record.inputs,
            },
            202,
        )

    def _start(
        self,
        request: Request,
        workflow: Workflow,
        body: dict[str, Any],
        trigger_id: Optional[str] = None,
    ) -> ExecutionRecord:
        inputs = body.get("inputs")
        if self.documented:
            inputs = _object(inputs)
        elif inputs is None:
            inputs = {}
        if not is_storable(inputs):
            message = "unsupported Unicode escape sequence"
            raise Refusal(500, "execution_failed", message)
        tenant: str = request.state.tenant
        if isinstance(inputs, str):
            # The row is made, and nothing can read it any more.
            record = ExecutionRecord(new_id(), workflow.id, cast("Any", inputs), tenant=tenant)
            self.store.save(record)
            raise Refusal(500, "execution_failed", _unreadable(inputs))
        return self.engine.start(workflow, inputs, trigger_id, tenant=tenant)

    # Executions

    async def list_executions(self, request: Request, body: dict[str, Any]) -> Response:
        page, per_page = page_numbers(request)
        workflow_id = request.query_params.get("workflow_id")
        status = request.query_params.get("status")
        rows = _newest_first(self.store.executions)
        if workflow_id:
            if not self.documented and workflow_id not in self.registry.workflows:
                check_uuid(workflow_id)
            rows = [row for row in rows if row.workflow_id == workflow_id]
        if status and (self.documented or not workflow_id):
            rows = [row for row in rows if row.status == status]
        if not self.documented and not workflow_id:
            # Today's backend reads the newest rows of all tenants, and filters them afterwards.
            rows = rows[: page * per_page]
        rows = [row for row in rows if row.tenant == request.state.tenant]
        shown = _cut(rows, page, per_page)
        total = len(rows)
        if status and not self.documented and workflow_id:
            # With a workflow it filters by status within the page, and counts what is left.
            shown = [row for row in shown if row.status == status]
            total = len(shown)
        items = [self._show_execution(row) for row in shown]
        return page_of(items, page, per_page, total=total, documented=self.documented)

    def _show_execution(self, record: ExecutionRecord) -> dict[str, Any]:
        if isinstance(record.inputs, str):
            raise FrameworkError(500, _INTERNAL, _unreadable(record.inputs))
        return show_execution(record)

    async def get_execution(self, request: Request, body: dict[str, Any]) -> Response:
        record = self._find("Execution", self.store.executions, request)
        return success(self._show_execution(record))

    async def cancel_execution(self, request: Request, body: dict[str, Any]) -> Response:
        with _reported_as("internal_error"):
            record: ExecutionRecord = self._find("Execution", self.store.executions, request)
        if record.is_over or (record.status == "paused" and not self.documented):
            raise Refusal(
                400,
                "validation_error",
                f"Execution cannot be cancelled. Current status: {record.status}",
            )
        self.engine.cancel(record)
        return success(
            {
                "id": record.id,
                "status": "cancelled",
                "message": "Execution cancelled successfully",
            }
        )

    async def execution_events(self, request: Request, body: dict[str, Any]) -> Response:
        record = self._find("Execution", self.store.executions, request)
        frames = execution_frames(
            self.bus,
            record,
            documented=self.documented,
            live=self.documented or self.live_events,
            keepalive=self.keepalive,
            last_event_id=request.headers.get("last-event-id"),
            stopping=self.stopping,
        )
        return _stream(frames)

    # Agents and threads

    async def list_agents(self, request: Request, body: dict[str, Any]) -> Response:
        return self._page(request, _newest_first(self.registry.agents), show_agent)

    async def get_agent(self, request: Request, body: dict[str, Any]) -> Response:
        agent = self._find("Agent", self.registry.agents, request)
        return success(
            {
                **show_agent(agent),
                "system_prompt": agent.system_prompt,
                "temperature": agent.temperature,
                "max_tokens": agent.max_tokens,
                "available_tools": agent.tools,
            }
        )

    async def create_thread(self, request: Request, body: dict[str, Any]) -> Response:
        agent = self._find("Agent", self.registry.agents, request)
        metadata = _object(body.get("metadata"))
        thread = ThreadRecord(new_id(), agent.id, metadata, tenant=request.state.tenant)
        self.store.save(thread)
        data: dict[str, Any] = {
            "id": thread.id,
            "agent_id": agent.id,
            "status": thread.status,
            "created_at": thread.created_at,
        }
        if self.documented:
            data["metadata"] = thread.metadata
        return success(data, 201)

    async def list_memories(self, request: Request, body: dict[str, Any]) -> Response:
        agent = self._find("Agent", self.registry.agents, request)
        return self._page(request, self._memories(agent.id, request), show_listed_memory)

    async def get_memory(self, request: Request, body: dict[str, Any]) -> Response:
        return success(show_memory(self._find_memory(request)))

    async def set_memory(self, request: Request, body: dict[str, Any]) -> Response:
        text, metadata = new_memory_of(body)
        agent = self._find("Agent", self.registry.agents, request)
        user_id, tenant = request.path_params["user_id"], request.state.tenant
        memory = MemoryRecord(new_id(), agent.id, user_id, text, metadata, tenant=tenant)
        known = self.store.memories.get(memory.key)
        if known is not None:
            memory = replace(memory, id=known.id, created_at=known.created_at)
        self.store.save(memory)
        return success(show_memory(memory))

    async def delete_memory(self, request: Request, body: dict[str, Any]) -> Response:
        memory = self._find_memory(request)
        self.store.delete_memory(memory)
        return success({"agent_id": memory.agent_id, "user_id": memory.user_id, "deleted": True})

    async def search_memory(self, request: Request, body: dict[str, Any]) -> Response:
        options = SearchOptions.of(body, documented=self.documented)
        agent = self._find("Agent", self.registry.agents, request)
        threads = list(messages_of(self.store, request.state.tenant, agent.id, options.user_id))
        results = search_messages(threads, options, documented=self.documented)
        return success(
            {
                "agent_id": agent.id,
                "query": options.query,
                "results": results,
                "result_count": len(results),
            }
        )

    async def memory_stats(self, request: Request, body: dict[str, Any]) -> Response:
        agent = self._find("Agent", self.registry.agents, request)
        threads = messages_of(self.store, request.state.tenant, agent.id)
        return success(
            {
                "agent_id": agent.id,
                "working_memory_count": len(self._memories(agent.id, request)),
                "embedding_count": sum(map(len, threads)),
                "memory_config": MEMORY_CONFIG,
            }
        )

    def _memories(self, agent_id: str, request: Request) -> list[MemoryRecord]:
        """Give what an agent remembers for a tenant, the last changed first."""
        wanted = request.state.tenant, agent_id
        return [one for key, one in reversed(self.store.memories.items()) if key[:2] == wanted]

    def _find_memory(self, request: Request) -> MemoryRecord:
        agent = self._find("Agent", self.registry.agents, request)
        user_id = request.path_params["user_id"]
        memory = self.store.memories.get((request.state.tenant, agent.id, user_id))
        if memory is None:
            if not self.documented:
                check_uuid(user_id)
            raise not_found("Working memory", f"{agent.id}/{user_id}", ids_are_uuids=False)
        return memory

    async def get_thread(self, request: Request, body: dict[str, Any]) -> Response:
        thread = self._find("Thread", self.store.threads, request)
        data = show_thread(thread)
        if not self.documented:
            # Accepted, and forgotten.
            del data["metadata"]
        return success(data)

    async def delete_thread(self, request: Request, body: dict[str, Any]) -> Response:
        thread = self._find("Thread", self.store.threads, request)
        self.store.delete_thread(thread.id)
        return success({"id": thread.id, "deleted": True})

    async def list_messages(self, request: Request, body: dict[str, Any]) -> Response:
        thread = self._find("Thread", self.store.threads, request)
        messages = self.store.messages[thread.id]
        if self.documented:
            return self._page(request, messages, show_message)
        return success({"messages": [show_message(message) for message in messages]})

    async def send_message(self, request: Request, body: dict[str, Any]) -> Response:
        if body.get("stream") and not self.documented:
            raise Refusal(
                501,
                "not_implemented",
                "Streaming messages not yet implemented in public API. Use stream=false.",
            )
        content = body.get("content")
        if not isinstance(content, str) or not content:
            raise Refusal(400, "validation_error", "Message content is required")
        thread: ThreadRecord = self._find("Thread", self.store.threads, request)
        agent = self.registry.agents.get(thread.agent_id)
        if agent is None:
            raise not_found("Agent", thread.agent_id, ids_are_uuids=not self.documented)
        if body.get("stream"):
            begin = partial(self.engine.answer, agent, thread, content)
            return _stream(answer_frames(begin, self.keepalive, self.stopping))
        timeout_ms = self._timeout_ms(body)
        task = await self.engine.answer(agent, thread, content)
        try:
            # What is no number ends the wait at once.
            seconds = 0 if math.isnan(timeout_ms) else timeout_ms / 1000
            answer = await asyncio.wait_for(asyncio.shield(task), seconds)
        except asyncio.TimeoutError:
            shown = "NaN" if math.isnan(timeout_ms) else f"{timeout_ms:g}"
            raise Refusal(
                408,
                "timeout",
                f"Execution did not complete within {shown}ms. Use GET /api/v1/threads/"
                f"{thread.id}/messages to check for new messages.",
            ) from None
        except AgentFailed as failed:
            raise Refusal(500, "execution_failed", str(failed)) from None
        message = next(
            (one for one in reversed(self.store.messages.get(thread.id, [])) if one.role != "user"),
            MessageRecord(new_id(), thread.id, "assistant", answer),
        )
        if self.documented:
            sent = {"message_id": message.id, "thread_id": thread.id, "status": "completed"}
            return success(sent)
        said = {"role": "assistant", "content": answer, "tool_calls": None}
        return success(
            {
                "execution_id": new_id(),
                "thread_id": thread.id,
                "status": "completed",
                "message": {**said, "created_at": message.created_at},
                "iterations": 0,
                "tool_calls_count": 0,
            }
        )

    def _timeout_ms(self, body: dict[str, Any]) -> float:
        """Read ``timeout``, in milliseconds; NaN for what is no number."""
        timeout: Any = body.get("timeout")
        if timeout is None:
            return _LONGEST_ANSWER_MS
        if self.documented and (not isinstance(timeout, (int, float)) or isinstance(timeout, bool)):
            return _LONGEST_ANSWER_MS
        return min(max(_number(timeout), 1), _LONGEST_ANSWER_MS)

    async def thread_events(self, request: Request, body: dict[str, Any]) -> Response:
        thread = self._find("Thread", self.store.threads, request)
        return _stream(thread_frames(self.bus, thread.id, self.keepalive, self.stopping))

    # Triggers

    async def list_triggers(self, request: Request, body: dict[str, Any]) -> Response:
        return self._page(request, _newest_first(self.registry.triggers), show_trigger)

    async def execute_trigger(self, request: Request, body: dict[str, Any]) -> Response:
        with _reported_as("execution_failed"):
            trigger: Trigger = self._find("Trigger", self.registry.triggers, request)
        if not trigger.enabled:
            raise Refusal(400, "validation_error", "Trigger is not enabled")
        workflow = self.registry.workflows[trigger.workflow_id]
        record = self._start(request, workflow, body, trigger.id)
        trigger.count += 1
        trigger.last_triggered_at = now()
        return success(
            {
                "execution_id": record.id,
                "workflow_id": workflow.id,
                "trigger_id": trigger.id,
                "status": "pending",
                "inputs": record.inputs,
            },
            202,
        )

    # Knowledge bases

    async def list_knowledge_bases(self, request: Request, body: dict[str, Any]) -> Response:
        return self._page(
            request, _newest_first(self.registry.knowledge_bases), show_knowledge_base
        )

    async def get_knowledge_base(self, request: Request, body: dict[str, Any]) -> Response:
        base = self._find("Knowledge Base", self.registry.knowledge_bases, request)
        return success(
            {
                **show_knowledge_base(base),
                "embedding_model": "text-embedding-3-small",
                "chunk_size": base.chunk_size,
                "chunk_overlap": base.chunk_overlap,
            }
        )

    async def query_knowledge_base(self, request: Request, body: dict[str, Any]) -> Response:
        query = body.get("query")
        if not isinstance(query, str) or not query:
            raise Refusal(400, "validation_error", "Query is required")
        base: KnowledgeBase = self._find("Knowledge Base", self.registry.knowledge_bases, request)
        top_k = self._top_k(body)
        ranked = rank(query, [chunk.content for chunk in base.chunks])
        if not self.documented:
            # An index of meanings has a distance to everything.
            found = {index for index, _ in ranked}
            ranked += [(index, 0.0) for index in range(len(base.chunks)) if index not in found]
        results: list[dict[str, Any]] = []
        for index, score in ranked[:top_k]:
            chunk = base.chunks[index]
            names = ("chunk_id", "similarity") if self.documented else ("id", "score")
            results.append(
                {
                    names[0]: chunk.id,
                    "content": chunk.content,
                    "document_id": chunk.document_id,
                    "document_name": chunk.document_name,
                    names[1]: score,
                    "metadata": chunk.metadata,
                }
            )
        return success({"results": results, "query": query, "top_k": top_k})

    def _top_k(self, body: dict[str, Any]) -> int:
        """Read ``top_k`` as each dialect does.

        Raises:
            DatabaseError: It is no number, or less than 0.
        """
        top_k: Any = body.get("top_k")
        is_count = isinstance(top_k, int) and not isinstance(top_k, bool)
        if top_k is None or (self.documented and not (is_count and top_k >= 1)):
            return _RESULTS
        number = _number(top_k)
        if math.isnan(number):
            raise DatabaseError(f'invalid input syntax for type bigint: "{top_k}"', "22P02")
        if number < 0:
            raise DatabaseError("LIMIT must not be negative", "2201W")
        return int(min(number, _MOST_RESULTS))

    # Webhooks

    async def list_webhooks(self, request: Request, body: dict[str, Any]) -> Response:
        def shown(webhook: WebhookRecord) -> dict[str, Any]:
            item = show_webhook(webhook)
            del item["headers"]
            return item

        tenant = request.state.tenant
        own = [webhook for webhook in _newest_first(self.webhooks) if webhook.tenant == tenant]
        return self._page(request, own, shown)

    async def get_webhook(self, request: Request, body: dict[str, Any]) -> Response:
        return success(show_webhook(self._find("Webhook", self.webhooks, request)))

    async def create_webhook(self, request: Request, body: dict[str, Any]) -> Response:
        if not isinstance(body.get("name"), str) or not body["name"]:
            raise Refusal(400, "validation_error", "Webhook name is required")
        _check_webhook({"url": None, "events": None, **body})
        self._check_length(body)
        webhook = WebhookRecord(
            new_id(),
            body["name"],
            body["url"],
            list(body["events"]),
            body.get("headers"),
            "whsec_" + secrets.token_hex(32),
            tenant=request.state.tenant,
        )
        self.webhooks[webhook.id] = webhook
        data = show_webhook(webhook)
        del data["updated_at"]
        return success({**data, "secret": webhook.secret}, 201)

    async def update_webhook(self, request: Request, body: dict[str, Any]) -> Response:
        _check_webhook(body)
        webhook: WebhookRecord = self._find("Webhook", self.webhooks, request)
        self._check_length(body)
        for name in ("name", "url", "events", "headers", "is_active"):
            if name in body:
                setattr(webhook, name, body[name])
        webhook.updated_at = now()
        data = show_webhook(webhook)
        del data["created_at"]
        return success(data)

    async def delete_webhook(self, request: Request, body: dict[str, Any]) -> Response:
        webhook = self._find("Webhook", self.webhooks, request)
        del self.webhooks[webhook.id]
        self.deliveries.records.pop(webhook.id, None)
        return success({"id": webhook.id, "deleted": True})

    async def test_webhook(self, request: Request, body: dict[str, Any]) -> Response:
        result = await self.deliveries.test(self._find("Webhook", self.webhooks, request))
        if not self.documented:
            del result["response_time_ms"]
        return success(result)

    async def list_deliveries(self, request: Request, body: dict[str, Any]) -> Response:
        webhook = self._find("Webhook", self.webhooks, request)
        records = self.deliveries.records.get(webhook.id, [])
        return self._page(request, records[::-1], show_delivery)

    def _check_length(self, body: dict[str, Any]) -> None:
        """Check that a name fits its column.

        Raises:
            DatabaseError: It does not.
        """
        if not self.documented and len(str(body.get("name", ""))) > _LONGEST_NAME:
            message = f"value too long for type character varying({_LONGEST_NAME})"
            raise DatabaseError(message, "22001")

    def _find(self, resource: str, things: dict[str, Any], request: Request) -> Any:
        thing_id = request.path_params["id"]
        thing = things.get(thing_id)
        tenant = request.state.tenant
        if thing is None or getattr(thing, "tenant", tenant) != tenant:
            raise not_found(resource, thing_id, ids_are_uuids=not self.documented)
        return thing

    def _page(self, request: Request, things: list[Any], show: Callable[[Any], Any]) -> Response:
        page, per_page = page_numbers(request)
        items = [show(thing) for thing in _cut(things, page, per_page)]
        return page_of(items, page, per_page, total=len(things), documented=self.documented)


@contextmanager
def _reported_as(code: str) -> Generator[None, None, None]:
    """Report what the database refuses as an error of the backend's own."""
    try:
        yield
    except DatabaseError as exc:
        raise Refusal(500, code, exc.message) from None


def _stream(frames: AsyncIterator[bytes]) -> StreamingResponse:
    response = StreamingResponse(frames, headers=EVENT_STREAM_HEADERS)
    # Starlette would add a charset, which the backend does not send.
    response.headers["content-type"] = "text/event-stream"
    return response


def _newest_first(things: dict[str, Any]) -> list[Any]:
    return list(things.values())[::-1]


def _cut(things: list[Any], page: int, per_page: int) -> list[Any]:
    return things[(page - 1) * per_page : page * per_page]


def _object(value: Any) -> dict[str, Any]:
    """Take an object, and nothing for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _check_webhook(body: dict[str, Any]) -> None:
    """Check what a webhook is made of, as far as the body has it.

    Raises:
        Refusal: It is not what the backend takes (400).
    """
    if "events" in body:
        events: Any = body["events"]
        if not isinstance(events, list) or not events:
            raise Refusal(400, "validation_error", "At least one event type is required")
        given = map(str, cast("Any", events))
        unknown = [event for event in given if event not in EVENT_TYPES]
        if unknown:
            raise Refusal(
                400,
                "validation_error",
                f"Invalid event types: {', '.join(unknown)}. Valid types: {', '.join(EVENT_TYPES)}",
            )
    if "url" in body:
        try:
            parts = urlsplit(body["url"] if isinstance(body["url"], str) else "")
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_address = False
        if not is_address:
            raise Refusal(400, "validation_error", "Invalid URL format")
    headers: Any = body.get("headers")
    if headers is not None and not (
        isinstance(headers, dict)
        and all(isinstance(value, str) for value in cast("dict[str, Any]", headers).values())
    ):
        raise Refusal(400, "validation_error", "Invalid headers: texts by name")


def _refuse(constant: str) -> None:
    """Refuse ``NaN`` and ``Infinity``, which are no JSON.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> Optional[float]:
    """Read a number as JavaScript does, and write it as it does: one that is too large is null."""
    number = float(text)
    return number if math.isfinite(number) else None


def _number(value: Any) -> float:
    """Read a number as JavaScript does; NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _unreadable(inputs: str) -> str:
    return f"Unexpected token {inputs[:1]!r} in the inputs of the execution"
