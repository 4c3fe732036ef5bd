"""The local server answers each recorded request as the public backend did.

The same status, the same headers that matter, and the same JSON shape: keys and types,
recursively, where a list's shape is that of all its items together.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from flowmaestro_local import LocalServer, Run
from tests.conftest import WIRE, recording
from tests.receiver import Receiver, until

KEY = "fm_live_known"
WORKFLOW = "8d635123-5d33-4a06-989b-7fd45d593d25"
BROKEN = "a22ccf69-9c62-43fc-b3fc-b71dd923729a"
AGENT = "141a5811-6a6b-4c32-b814-7880467dbee8"
TALKER = "eba49632-2788-4a37-b27c-7066b739a8ee"
EMPTY_BASE = "e0a8d402-81ca-4eb8-ae3e-9dc25be83f11"
BASE = "e186705d-3083-4d2d-a092-b63bddad73e5"
TRIGGER = "5deb64cd-de4a-470b-a954-38c47e49f2d9"
TRIGGER_OFF = "44ce78d3-33ba-4d92-9261-bb30cf663b6d"

RECORDINGS = sorted(
    f"{path.parent.name}/{path.stem}"
    for path in WIRE.glob("*/*.json")
    # What a receiver gets is compared in a test of its own, below.
    if path.stem != "delivered_test"
)


class World:
    """A server in the state that the recorded backend was in, and names for what is in it."""

    def __init__(self) -> None:
        self.server = build_server()
        self.running = self.server.start()
        self.http = httpx.Client(base_url=self.running.url, timeout=60)
        self.receiver = Receiver().__enter__()
        self.ids: dict[str, str] = {}

    def send(self, method: str, path: str, body: Any = None, key: str = KEY) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return self.http.request(method, "/api/v1" + path, json=body, headers=headers)

    def make(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        data: dict[str, Any] = self.send(method, path, body).json()["data"]
        return data

    def execute(self, *, wait: str = "", **inputs: Any) -> str:
        data = self.make("POST", f"/workflows/{WORKFLOW}/execute", {"inputs": inputs})
        execution_id: str = data["execution_id"]
        if wait:
            until(lambda: self.status_of(execution_id) == wait)
        return execution_id

    def status_of(self, execution_id: str) -> str:
        return next(one.status for one in self.server.executions if one.id == execution_id)

    def never_begun(self) -> str:
        self.send("POST", f"/workflows/{BROKEN}/execute", {"inputs": {"name": "John"}})
        return self.server.executions[-1].id

    def thread(self) -> str:
        thread_id: str = self.make("POST", f"/agents/{TALKER}/threads")["id"]
        return thread_id

    def webhook(self, url: str = "") -> str:
        events = ["execution.completed", "execution.failed"]
        body = {"name": "My Webhook", "url": url or self.receiver.url, "events": events}
        webhook_id: str = self.make("POST", "/webhooks", {**body, "headers": {"X-Custom": "v"}})[
            "id"
        ]
        return webhook_id

    def close(self) -> None:
        self.http.close()
        self.receiver.__exit__()
        self.running.stop()


def build_server() -> LocalServer:
    server = LocalServer()
    server.add_key(KEY)
    server.add_key("fm_live_expired", expired=True)
    server.add_key("fm_live_reader", scopes=["workflows:read"])
    server.add_key("fm_live_limited", per_minute=1)

    inputs = {"n1": {"type": "text", "label": "n1", "required": True}}

    @server.workflow(WORKFLOW, name="Workflow 0", description="d", inputs=inputs)
    def workflow(inputs: dict, run: Run) -> dict:
        if inputs.get("fail"):
            raise RuntimeError("Node n1 failed")
        run.sleep(0.1 if inputs.get("delay_ms", 0) < 5_000 else 60)
        return {"greeting": f"Hello {inputs.get('name', 'you')}"}

    for number in range(1, 25):
        server.workflow(f"{number:08}-0000-4000-8000-000000000000", description="d")(workflow)
    server.broken_workflow(BROKEN, name="Bad")

    def answer(message: str) -> str:
        if message == "please fail":
            raise RuntimeError("Model error")
        if message == "slow":
            time.sleep(5)
        return f"Echo: {message}"

    for agent_id in (AGENT, TALKER, "9100973f-3fe4-41d6-9e4b-fff2bb5f929c"):
        server.agent(agent_id, description="d", system_prompt="be kind")(answer)
    server.knowledge_base(EMPTY_BASE, name="Docs", description="d")
    server.knowledge_base(
        BASE,
        description="d",
        documents={"doc1.pdf": "reset your password", "doc2.pdf": "a password, forgotten"},
    )
    server.trigger(TRIGGER, WORKFLOW, name="T")
    server.trigger(TRIGGER_OFF, WORKFLOW, name="Off", enabled=False)
    return server


@pytest.fixture
def world(still_limits: None) -> Iterator[World]:
    world = World()
    yield world
    world.close()


def prepare(world: World, name: str) -> dict[str, str]:
    """Bring the world to where the recorded one was; give what recorded ids are here."""
    group, _, case = name.partition("/")
    case_ids: dict[str, str] = {}
    path = recording(name).get("request", {}).get("path", "")
    recorded = path.split("/")[4].partition("?")[0] if path.count("/") > 3 else ""
    if group == "executions":
        make = {
            "get_completed": lambda: world.execute(name="John", wait="completed"),
            "get_failed": lambda: world.execute(fail=True, wait="failed"),
            "get_running": world.never_begun,
            "cancel": lambda: world.execute(delay_ms=20_000, wait="running"),
            "cancel_json_content_type_no_body": lambda: world.execute(delay_ms=9_000),
        }.get(case)
        if make is not None:
            case_ids[recorded] = make()
        if case == "cancel_again":
            case_ids[recorded] = world.execute(delay_ms=20_000)
            world.send("POST", f"/executions/{case_ids[recorded]}/cancel")
        if case.startswith("list"):
            world.execute(name="John", wait="completed")
            world.execute(wait="completed")
            world.execute(delay_ms=1_500, wait="completed")
            world.execute(fail=True, wait="failed")
            world.never_begun()
            cancelled = world.execute(delay_ms=20_000, wait="running")
            world.send("POST", f"/executions/{cancelled}/cancel")
    elif group == "threads" and recorded:
        thread_id = case_ids[recorded] = world.thread()
        if case == "get_deleted":
            world.send("DELETE", f"/threads/{thread_id}")
        if case == "list_messages":
            world.send("POST", f"/threads/{thread_id}/messages", {"content": "Hello!"})
            world.send("POST", f"/threads/{thread_id}/messages", {"content": "please fail"})
    elif group == "webhooks":
        if recorded:
            unreachable = "http://127.0.0.1:9/x" if "unreachable" in case else ""
            case_ids[recorded] = world.webhook(unreachable)
        if case == "list":
            world.webhook()
    elif case == "rate_limited":
        world.send("GET", "/workflows", key="fm_live_limited")
    return case_ids


KEYS = {
    "errors/no_key": "",
    "errors/unknown_route_no_key": "",
    "errors/malformed_key": "sk_nope",
    "errors/unknown_key": "fm_live_unknown",
    "errors/expired_key": "fm_live_expired",
    "errors/insufficient_scope": "fm_live_reader",
    "errors/rate_limited": "fm_live_limited",
}


@pytest.mark.parametrize("name", [name for name in RECORDINGS if "events_" not in name])
def test_an_answer_is_the_backends(world, name):
    case = recording(name)
    asked, recorded = case["request"], case["response"]
    ids = prepare(world, name)
    path = asked["path"]
    for theirs, ours in ids.items():
        path = path.replace(theirs, ours)
    key = KEYS.get(name, KEY)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    headers.update({k: v for k, v in asked["headers"].items() if k == "content-type"})
    body = asked["body"]
    if isinstance(body, dict) and body.get("content") == "slow":
        body = {**body, "timeout": 100}
    content = json.dumps(body) if isinstance(body, dict) else body
    if content and "content-type" not in headers:
        headers["content-type"] = "application/json"
    answer = world.http.request(asked["method"], path, headers=headers, content=content)

    assert answer.status_code == recorded["status"]
    for header in recorded["headers"]:
        if header.startswith("x-ratelimit") or header == "retry-after":
            assert answer.headers.get(header, "").isdigit(), header
    limits = {header for header in answer.headers if "ratelimit" in header}
    assert limits == {header for header in recorded["headers"] if "ratelimit" in header}
    assert answer.headers["content-type"] == recorded["headers"]["content-type"]
    assert shape(answer.json()) == shape(recorded["body"])
    ours, theirs = answer.json(), recorded["body"]
    for key in ("pagination",):
        if key in theirs and name.startswith("workflows/"):
            assert ours[key] == theirs[key]
    if isinstance(theirs.get("error"), dict):
        assert ours["error"]["code"] == theirs["error"]["code"]
    elif "error" in theirs:
        assert {**ours, "message": ""} == {**theirs, "message": ""}


@pytest.mark.parametrize("name", [name for name in RECORDINGS if "events_" in name])
def test_a_stream_is_the_backends(world, name):
    if name in ("executions/events_unknown", "threads/events_route_missing"):
        path = recording(name)["request"]["path"]
        if name.startswith("threads"):
            path = f"/api/v1/threads/{world.thread()}/events"
        answer = world.send("GET", path[len("/api/v1") :])
        assert answer.status_code == recording(name)["response"]["status"]
        assert shape(answer.json()) == shape(recording(name)["response"]["body"])
        return
    kind = name.rpartition("_")[2]
    if kind == "completed":
        execution_id = world.execute(name="John", wait="completed")
    elif kind == "failed":
        execution_id = world.execute(fail=True, wait="failed")
    elif kind == "cancelled":
        execution_id = world.never_begun()
        world.send("POST", f"/executions/{execution_id}/cancel")
    else:
        execution_id = world.execute(delay_ms=20_000)
    raw = "".join(text for _, text in recording(name)["chunks"])
    head, _, body = raw.partition("\r\n\r\n")
    theirs = frames_of("\n".join(body.split("\r\n")))
    url = f"/api/v1/executions/{execution_id}/events"
    with world.http.stream("GET", url, headers={"authorization": f"Bearer {KEY}"}) as answer:
        for line in head.split("\r\n")[1:]:
            header, _, value = line.partition(": ")
            if header.lower() in ("content-type", "cache-control", "x-accel-buffering"):
                assert answer.headers[header] == value
        assert not any("ratelimit" in header for header in answer.headers)
        texts = answer.iter_text()
        ours = frames_of(next(texts))
        if kind != "running":
            assert not any(texts), "one frame, and then the end"
    assert [event for event, _ in ours] == [event for event, _ in theirs]
    assert [shape(data) for _, data in ours] == [shape(data) for _, data in theirs]


def test_a_delivery_is_the_backends(world):
    webhook_id = world.webhook()
    world.send("POST", f"/webhooks/{webhook_id}/test")
    (delivery,) = world.receiver.deliveries
    recorded = recording("webhooks/delivered_test")["delivery"]
    assert shape(json.loads(delivery.body)) == shape(json.loads(recorded["body"]))
    for header in ("Content-Type", "X-Custom"):
        assert delivery.headers[header] == recorded["headers"][header]
    assert delivery.headers["X-FlowMaestro-Signature"].startswith("v1=")
    assert delivery.headers["X-FlowMaestro-Delivery-ID"].startswith("test_")
    assert delivery.headers["X-FlowMaestro-Event"] is None


def frames_of(text: str) -> list[tuple[str, Any]]:
    frames = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "event" in fields:
            frames.append((fields["event"], json.loads(fields["data"])))
    return frames


def shape(value: Any, at: str = "") -> dict[str, set[str]]:
    """Give the types at each path; the items of a list share one."""
    kind = {int: "number", float: "number"}.get(type(value), type(value).__name__)
    found: dict[str, set[str]] = {at: {kind}}
    children: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        children = [(f"{at}.{key}", child) for key, child in value.items()]
    elif isinstance(value, list):
        children = [(f"{at}[]", child) for child in value]
    for child_at, child in children:
        for path, kinds in shape(child, child_at).items():
            found.setdefault(path, set()).update(kinds)
    return found
