"""The local server: handlers of every kind, the rules of the real one, bounds, stopping."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import functools
import inspect
import json
import random
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Callable
from urllib.parse import urlsplit

import httpx
import pytest

import flowmaestro
from flowmaestro import FlowMaestroClient
from flowmaestro_local import ExecutionCancelled, Faults, KnowledgeBase, LocalServer, Node, Run
from flowmaestro_local.access import ALL_SCOPES
from flowmaestro_local.http import Protocol
from flowmaestro_local.recording import Recorder
from flowmaestro_local.replaying import Replay
from flowmaestro_local.running import Running, listen
from flowmaestro_local.search import rank
from tests.conftest import KEY
from tests.receiver import Receiver, until


@pytest.fixture
def server():
    server = LocalServer(dialect="documented")
    with server.start():
        yield server


@pytest.fixture
def client(server):
    with FlowMaestroClient(KEY, server.url) as client:
        yield client


def run(client: FlowMaestroClient, workflow_id: str, **inputs: object) -> dict:
    return client.run(workflow_id, inputs, poll_interval=0.01, timeout=100)


def wait_for(is_followed: threading.Event, run: Run) -> None:
    """Hold a handler until its events are followed."""
    while not is_followed.is_set():
        run.sleep(0.01)


def follow(client: FlowMaestroClient, is_followed: threading.Event) -> dict:
    """Follow an execution of ``wf``, and give its events by their type."""
    events = {}
    started = client.workflows.execute("wf")["data"]["execution_id"]
    for event in client.executions.stream(started):
        events[event["type"]] = event
        is_followed.set()
    return events


# Handlers


def test_workflows_are_functions_of_any_kind(server, client):
    @server.workflow("plain")
    def plain(inputs):
        return {"got": inputs}

    @server.workflow("nothing")
    def nothing():
        return None

    @server.workflow("value")
    def value():
        return 5

    @server.workflow("coroutine")
    async def coroutine(inputs, run):
        async with run.node("sleep"):
            await asyncio.sleep(0.01)
        return {"async": True}

    @server.workflow("generator")
    def generator(inputs, run):
        yield "a"
        yield "b"
        return {"letters": 2}

    @server.workflow("async_generator")
    async def async_generator(inputs):
        yield "a"

    assert run(client, "plain", a=1)["outputs"] == {"got": {"a": 1}}
    assert run(client, "nothing")["outputs"] == {}
    assert run(client, "value")["outputs"] == {"result": 5}
    assert run(client, "coroutine")["outputs"] == {"async": True}
    assert run(client, "generator")["outputs"] == {"letters": 2}
    assert run(client, "async_generator")["outputs"] == {}


def test_agents_are_functions_of_any_kind(server, client):
    @server.agent("plain")
    def plain(message, history):
        return f"{message} after {len(history)}"

    @server.agent("coroutine")
    async def coroutine(message):
        return message.upper()

    @server.agent("tokens")
    async def tokens():
        yield "a"
        yield "b"

    def say(agent_id: str, *messages: str) -> str:
        thread = client.agents.create_thread(agent_id)["data"]["id"]
        for message in messages:
            answer = client.threads.send_message(thread, message)["data"]["message"]["content"]
        return answer

    assert say("plain", "one", "two") == "two after 2"
    assert say("coroutine", "hi") == "HI"
    assert say("tokens", "hi") == "ab"


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (lambda inputs, run: 1 / 0, "division by zero"),
        (lambda inputs: {"x": object()}, "cannot be written as JSON"),
        (lambda inputs, run: run.progress(101), "0 to 100"),
    ],
)
def test_a_handler_that_raises_ends_its_execution_and_the_server_goes_on(
    server, client, handler, says
):
    server.workflow("wf")(handler)
    execution = run(client, "wf")
    assert execution["status"] == "failed"
    assert says in execution["error"]
    assert run(client, "wf")["status"] == "failed"


def test_what_a_handler_does_to_its_inputs_stays_with_it(server, client):
    server.workflow("wf")(lambda inputs: inputs.clear())
    assert run(client, "wf", a=1)["inputs"] == {"a": 1}


def test_a_handler_tells_how_it_goes_on(server, client):
    is_followed = threading.Event()

    @server.workflow("wf")
    def wf(inputs, run: Run):
        wait_for(is_followed, run)
        with run.node("call", type="http", id="n1") as node:
            node.stream("chunk")
            node.retry(1, "slow", next_retry_in=5)
            node.output({"a": 1})
        with pytest.raises(RuntimeError), run.node("breaks"):
            raise RuntimeError("broken")
        run.ask("Which?", node_id="n3")
        run.pause("a person")
        run.resume()
        run.emit("agent:thought", text="hm")
        run.progress(100)

    events = follow(client, is_followed)
    assert events["node:stream"]["chunk"] == "chunk"
    assert events["node:retry"]["next_retry_in"] == 5
    assert events["node:completed"]["output"] == {"a": 1}
    assert events["node:failed"]["error"] == "broken"
    assert events["user:input:required"]["prompt"] == "Which?"
    assert events["execution:paused"]["reason"] == "a person"
    assert events["agent:thought"]["text"] == "hm"
    assert events["execution:completed"]["outputs"] == {}


def test_live_events_in_the_backends_words_become_the_documented_ones():
    server = LocalServer(dialect="wire", live_events=True)
    is_followed = threading.Event()

    @server.workflow("wf")
    def wf(inputs, run: Run):
        wait_for(is_followed, run)
        with run.node("call", type="http"):
            run.progress(40)

    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        started = client.workflows.execute("wf")["data"]["execution_id"]
        address = f"{url}/api/v1/executions/{started}/events"
        headers = {"authorization": f"Bearer {KEY}"}
        raw = ""
        with httpx.stream("GET", address, headers=headers, timeout=60) as response:
            for chunk in response.iter_text():
                raw += chunk
                is_followed.set()
        assert '"nodeName":"call"' in raw
        assert '"percentage":40' in raw
        is_followed.clear()
        events = follow(client, is_followed)
    assert events["node:started"]["node_name"] == "call"
    assert events["execution:progress"]["progress"] == 40


def test_cancelling_reaches_the_handler_that_runs(server, client):
    began, ended = [], []

    @server.workflow("thread")
    def in_thread(inputs, run):
        try:
            began.append("thread")
            run.sleep(600)
        except ExecutionCancelled:
            ended.append("thread")
            raise

    @server.workflow("task")
    async def in_task(inputs, run):
        try:
            began.append("task")
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            ended.append("task")
            raise

    for kind in ("thread", "task"):
        execution_id = client.workflows.execute(kind)["data"]["execution_id"]
        until(lambda kind=kind: kind in began)
        client.executions.cancel(execution_id)
        until(lambda kind=kind: kind in ended)
        assert client.executions.get(execution_id)["data"]["status"] == "cancelled"


def test_an_execution_that_is_cancelled_before_its_turn_never_runs():
    server = LocalServer(max_running=1)
    ran = []
    may_end = threading.Event()

    @server.workflow("wf")
    def wf(inputs, run):
        ran.append(inputs["n"])
        while not may_end.is_set():
            run.sleep(0.01)

    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        ids = [client.workflows.execute("wf", {"n": n})["data"]["execution_id"] for n in range(3)]
        assert client.executions.get(ids[1])["data"]["status"] == "pending"
        client.executions.cancel(ids[1])
        may_end.set()
        client.executions.wait_for_completion(ids[2], 0.02)
    assert ran == [0, 2]


# Registration


def defaults_of(call: Callable[..., object]) -> dict[str, object]:
    parameters = inspect.signature(call).parameters.items()
    return {name: one.default for name, one in parameters if one.default is not one.empty}


def test_what_is_left_out_has_a_default():
    address = {"port": 0, "host": "127.0.0.1"}
    for call, defaults in (
        (
            LocalServer,
            {
                "dialect": "wire",
                "path": None,
                "live_events": False,
                "keepalive": 30.0,
                "per_minute": 1_000_000,
                "per_day": 10_000_000,
                "max_running": 1_000,
                "handler_timeout": 600.0,
                "max_body_bytes": 1_048_576,
                "webhook_pauses": (0.1, 0.2, 0.4, 0.8),
                "seed": 0,
            },
        ),
        (LocalServer.workflow, {"name": None, "description": None, "inputs": None}),
        (LocalServer.broken_workflow, {"name": "Broken"}),
        (
            LocalServer.agent,
            {
                "name": None,
                "description": None,
                "model": "gpt-4o",
                "provider": "openai",
                "system_prompt": None,
                "temperature": 0.7,
                "max_tokens": 4000,
                "tools": (),
            },
        ),
        (
            LocalServer.knowledge_base,
            {
                "name": "Knowledge base",
                "description": None,
                "documents": None,
                "chunk_size": 1000,
                "chunk_overlap": 200,
            },
        ),
        (LocalServer.trigger, {"name": "Trigger", "trigger_type": "manual", "enabled": True}),
        (
            LocalServer.add_key,
            {
                "scopes": None,
                "per_minute": None,
                "per_day": None,
                "expired": False,
                "revoked": False,
                "tenant": "",
            },
        ),
        (LocalServer.start, address),
        (Recorder.start, address),
        (Replay.start, address),
        (KnowledgeBase.add, {"metadata": None}),
        (Run.node, {"type": "function", "id": None}),
        (Run.pause, {"reason": ""}),
        (Run.ask, {"node_id": "input", "input_type": "text"}),
        (Node.retry, {"next_retry_in": 0}),
        (
            Faults.add,
            {
                "match": "*",
                "times": 1,
                "probability": 1.0,
                "status": 503,
                "headers": None,
                "body": None,
                "seconds": 1.0,
                "after": 1,
            },
        ),
    ):
        assert defaults_of(call) == defaults, call


def test_a_name_that_is_left_out_is_that_of_the_function():
    def _greet_people_(inputs): ...

    server = LocalServer()
    nameless = functools.partial(_greet_people_, {})
    for number, handler in enumerate((_greet_people_, nameless, lambda: None)):
        assert server.workflow(f"{number}")(handler) is handler
        assert server.agent(f"{number}")(handler) is handler
    server.workflow("own", name="my OWN")(nameless)
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        names = [one["name"] for one in client.workflows.list()["data"]]
        assert sorted(names) == ["<lambda>", "Greet people", "Workflow", "my OWN"]
        names = [one["name"] for one in client.agents.list()["data"]]
        assert sorted(names) == ["<lambda>", "Agent", "Greet people"]


def test_a_handler_that_cannot_be_called_is_refused_at_registration():
    server = LocalServer()
    with pytest.raises(TypeError, match="workflow 'wf' can take inputs and run, but <lambda>"):
        server.workflow("wf")(lambda inputs, run, more: None)
    with pytest.raises(TypeError, match=r"agent 'a' can take message and history, but .*requires"):
        server.agent("a")(lambda a, b, *, c: None)
    with pytest.raises(
        TypeError, match=r"^the handler of workflow 'wf' must be a function, not 'n'$"
    ):
        server.workflow("wf")("n")

    class Nameless:
        def __call__(self, a, b, c): ...

        def __repr__(self) -> str:
            return "<nameless>"

    with pytest.raises(TypeError, match=r"history, but <nameless>\(a, b, c\) requires more$"):
        server.agent("a")(Nameless())


def test_what_is_registered_twice_or_makes_no_sense_is_refused():
    server = LocalServer()
    server.workflow("wf")(lambda: None)
    server.agent("a")(lambda: "")
    server.knowledge_base("k")
    server.trigger("t", "wf")

    def register(kind: str, thing_id: Any) -> None:
        if kind == "a knowledge base":
            server.knowledge_base(thing_id)
        elif kind == "a trigger":
            server.trigger(thing_id, "wf")
        else:
            (server.agent if kind == "an agent" else server.workflow)(thing_id)(lambda: "")

    for kind, taken, name in (
        ("a workflow", "wf", "<lambda>"),
        ("an agent", "a", "<lambda>"),
        ("a knowledge base", "k", "Knowledge base"),
        ("a trigger", "t", "Trigger"),
    ):
        for thing_id, says in (
            (taken, f"there is {kind} '{taken}' already ({name}); give this one another id"),
            ("", f"the id of {kind} must be a string that is not empty"),
            (5, f"the id of {kind} must be a string that is not empty"),
        ):
            with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
                register(kind, thing_id)
    for thing_id in ("wf", ""):
        with pytest.raises(ValueError, match="a workflow"):
            server.broken_workflow(thing_id)
    with pytest.raises(ValueError, match=r"^there is no workflow 'other'; register it first$"):
        server.trigger("t2", "other")
    says = "^chunk_size must be more than chunk_overlap, which is 0 or more$"
    for overlap in (10, 11, -1):
        with pytest.raises(ValueError, match=says):
            server.knowledge_base("k2", chunk_size=10, chunk_overlap=overlap)
    assert server.knowledge_base("k2", chunk_size=10, chunk_overlap=0).chunk_overlap == 0
    with pytest.raises(ValueError, match=r"^a key begins with fm_live_$"):
        server.add_key("sk_1")
    says = f"^there is no scope a:b, z; there are {', '.join(sorted(ALL_SCOPES))}$"
    with pytest.raises(ValueError, match=says):
        server.add_key("fm_live_1", scopes=["z", "agents:read", "a:b"])
    with pytest.raises(
        ValueError, match=r"^there is no dialect 'klingon'; use wire or documented$"
    ):
        LocalServer(dialect="klingon")
    with pytest.raises(ValueError, match="max_running must be more than 0"):
        LocalServer(max_running=0)
    with pytest.raises(ValueError, match="there is no fault 'x'"):
        server.faults.add("x")
    for bad in ({"probability": 2}, {"times": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            server.faults.add("latency", **bad)


# The rules of the real one


def test_keys_are_known_expired_revoked_and_limited_in_scope(server):
    server.add_key("fm_live_good")
    server.add_key("fm_live_revoked", revoked=True)
    for key, code in (("fm_live_revoked", "revoked_api_key"), ("fm_live_who", "invalid_api_key")):
        with FlowMaestroClient(key, server.url) as client:
            with pytest.raises(flowmaestro.AuthenticationError) as caught:
                client.workflows.list()
            assert caught.value.code == code
    with FlowMaestroClient("fm_live_good", server.url) as client:
        client.workflows.list()
    headers = {"X-API-Key": "fm_live_good"}
    answer = httpx.get(f"{server.url}/api/v1/workflows", headers=headers, timeout=60)
    assert answer.status_code == 200


def test_limits_are_kept_by_minute_and_by_day(still_limits):
    server = LocalServer(per_minute=3, per_day=1000)
    server.add_key("fm_live_daily", per_minute=100, per_day=2)
    server.add_key("fm_live_x")
    with server.start() as url:
        with FlowMaestroClient("fm_live_x", url, max_retries=0) as client:
            for _ in range(3):
                client.workflows.list()
            assert client.rate_limit.remaining == 0
            with pytest.raises(flowmaestro.RateLimitError) as caught:
                client.workflows.list()
            # The clock stands in the middle of a minute.
            details = {"limit": 3, "window": "minute", "retry_after": 31}
            assert caught.value.details == details
            assert caught.value.retry_after == 31
            assert caught.value.api_message == "Rate limit exceeded. Please retry after 31 seconds."
        with FlowMaestroClient("fm_live_daily", url) as client:
            for _ in range(2):
                client.workflows.list()
            with pytest.raises(flowmaestro.RateLimitError) as caught:
                client.workflows.list()
            # It is 8:00:30 of a day.
            details = {"limit": 2, "window": "day", "retry_after": 16 * 3600 - 30 + 1}
            assert caught.value.details == details


def test_a_new_minute_and_a_new_day_begin_at_zero(monkeypatch):
    clock = [1_800_000_030.0]
    monkeypatch.setattr("flowmaestro_local.access.timestamp", lambda: clock[0])
    server = LocalServer(per_minute=2, per_day=3)

    def ask(seconds: float) -> tuple[int, str, str, int]:
        clock[0] += seconds
        response = httpx.get(
            f"{server.url}/api/v1/workflows", headers={"x-api-key": KEY}, timeout=60
        )
        limits = response.headers
        reset = int(limits["x-ratelimit-reset"]) - 1_800_000_000
        remaining, of_day = limits["x-ratelimit-remaining"], limits["x-ratelimit-remaining-day"]
        assert (limits["x-ratelimit-limit"], limits["x-ratelimit-limit-day"]) == ("2", "3")
        return response.status_code, remaining, of_day, reset

    with server.start():
        assert ask(0) == (200, "1", "2", 60)
        assert ask(0) == (200, "0", "1", 60)
        # A request that is refused does not count.
        assert ask(0) == (429, "0", "1", 60)
        assert ask(30) == (200, "1", "0", 120)
        assert ask(0) == (429, "1", "0", 120)
        assert ask(86_400) == (200, "1", "2", 86_520)


def test_a_body_that_is_too_large_or_no_json_is_refused(server):
    small = LocalServer(dialect="documented", max_body_bytes=100)
    small.workflow("wf")(lambda: None)
    with small.start() as url:
        target = f"{url}/api/v1/workflows/wf/execute"
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}

        def post(content):
            return httpx.post(target, content=content, headers=headers, timeout=60)

        assert post(b"x" * 101).status_code == 413
        answer = post(b"{")
        assert answer.status_code == 400
        assert answer.json()["error"] == "Bad Request"
        assert post(b"[1]").status_code == 202


def test_webhooks_are_retried_and_recorded(server, client):
    server.workflow("wf")(lambda: {"a": 1})
    with Receiver(500, 429) as receiver, Receiver(*[500] * 9) as broken, Receiver(410) as gone:
        ids = [
            client.webhooks.create(name="n", url=one.url, events=["execution.completed"])["data"][
                "id"
            ]
            for one in (receiver, broken, gone)
        ]
        run(client, "wf")

        def outcomes():
            lists = [client.webhooks.deliveries(one)["data"] for one in ids]
            return [(one[0]["status"], one[0]["attempts"]) for one in lists if one]

        until(lambda: outcomes() == [("success", 3), ("failed", 5), ("failed", 1)])
        headers = [one.headers["X-FlowMaestro-Delivery-ID"] for one in receiver.deliveries]
        assert len(set(headers)) == 1, "the same delivery comes again"
        assert receiver.deliveries[0].headers["X-FlowMaestro-Event"] == "execution.completed"
        client.webhooks.update(ids[0], is_active=False)
        before = len(receiver.deliveries)
        run(client, "wf")
        assert len(receiver.deliveries) == before


def test_searches_rank_by_the_words_in_common(server, client):
    base = server.knowledge_base("kb", chunk_size=50, chunk_overlap=10)
    base.add("a.md", "The cat sleeps. " * 10, {"page": 1})
    base.add("b.md", "A dog barks at the cat.")
    base.add("c.md", "Nothing of the kind.")
    found = client.knowledge_bases.query("kb", "barking dog barks", top_k=2)["data"]["results"]
    assert [one["document_name"] for one in found] == ["b.md"]
    found = client.knowledge_bases.query("kb", "cat", top_k=50)["data"]["results"]
    scores = [one["similarity"] for one in found]
    assert scores == sorted(scores, reverse=True)
    assert {one["document_name"] for one in found} == {"a.md", "b.md"}
    assert client.knowledge_bases.query("kb", "!!!")["data"]["results"] == []


@pytest.mark.parametrize(
    ("query", "texts", "ranked"),
    [
        ("a", ["a"], [(0, 0.2234)]),
        # Equals stay in their order.
        ("B a", ["a c", "A b b", "d", "d a"], [(1, 0.6394), (0, 0.2629), (3, 0.2629)]),
        ("a b", ["x a", "y a", "b b b b z"], [(2, 0.6108), (0, 0.3561), (1, 0.3561)]),
        ("a", ["", "!"], []),
        ("a", [], []),
        ("", ["a"], []),
    ],
)
def test_scores_are_those_of_bm25_between_0_and_1(query, texts, ranked):
    assert rank(query, texts) == ranked


@pytest.mark.parametrize(
    ("text", "size", "overlap", "chunks"),
    [
        ("abcdefghij", 4, 1, ["abcd", "defg", "ghij"]),
        ("abcdefghijk", 4, 1, ["abcd", "defg", "ghij", "jk"]),
        ("abcdefgh", 4, 0, ["abcd", "efgh"]),
        ("abcde", 4, 3, ["abcd", "bcde"]),
        ("a", 4, 3, ["a"]),
        ("", 4, 1, [""]),
    ],
)
def test_chunks_share_their_overlap(server, text, size, overlap, chunks):
    base = server.knowledge_base("kb", chunk_size=size, chunk_overlap=overlap)
    document = base.add("a.md", text)
    assert [one.content for one in base.chunks] == chunks
    assert {(one.document_id, one.document_name) for one in base.chunks} == {(document, "a.md")}
    assert base.chunks[0].metadata == {}


def test_every_request_is_there_to_assert_on(server, client):
    server.workflow("wf")(lambda inputs: inputs)
    client.workflows.execute("wf", {"a": 1})
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/v1/workflows/wf/execute")
    until(lambda: request.json == {"inputs": {"a": 1}})
    assert request.headers["user-agent"].startswith("flowmaestro-python")
    parts = iter([b'{"inputs":', b'{"b":', b"2}}"])
    url = f"{server.url}/api/v1/workflows/w%66%2F/execute?a=1&b=%20"
    headers = {"X-API-Key": KEY, "X-Own": b"caf\xe9", "Content-Type": "application/json"}
    server.workflow("wf/")(lambda inputs: inputs)
    assert httpx.post(url, content=parts, headers=headers, timeout=60).status_code == 202
    request = server.requests[-1]
    assert (request.path, request.query) == ("/api/v1/workflows/wf//execute", "a=1&b=%20")
    assert (request.headers["x-api-key"], request.headers["x-own"]) == (KEY, "caf\xe9")
    assert request.json == {"inputs": {"b": 2}}
    client.workflows.list()
    assert (server.requests[-1].body, server.requests[-1].json) == (b"", None)
    assert len(server.requests) == 3


def test_the_oldest_requests_are_forgotten_once_there_are_very_many(monkeypatch):
    monkeypatch.setattr("flowmaestro_local.request_log._KEPT_REQUESTS", 2)
    server = LocalServer()
    with server.start() as url:
        for number in range(4):
            httpx.get(f"{url}/{number}", timeout=60)
    assert [one.path for one in server.requests] == ["/2", "/3"]


def test_what_happened_is_given_as_it_stood(server, client):
    server.workflow("wf")(lambda inputs, run: run.sleep(600))
    server.agent("a")(lambda message: message)
    started = client.workflows.execute("wf")["data"]["execution_id"]
    thread = client.agents.create_thread("a")["data"]["id"]
    client.threads.send_message(thread, "hi")
    until(lambda: server.executions[0].status == "running")
    (before,) = server.executions
    client.executions.cancel(started)
    assert (before.status, server.executions[0].status) == ("running", "cancelled")
    lists = (server.executions, server.threads, server.requests, server.messages(thread))
    sizes = [len(one) for one in lists]
    assert sizes[:2] == [1, 1]
    for one in lists:
        one.clear()
    lists = (server.executions, server.threads, server.requests, server.messages(thread))
    assert [len(one) for one in lists] == sizes


# Starting and stopping


def test_starting_and_stopping_takes_milliseconds():
    took = []
    for _ in range(20):
        server = LocalServer()
        server.workflow("wf")(lambda inputs, run: run.sleep(600))
        began = time.perf_counter()
        running = server.start()
        started = time.perf_counter() - began
        with FlowMaestroClient(KEY, running.url) as client:
            execution_id = client.workflows.execute("wf")["data"]["execution_id"]
            stream = client.executions.stream(execution_id)
            next(stream)
            began = time.perf_counter()
            running.stop()
            took.append(started + time.perf_counter() - began)
            stream.close()
    # The best of many says what the server needs, however busy the machine is.
    assert min(took) < 0.1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_accepted_sockets_send_without_delay(host, monkeypatch):
    """With Nagle's algorithm each response waits 40 ms for an acknowledgement."""
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    delays = []
    connection_made = Protocol.connection_made

    def noted(self, transport):
        accepted = transport.get_extra_info("socket")
        delays.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0)
        connection_made(self, transport)

    monkeypatch.setattr(Protocol, "connection_made", noted)
    with LocalServer().start(host=host) as url:
        assert httpx.get(url, timeout=60).status_code == 200
    assert delays == [False]


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_a_server_listens_where_it_is_told_and_at_once_again(tmp_path: Path):
    if not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback, whose ports nobody else uses")
    recorder = LocalServer.record(tmp_path / "c.jsonl", to="http://127.0.0.1:9")
    with recorder.start():
        pass
    for one in (LocalServer(), recorder, LocalServer.replay(tmp_path / "c.jsonl")):
        with httpx.Client(timeout=60) as http:
            with one.start(host="::1") as url:
                port = int(url.rpartition(":")[2])
                assert url == f"http://[::1]:{port}"
                http.get(url)
            # The connection was closed by the server, whose port is in use for a while.
            with one.start(port, "::1") as again:
                assert again == url
                http.get(url)


def test_a_stop_ends_all_that_is_open():
    server = LocalServer(dialect="documented")
    server.stop()
    was_told = threading.Event()

    @server.workflow("wf")
    def handler(inputs, run):
        try:
            run.sleep(600)
        except ExecutionCancelled:
            was_told.set()
            raise

    running = server.start()
    address = urlsplit(running.url)
    path, key = "/api/v1/workflows/wf/execute", f"x-api-key: {KEY}\r\n\r\n"
    with contextlib.ExitStack() as stack:
        idle, begun, streaming = (
            stack.enter_context(socket.create_connection((address.hostname, address.port), 60))
            for _ in range(3)
        )
        idle.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\n{key}".encode())
        assert idle.recv(65536).startswith(b"HTTP/1.1 202 ")
        execution = f"/api/v1/executions/{server.executions[0].id}"
        begun.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n{key}".encode())
        until(lambda: len(server.requests) == 2)
        streaming.sendall(f"GET {execution}/events HTTP/1.1\r\nhost: x\r\n{key}".encode())
        received = b""
        while b"connected" not in received:
            received += streaming.recv(65536)
        running.stop()
        for sock in (idle, begun, streaming):
            # Nothing more than the end of what had begun.
            with contextlib.suppress(ConnectionError):
                while sock.recv(65536):
                    pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname, address.port), 60)
    assert was_told.wait(60)
    assert not running.is_running
    # It was stopped, and did not end by itself.
    running.wait()
    running.stop()
    with pytest.raises(RuntimeError, match="this server does not run; call start"):
        assert server.url
    (record,) = server.executions
    assert (record.status, record.outputs) == ("failed", None)
    assert record.error == "the server was stopped while this execution ran"


def test_a_server_that_cannot_start_says_why_and_starts_later(monkeypatch):
    async def fail(self: object) -> None:
        raise ZeroDivisionError("mine")

    server = LocalServer()
    for name in ("Server.main_loop", "Server.__init__"):
        with monkeypatch.context() as patched:
            patched.setattr(f"flowmaestro_local.running._{name}", fail)
            with pytest.raises((ZeroDivisionError, TypeError)):
                server.start()
        with server.start() as url:
            assert httpx.get(url, timeout=60).status_code == 200


def test_a_server_that_does_not_start_in_time_says_so(monkeypatch):
    release = threading.Event()

    def hold(parts: object, stopping: object) -> None:
        release.wait(100)
        raise ZeroDivisionError

    monkeypatch.setattr("flowmaestro_local.running._START_SECONDS", 0.01)
    monkeypatch.setattr("flowmaestro_local.server.LocalSite", hold)
    with pytest.raises(RuntimeError, match=r"the server did not start within 0\.01 s"):
        LocalServer().start()
    release.set()


def test_a_server_that_ends_by_itself_says_why_and_starts_again(monkeypatch):
    may_end = threading.Event()

    async def end(self: Any) -> None:
        self.is_listening.set()
        while not may_end.is_set():
            await asyncio.sleep(0.01)
        raise MemoryError("full")

    monkeypatch.setattr("flowmaestro_local.running._Server.main_loop", end)
    server = LocalServer()
    running = server.start()
    may_end.set()
    with pytest.raises(RuntimeError, match="the server has ended by itself") as caught:
        running.wait()
    assert repr(caught.value.__cause__) == "MemoryError('full')"
    monkeypatch.undo()
    with server.start() as url:
        assert httpx.get(url, timeout=60).status_code == 200
    running.stop()


def test_a_port_in_use_says_so():
    with LocalServer().start() as url:
        port = int(url.rpartition(":")[2])
        says = (
            f"port {port} on 127.0.0.1 is in use: stop what listens there, or choose another port"
        )
        with pytest.raises(OSError, match=rf"{says} \(0 takes a free one\)$"):
            LocalServer().start(port)
    for port in (65_536, -1):
        with pytest.raises(ValueError, match=f"^a port is a number from 0 to 65535, not {port}$"):
            LocalServer().start(port)


def test_a_server_runs_once_at_a_time_and_can_be_started_again():
    server = LocalServer()
    with pytest.raises(RuntimeError, match="does not run"):
        assert server.url
    with server.start() as first:
        with pytest.raises(RuntimeError, match=f"runs already, at {first}"):
            server.start()
        assert server.url == first
        with FlowMaestroClient(KEY, first) as client:
            client.webhooks.create(name="n", url="http://127.0.0.1:9/", events=["execution.failed"])
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        assert [one["name"] for one in client.webhooks.list()["data"]] == ["n"]
    running = server.start()
    assert running.is_running
    for _ in range(2):
        server.stop()
        assert not running.is_running


def test_a_stop_after_a_wait_that_was_interrupted_waits_for_the_servers_end():
    main, cleaned = threading.main_thread().ident, []

    def is_waiting() -> bool:
        frame = sys._current_frames()[main]
        while frame is not None and frame.f_code.co_filename != running_file:
            frame = frame.f_back
        return frame is not None

    def interrupt() -> None:
        until(is_waiting)
        _thread.interrupt_main()

    running_file = inspect.getsourcefile(Running)
    server = LocalServer()
    began = threading.Event()

    @server.workflow("wf")
    async def handler():
        try:
            began.set()
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0.1)
            cleaned.append(True)

    running = server.start()
    with FlowMaestroClient(KEY, running.url) as client:
        client.workflows.execute("wf")
    assert began.wait(60)
    with pytest.raises(KeyboardInterrupt):
        threading.Thread(target=interrupt).start()
        running.wait()
    assert running.is_running
    running.stop()
    assert not running.is_running
    assert cleaned == [True]


def test_what_goes_wrong_behind_the_scenes_stands_in_the_log_but_for_resets(caplog):
    class Site:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

        async def stop(self) -> None: ...

        def close(self) -> None: ...

    def fail(error: BaseException) -> None:
        raise error

    def make_site(stopping: object) -> Site:
        for error in (ConnectionResetError(), asyncio.CancelledError(), ZeroDivisionError()):
            asyncio.get_running_loop().call_soon(fail, error)
        return Site()

    Running(make_site, listen("127.0.0.1", 0)).stop()
    assert [type(one.exc_info[1]) for one in caplog.records] == [ZeroDivisionError]


def test_a_program_may_end_without_stopping_anything(tmp_path: Path):
    code = f"""
import asyncio, socket, threading
from urllib.parse import urlsplit
import httpx
from flowmaestro_local import LocalServer
began = threading.Semaphore(0)
server = LocalServer()
@server.workflow("plain")
def plain():
    began.release()
    threading.Event().wait()
@server.workflow("coroutine")
async def coroutine():
    began.release()
    await asyncio.Event().wait()
real = server.start().url
url = LocalServer.record({str(tmp_path / "c.jsonl")!r}, to=real).start().url
headers = {{"x-api-key": "fm_live_x"}}
for name in ("plain", "coroutine"):
    path = f"/api/v1/workflows/{{name}}/execute"
    started = httpx.post(url + path, headers=headers).json()["data"]["execution_id"]
    began.acquire()
parts = urlsplit(url)
sock = socket.create_connection((parts.hostname, parts.port))
head = f"GET /api/v1/executions/{{started}}/events HTTP/1.1\\r\\nhost: x\\r\\nx-api-key: fm_live_x"
sock.sendall(f"{{head}}\\r\\n\\r\\n".encode())
sock.recv(65536)
print("the end", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stdout) == (0, "the end\n"), done.stderr


def test_a_stop_of_what_was_stopped_leaves_a_later_start_alone():
    server = LocalServer()
    server.workflow("wf")(lambda inputs, run: run.sleep(600))
    first = server.start()
    first.stop()
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        client.workflows.execute("wf")
        until(lambda: server.executions[0].status == "running")
        first.stop()
        assert server.executions[0].status == "running"


def test_a_stop_lets_streams_come_to_their_end(monkeypatch):
    # For as long as they need, however busy the machine is.
    monkeypatch.setattr("flowmaestro_local.running._DRAIN_SECONDS", 60.0)
    for dialect in ("wire", "documented"):
        server = LocalServer(dialect=dialect)
        server.workflow("wf")(lambda inputs, run: run.sleep(600))
        running = server.start()
        url, headers = f"{running.url}/api/v1", {"x-api-key": KEY}
        httpx.post(f"{url}/workflows/wf/execute", headers=headers, timeout=60)
        events = f"{url}/executions/{server.executions[0].id}/events"
        with httpx.stream("GET", events, headers=headers, timeout=60) as response:
            texts = response.iter_text()
            assert "connected" in next(texts)
            running.stop()
            # Not cut: httpx would raise.
            assert "cancelled" not in "".join(texts)


def test_the_start_page_says_what_is_registered(server):
    server.workflow("wf_<b>", name="<script>")(lambda: None)
    page = httpx.get(server.url, timeout=60).text
    assert "wf_&lt;b&gt;" in page
    assert "<script>" not in page


def test_it_serves_programs_in_any_language(tmp_path: Path):
    (tmp_path / "my_module.py").write_text(
        "from flowmaestro_local import LocalServer\n"
        "server = LocalServer()\n"
        "server.workflow('wf')(lambda: {'a': 1})\n"
        "other = 5\n"
    )
    command = [sys.executable, "-m", "flowmaestro_local", "--port", "0", "--app"]
    process = subprocess.Popen(
        [*command, "my_module:server"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        url = line.split(" at ")[1].split()[0]
        with FlowMaestroClient(KEY, url) as client:
            assert run(client, "wf")["outputs"] == {"a": 1}
    finally:
        process.send_signal(2)
        assert process.wait(60) == 0
        process.stdout.close()
    for app, says in (
        ("my_module", "must be module:name"),
        ("my_module:other", "must be a LocalServer, not int"),
        ("my_module:nope", "nope"),
        ("no_module:server", "no_module"),
    ):
        done = subprocess.run([*command, app], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2
        assert says in done.stderr


# Faults of its own


def test_a_fault_of_the_server_itself_is_a_500_and_stands_in_the_log(monkeypatch, caplog):
    def fail(agent: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("flowmaestro_local.api.show_agent", fail)
    server = LocalServer()
    server.agent("a")(lambda message: message)
    with server.start() as url, FlowMaestroClient(KEY, url, max_retries=0) as client:
        with pytest.raises(flowmaestro.ServerError, match="division by zero"):
            client.agents.get("a")
    (record,) = [one for one in caplog.records if one.name.startswith("flowmaestro_local")]
    assert record.getMessage() == "GET /api/v1/agents/a failed"
    assert record.exc_info[0] is ZeroDivisionError


# Keeping state


def test_state_is_kept_over_restarts(tmp_path: Path):
    server = LocalServer(path=tmp_path / "dev.sqlite")
    server.workflow("wf")(lambda inputs: inputs)
    server.workflow("slow")(lambda inputs, run: run.sleep(600))
    server.agent("a")(lambda message: message)
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        done = run(client, "wf", a=1)
        cut = client.workflows.execute("slow")["data"]["execution_id"]
        until(lambda: server.executions[-1].status == "running")
        thread = client.agents.create_thread("a")["data"]["id"]
        gone = client.agents.create_thread("a")["data"]["id"]
        client.threads.send_message(thread, "Hello")
        client.threads.send_message(gone, "Hello")
        client.threads.delete(gone)
    again = LocalServer(path=tmp_path / "dev.sqlite")
    with again.start() as url, FlowMaestroClient(KEY, url) as client:
        assert client.executions.get(done["id"])["data"] == done
        ended = client.executions.get(cut)["data"]
        assert ended["status"] == "failed"
        assert "stopped" in ended["error"]
        messages = client.threads.list_messages(thread)["data"]
        assert [one["content"] for one in messages] == ["Hello", "Hello"]
        with pytest.raises(flowmaestro.NotFoundError):
            client.threads.get(gone)
    assert again.messages(gone) == []


def test_a_server_that_is_started_again_goes_on_with_its_file(tmp_path: Path):
    path = str(tmp_path / "dev.sqlite")
    server = LocalServer(path=path)
    server.workflow("wf")(lambda inputs: inputs)
    server.agent("a")(lambda message: message)
    ids = []
    for number in range(3):
        with server.start() as url, FlowMaestroClient(KEY, url) as client:
            ids.append(run(client, "wf", n=number)["id"])
            if not number:
                threads = [client.agents.create_thread("a")["data"]["id"] for _ in range(2)]
            # The first one is changed last, and stays the first.
            client.threads.send_message(threads[0], f"{number}")
        # A server that is stopped has its file no longer open, which is whole.
        assert [one.name for one in tmp_path.iterdir()] == ["dev.sqlite"]
    kept = LocalServer(path=path)
    for one in (server, kept):
        assert [(each.id, each.inputs) for each in one.executions] == [
            (ids[number], {"n": number}) for number in range(3)
        ]
        assert one.threads == threads
        texts = [each.content for each in one.messages(threads[0])]
        assert texts == ["0", "0", "1", "1", "2", "2"]
        assert one.messages(threads[1]) == []
    assert kept.executions == server.executions
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_of_an_earlier_release_is_read(tmp_path: Path):
    moment = "2026-01-02T03:04:05.678Z"
    execution = {
        "id": "e",
        "workflow_id": "wf",
        "inputs": {"a": 1},
        "status": "completed",
        "outputs": {"b": 2},
        "error": None,
        "started_at": moment,
        "completed_at": moment,
        "created_at": moment,
        "trigger_id": None,
        "tenant": "",
    }
    thread = {
        "id": "t",
        "agent_id": "a",
        "metadata": {},
        "title": None,
        "status": "active",
        "created_at": moment,
        "updated_at": moment,
        "last_message_at": moment,
        "tenant": "",
    }
    message = {"id": "m", "thread_id": "t", "role": "user", "content": "hi", "created_at": moment}
    cut = {**execution, "id": "cut", "status": "running", "outputs": None, "completed_at": None}
    rows = [("execution", execution), ("thread", thread), ("message", message), ("execution", cut)]
    read = "SELECT kind, id, content FROM records ORDER BY number"
    with contextlib.closing(sqlite3.connect(tmp_path / "dev.sqlite")) as database, database:
        database.execute(
            "CREATE TABLE records (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, "
            "id TEXT NOT NULL, content TEXT NOT NULL, UNIQUE (kind, id))"
        )
        for kind, content in rows:
            database.execute(
                "INSERT INTO records (kind, id, content) VALUES (?, ?, ?)",
                (kind, content["id"], json.dumps(content)),
            )
    server = LocalServer(path=tmp_path / "dev.sqlite")
    error = "the server was stopped while this execution ran"
    failed = {**cut, "status": "failed", "error": error}
    assert [vars(one) for one in server.executions] == [execution, failed]
    assert server.threads == ["t"]
    assert [vars(one) for one in server.messages("t")] == [message]
    with contextlib.closing(sqlite3.connect(tmp_path / "dev.sqlite")) as database:
        kept = [(kind, json.loads(content)) for kind, _, content in database.execute(read)]
    assert kept == [*rows[:3], ("execution", failed)]
    server.agent("a")(lambda message: message)
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        assert client.threads.get("t")["data"]["last_message_at"] == moment
        client.threads.delete("t")
    with contextlib.closing(sqlite3.connect(tmp_path / "dev.sqlite")) as database:
        assert [row[1] for row in database.execute(read)] == ["e", "cut"]


@pytest.mark.parametrize("dialect", ["documented", "wire"])
def test_a_thread_that_was_kept_needs_its_agent_to_go_on(tmp_path: Path, dialect):
    agent = str(uuid.uuid4())
    server = LocalServer(path=tmp_path / "dev.sqlite", dialect=dialect)
    server.agent(agent)(lambda message: message)
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        thread = client.agents.create_thread(agent)["data"]["id"]
    again = LocalServer(path=tmp_path / "dev.sqlite", dialect=dialect)
    with again.start() as url, FlowMaestroClient(KEY, url) as client:
        with pytest.raises(flowmaestro.NotFoundError) as caught:
            client.threads.send_message(thread, "Hello")
        assert client.threads.list_messages(thread)["data"] == []
    assert caught.value.api_message == f"Agent with id '{agent}' not found"


def test_executions_that_ran_at_a_stop_have_failed_after_the_next_start():
    server = LocalServer()
    server.workflow("wf")(lambda inputs, run: run.sleep(600))
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        started = client.workflows.execute("wf")["data"]["execution_id"]
        until(lambda: server.executions[-1].status == "running")
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        execution = client.executions.get(started)["data"]
    assert execution["status"] == "failed"
    assert "stopped" in execution["error"]


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path):
    (tmp_path / "app.py").write_text(
        "from flowmaestro_local import LocalServer\n"
        "server = LocalServer(path='dev.sqlite')\n"
        "server.workflow('wf')(lambda inputs: inputs)\n"
    )
    acknowledged: list[str] = []
    moments = random.Random(5)

    def kill_in_a_request(process: subprocess.Popen, count: int) -> None:
        until(lambda: len(acknowledged) >= count)
        process.kill()

    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-m", "flowmaestro_local", "--port", "0", "--app", "app:server"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        url = process.stdout.readline().split(" at ")[1].split()[0]
        count = len(acknowledged) + moments.randint(5, 50)
        killer = threading.Thread(target=kill_in_a_request, args=(process, count))
        killer.start()
        with FlowMaestroClient(KEY, url, max_retries=0) as client:
            try:
                while True:
                    started = client.workflows.execute("wf", {"n": len(acknowledged)})
                    acknowledged.append(started["data"]["execution_id"])
            except flowmaestro.FlowMaestroError:
                process.wait(60)
        killer.join(60)
        process.stdout.close()
    assert len(acknowledged) > 20
    kept = {one.id for one in LocalServer(path=tmp_path / "dev.sqlite").executions}
    assert kept >= set(acknowledged)
