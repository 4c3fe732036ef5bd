"""What the public backend was seen to do beyond its recordings, one test for each fact.

Each was seen on 2026-11-26, on the backend with its whole middleware, PostgreSQL and Redis. The
wire dialect does the same; where the documentation promises better, ``documented`` does that.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import Any, Optional
from urllib.parse import urlsplit

import httpx
import pytest

from flowmaestro_local import LocalServer
from tests.receiver import Receiver, until

pytestmark = pytest.mark.once

OURS, THEIRS = "fm_live_ours", "fm_live_theirs"
UNKNOWN_ID = "8d635123-5d33-4a06-989b-7fd45d593d25"


class World:
    """A server, and a client of each of its two tenants."""

    def __init__(self, dialect: str) -> None:
        self.server = LocalServer(dialect=dialect)
        self.server.add_key(OURS)
        self.server.add_key(THEIRS, tenant="others")
        self.hold = threading.Event()
        self.server.workflow("wf")(lambda inputs: {"inputs": inputs})
        self.server.workflow("wf_held")(lambda: self.hold.wait(100))
        self.server.agent("agent")(lambda message: message)
        self.server.knowledge_base("kb", documents={"a.md": "red apples", "b.md": "green pears"})
        self.server.trigger("trigger", "wf")
        self.running = self.server.start()
        self.http = httpx.Client(base_url=self.running.url + "/api/v1", timeout=60)

    def send(
        self, method: str, path: str, body: Any = None, key: str = OURS, **more: Any
    ) -> httpx.Response:
        headers = {"x-api-key": key, **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        return self.http.request(method, path, headers=headers, **more)

    def execute(self, workflow_id: str = "wf", key: str = OURS, inputs: Any = None) -> str:
        path, body = f"/workflows/{workflow_id}/execute", {"inputs": inputs or {}}
        execution_id: str = self.send("POST", path, body, key).json()["data"]["execution_id"]
        return execution_id

    def status_of(self, execution_id: str) -> str:
        return next(one.status for one in self.server.executions if one.id == execution_id)

    def close(self) -> None:
        self.hold.set()
        self.http.close()
        self.running.stop()


@pytest.fixture
def world():
    world = World("wire")
    yield world
    world.close()


@pytest.fixture
def documented():
    world = World("documented")
    yield world
    world.close()


def code_of(response: httpx.Response) -> Optional[str]:
    """Give the code of an error, in either of its two shapes."""
    body = response.json()
    error = body["error"]
    code: Optional[str] = error["code"] if isinstance(error, dict) else body.get("code")
    return code


# ---- The list of executions


def test_a_list_without_a_workflow_reads_the_newest_rows_of_all_tenants(world):
    ours = [world.execute() for _ in range(3)]
    for _ in range(4):
        world.execute(key=THEIRS)
    ours.append(world.execute())

    def page(number: int, **query: Any) -> tuple[list[str], dict[str, Any]]:
        query = {"page": number, "per_page": 5, **query}
        content = world.send("GET", "/executions", params=query).json()
        return [one["id"] for one in content["data"]], content["pagination"]

    # The newest five are one of ours and four of theirs; the newest ten are all.
    found, pagination = page(1)
    assert found == ours[:2:-1]
    assert pagination == {
        "page": 1,
        "per_page": 5,
        "total_count": 1,
        "total_pages": 1,
        "has_next": False,
        "has_prev": False,
    }
    found, pagination = page(2)
    assert found == []
    assert (pagination["total_count"], pagination["has_next"]) == (4, False)
    # With a workflow, the list is exact.
    found, pagination = page(1, workflow_id="wf")
    assert found == ours[::-1]
    assert (pagination["total_count"], pagination["has_next"]) == (4, False)
    found, pagination = page(1, workflow_id="wf", per_page=3)
    assert (pagination["total_count"], pagination["has_next"]) == (4, True)


def test_a_list_by_status_reads_the_newest_rows_of_that_status(world):
    done = [world.execute() for _ in range(3)]
    until(lambda: all(world.status_of(one) == "completed" for one in done))
    world.execute("wf_held")
    query = {"status": "completed", "per_page": 2}
    content = world.send("GET", "/executions", params=query).json()
    assert [one["id"] for one in content["data"]] == done[:0:-1]
    assert content["pagination"]["total_count"] == 2
    # With a workflow, it filters within the page.
    content = world.send("GET", "/executions", params={**query, "workflow_id": "wf"}).json()
    assert content["pagination"]["total_count"] == 2
    content = world.send("GET", "/executions", params={**query, "workflow_id": "wf_held"}).json()
    assert content["pagination"]["total_count"] == 0


def test_a_list_of_a_workflow_whose_id_is_no_uuid(world, documented):
    response = world.send("GET", "/executions", params={"workflow_id": "nope"})
    assert (response.status_code, code_of(response)) == (500, "22P02")
    response = world.send("GET", "/executions", params={"workflow_id": UNKNOWN_ID})
    assert (response.status_code, response.json()["data"]) == (200, [])
    response = documented.send("GET", "/executions", params={"workflow_id": "nope"})
    assert (response.status_code, response.json()["data"]) == (200, [])


def test_the_documented_list_is_exact(documented):
    ours = [documented.execute() for _ in range(3)]
    documented.execute(key=THEIRS)
    content = documented.send("GET", "/executions", params={"per_page": 2}).json()
    assert [one["id"] for one in content["data"]] == ours[:0:-1]
    assert content["pagination"] == {"page": 1, "per_page": 2, "total_count": 3, "has_more": True}


@pytest.mark.parametrize("dialect", ["wire", "documented"])
def test_what_one_tenant_made_is_hidden_from_another(dialect):
    world = World(dialect)
    execution = world.execute("wf_held")
    thread = world.send("POST", "/agents/agent/threads").json()["data"]["id"]
    body = {"name": "n", "url": "http://127.0.0.1:9/", "events": ["execution.started"]}
    webhook = world.send("POST", "/webhooks", body).json()["data"]["id"]
    for method, path in (
        ("GET", f"/executions/{execution}"),
        ("POST", f"/executions/{execution}/cancel"),
        ("GET", f"/executions/{execution}/events"),
        ("GET", f"/threads/{thread}"),
        ("GET", f"/threads/{thread}/messages"),
        ("DELETE", f"/threads/{thread}"),
        ("GET", f"/webhooks/{webhook}"),
        ("DELETE", f"/webhooks/{webhook}"),
    ):
        response = world.send(method, path, key=THEIRS)
        assert (response.status_code, code_of(response)) == (404, "resource_not_found")
    assert world.send("GET", "/webhooks", key=THEIRS).json()["data"] == []
    assert world.send("GET", "/executions", key=THEIRS).json()["data"] == []
    assert len(world.send("GET", "/webhooks").json()["data"]) == 1
    assert "tenant" not in world.send("GET", f"/executions/{execution}").text
    assert "tenant" not in world.send("GET", f"/threads/{thread}").text
    assert "tenant" not in world.send("GET", f"/webhooks/{webhook}").text
    world.close()


def test_events_go_to_the_webhooks_of_their_tenant(world):
    with Receiver() as mine, Receiver() as other:
        for receiver, key in ((mine, OURS), (other, THEIRS)):
            events = ["execution.completed", "thread.message.completed", "agent.execution.started"]
            body = {"name": "n", "url": receiver.url, "events": events}
            world.send("POST", "/webhooks", body, key)
        world.execute()
        thread = world.send("POST", "/agents/agent/threads", key=THEIRS).json()["data"]["id"]
        world.send("POST", f"/threads/{thread}/messages", {"content": "hi"}, THEIRS)
        until(lambda: len(mine.deliveries) == 1 and len(other.deliveries) == 2)
        assert [one.headers["X-FlowMaestro-Event"] for one in mine.deliveries] == [
            "execution.completed"
        ]


# ---- Ids that are no UUIDs


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/workflows/nope/execute", "execution_failed"),
        ("/triggers/nope/execute", "execution_failed"),
        ("/executions/nope/cancel", "internal_error"),
    ],
)
def test_acting_on_an_id_that_is_no_uuid(world, documented, path, code):
    response = world.send("POST", path)
    assert response.status_code == 500
    error = response.json()["error"]
    assert error == {"code": code, "message": 'invalid input syntax for type uuid: "nope"'}
    assert documented.send("POST", path).status_code == 404
    # A UUID that is nobody's is not found, and reading is as it was recorded.
    assert world.send("POST", path.replace("nope", UNKNOWN_ID)).status_code == 404
    assert code_of(world.send("GET", path.rpartition("/")[0])) == "22P02" or "triggers" in path


# ---- Bodies


@pytest.mark.parametrize("declares_length", [True, False])
def test_a_body_over_one_mebibyte(world, declares_length):
    def send(size: int) -> httpx.Response:
        content: Any = b'{"inputs":{"x":"' + b"x" * (size - 19) + b'"}}'
        if not declares_length:
            content = iter([content])
        return world.send(
            "POST",
            "/workflows/wf/execute",
            content=content,
            headers={"content-type": "application/json"},
        )

    assert send(1_048_576).status_code == 202
    response = send(1_048_577)
    assert response.status_code == 413
    assert response.json() == {
        "statusCode": 413,
        "code": "FST_ERR_CTP_BODY_TOO_LARGE",
        "error": "Payload Too Large",
        "message": "Request body is too large",
    }
    assert response.headers["connection"] == "close"


def test_a_body_that_is_too_large_is_refused_while_it_is_sent(world):
    parts = urlsplit(world.running.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as sock:
        sock.sendall(
            b"POST /api/v1/workflows/wf/execute HTTP/1.1\r\nhost: x\r\n"
            b"content-type: application/json\r\ncontent-length: 5000000\r\n\r\n{"
        )
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
    # The connection was closed, though most of the body was never sent.
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"FST_ERR_CTP_BODY_TOO_LARGE" in received


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"[" * 100_000, b"nope", b'{"inputs":{"x":NaN}}', b"[-Infinity]"]
)
def test_malformed_json(world, documented, content):
    headers = {"content-type": "application/json; charset=utf-8"}
    request = ("POST", "/workflows/wf/execute")
    response = world.send(*request, content=content, headers=headers)
    assert response.status_code == 500
    assert response.json() == {
        "statusCode": 500,
        "error": "Internal Server Error",
        "message": "Body is not valid JSON",
    }
    response = documented.send(*request, content=content, headers=headers)
    assert response.status_code == 400
    assert response.json() == {
        "statusCode": 400,
        "code": "FST_ERR_CTP_INVALID_JSON_BODY",
        "error": "Bad Request",
        "message": "Body is not valid JSON",
    }


@pytest.mark.parametrize(
    "content_type", ["application/xml", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_a_content_type_that_is_not_read(world, content_type):
    headers = {"content-type": content_type}
    response = world.send("POST", "/workflows/wf/execute", content=b"a=1", headers=headers)
    assert response.status_code == 415
    assert response.json() == {
        "statusCode": 415,
        "code": "FST_ERR_CTP_INVALID_MEDIA_TYPE",
        "error": "Unsupported Media Type",
        "message": f"Unsupported Media Type: {content_type}",
    }


def test_plain_text_is_accepted_and_not_read(world):
    headers = {"content-type": "text/plain"}
    content = b'{"inputs":{"a":1}}'
    response = world.send("POST", "/workflows/wf/execute", content=content, headers=headers)
    assert (response.status_code, response.json()["data"]["inputs"]) == (202, {})


def test_no_body_at_all_is_accepted(world):
    assert world.send("POST", "/workflows/wf/execute").status_code == 202
    headers = {"content-type": "application/json"}
    assert world.send("POST", "/workflows/wf/execute", headers=headers).status_code == 202


# ---- Inputs


@pytest.mark.parametrize(
    "inputs", [{"a": "\0"}, {"\0": 1}, {"a": ["\ud800"]}, {"a": "\\\0"}, ["\0"]]
)
def test_text_that_the_database_refuses(world, inputs):
    content = json.dumps({"inputs": inputs}).encode()
    for path in ("/workflows/wf/execute", "/triggers/trigger/execute"):
        response = world.send(
            "POST", path, content=content, headers={"content-type": "application/json"}
        )
        assert response.status_code == 500
        message = "unsupported Unicode escape sequence"
        assert response.json()["error"] == {"code": "execution_failed", "message": message}
    assert world.server.executions == []


@pytest.mark.parametrize("inputs", [{"a": "\\u0000"}, {"a": "\\\\u0000 é 😀"}])
def test_text_that_only_shows_an_escape_is_accepted(world, inputs):
    response = world.send("POST", "/workflows/wf/execute", {"inputs": inputs})
    assert (response.status_code, response.json()["data"]["inputs"]) == (202, inputs)


def test_inputs_that_are_a_text_break_the_list_of_their_workflow(world):
    world.execute("wf_held")
    response = world.send("POST", "/workflows/wf/execute", {"inputs": "hello"})
    assert response.status_code == 500
    (broken,) = [one for one in world.server.executions if one.workflow_id == "wf"]
    assert (broken.inputs, broken.status) == ("hello", "pending")
    for _ in range(2):
        response = world.send("GET", "/executions", params={"workflow_id": "wf"})
        assert response.status_code == 500
        assert response.json()["error"] == "Internal Server Error"
    assert world.send("GET", f"/executions/{broken.id}").status_code == 500
    # Only where the row is read.
    response = world.send("GET", "/executions", params={"workflow_id": "wf_held"})
    assert (response.status_code, len(response.json()["data"])) == (200, 1)


@pytest.mark.parametrize("inputs", [[1, {"a": 2}], 5, True])
def test_inputs_that_are_no_map_are_echoed(world, documented, inputs):
    response = world.send("POST", "/workflows/wf/execute", {"inputs": inputs})
    assert response.json()["data"]["inputs"] == inputs
    response = documented.send("POST", "/workflows/wf/execute", {"inputs": inputs})
    assert response.json()["data"]["inputs"] == {}


def test_a_number_beyond_all_numbers_is_null(world):
    headers = {"content-type": "application/json"}
    content = b'{"inputs":{"x":1e999,"y":-1e999,"z":1e30}}'
    response = world.send("POST", "/workflows/wf/execute", content=content, headers=headers)
    assert response.json()["data"]["inputs"] == {"x": None, "y": None, "z": 1e30}


def test_half_an_emoji_is_sent_as_an_escape(world):
    thread = world.send("POST", "/agents/agent/threads").json()["data"]["id"]
    content = b'{"content":"a\\ud83d"}'
    headers = {"content-type": "application/json"}
    world.send("POST", f"/threads/{thread}/messages", content=content, headers=headers)
    response = world.send("GET", f"/threads/{thread}/messages")
    assert b'"content":"a\\ud83d"' in response.content


# ---- Executions


def test_a_start_that_the_engine_refuses_leaves_a_row(world):
    world.server.broken_workflow("wf_broken")
    response = world.send("POST", "/workflows/wf_broken/execute")
    assert (response.status_code, code_of(response)) == (500, "execution_failed")
    assert world.server.executions[-1].status == "pending"


def test_a_paused_execution_cannot_be_cancelled(world, documented):
    for one in (world, documented):

        @one.server.workflow("wf_paused")
        def handler(inputs, run, hold=one.hold):
            run.pause("a person decides")
            hold.wait(100)

    execution_id = world.execute("wf_paused")
    until(lambda: world.status_of(execution_id) == "paused")
    response = world.send("POST", f"/executions/{execution_id}/cancel")
    assert (response.status_code, code_of(response)) == (400, "validation_error")
    assert "Current status: paused" in response.json()["error"]["message"]
    assert world.status_of(execution_id) == "paused"

    execution_id = documented.execute("wf_paused")
    until(lambda: documented.status_of(execution_id) == "paused")
    assert documented.send("POST", f"/executions/{execution_id}/cancel").status_code == 200


# ---- Scopes


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("/agents/agent/threads", ["agents:read", "threads:write"]),
        (f"/threads/{UNKNOWN_ID}/messages", ["threads:write", "agents:execute"]),
    ],
)
def test_scopes_of_conversations(world, path, needed):
    for missing in needed:
        key = f"fm_live_without_{missing}"
        scopes = [scope for scope in needed if scope != missing]
        world.server.add_key(key, scopes=scopes)
        response = world.send("POST", path, {"content": "hi"}, key)
        assert response.status_code == 403
        details = response.json()["error"]["details"]
        assert details["required_scopes"] == needed
        assert details["missing_scopes"] == [missing]
    world.server.add_key("fm_live_enough", scopes=needed)
    response = world.send("POST", path, {"content": "hi"}, "fm_live_enough")
    assert response.status_code in (201, 404)


# ---- Messages


def test_checks_come_before_look_ups(world):
    for path, body in (
        (f"/threads/{UNKNOWN_ID}/messages", {}),
        ("/threads/nope/messages", {"content": ""}),
        (f"/knowledge-bases/{UNKNOWN_ID}/query", {}),
        ("/knowledge-bases/nope/query", {"query": ""}),
    ):
        response = world.send("POST", path, body)
        assert (response.status_code, code_of(response)) == (400, "validation_error")
    response = world.send("PATCH", f"/webhooks/{UNKNOWN_ID}", {"events": []})
    assert (response.status_code, code_of(response)) == (400, "validation_error")


def test_a_timeout_that_is_no_number_ends_at_once(world):
    @world.server.agent("slow")
    def reply(message):
        world.hold.wait(100)
        return "late"

    thread = world.send("POST", "/agents/slow/threads").json()["data"]["id"]
    path = f"/threads/{thread}/messages"
    for timeout, shown in (("abc", "NaN"), (-5, "1"), ("20", "20"), (0.5, "1")):
        response = world.send("POST", path, {"content": "hi", "timeout": timeout})
        assert (response.status_code, code_of(response)) == (408, "timeout")
        assert f"within {shown}ms." in response.json()["error"]["message"]
    # The agent goes on with all four.
    world.hold.set()
    until(lambda: len(world.server.messages(thread)) == 8)


def test_iterations_stay_zero(world):
    thread = world.send("POST", "/agents/agent/threads").json()["data"]["id"]
    response = world.send("POST", f"/threads/{thread}/messages", {"content": "hi"})
    assert response.json()["data"]["iterations"] == 0


# ---- Knowledge bases


def test_results_come_whether_words_match_or_not(world, documented):
    body = {"query": "pears"}
    results = world.send("POST", "/knowledge-bases/kb/query", body).json()["data"]["results"]
    assert [one["content"] for one in results] == ["green pears", "red apples"]
    assert results[0]["score"] > results[1]["score"] == 0
    body = {"query": "nothing"}
    response = world.send("POST", "/knowledge-bases/kb/query", body)
    assert len(response.json()["data"]["results"]) == 2
    response = documented.send("POST", "/knowledge-bases/kb/query", body)
    assert response.json()["data"]["results"] == []


@pytest.mark.parametrize(
    ("top_k", "count"), [(None, 5), (0, 0), (1, 1), ("2", 2), (20, 20), (21, 20), (1e6, 20)]
)
def test_top_k_is_from_nothing_to_twenty(world, top_k, count):
    world.server.knowledge_base("kb_30", documents={f"{n}.md": "a word" for n in range(30)})
    body = {"query": "word", "top_k": top_k}
    response = world.send("POST", "/knowledge-bases/kb_30/query", body)
    assert len(response.json()["data"]["results"]) == count


@pytest.mark.parametrize("top_k", [-1, "many"])
def test_top_k_that_is_no_count(world, documented, top_k):
    body = {"query": "word", "top_k": top_k}
    response = world.send("POST", "/knowledge-bases/kb/query", body)
    assert response.status_code == 500
    assert response.json()["error"] == "Internal Server Error"
    assert documented.send("POST", "/knowledge-bases/kb/query", body).status_code == 200


def test_a_knowledge_base_is_named_in_capitals(world):
    response = world.send("GET", f"/knowledge-bases/{UNKNOWN_ID}")
    message = response.json()["error"]["message"]
    assert message == f"Knowledge Base with id '{UNKNOWN_ID}' not found"


# ---- Webhooks


def test_the_id_of_a_delivery_is_a_number_unlike_its_events(world):
    with Receiver() as receiver:
        body = {"name": "n", "url": receiver.url, "events": ["execution.completed"]}
        webhook = world.send("POST", "/webhooks", body).json()["data"]["id"]
        world.execute()
        world.execute()
        until(lambda: len(receiver.deliveries) == 2)
        numbers = {one.headers["X-FlowMaestro-Delivery-ID"] for one in receiver.deliveries}
        assert all(number.isdigit() for number in numbers)
        assert len(numbers) == 2
        assert not any(json.loads(one.body)["id"].isdigit() for one in receiver.deliveries)
        listed = world.send("GET", f"/webhooks/{webhook}/deliveries").json()["data"]
        assert {one["id"] for one in listed} == numbers


def test_a_name_longer_than_its_column(world, documented):
    body = {"name": "n" * 256, "url": "http://127.0.0.1:9/", "events": ["execution.started"]}
    response = world.send("POST", "/webhooks", body)
    assert response.status_code == 500
    assert response.json()["error"] == "Internal Server Error"
    assert documented.send("POST", "/webhooks", body).status_code == 201
    webhook = world.send("POST", "/webhooks", {**body, "name": "n" * 255}).json()["data"]["id"]
    assert world.send("PATCH", f"/webhooks/{webhook}", {"name": "n" * 256}).status_code == 500


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {"X-A": None}},
        {"headers": "abc"},
        {"headers": ["a"]},
        {"url": "http://["},
        {"url": "http://:80"},
    ],
)
def test_a_webhook_that_cannot_be_delivered_to_is_refused(world, change):
    body = {"name": "n", "url": "http://127.0.0.1:9/", "events": ["execution.started"]}
    response = world.send("POST", "/webhooks", {**body, **change})
    assert (response.status_code, code_of(response)) == (400, "validation_error")
    webhook = world.send("POST", "/webhooks", {**body, "headers": None}).json()["data"]["id"]
    assert world.send("PATCH", f"/webhooks/{webhook}", change).status_code == 400


@pytest.mark.parametrize("headers", [{"X-A": "caf\u20ac"}, {"X A": "1"}, {"X-A": "a\nb"}])
def test_a_header_that_cannot_be_sent_fails_its_delivery(world, headers):
    body = {"name": "n", "url": "http://127.0.0.1:9/", "events": ["execution.completed"]}
    webhook = world.send("POST", "/webhooks", {**body, "headers": headers}).json()["data"]["id"]
    tested = world.send("POST", f"/webhooks/{webhook}/test").json()["data"]
    assert (tested["success"], tested["error"]) == (False, "fetch failed")


# ---- The server itself


def test_a_fault_of_the_server_has_the_frameworks_shape(world, monkeypatch):
    monkeypatch.setattr("flowmaestro_local.api.page_numbers", lambda request: 1 / 0)
    response = world.send("GET", "/workflows")
    assert response.status_code == 500
    assert response.json() == {
        "statusCode": 500,
        "error": "Internal Server Error",
        "message": "division by zero",
    }


def test_bearer_is_case_sensitive(world):
    for value, status in (
        (f"Bearer {OURS}", 200),
        (f"bearer {OURS}", 401),
        (f"BEARER {OURS}", 401),
    ):
        response = world.http.get("/workflows", headers={"authorization": value})
        assert response.status_code == status


def test_a_trailing_slash_works(world):
    assert world.send("GET", "/workflows/").status_code == 200
    assert world.send("GET", "/workflows/wf/").json()["data"]["id"] == "wf"
    assert world.send("POST", "/workflows/wf/execute/").status_code == 202
    assert world.send("GET", "/workflows//").status_code != 200


def test_health_and_options_answer(world):
    root = world.running.url
    response = world.http.get(f"{root}/health")
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    response = world.http.options(f"{root}/api/v1/workflows")
    assert response.status_code == 204
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "X-API-Key" in response.headers["access-control-allow-headers"]


def test_a_url_over_16_kilobytes(world):
    assert world.send("GET", "/workflows", params={"x": "x" * 15_000}).status_code == 200
    response = world.send("GET", "/workflows", params={"x": "x" * 16_384})
    assert (response.status_code, response.content) == (431, b"")
    assert response.headers["connection"] == "close"
    response = world.send("GET", "/workflows", headers={"x-long": "x" * 16_384})
    assert response.status_code == 431


@pytest.mark.parametrize(
    "part", [b"GET /" + b"x" * 70_000, b"GET / HTTP/1.1\r\nx: " + b"x" * 70_000]
)
def test_a_head_that_is_too_long_is_refused_before_its_end(world, part, caplog):
    parts = urlsplit(world.running.url)

    def send(content: bytes) -> bytes:
        with socket.create_connection((parts.hostname, parts.port), timeout=60) as sock:
            sock.sendall(content)
            received = b""
            # Where not all was read, the connection may be reset.
            with contextlib.suppress(ConnectionError):
                while chunk := sock.recv(65536):
                    received += chunk
        return received

    assert send(part) == (
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n"
    )
    assert send(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    # What a client does wrong is not the server's to tell.
    assert caplog.records == []


def test_headers_of_every_response(world):
    first = world.send("GET", "/workflows")
    second = world.send("GET", "/workflows/nope")
    for response in (first, second):
        assert response.headers["vary"] == "Origin"
        assert response.headers["access-control-allow-origin"] == "*"
        assert response.headers["date"].endswith("GMT")
    ids = {response.headers["x-request-id"] for response in (first, second)}
    ids |= {response.headers["x-trace-id"] for response in (first, second)}
    # Another id than that in the body, which is the one to show.
    ids.add(first.json()["meta"]["request_id"])
    assert len(ids) == 5
    limits = ("limit", "remaining", "reset", "limit-day", "remaining-day")
    assert sorted(first.headers.multi_items()) == sorted(
        [
            ("content-type", "application/json; charset=utf-8"),
            ("content-length", f"{len(first.content)}"),
            ("access-control-allow-origin", "*"),
            ("vary", "Origin"),
            *((name, first.headers[name]) for name in ("date", "x-request-id", "x-trace-id")),
            *((f"x-ratelimit-{one}", first.headers[f"x-ratelimit-{one}"]) for one in limits),
        ]
    )


# ---- Live events


def test_events_that_the_bus_relays_carry_more_keys():
    seen: dict[str, dict[str, dict[str, Any]]] = {}
    for dialect in ("wire", "documented"):
        server = LocalServer(dialect=dialect, live_events=True)
        followed = threading.Event()

        @server.workflow("wf")
        def handler(inputs, run, followed=followed):
            followed.wait(60)
            run.pause("outside")
            with run.node("first", type="http"):
                with run.node("inner", type="code"):
                    run.pause("approve")
                run.resume()
            with run.node("second", type="llm"):
                raise ValueError("no")

        events = seen[dialect] = {}
        with server.start() as url, httpx.Client(base_url=url, headers={"x-api-key": OURS}) as http:
            started = http.post("/api/v1/workflows/wf/execute").json()["data"]["execution_id"]
            with http.stream("GET", f"/api/v1/executions/{started}/events") as response:
                name = ""
                for line in response.iter_lines():
                    if line.startswith("event: "):
                        name = line[7:]
                    if line.startswith("data: "):
                        data = json.loads(line[6:])
                        events.setdefault(f"{name} {data.get('reason', '')}".strip(), data)
                        followed.set()
    wire, documented = seen["wire"], seen["documented"]
    paused = wire["execution:paused approve"]
    assert (paused["pausedAtNodeId"], paused["pausedAtNodeName"]) == ("node_2", "inner")
    assert paused["pauseContext"] == {"description": "approve"}
    assert "pausedAtNodeId" not in wire["execution:paused outside"]
    assert wire["execution:resumed"]["status"] == "running"
    assert (wire["node:completed"]["nodeName"], wire["node:completed"]["nodeType"]) == (
        "inner",
        "code",
    )
    assert (wire["node:failed"]["nodeName"], wire["node:failed"]["nodeType"]) == ("second", "llm")
    assert "execution:resumed" not in documented
    assert set(documented["execution:paused approve"]) == {
        "type",
        "execution_id",
        "timestamp",
        "status",
        "reason",
    }
    assert "node_name" not in documented["node:completed"]
    assert "node_name" not in documented["node:failed"]
    assert documented["node:started"]["node_name"] == "first"


def test_a_stream_stays_silent_after_the_end_of_its_execution(world):
    execution_id = world.execute("wf_held")
    url = f"{world.running.url}/api/v1/executions/{execution_id}/events"
    with world.http.stream("GET", url, headers={"x-api-key": OURS}) as response:
        texts = response.iter_text()
        assert next(texts).startswith("event: connected")
        world.hold.set()
        until(lambda: world.status_of(execution_id) == "completed")
        got: list[str] = []

        def read() -> None:
            # The server stops in the end, which may cut the stream.
            with contextlib.suppress(httpx.TransportError):
                got.extend(texts)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        time.sleep(0.2)
        assert got == []
        world.running.stop()
        reader.join(60)
        assert got == []


def test_inputs_that_are_nested_beyond_measure_get_a_response(world, documented):
    for one in (world, documented):
        for depth in (300, 900, 3_000):
            content = b'{"inputs":{"x":' + b"[" * depth + b"]" * depth + b"}}"
            headers = {"content-type": "application/json"}
            response = one.send("POST", "/workflows/wf/execute", content=content, headers=headers)
            assert response.status_code in (202, 400, 500)
            assert response.headers["content-type"] == "application/json; charset=utf-8"
            if depth == 300:
                execution_id = response.json()["data"]["execution_id"]
                until(lambda one=one, at=execution_id: one.status_of(at) == "completed")
        # Whatever came of them, lists go on.
        response = one.send("GET", "/executions", params={"workflow_id": "wf", "per_page": 100})
        assert response.status_code == 200
