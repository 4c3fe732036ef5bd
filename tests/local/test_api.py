"""Every route of the local server: its scopes, its fields, its pages and its events, whole."""

from __future__ import annotations

import json
import re
import socket
import threading
from typing import Any

import httpx
import pytest

from flowmaestro_local import LocalServer
from flowmaestro_local.access import ALL_SCOPES
from flowmaestro_local.routes import ROUTES
from tests.raw import raw_server, response
from tests.receiver import Receiver, until

pytestmark = pytest.mark.once

KEY = "fm_live_key"
UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

SCOPES = {
    "GET /workflows": ["workflows:read"],
    "GET /workflows/{id}": ["workflows:read"],
    "POST /workflows/{id}/execute": ["workflows:read", "workflows:execute"],
    "GET /executions": ["executions:read"],
    "GET /executions/{id}": ["executions:read"],
    "POST /executions/{id}/cancel": ["executions:read", "executions:cancel"],
    "GET /executions/{id}/events": ["executions:read"],
    "GET /agents": ["agents:read"],
    "GET /agents/{id}": ["agents:read"],
    "POST /agents/{id}/threads": ["agents:read", "threads:write"],
    "GET /agents/{id}/memory": ["agents:read"],
    "POST /agents/{id}/memory/search": ["agents:read"],
    "GET /agents/{id}/memory/stats": ["agents:read"],
    "GET /agents/{id}/memory/{user_id}": ["agents:read"],
    "PUT /agents/{id}/memory/{user_id}": ["agents:read"],
    "DELETE /agents/{id}/memory/{user_id}": ["agents:read"],
    "GET /threads/{id}": ["threads:read"],
    "DELETE /threads/{id}": ["threads:write"],
    "GET /threads/{id}/messages": ["threads:read"],
    "POST /threads/{id}/messages": ["threads:write", "agents:execute"],
    "GET /threads/{id}/events": ["threads:read"],
    "GET /triggers": ["triggers:read"],
    "POST /triggers/{id}/execute": ["triggers:read", "triggers:execute"],
    "GET /knowledge-bases": ["knowledge-bases:read"],
    "GET /knowledge-bases/{id}": ["knowledge-bases:read"],
    "POST /knowledge-bases/{id}/query": ["knowledge-bases:read", "knowledge-bases:query"],
    "GET /webhooks": ["webhooks:read"],
    "POST /webhooks": ["webhooks:write"],
    "GET /webhooks/{id}": ["webhooks:read"],
    "PATCH /webhooks/{id}": ["webhooks:write"],
    "DELETE /webhooks/{id}": ["webhooks:write"],
    "POST /webhooks/{id}/test": ["webhooks:write"],
    "GET /webhooks/{id}/deliveries": ["webhooks:read"],
}


class Client:
    """Sends requests to a server that has one of everything."""

    def __init__(self, dialect: str) -> None:
        self.server = server = LocalServer(dialect=dialect, webhook_pauses=(0.05, 0.05))
        self.hold = threading.Event()
        inputs = {"name": {"type": "text", "label": "Name", "required": True}}

        @server.workflow("wf", name="Greeting", description="Greets.", inputs=inputs)
        def greet(inputs, run):
            if inputs.get("hold"):
                self.hold.wait(100)
            if inputs.get("fail"):
                raise ValueError("no")
            return {"greeting": inputs.get("name")}

        tools = [{"id": "t", "name": "Search", "description": "Searches.", "type": "function"}]

        @server.agent("agent", description="Tells.", system_prompt="Be kind.", tools=tools)
        def story_teller(message, history):
            if message == "fail":
                raise ValueError("no")
            return json.dumps(history)

        documents = {"a.md": "apples", "b.md": "pears"}
        base = server.knowledge_base("kb", description="Fruit.", documents=documents)
        base.add("c.md", "cherries", {"page": 3})
        server.trigger("trigger", "wf", name="By hand")
        self.running = server.start()
        self.http = httpx.Client(base_url=f"{self.running.url}/api/v1", timeout=60)

    def close(self) -> None:
        self.hold.set()
        self.http.close()
        self.running.stop()

    def send(self, method: str, path: str, body: Any = None, key: str = KEY) -> httpx.Response:
        return self.http.request(method, path, json=body, headers={"x-api-key": key})

    def data(self, method: str, path: str, body: Any = None) -> Any:
        content = self.send(method, path, body).json()
        assert UUID.fullmatch(content["meta"]["request_id"])
        assert TIME.fullmatch(content["meta"]["timestamp"])
        return content["data"]

    def webhook(self, url: str, *events: str) -> dict[str, Any]:
        body = {"name": "n", "url": url, "events": list(events), "headers": {"X-Own": "1"}}
        data: dict[str, Any] = self.data("POST", "/webhooks", body)
        return data

    def execute(self, **inputs: Any) -> str:
        data = self.data("POST", "/workflows/wf/execute", {"inputs": inputs})
        execution_id: str = data["execution_id"]
        return execution_id

    def ended(self, execution_id: str) -> dict[str, Any]:
        def is_over() -> bool:
            status = self.data("GET", f"/executions/{execution_id}")["status"]
            return status in ("completed", "failed", "cancelled")

        until(is_over)
        data: dict[str, Any] = self.data("GET", f"/executions/{execution_id}")
        return data


@pytest.fixture(params=["wire", "documented"])
def client(request):
    client = Client(request.param)
    yield client
    client.close()


def shown(value: Any) -> Any:
    """Replace what differs from run to run."""
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, str) and UUID.fullmatch(value):
        return "<uuid>"
    return "<time>" if isinstance(value, str) and TIME.fullmatch(value) else value


# ---- Scopes


def test_every_route_needs_its_scopes():
    assert {f"{route.method} {route.path}": list(route.scopes) for route in ROUTES} == SCOPES
    assert {scope for needed in SCOPES.values() for scope in needed} == ALL_SCOPES
    only_documented = [f"{one.method} {one.path}" for one in ROUTES if one.documented_only]
    assert only_documented == ["GET /threads/{id}/events"]


@pytest.mark.parametrize("route", SCOPES)
def test_a_key_without_a_scope_is_refused(route):
    client = Client("documented")
    method, _, path = route.replace("{id}", "none").replace("{user_id}", "user").partition(" ")
    for missing in SCOPES[route]:
        key = f"fm_live_without_{missing}"
        client.server.add_key(key, scopes=ALL_SCOPES - {missing})
        response = client.send(method, path, key=key)
        assert response.status_code == 403
        error = response.json()["error"]
        assert error == {
            "code": "insufficient_scope",
            "message": f"Missing required scopes: {missing}",
            "details": {
                "required_scopes": SCOPES[route],
                "missing_scopes": [missing],
                "your_scopes": sorted(ALL_SCOPES - {missing}),
            },
        }
    client.server.add_key("fm_live_enough", scopes=SCOPES[route])
    response = client.send(method, path, key="fm_live_enough")
    assert response.status_code in (200, 400, 404)
    client.close()


# ---- Fields


def test_workflows(client):
    item = {
        "id": "wf",
        "name": "Greeting",
        "description": "Greets.",
        "version": 1,
        "created_at": "<time>",
        "updated_at": "<time>",
    }
    assert shown(client.data("GET", "/workflows")) == [item]
    inputs = {"name": {"type": "text", "label": "Name", "required": True}}
    assert shown(client.data("GET", "/workflows/wf")) == {**item, "inputs": inputs}
    started = client.data("POST", "/workflows/wf/execute", {"inputs": {"name": "Ada"}})
    assert shown(started) == {
        "execution_id": "<uuid>",
        "workflow_id": "wf",
        "status": "pending",
        "inputs": {"name": "Ada"},
    }


def test_executions(client):
    item = {
        "id": "<uuid>",
        "workflow_id": "wf",
        "status": "completed",
        "inputs": {"name": "Ada"},
        "outputs": {"greeting": "Ada"},
        "error": None,
        "started_at": "<time>",
        "completed_at": "<time>",
        "created_at": "<time>",
    }
    done = client.execute(name="Ada")
    assert shown(client.ended(done)) == item
    failed = client.execute(fail=1)
    details = {"status": "failed", "outputs": None, "error": "no", "inputs": {"fail": 1}}
    assert shown(client.ended(failed)) == {**item, **details}
    held = client.execute(hold=1)
    until(lambda: client.data("GET", f"/executions/{held}")["status"] == "running")
    assert client.data("POST", f"/executions/{held}/cancel") == {
        "id": held,
        "status": "cancelled",
        "message": "Execution cancelled successfully",
    }
    details = {"status": "cancelled", "outputs": None, "completed_at": None, "inputs": {"hold": 1}}
    assert shown(client.ended(held)) == {**item, **details}
    error = client.send("POST", f"/executions/{held}/cancel").json()["error"]
    message = "Execution cannot be cancelled. Current status: cancelled"
    assert error == {"code": "validation_error", "message": message}
    client.server.broken_workflow("broken")
    message = "No executable nodes found for workflow: Broken"
    error = client.send("POST", "/workflows/broken/execute")
    assert error.json()["error"] == {"code": "execution_failed", "message": message}
    never = client.server.executions[-1].id
    assert shown(client.data("GET", f"/executions/{never}")) == {
        **item,
        "workflow_id": "broken",
        "status": "pending",
        "inputs": {},
        "outputs": None,
        "started_at": None,
        "completed_at": None,
    }
    listed = client.data("GET", "/executions")
    assert [one["id"] for one in listed] == [never, held, failed, done]
    listed = client.data("GET", "/executions?status=failed")
    assert [one["id"] for one in listed] == [failed]


def test_agents_and_threads(client):
    item = {
        "id": "agent",
        "name": "Story teller",
        "description": "Tells.",
        "model": "gpt-4o",
        "provider": "openai",
        "created_at": "<time>",
        "updated_at": "<time>",
    }
    assert shown(client.data("GET", "/agents")) == [item]
    assert shown(client.data("GET", "/agents/agent")) == {
        **item,
        "system_prompt": "Be kind.",
        "temperature": 0.7,
        "max_tokens": 4000,
        "available_tools": [
            {"id": "t", "name": "Search", "description": "Searches.", "type": "function"}
        ],
    }
    is_documented = client.server.dialect == "documented"
    metadata = {"metadata": {"a": 1}} if is_documented else {}
    created = client.data("POST", "/agents/agent/threads", {"metadata": {"a": 1}})
    assert shown(created) == {
        "id": "<uuid>",
        "agent_id": "agent",
        "status": "active",
        "created_at": "<time>",
        **metadata,
    }
    path = f"/threads/{created['id']}"
    thread = {
        "id": "<uuid>",
        "agent_id": "agent",
        "title": None,
        "status": "active",
        "created_at": "<time>",
        "updated_at": "<time>",
        "last_message_at": None,
        **metadata,
    }
    assert shown(client.data("GET", path)) == thread
    sent = [client.data("POST", f"{path}/messages", {"content": text}) for text in ("one", "two")]
    history = json.dumps(
        [{"role": "user", "content": "one"}, {"role": "assistant", "content": "[]"}]
    )
    if is_documented:
        assert shown(sent[1]) == {
            "message_id": "<uuid>",
            "thread_id": "<uuid>",
            "status": "completed",
        }
    else:
        assert shown(sent[1]) == {
            "execution_id": "<uuid>",
            "thread_id": "<uuid>",
            "status": "completed",
            "message": {
                "role": "assistant",
                "content": history,
                "tool_calls": None,
                "created_at": "<time>",
            },
            "iterations": 0,
            "tool_calls_count": 0,
        }
    messages = client.data("GET", f"{path}/messages")
    messages = messages if is_documented else messages["messages"]
    assert shown(messages[3]) == {
        "id": "<uuid>",
        "role": "assistant",
        "content": history,
        "tool_calls": None,
        "created_at": "<time>",
    }
    assert [(one["role"], one["content"]) for one in messages[:3]] == [
        ("user", "one"),
        ("assistant", "[]"),
        ("user", "two"),
    ]
    used = client.data("GET", path)
    assert used["last_message_at"] == used["updated_at"] == messages[3]["created_at"]
    failed = client.send("POST", f"{path}/messages", {"content": "fail"})
    assert (failed.status_code, failed.json()["error"]["message"]) == (500, "no")
    other = client.data("POST", "/agents/agent/threads")["id"]
    assert client.server.threads == [created["id"], other]
    assert [one.content for one in client.server.messages(created["id"])][0::2] == [
        "one",
        "two",
        "fail",
    ]
    assert client.server.messages(other) == client.server.messages("nobody's") == []
    assert client.data("DELETE", path) == {"id": created["id"], "deleted": True}
    assert client.send("GET", path).status_code == 404
    assert client.server.threads == [other]


def test_triggers(client):
    item = {
        "id": "trigger",
        "workflow_id": "wf",
        "name": "By hand",
        "trigger_type": "manual",
        "enabled": True,
        "last_triggered_at": None,
        "trigger_count": 0,
        "created_at": "<time>",
        "updated_at": "<time>",
    }
    assert shown(client.data("GET", "/triggers")) == [item]
    started = client.data("POST", "/triggers/trigger/execute", {"inputs": {"name": "Ada"}})
    assert shown(started) == {
        "execution_id": "<uuid>",
        "workflow_id": "wf",
        "trigger_id": "trigger",
        "status": "pending",
        "inputs": {"name": "Ada"},
    }
    assert client.ended(started["execution_id"])["outputs"] == {"greeting": "Ada"}
    (used,) = client.data("GET", "/triggers")
    assert shown(used) == {**item, "last_triggered_at": "<time>", "trigger_count": 1}
    off = client.server.trigger("off", "wf", enabled=False, trigger_type="schedule")
    assert (off.name, off.enabled) == ("Trigger", False)
    error = client.send("POST", "/triggers/off/execute")
    assert (error.status_code, error.json()["error"]["message"]) == (400, "Trigger is not enabled")
    assert client.data("GET", "/triggers")[0]["trigger_type"] == "schedule"


def test_knowledge_bases(client):
    item = {
        "id": "kb",
        "name": "Knowledge base",
        "description": "Fruit.",
        "document_count": 3,
        "chunk_count": 3,
        "created_at": "<time>",
        "updated_at": "<time>",
    }
    assert shown(client.data("GET", "/knowledge-bases")) == [item]
    assert shown(client.data("GET", "/knowledge-bases/kb")) == {
        **item,
        "embedding_model": "text-embedding-3-small",
        "chunk_size": 1000,
        "chunk_overlap": 200,
    }
    body = {"query": "cherries", "top_k": 1}
    found = client.data("POST", "/knowledge-bases/kb/query", body)
    is_documented = client.server.dialect == "documented"
    chunk_id, score = ("chunk_id", "similarity") if is_documented else ("id", "score")
    assert 0 < found["results"][0].pop(score) < 1
    assert shown(found) == {
        "results": [
            {
                chunk_id: "<uuid>",
                "content": "cherries",
                "document_id": "<uuid>",
                "document_name": "c.md",
                "metadata": {"page": 3},
            }
        ],
        "query": "cherries",
        "top_k": 1,
    }
    error = client.send("POST", "/knowledge-bases/kb/query", {"query": ""}).json()["error"]
    assert error == {"code": "validation_error", "message": "Query is required"}


def test_what_is_registered_with_all_that_it_may_have(client):
    server = client.server
    times = {"created_at": "<time>", "updated_at": "<time>"}
    about = {"name": "My own", "description": "Does."}
    server.workflow("wf_own", **about)(lambda: None)
    server.broken_workflow("wf_broken", name="No nodes")
    tools = [{"id": "t"}]
    runs_on = {"model": "m", "provider": "p"}
    details = {"system_prompt": "s", "temperature": 0.1, "max_tokens": 5}
    server.agent("agent_own", **about, **runs_on, **details, tools=tools)(lambda: "")
    tools[0]["id"] = "changed"
    server.knowledge_base("kb_own", **about, chunk_size=10, chunk_overlap=2)
    server.trigger("trigger_own", "wf_own", name="By time", trigger_type="schedule")
    own = {"id": "wf_own", **about, "version": 1, **times, "inputs": None}
    assert shown(client.data("GET", "/workflows/wf_own")) == own
    own = {**own, "id": "wf_broken", "name": "No nodes", "description": None}
    assert shown(client.data("GET", "/workflows/wf_broken")) == own
    assert shown(client.data("GET", "/agents/agent_own")) == {
        "id": "agent_own",
        **about,
        **runs_on,
        **details,
        **times,
        "available_tools": [{"id": "t"}],
    }
    assert shown(client.data("GET", "/knowledge-bases/kb_own")) == {
        "id": "kb_own",
        **about,
        "document_count": 0,
        "chunk_count": 0,
        "embedding_model": "text-embedding-3-small",
        "chunk_size": 10,
        "chunk_overlap": 2,
        **times,
    }
    own = next(one for one in client.data("GET", "/triggers") if one["id"] == "trigger_own")
    assert shown(own) == {
        "id": "trigger_own",
        "workflow_id": "wf_own",
        "name": "By time",
        "trigger_type": "schedule",
        "enabled": True,
        "last_triggered_at": None,
        "trigger_count": 0,
        **times,
    }


def test_webhooks(client):
    with Receiver() as receiver:
        created = client.webhook(receiver.url, "execution.completed")
        item = {
            "id": "<uuid>",
            "name": "n",
            "url": receiver.url,
            "events": ["execution.completed"],
            "headers": {"X-Own": "1"},
            "is_active": True,
            "created_at": "<time>",
        }
        secret = created.pop("secret")
        assert re.fullmatch(r"whsec_[0-9a-f]{64}", secret)
        assert shown(created) == item
        path = f"/webhooks/{created['id']}"
        assert shown(client.data("GET", path)) == {**item, "updated_at": "<time>"}
        listed = {**item, "updated_at": "<time>"}
        del listed["headers"]
        assert shown(client.data("GET", "/webhooks")) == [listed]
        changes = {
            "name": "other",
            "url": receiver.url + "?a=1",
            "events": ["execution.failed"],
            "headers": {},
            "is_active": False,
        }
        changed = client.data("PATCH", path, changes)
        wanted = {**item, **changes, "updated_at": "<time>"}
        del wanted["created_at"]
        assert shown(changed) == wanted
        tested = client.data("POST", f"{path}/test")
        took = {"response_time_ms": tested.pop("response_time_ms")} if len(tested) == 4 else {}
        assert bool(took) == (client.server.dialect == "documented")
        message = "Test webhook delivered successfully"
        assert tested == {"success": True, "status_code": 200, "message": message}
        (delivery,) = receiver.deliveries
        body = json.loads(delivery.body)
        assert re.fullmatch(r"test_\d{13}", body["id"])
        assert body["event"] == "test"
        assert body["data"] == {
            "message": "This is a test webhook from FlowMaestro",
            "webhook_id": created["id"],
        }
        assert delivery.headers["User-Agent"] == "FlowMaestro-Webhook/1.0"
        assert client.data("DELETE", path) == {"id": created["id"], "deleted": True}
        assert client.send("GET", path).status_code == 404
        assert client.send("GET", f"{path}/deliveries").status_code == 404
    bad = {"url": "http://x.y", "events": ["execution.started"]}
    for body, message in (
        ({**bad, "name": ""}, "Webhook name is required"),
        ({**bad, "name": 5}, "Webhook name is required"),
        ({**bad, "name": "n", "url": "ftp://x"}, "Invalid URL format"),
        ({**bad, "name": "n", "url": "http://"}, "Invalid URL format"),
        ({**bad, "name": "n", "url": 5}, "Invalid URL format"),
        ({**bad, "name": "n", "events": []}, "At least one event type is required"),
        ({**bad, "name": "n", "events": "all"}, "At least one event type is required"),
    ):
        error = client.send("POST", "/webhooks", body)
        assert (error.status_code, error.json()["error"]["message"]) == (400, message)


def test_a_test_of_a_webhook_says_what_went_wrong(client):
    with Receiver(404) as receiver:
        created = client.webhook(receiver.url, "execution.completed")
        tested = client.data("POST", f"/webhooks/{created['id']}/test")
    assert (tested["success"], tested["status_code"]) == (False, 404)
    assert tested["message"] == "Test webhook failed with status 404"
    tested = client.data("POST", f"/webhooks/{created['id']}/test")
    assert (tested["success"], tested["error"]) == (False, "fetch failed")
    assert tested["message"] == "Failed to deliver test webhook"
    assert "status_code" not in tested


# ---- Deliveries


def test_deliveries_tell_their_attempts(client):
    with Receiver(500, 503) as receiver, Receiver(404) as gone:
        good = client.webhook(receiver.url, "execution.completed")["id"]
        bad = client.webhook(gone.url, "execution.completed")["id"]
        away = client.webhook("http://127.0.0.1:9/", "execution.completed")["id"]
        client.execute()

        def delivery(webhook_id: str) -> dict[str, Any]:
            found = client.data("GET", f"/webhooks/{webhook_id}/deliveries")
            return found[0] if found else {"status": ""}

        seen = set()

        def is_retried() -> bool:
            current = delivery(good)
            seen.add(current["status"])
            if current["status"] == "retrying":
                assert current["error_message"] in ("HTTP 500", "HTTP 503")
            return current["status"] == "success"

        until(is_retried)
        until(lambda: delivery(bad)["status"] == delivery(away)["status"] == "failed")
        assert seen <= {"", "pending", "retrying", "success"}
        item = shown(delivery(good))
        assert item.pop("id").isdigit()
        assert item == {
            "event_type": "execution.completed",
            "status": "success",
            "attempts": 3,
            "response_status": 200,
            "error_message": None,
            "created_at": "<time>",
            "last_attempt_at": "<time>",
        }
        item = delivery(bad)
        assert (item["attempts"], item["response_status"]) == (1, 404)
        assert item["error_message"] == "HTTP 404"
        item = delivery(away)
        assert (item["attempts"], item["response_status"]) == (3, None)
        assert "refused" in item["error_message"]
        assert TIME.fullmatch(item["last_attempt_at"])


def test_a_delivery_on_its_way_is_pending(client):
    may_respond = threading.Event()

    def respond(connection: socket.socket) -> None:
        may_respond.wait(60)
        connection.sendall(response(b""))

    with raw_server(respond) as url:
        webhook = client.webhook(url, "execution.completed")["id"]
        client.execute()
        path = f"/webhooks/{webhook}/deliveries"
        until(lambda: client.data("GET", path))
        (delivery,) = client.data("GET", path)
        assert shown({**delivery, "id": ""}) == {
            "id": "",
            "event_type": "execution.completed",
            "status": "pending",
            "attempts": 0,
            "response_status": None,
            "error_message": None,
            "created_at": "<time>",
            "last_attempt_at": None,
        }
        may_respond.set()
        until(lambda: client.data("GET", path)[0]["status"] == "success")


@pytest.mark.parametrize(
    ("status", "attempts"),
    [
        (200, 1),
        (299, 1),
        (301, 1),
        (400, 1),
        (409, 1),
        (408, 2),
        (425, 2),
        (429, 2),
        (500, 2),
        (599, 2),
    ],
)
def test_which_deliveries_are_tried_again(status, attempts):
    client = Client("wire")
    with Receiver(status) as receiver:
        webhook = client.webhook(receiver.url, "execution.completed")["id"]
        client.execute()

        def delivery() -> dict[str, Any]:
            found = client.data("GET", f"/webhooks/{webhook}/deliveries")
            return found[0] if found else {"status": ""}

        until(lambda: delivery()["status"] in ("success", "failed"))
        assert delivery()["attempts"] == attempts
        is_good = status < 300 or attempts > 1
        assert delivery()["status"] == ("success" if is_good else "failed")
        assert (delivery()["error_message"] is None) == is_good
    client.close()


def test_every_event_carries_its_data(client):
    execution_events = [
        f"execution.{one}" for one in ("started", "completed", "failed", "cancelled")
    ]
    message_events = ["thread.message.created", "thread.message.completed"]
    agent_events = [f"agent.execution.{one}" for one in ("started", "completed", "failed")]
    events = [*execution_events, *message_events, *agent_events]

    with Receiver() as receiver:
        client.webhook(receiver.url, *events)

        def data_of(kind: str) -> dict[str, Any]:
            until(lambda: any(json.loads(one.body)["event"] == kind for one in receiver.deliveries))
            body = next(
                json.loads(one.body)
                for one in receiver.deliveries
                if json.loads(one.body)["event"] == kind
            )
            assert UUID.fullmatch(body["id"])
            assert TIME.fullmatch(body["created_at"])
            return shown(body["data"])

        client.ended(client.execute(name="Ada"))
        execution = {
            "execution_id": "<uuid>",
            "workflow_id": "wf",
            "workflow_name": "Greeting",
            "started_at": "<time>",
        }
        assert data_of("execution.started") == {**execution, "status": "running"}
        ended = {**execution, "completed_at": "<time>"}
        assert data_of("execution.completed") == {
            **ended,
            "status": "completed",
            "outputs": {"greeting": "Ada"},
        }
        client.ended(client.execute(fail=1))
        assert data_of("execution.failed") == {**ended, "status": "failed", "error": "no"}
        held = client.execute(hold=1)
        until(lambda: client.data("GET", f"/executions/{held}")["status"] == "running")
        client.send("POST", f"/executions/{held}/cancel")
        assert data_of("execution.cancelled") == {**execution, "status": "cancelled"}

        thread = client.data("POST", "/agents/agent/threads")["id"]
        client.send("POST", f"/threads/{thread}/messages", {"content": "hi"})
        agent = {"thread_id": "<uuid>", "agent_id": "agent", "agent_name": "Story teller"}
        message = {**agent, "message_id": "<uuid>"}
        assert data_of("thread.message.created") == {**message, "role": "user", "content": "hi"}
        assert data_of("thread.message.completed") == {
            **message,
            "role": "assistant",
            "content": "[]",
        }
        started = {**agent, "started_at": "<time>"}
        assert data_of("agent.execution.started") == {**started, "status": "running"}
        ended = {**started, "completed_at": "<time>"}
        assert data_of("agent.execution.completed") == {**ended, "status": "completed"}
        client.send("POST", f"/threads/{thread}/messages", {"content": "fail"})
        assert data_of("agent.execution.failed") == {**ended, "status": "failed", "error": "no"}


# ---- Pages


@pytest.mark.parametrize(
    ("query", "page", "per_page", "start", "end"),
    [
        ("", 1, 20, 0, 20),
        ("?page=2", 2, 20, 20, 26),
        ("?page=3", 3, 20, 26, 26),
        ("?per_page=3", 1, 3, 0, 3),
        ("?page=2&per_page=3", 2, 3, 3, 6),
        ("?page=2&per_page=13", 2, 13, 13, 26),
        ("?per_page=500", 1, 100, 0, 26),
        ("?per_page=-3", 1, 1, 0, 1),
        ("?page=-3&per_page=1", 1, 1, 0, 1),
        ("?page=0&per_page=0", 1, 20, 0, 20),
        ("?page=x&per_page=y", 1, 20, 0, 20),
        ("?page=2x&per_page=%2B3", 2, 3, 3, 6),
        ("?page=%202&per_page=3.9", 2, 3, 3, 6),
    ],
)
def test_pages_are_clamped(client, query, page, per_page, start, end):
    for number in range(25):
        client.server.workflow(f"wf_{number}")(lambda: None)
    ids = [*(f"wf_{number}" for number in range(24, -1, -1)), "wf"]
    content = client.send("GET", f"/workflows{query}").json()
    assert [one["id"] for one in content["data"]] == ids[start:end]
    pages = -(-26 // per_page)
    pagination = {"page": page, "per_page": per_page, "total_count": 26}
    if client.server.dialect == "documented":
        assert content["pagination"] == {**pagination, "has_more": page < pages}
    else:
        assert content["pagination"] == {
            **pagination,
            "total_pages": pages,
            "has_next": page < pages,
            "has_prev": page > 1,
        }


# ---- The start page


def test_the_start_page_lists_what_there_is(client):
    page = httpx.get(client.running.url, timeout=60).text
    sections = re.findall(r"<h2>(.*?)</h2><ul>(.*?)</ul>", page)
    assert sections == [
        ("Workflows", "<li><code>wf</code> Greeting</li>"),
        ("Agents", "<li><code>agent</code> Story teller</li>"),
        ("Knowledge bases", "<li><code>kb</code> Knowledge base</li>"),
        ("Triggers", "<li><code>trigger</code> By hand</li>"),
    ]
    assert f"FLOWMAESTRO_BASE_URL={client.running.url}" in page
    with LocalServer().start() as url:
        assert httpx.get(url, timeout=60).text.count("<li>none registered</li>") == 4
