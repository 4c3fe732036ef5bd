"""The event streams of the local server, frame by frame, in both dialects."""

from __future__ import annotations

import json
import threading
from typing import Any, NamedTuple, Optional

import httpx
import pytest

from flowmaestro_local import ExecutionCancelled, LocalServer
from tests.receiver import until

pytestmark = pytest.mark.once

HEADERS = {"x-api-key": "fm_live_key"}


class Event(NamedTuple):
    """One block of a stream."""

    name: str
    id: Optional[str]
    data: Any


def events_of(text: str) -> list[Event]:
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if fields.get("event"):
            events.append(Event(fields["event"], fields.get("id"), json.loads(fields["data"])))
    return events


class Story:
    """An execution whose handler does all that a handler can, once its events are followed."""

    def __init__(self, server: LocalServer) -> None:
        self.followed = threading.Event()
        self.statuses: list[str] = []

        @server.workflow("wf", name="Story")
        def handler(inputs, run):
            self.followed.wait(60)
            with run.node("call", type="http", id="n1") as node:
                node.stream("chunk")
                node.retry(2, "slow", next_retry_in=5)
                node.output({"a": 1})
            with pytest.raises(RuntimeError), run.node("breaks"):
                raise RuntimeError("broken")
            run.ask("Which?", node_id="n3", input_type="number")
            run.pause("a person")
            until(lambda: server.executions[0].status == "paused")
            run.resume()
            until(lambda: server.executions[0].status == "running")
            run.emit("agent:thought", text="hm")
            run.progress(40)
            if inputs.get("fail"):
                raise ValueError("no")
            yield "yielded"
            return {"done": True}

    def follow(self, url: str, **inputs: Any) -> tuple[str, list[Event]]:
        with httpx.Client(base_url=f"{url}/api/v1", headers=HEADERS, timeout=60) as http:
            body = {"inputs": inputs}
            started = http.post("/workflows/wf/execute", json=body).json()["data"]["execution_id"]
            text = ""
            with http.stream("GET", f"/executions/{started}/events") as response:
                for chunk in response.iter_text():
                    text += chunk
                    self.followed.set()
        return started, events_of(text)


def without_time(event: Event) -> tuple[str, Any]:
    data = dict(event.data)
    if event.name not in ("connected", "message:started"):
        assert isinstance(data.pop("timestamp"), int)
    if "duration" in data:
        assert data.pop("duration") >= 0
    return event.name, data


def test_a_documented_stream_has_every_event_whole():
    server = LocalServer(dialect="documented")
    story = Story(server)
    with server.start() as url:
        started, events = story.follow(url)
    identity = {"execution_id": started}

    def event(name: str, **data: Any) -> tuple[str, Any]:
        return name, {"type": name, **identity, **data}

    first, *rest = events
    assert first.name == "connected"
    assert first.data in [
        {"type": "connected", **identity, "status": status} for status in ("pending", "running")
    ]
    rest = [one for one in rest if one.name != "execution:started"]
    assert [without_time(one) for one in rest] == [
        event("node:started", node_id="n1", node_name="call", node_type="http"),
        event("node:stream", node_id="n1", chunk="chunk"),
        event("node:retry", node_id="n1", attempt=2, next_retry_in=5, error="slow"),
        event("node:completed", node_id="n1", output={"a": 1}),
        event("node:started", node_id="node_2", node_name="breaks", node_type="function"),
        event("node:failed", node_id="node_2", error="broken"),
        event("user:input:required", node_id="n3", prompt="Which?", input_type="number"),
        event("execution:paused", status="paused", reason="a person"),
        event("agent:thought", text="hm"),
        event("execution:progress", progress=40),
        event("node:stream", node_id="handler", chunk="yielded"),
        event("execution:completed", status="completed", outputs={"done": True}, error=None),
    ]
    numbers = [int(one.id or 0) for one in rest]
    assert numbers == sorted(set(numbers))


def test_a_wire_stream_has_every_event_in_the_backends_words():
    server = LocalServer(live_events=True)
    story = Story(server)
    with server.start() as url:
        started, events = story.follow(url, fail=1)

    def event(name: str, **data: Any) -> tuple[str, Any]:
        return name, {"type": name, "executionId": started, **data}

    first, *rest = events
    assert first.name == "connected"
    assert set(first.data) == {"execution_id", "status"}
    rest = [one for one in rest if one.name != "execution:started"]
    call = {"nodeId": "n1", "nodeName": "call", "nodeType": "http"}
    breaks = {"nodeId": "node_2", "nodeName": "breaks", "nodeType": "function"}
    assert [without_time(one) for one in rest] == [
        event("node:started", **call),
        event("node:stream", nodeId="n1", chunk="chunk"),
        event("node:retry", nodeId="n1", attempt=2, nextRetryIn=5, error="slow"),
        event("node:completed", **call, output={"a": 1}),
        event("node:started", **breaks),
        event("node:failed", **breaks, error="broken"),
        event("user:input:required", nodeId="n3", prompt="Which?", inputType="number"),
        event(
            "execution:paused",
            status="paused",
            reason="a person",
            pauseContext={"description": "a person"},
        ),
        event("execution:resumed", status="running"),
        event("agent:thought", text="hm"),
        event("execution:progress", percentage=40),
        event("execution:failed", status="failed", outputs=None, error="no"),
    ]
    assert {one.id for one in events} == {None}


def test_what_a_handler_leaves_out_has_a_default():
    server = LocalServer(dialect="documented")
    followed = threading.Event()

    @server.workflow("wf")
    def handler(inputs, run):
        followed.wait(60)
        with run.node("n") as node:
            node.retry(1, "slow")
        run.ask("Which?")
        run.pause()

    with server.start() as url:
        with httpx.Client(base_url=f"{url}/api/v1", headers=HEADERS, timeout=60) as http:
            started = http.post("/workflows/wf/execute").json()["data"]["execution_id"]
            text = ""
            with http.stream("GET", f"/executions/{started}/events") as response:
                for chunk in response.iter_text():
                    text += chunk
                    followed.set()
    shown = {one.name: without_time(one)[1] for one in events_of(text) if one.name != "connected"}
    for name, data in (
        ("node:started", {"node_id": "node_1", "node_name": "n", "node_type": "function"}),
        ("node:retry", {"node_id": "node_1", "attempt": 1, "next_retry_in": 0, "error": "slow"}),
        ("node:completed", {"node_id": "node_1", "output": None}),
        ("user:input:required", {"node_id": "input", "prompt": "Which?", "input_type": "text"}),
        ("execution:paused", {"status": "paused"}),
    ):
        assert shown[name] == {"type": name, "execution_id": started, **data}


class Told:
    """A server whose executions are followed from their first event on, once they are over."""

    def __init__(self) -> None:
        self.server = LocalServer(dialect="documented")

    def by(self, handler: Any) -> list[tuple[str, Any]]:
        self.server.workflow("wf")(handler)
        headers = {**HEADERS, "last-event-id": "0"}
        with self.server.start() as url:
            with httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60) as http:
                started = http.post("/workflows/wf/execute").json()["data"]["execution_id"]
                until(lambda: self.server.executions[0].is_over)
                _, *events = events_of(http.get(f"/executions/{started}/events").text)
        for one in events:
            assert one.data.pop("type") == one.name
            assert one.data.pop("execution_id") == started
        return [(one.name, one.data) for one in events]


def test_an_event_tells_its_time_and_a_node_how_long_it_took(monkeypatch):
    clock = iter([5.0, 6.2504])
    monkeypatch.setattr("flowmaestro_local.run.timestamp", lambda: 1_800_000_000.25)
    monkeypatch.setattr("flowmaestro_local.run.monotonic", lambda: next(clock))

    def handler(inputs, run):
        with run.node("n"):
            run.emit("custom", a=1)

    events = Told().by(handler)
    assert {data["timestamp"] for _, data in events} == {1_800_000_000_250}
    assert dict(events)["node:completed"]["duration"] == 1250


def test_progress_runs_from_0_to_100():
    refused = []

    def handler(inputs, run):
        for percent in (0, 33.5, 100, -0.1, 100.1, float("nan")):
            try:
                run.progress(percent)
            except ValueError as error:
                refused.append(str(error))

    events = Told().by(handler)
    told = [data["progress"] for name, data in events if name == "execution:progress"]
    assert told == [0, 33.5, 100]
    texts = ("-0.1", "100.1", "nan")
    assert refused == [f"progress runs from 0 to 100, not to {text}" for text in texts]


@pytest.mark.parametrize("error", [ExecutionCancelled("mine"), GeneratorExit()])
def test_a_node_that_is_left_has_not_failed(error):
    def handler(inputs, run):
        with run.node("n"):
            raise error

    names = [name for name, _ in Told().by(handler)]
    end = "cancelled" if isinstance(error, ExecutionCancelled) else "failed"
    assert names == ["execution:started", "node:started", f"execution:{end}"]


def test_coroutines_tell_their_nodes_as_functions_do():
    async def handler(inputs, run):
        async with run.node("good") as node:
            node.output({"a": 1})
        with pytest.raises(ZeroDivisionError):
            async with run.node("bad"):
                raise ZeroDivisionError("mine")

    events = dict(Told().by(handler))
    assert events["node:completed"]["output"] == {"a": 1}
    assert events["node:failed"]["error"] == "mine"
    assert events["execution:completed"]["error"] is None


@pytest.mark.parametrize("dialect", ["wire", "documented"])
def test_the_start_is_an_event(dialect):
    server = LocalServer(dialect=dialect, live_events=True, max_running=1)
    hold = threading.Event()
    server.workflow("first")(lambda: hold.wait(60))
    server.workflow("second", name="Second")(lambda: {"a": 1})
    with server.start() as url:
        with httpx.Client(base_url=f"{url}/api/v1", headers=HEADERS, timeout=60) as http:
            http.post("/workflows/first/execute")
            started = http.post("/workflows/second/execute").json()["data"]["execution_id"]
            text = ""
            with http.stream("GET", f"/executions/{started}/events") as response:
                for chunk in response.iter_text():
                    text += chunk
                    hold.set()
    connected, begun, ended = events_of(text)
    assert connected.data["status"] == "pending"
    facts = without_time(begun)[1]
    if dialect == "documented":
        assert facts == {
            "type": "execution:started",
            "execution_id": started,
            "workflow_name": "Second",
            "total_nodes": 1,
        }
    else:
        assert facts == {
            "type": "execution:started",
            "executionId": started,
            "workflowName": "Second",
            "totalNodes": 1,
        }
    assert ended.name == "execution:completed"


def test_a_documented_stream_goes_on_after_the_last_event_id():
    server = LocalServer(dialect="documented")
    story = Story(server)
    with server.start() as url:
        started, events = story.follow(url)
        address = f"{url}/api/v1/executions/{started}/events"

        def again(last_event_id: str) -> list[Event]:
            headers = {**HEADERS, "last-event-id": last_event_id}
            return events_of(httpx.get(address, headers=headers, timeout=60).text)

        numbered = [one for one in events if one.id is not None]
        connected, *rest = again(numbered[3].id)
        assert connected.data == {
            "type": "connected",
            "execution_id": started,
            "status": "completed",
        }
        assert rest == numbered[4:]
        # With nothing missed, or nothing that is known, the end is told.
        for last_event_id in (numbered[-1].id, "", "nope", "-1", "999"):
            (end,) = again(last_event_id)
            assert (end.name, end.id) == ("execution:completed", None)
            assert end.data["outputs"] == {"done": True}


def test_a_stream_that_goes_on_while_its_execution_runs_has_each_event_once():
    server = LocalServer(dialect="documented")
    told, go_on = threading.Event(), threading.Event()

    @server.workflow("wf")
    def handler(inputs, run):
        for number in range(2):
            run.emit("custom", number=number)
        run.pause()
        told.set()
        go_on.wait(60)
        run.emit("custom", number=2)

    with server.start() as url:
        with httpx.Client(base_url=f"{url}/api/v1", headers=HEADERS, timeout=60) as http:
            started = http.post("/workflows/wf/execute").json()["data"]["execution_id"]
            assert told.wait(60)
            until(lambda: server.executions[0].status == "paused")
            headers, text = {"last-event-id": "2"}, ""
            path = f"/executions/{started}/events"
            with http.stream("GET", path, headers=headers) as response:
                for chunk in response.iter_text():
                    text += chunk
                    if "execution:paused" in text:
                        go_on.set()
    connected, *events = events_of(text)
    assert connected.data["status"] == "paused"
    assert [(one.id, one.name, one.data.get("number")) for one in events] == [
        ("3", "custom", 1),
        ("4", "execution:paused", None),
        ("5", "custom", 2),
        ("6", "execution:completed", None),
    ]


def test_a_wire_stream_knows_no_last_event_id_and_no_types_of_its_own():
    server = LocalServer(live_events=True)
    server.workflow("wf")(lambda: {"a": [1, 2]})
    with server.start() as url:
        with httpx.Client(base_url=f"{url}/api/v1", headers=HEADERS, timeout=60) as http:
            started = http.post("/workflows/wf/execute").json()["data"]["execution_id"]
            until(lambda: server.executions[0].is_over)
            headers = {"last-event-id": "0"}
            response = http.get(f"/executions/{started}/events", headers=headers)
    end = server.executions[0].completed_at
    assert response.text == (
        "event: execution:completed\n"
        f'data: {{"execution_id":"{started}","status":"completed","outputs":{{"a":[1,2]}},'
        f'"error":null,"completed_at":"{end}"}}\n\n'
    )
    shown = {name: response.headers.get(name) for name in ("cache-control", "x-accel-buffering")}
    assert shown == {"cache-control": "no-cache", "x-accel-buffering": "no"}
    assert response.headers["connection"] == "keep-alive"


def test_a_reply_that_takes_its_time_is_kept_alive():
    server = LocalServer(dialect="documented", keepalive=0.02)
    may_answer = threading.Event()

    @server.agent("a")
    def reply(message):
        may_answer.wait(60)
        return "late"

    with server.start() as url:
        with httpx.Client(base_url=f"{url}/api/v1", headers=HEADERS, timeout=60) as http:
            thread = http.post("/agents/a/threads").json()["data"]["id"]
            body, text = {"content": "hi", "stream": True}, ""
            with http.stream("POST", f"/threads/{thread}/messages", json=body) as response:
                for chunk in response.iter_text():
                    text += chunk
                    if text.count(": keepalive\n\n") > 1:
                        may_answer.set()
    assert [one.name for one in events_of(text)][1:] == ["message:token", "message:completed"]


def test_a_reply_is_streamed_token_by_token():
    server = LocalServer(dialect="documented")

    @server.agent("agent")
    def reply(message):
        if message == "fail":
            raise ValueError("no")
        yield from ("Once ", 1)

    @server.agent("plain")
    def plain(message):
        return "whole"

    with server.start() as url:
        with httpx.Client(base_url=f"{url}/api/v1", headers=HEADERS, timeout=60) as http:

            def say(agent: str, content: str) -> tuple[str, list[Event]]:
                thread = http.post(f"/agents/{agent}/threads").json()["data"]["id"]
                body = {"content": content, "stream": True}
                response = http.post(f"/threads/{thread}/messages", json=body)
                assert response.headers["content-type"] == "text/event-stream"
                return thread, events_of(response.text)

            def wanted(thread: str, *events: tuple[str, dict[str, Any]]) -> list[Event]:
                return [
                    Event(name, str(number), {"type": name, "thread_id": thread, **data})
                    for number, (name, data) in enumerate(events, 1)
                ]

            thread, events = say("agent", "hi")
            assert events == wanted(
                thread,
                ("message:started", {}),
                ("message:token", {"token": "Once "}),
                ("message:token", {"token": "1"}),
                ("message:completed", {"content": "Once 1"}),
            )
            thread, events = say("plain", "hi")
            assert events == wanted(
                thread,
                ("message:started", {}),
                ("message:token", {"token": "whole"}),
                ("message:completed", {"content": "whole"}),
            )
            thread, events = say("agent", "fail")
            assert events == wanted(
                thread, ("message:started", {}), ("message:failed", {"error": "no"})
            )


def test_a_threads_stream_tells_its_replies():
    server = LocalServer(dialect="documented", keepalive=0.05)
    server.agent("agent")(lambda message: message)
    with server.start() as url:
        with httpx.Client(base_url=f"{url}/api/v1", headers=HEADERS, timeout=60) as http:
            thread = http.post("/agents/agent/threads").json()["data"]["id"]
            text = ""
            sent = False
            with http.stream("GET", f"/threads/{thread}/events") as response:
                for chunk in response.iter_text():
                    text += chunk
                    if not sent and ": keepalive\n\n" in text:
                        sent = True
                        path = f"{url}/api/v1/threads/{thread}/messages"
                        httpx.post(path, json={"content": "hi"}, headers=HEADERS, timeout=60)
                    if "message:completed" in text:
                        break
    names = [one.name for one in events_of(text)]
    assert names == ["connected", "message:started", "message:token", "message:completed"]
    assert [one.id for one in events_of(text)] == [None, "1", "2", "3"]
    assert events_of(text)[0].data == {"type": "connected", "thread_id": thread}
