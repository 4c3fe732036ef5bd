"""What is promised for a bad day, with real sockets and injected faults.

Each test is named after its promise: streams end right (1), waits are polite and exact
(2), messages are posted once (4).
"""

from __future__ import annotations

import ssl
import threading
import time

import anyio
import pytest
import trustme

import flowmaestro
from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_local import LocalServer, Run
from flowmaestro_local.engine import Engine
from tests.conftest import KEY
from tests.raw import raw_server
from tests.receiver import until

pytestmark = [
    pytest.mark.anyio,  # async only
    pytest.mark.slow,
]

STEPS = 20


@pytest.fixture
def server(request):
    # With keepalives that come often, a stream looks dead where the machine is busy.
    keepalive = getattr(request, "param", 30.0)
    server = LocalServer(dialect="documented", keepalive=keepalive)
    server.is_followed = threading.Event()

    @server.workflow("wf")
    def wf(inputs: dict, run: Run) -> dict:
        while inputs.get("followed") and not server.is_followed.is_set():
            run.sleep(0.01)
        for step in range(STEPS):
            run.progress(step)
            run.sleep(0.01 if step else inputs.get("pause", 0.01))
        run.sleep(inputs.get("after", 0))
        return {"done": True}

    server.workflow("slow")(lambda inputs, run: run.sleep(600))
    server.agent("a")(lambda message: message)
    with server.start():
        yield server


@pytest.fixture
async def client(server):
    async with AsyncFlowMaestroClient(KEY, server.url) as client:
        yield client


async def start(client, workflow_id="wf", **inputs):
    return (await client.workflows.execute(workflow_id, inputs))["data"]["execution_id"]


async def steps_and_end(client, server, **inputs):
    """Follow an execution that takes its steps once it is followed."""
    events = []
    execution_id = await start(client, followed=True, **inputs)
    async for event in client.executions.stream(execution_id):
        events.append(event)
        if event["type"] == "connected":
            server.is_followed.set()
    steps = [event["progress"] for event in events if event["type"] == "execution:progress"]
    assert sum(event["type"] == "connected" for event in events) <= 1
    return steps, events[-1]


async def collect(client, execution_id):
    return [event async for event in client.executions.stream(execution_id)]


# 1. Execution streams always end right


async def test_promise_1_a_stream_that_is_dropped_loses_and_repeats_nothing(client, server):
    server.faults.add("cut_stream", "GET */events", times=3, after=4)
    steps, end = await steps_and_end(client, server)
    assert steps == list(range(STEPS))
    assert end["outputs"] == {"done": True}
    assert server.faults.injected == {"cut_stream": 3}


@pytest.mark.parametrize("server", [0.15], indirect=True)
async def test_promise_1_a_stream_that_stalls_is_connected_again(client, server):
    server.faults.add("stall", "GET */events", after=6, seconds=float("inf"))
    # The pause shows the rhythm of the keepalives, once there is an id to go on from.
    steps, end = await steps_and_end(client, server, pause=0.8, after=0.5)
    assert steps == list(range(STEPS))
    assert end["type"] == "execution:completed"
    assert sum(request.path.endswith("/events") for request in server.requests) >= 2


async def test_promise_1_what_a_dead_connection_kept_back_is_told_before_the_end():
    server = LocalServer(dialect="documented")
    server.is_followed = threading.Event()

    @server.workflow("wf")
    def wf(inputs, run):
        while not server.is_followed.is_set():
            run.sleep(0.01)
        for step in range(STEPS):
            run.progress(step)

    server.faults.add("stall", "GET */events", after=6, seconds=float("inf"))
    with server.start() as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            steps, end = await steps_and_end(client, server)
    assert steps == list(range(STEPS))
    assert end["type"] == "execution:completed"


async def test_promise_1_events_that_come_twice_are_told_once(client, server):
    server.faults.add("duplicate_event", "GET */events", after=5)
    steps, _ = await steps_and_end(client, server)
    assert steps == list(range(STEPS))


async def test_promise_1_garbage_in_a_stream_does_not_end_it(client, server):
    server.faults.add("garbage_frame", "GET */events", after=3)
    steps, end = await steps_and_end(client, server)
    assert steps == list(range(STEPS))
    assert end["type"] == "execution:completed"


async def follow_in_silence(seconds, monkeypatch):
    """Follow an execution whose stream is silent.

    Returns:
        The seconds from its end to the end of the stream, and the number of status requests
        that were sent after its end.
    """
    silent = LocalServer(dialect="wire")
    is_followed = threading.Event()
    ended = []

    @silent.workflow("wf")
    def wf(inputs, run):
        while not is_followed.is_set():
            run.sleep(0.01)
        run.sleep(seconds)
        return {"a": 1}

    def noted(engine, *arguments, **named):
        # In the thread that answers requests: none comes between this and the end.
        ended.append((time.monotonic(), polls()))
        end(engine, *arguments, **named)

    end = Engine._end
    monkeypatch.setattr(Engine, "_end", noted)

    def polls():
        (execution,) = silent.executions
        return sum(request.path.endswith(execution.id) for request in silent.requests)

    types = []
    with silent.start() as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            execution_id = await start(client)
            began = time.monotonic()
            async for event in client.executions.stream(execution_id):
                types.append(event["type"])
                is_followed.set()
            over = time.monotonic()
    assert types == ["connected", "execution:completed"]
    assert polls() <= 1 + (over - began) / 2, "more than one status request per interval"
    return over - ended[0][0], polls() - ended[0][1]


@pytest.mark.parametrize("seconds", [0.2, 4.5])
async def test_promise_1_the_first_poll_after_the_end_ends_a_silent_stream(seconds, monkeypatch):
    _, polls_after_the_end = await follow_in_silence(seconds, monkeypatch)
    assert polls_after_the_end <= 1


@pytest.mark.clock
async def test_promise_1_the_end_of_a_silent_stream_is_told_within_three_seconds(monkeypatch):
    late, _ = await follow_in_silence(2.2, monkeypatch)
    assert late < 3


async def test_promise_1_a_stream_that_cannot_be_had_is_given_up(client, server, monkeypatch):
    monkeypatch.setattr("flowmaestro_core.liveness.MAX_OUTAGE", 2.0)
    server.faults.add("reset_before", "GET */events", times=None)
    with pytest.raises(flowmaestro.ConnectionError):
        await collect(client.with_options(max_retries=1), await start(client, "slow"))
    server.faults.clear()
    server.faults.add("cut_stream", "GET */events", times=None, after=1)
    server.faults.add("status", f"GET */executions/{'?' * 36}", times=None, status=503)
    with pytest.raises(flowmaestro.StreamError, match="was lost"):
        await collect(client, await start(client, "slow"))


async def test_promise_1_status_checks_that_fail_do_not_end_a_stream():
    silent = LocalServer(dialect="wire")
    is_followed = threading.Event()

    @silent.workflow("wf")
    def wf(inputs, run):
        while not is_followed.is_set():
            run.sleep(0.01)
        run.sleep(1.5)

    # An id has 36 characters: the stream itself is not meant.
    silent.faults.add("status", f"GET */executions/{'?' * 36}", status=500, times=1)
    types = []
    with silent.start() as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            async for event in client.executions.stream(await start(client)):
                types.append(event["type"])
                is_followed.set()
    assert types == ["connected", "execution:completed"]
    assert silent.faults.injected == {"status 500": 1}


async def test_promise_2_a_failed_poll_of_a_wait_is_told_in_the_log(client, server, caplog):
    execution_id = await start(client)
    server.faults.add("status", "GET */executions/*", times=2, status=503)
    await client.executions.wait_for_completion(execution_id, 0.05, timeout=100)
    warnings = [one.message for one in caplog.records if "polling again in" in one.message]
    assert len(warnings) == 2
    assert all(execution_id in one and "503" in one for one in warnings)


# 2. Waits are polite and exact


async def test_promise_2_a_wait_gets_through_limits_faults_and_resets(client, server):
    execution_id = await start(client)
    server.faults.add("status", "GET */executions/*", times=2, status=500)
    server.faults.add("status", "GET */executions/*", status=429, headers={"Retry-After": "1"})
    server.faults.add("reset_before", "GET */executions/*", times=2)
    server.faults.add("truncate", "GET */executions/*")
    server.faults.add("status", "GET */executions/*", times=1, status=502, body="<html>")
    result = await client.executions.wait_for_completion(execution_id, 0.05, timeout=100)
    assert result["outputs"] == {"done": True}
    assert sum(server.faults.injected.values()) == 7


async def test_promise_2_a_wait_keeps_its_timeout_though_requests_are_slow(client, server):
    execution_id = await start(client, "slow")
    until(lambda: server.executions[-1].status == "running")
    server.faults.add("latency", "GET */executions/*", seconds=0.3)
    server.faults.add("latency", "GET */executions/*", times=None, seconds=60)
    began = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        await client.executions.wait_for_completion(execution_id, 0.05, timeout=3)
    assert 3 <= time.monotonic() - began < 25
    assert caught.value.execution["status"] == "running"
    assert server.executions[-1].status == "running", "giving up does not cancel"
    assert "it goes on" in str(caught.value)


async def test_promise_2_a_wait_with_no_answer_at_all_ends_in_time(client, server):
    execution_id = await start(client, "slow")
    server.faults.add("stall", "GET */executions/*", times=None, seconds=float("inf"))
    began = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        await client.executions.wait_for_completion(execution_id, 0.05, timeout=0.5)
    assert time.monotonic() - began < 15, "a request alone may take 30 s"
    assert caught.value.execution is None


async def test_promise_2_a_wait_raises_at_once_what_will_not_pass(client, server):
    execution_id = await start(client, "slow")
    for status, cls in ((501, flowmaestro.ServerError), (403, flowmaestro.AuthorizationError)):
        server.faults.add("status", "GET */executions/*", status=status)
        with pytest.raises(cls):
            await client.executions.wait_for_completion(execution_id, 0.05, timeout=100)
    with pytest.raises(flowmaestro.NotFoundError):
        await client.executions.wait_for_completion("exec_unknown")
    for bad in ({"poll_interval": 0}, {"timeout": -1}, {"poll_interval": float("nan")}):
        with pytest.raises(ValueError, match="seconds"):
            await client.executions.wait_for_completion("e", **bad)
    with pytest.raises(TypeError, match="poll_interval"):
        await client.executions.wait_for_completion("e", poll_interval="1")


async def test_promise_2_a_wait_does_not_wait_for_a_certificate_to_be_trusted():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with raw_server(lambda connection: None, tls=context) as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            with pytest.raises(flowmaestro.ConnectionError) as caught:
                await client.executions.wait_for_completion("e", timeout=100)
    assert caught.value.code == "certificate_untrusted"


async def test_promise_2_a_deadline_bounds_a_whole_call(client, server):
    server.faults.add("stall", "GET */workflows", times=None, seconds=float("inf"))
    server.faults.add("status", "GET */agents", times=None)
    hurried = client.with_options(deadline=0.5, max_retries=1_000)
    for call in (hurried.workflows.list, hurried.agents.list):
        began = time.monotonic()
        with pytest.raises(flowmaestro.FlowMaestroError):
            await call()
        assert time.monotonic() - began < 15
    server.faults.clear()
    server.faults.add("drip", times=None, seconds=100)
    began = time.monotonic()
    with pytest.raises(flowmaestro.TimeoutError) as caught:
        await client.with_options(deadline=1.5).workflows.list()
    assert caught.value.code == "deadline_exceeded"
    assert 1.4 < time.monotonic() - began < 30
    server.faults.clear()
    execution_id = await start(client, "slow")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await client.with_options(deadline=0.4).executions.wait_for_completion(execution_id)
    assert time.monotonic() - began < 15


# 4. send_message never posts twice


@pytest.mark.parametrize("kind", ["reset_after", "truncate", "stall"])
async def test_promise_4_a_message_is_posted_once_and_its_thread_is_named(client, server, kind):
    thread_id = (await client.agents.create_thread("a"))["data"]["id"]
    server.faults.add(kind, "POST */messages", times=None, seconds=float("inf"))
    with pytest.raises(flowmaestro.FlowMaestroError) as caught:
        await client.with_options(timeout=2).threads.send_message(thread_id, "Hello")
    assert caught.value.outcome_unknown is True
    assert caught.value.details["thread_id"] == thread_id
    for _ in range(6_000):
        if len(server.messages(thread_id)) >= 2:
            break
        await anyio.sleep(0.01)
    assert [one.role for one in server.messages(thread_id)] == ["user", "assistant"]


async def test_promise_3_an_execution_is_started_once_and_the_doubt_is_told(client, server):
    for kind in ("reset_after", "truncate"):
        before = len(server.executions)
        server.faults.add(kind, "POST */execute")
        with pytest.raises(flowmaestro.ConnectionError, match=r"executions\.list") as caught:
            await start(client)
        assert caught.value.outcome_unknown is True
        assert len(server.executions) == before + 1
    server.faults.add("status", "POST */execute", status=429, headers={"Retry-After": "0"})
    before = len(server.executions)
    await start(client)
    assert len(server.executions) == before + 1
