"""Streams that are closed by another thread, another task, a signal's handler or the client."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

import anyio
import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient, FlowMaestroError
from flowmaestro_core import AsyncCoreClient
from flowmaestro_core._async import compat as async_compat
from flowmaestro_core._sync import compat
from flowmaestro_core.request import Request
from tests.conftest import KEY
from tests.core.mock import frame
from tests.raw import raw_server, response
from tests.threads import all_ended, threads_started_by

CONNECTED = frame("connected", execution_id="e").encode()
STARTED = frame("node:started", type="node:started").encode()
RUNNING = b'{"data": {"id": "e", "workflow_id": "w", "status": "running"}}'
MESSAGES = b'{"data": {"messages": []}}'
MISSING = b'{"statusCode": 404, "error": "Not Found", "message": "Route GET:/api/v1/x not found"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

SILENT, PAUSED, POLLED, STEADY = "silent", "paused", "polled", "steady"


class Api:
    """An API whose streams are silent, are paused by ``retry:``, are not there, or go on."""

    def __init__(self, kind):
        self.kind = kind
        self.streams = 0
        self.opened = threading.Semaphore(0)
        self.polled = threading.Event()
        self.is_over = threading.Event()
        self.heads = []

    def __call__(self, connection):
        target = self.heads[-1].split(b" ")[1]
        if not target.endswith(b"/events"):
            is_thread = target.endswith(b"/messages")
            connection.sendall(response(MESSAGES if is_thread else RUNNING, "Connection: close"))
            self.polled.set()
        elif self.kind == POLLED:
            connection.sendall(response(MISSING, "Connection: close", status="404 Not Found"))
        else:
            self.streams += 1
            retry = b"retry: 60000\n\n" if self.kind == PAUSED else b""
            connection.sendall(HEAD + retry + CONNECTED)
            self.opened.release()
            while self.kind == STEADY and not self.is_over.wait(0.01):
                connection.sendall(STARTED)
            if self.kind == SILENT:
                self.is_over.wait(600)


@pytest.fixture(params=[SILENT, PAUSED, POLLED, STEADY])
def api(request):
    api = Api(request.param)
    with raw_server(api, api.heads) as url:
        api.url = url
        yield api
        api.is_over.set()


@pytest.fixture
def silent():
    api = Api(SILENT)
    with raw_server(api, api.heads) as url:
        api.url = url
        yield api
        api.is_over.set()


def open_stream(client, api, **options):
    resource = client.threads if api.kind == POLLED else client.executions
    return resource.stream("e", **options)


def in_the_middle(api):
    """Wait until a loop over the stream waits for its next event."""
    if api.kind == POLLED:
        assert api.polled.wait(60)
    else:
        assert api.opened.acquire(timeout=60)
    if api.kind == PAUSED:
        # The status is polled after the break, and then there is nothing but the pause.
        assert api.polled.wait(60)


@pytest.fixture(params=["watched", "ahead"])
def way(request, monkeypatch):
    if request.param == "ahead":
        monkeypatch.setattr(compat, "is_interruptible", lambda response: False)


@pytest.mark.parametrize("heartbeat", [None, 600])
@pytest.mark.parametrize("by", ["stream", "client"])
@pytest.mark.usefixtures("way")
def test_a_loop_of_another_thread_ends_at_once(api, by, heartbeat):
    ends = []

    def loop():
        try:
            for _ in stream:
                pass
            ends.append(None)
        except FlowMaestroError as error:
            ends.append(error.code)

    with threads_started_by("flowmaestro_core") as threads:
        client = FlowMaestroClient(KEY, api.url)
        with client:
            stream = open_stream(client, api, heartbeat=heartbeat)
            thread = threading.Thread(target=loop, daemon=True)
            thread.start()
            in_the_middle(api)
            (stream if by == "stream" else client).close()
            thread.join(30)
            assert not thread.is_alive()
            streams = api.streams
    assert ends == [None if by == "stream" else "client_closed"]
    assert all_ended(threads, 30)
    assert api.streams == streams <= 1


def test_a_client_that_is_closed_ends_all_of_its_streams(silent):
    ends = []

    def loop(stream):
        with pytest.raises(FlowMaestroError) as caught:
            list(stream)
        ends.append(caught.value.code)

    with FlowMaestroClient(KEY, silent.url) as client:
        streams = [open_stream(client, silent) for _ in range(3)]
        threads = [threading.Thread(target=loop, args=[one], daemon=True) for one in streams]
        for thread in threads:
            thread.start()
            in_the_middle(silent)
    for thread in threads:
        thread.join(30)
    assert ends == 3 * ["client_closed"]


@pytest.mark.anyio
async def test_an_async_client_that_is_closed_ends_all_of_its_streams(silent):
    ends = []

    async def loop(stream):
        with pytest.raises(FlowMaestroError) as caught:
            async for _ in stream:
                pass
        ends.append(caught.value.code)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            async with AsyncFlowMaestroClient(KEY, silent.url) as client:
                for _ in range(3):
                    group.start_soon(loop, open_stream(client, silent))
                    await anyio.to_thread.run_sync(in_the_middle, silent)
    assert ends == 3 * ["client_closed"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.usefixtures("way")
def test_a_loop_ends_when_a_signals_handler_closes_its_stream(api):
    with FlowMaestroClient(KEY, api.url) as client:
        stream = open_stream(client, api)
        before = signal.signal(signal.SIGUSR1, lambda *_: stream.close())

        def send():
            in_the_middle(api)
            os.kill(os.getpid(), signal.SIGUSR1)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            for _ in stream:
                pass
        finally:
            sender.join(60)
            signal.signal(signal.SIGUSR1, before)
        assert list(stream) == []


def test_a_stream_that_was_closed_before_it_was_read_opens_nothing(api):
    with FlowMaestroClient(KEY, api.url) as client:
        stream = open_stream(client, api)
        stream.close()
        assert list(stream) == []
    assert api.heads == []


@pytest.mark.anyio
@pytest.mark.parametrize("heartbeat", [None, 600])
@pytest.mark.parametrize("by", ["stream", "client"])
async def test_a_loop_of_another_task_ends_at_once(api, by, heartbeat):
    ends = []

    async def loop():
        try:
            async for _ in stream:
                pass
            ends.append(None)
        except FlowMaestroError as error:
            ends.append(error.code)

    async with AsyncFlowMaestroClient(KEY, api.url) as client:
        stream = open_stream(client, api, heartbeat=heartbeat)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(loop)
                await anyio.to_thread.run_sync(in_the_middle, api)
                await (stream if by == "stream" else client).aclose()
        streams = api.streams
    assert ends == [None if by == "stream" else "client_closed"]
    assert api.streams == streams <= 1


@pytest.mark.anyio
async def test_a_loop_ends_while_the_stream_is_being_opened():
    asked, over = threading.Event(), threading.Event()

    def never(connection):
        asked.set()
        over.wait(60)

    async def loop():
        async for _ in stream:
            pass

    with raw_server(never) as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            stream = client.executions.stream("e")
            with anyio.fail_after(30):
                async with anyio.create_task_group() as group:
                    group.start_soon(loop)
                    await anyio.to_thread.run_sync(asked.wait, 60)
                    await stream.aclose()
        over.set()


@pytest.mark.anyio
async def test_a_loop_over_a_reply_ends_when_its_stream_is_closed():
    token = frame("message:token", token="Hi").encode()
    over = threading.Event()

    def respond(connection):
        connection.sendall(HEAD + token)
        over.wait(60)

    with raw_server(respond) as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            stream = client.threads.send_message_stream("t", "Hello")
            came = anyio.Event()

            async def loop():
                async for _ in stream:
                    came.set()

            with anyio.fail_after(30):
                async with anyio.create_task_group() as group:
                    group.start_soon(loop)
                    await came.wait()
                    await stream.aclose()
        over.set()


@pytest.mark.anyio
async def test_a_stream_is_left_also_where_its_transport_would_go_on_to_wait():
    async def body():
        yield CONNECTED
        await anyio.sleep_forever()

    def respond(request):
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body())

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http_client:
        client = AsyncFlowMaestroClient(KEY, "http://127.0.0.1:1", http_client=http_client)
        with anyio.fail_after(30):
            async with client.executions.stream("e") as stream:
                async for _ in stream:
                    break


@pytest.mark.anyio
async def test_a_stream_is_closed_in_a_scope_that_is_cancelled():
    api = Api(SILENT)
    with raw_server(api, api.heads) as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            with anyio.move_on_after(60) as scope:
                async with client.executions.stream("e") as stream:
                    async for _ in stream:
                        scope.cancel()
                        await anyio.sleep_forever()
            with pytest.raises(StopAsyncIteration):
                await stream.__anext__()
        api.is_over.set()


@pytest.mark.anyio
async def test_a_client_that_is_lost_ends_its_connections():
    has_ended = threading.Event()

    def respond(connection):
        connection.sendall(response(RUNNING))
        if connection.recv(1) == b"":
            has_ended.set()

    with raw_server(respond) as url:
        client = AsyncCoreClient(KEY, url)
        await client.call(Request.get("/executions/e"))
        # And not by the garbage collector, which Python warns of.
        del client
        with anyio.fail_after(30):
            while not has_ended.is_set():
                await anyio.sleep(0.01)


def test_a_pause_that_begins_when_its_stream_was_closed_is_none():
    stop = compat.Stop()
    stop.set()
    started = time.monotonic()
    stop.sleep(60)
    assert time.monotonic() - started < 30


@pytest.mark.anyio
async def test_a_pause_that_begins_when_its_stream_was_closed_is_none_async():
    stop = async_compat.Stop()
    stop.set()
    with anyio.fail_after(30):
        await stop.sleep(60)


# Heartbeats


BEAT = {"type": "heartbeat", "execution_id": "e"}


@pytest.mark.parametrize("kind", [SILENT, PAUSED])
def test_heartbeats_come_while_there_is_nothing_else(silent, kind):
    silent.kind = kind
    with threads_started_by("flowmaestro_core") as threads:
        with FlowMaestroClient(KEY, silent.url) as client:
            events = []
            with client.executions.stream("e", heartbeat=0.05) as stream:
                for event in stream:
                    events.append(event)
                    if len(events) == 6:
                        break
    assert [event for event in events if event["type"] != "connected"].count(BEAT) >= 5
    assert all_ended(threads, 30)


def test_a_loop_with_heartbeats_that_is_left_frees_its_threads(silent):
    with threads_started_by("flowmaestro_core") as threads:
        with FlowMaestroClient(KEY, silent.url) as client:
            for event in client.executions.stream("e", heartbeat=0.05):
                if event == BEAT:
                    break
            assert all_ended(threads, 30)
    assert threads


def test_a_stream_with_heartbeats_is_left_while_it_is_being_opened():
    over = threading.Event()
    with raw_server(lambda connection: over.wait(60)) as url:
        with FlowMaestroClient(KEY, url, timeout=300) as client:
            started = time.monotonic()
            with client.executions.stream("e", heartbeat=0.01) as stream:
                assert next(stream) == BEAT
            # The server waits for 60 s.
            assert time.monotonic() - started < 30
            over.set()


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [SILENT, PAUSED])
async def test_heartbeats_come_while_there_is_nothing_else_async(silent, kind):
    silent.kind = kind
    async with AsyncFlowMaestroClient(KEY, silent.url) as client:
        events = []
        async with client.executions.stream("e", heartbeat=0.05) as stream:
            async for event in stream:
                events.append(event)
                if len(events) == 6:
                    break
    assert [event for event in events if event["type"] != "connected"].count(BEAT) >= 5


@pytest.mark.anyio
async def test_a_stream_with_heartbeats_is_left_between_two_events(silent):
    async with AsyncFlowMaestroClient(KEY, silent.url) as client:
        async with client.executions.stream("e", heartbeat=600) as stream:
            assert (await stream.__anext__())["type"] == "connected"
        # trio complains of a generator that is not closed.
        assert [event async for event in stream] == []


def test_a_stream_with_heartbeats_loses_no_event_and_ends_as_without():
    done = frame("execution:completed", execution_id="e", status="completed").encode()

    def respond(connection):
        connection.sendall(HEAD)
        for _ in range(200):
            connection.sendall(STARTED)
        connection.sendall(done)

    with raw_server(respond) as url, FlowMaestroClient(KEY, url) as client:
        events = list(client.executions.stream("e", heartbeat=0.001))
    types = [event["type"] for event in events if event["type"] != "heartbeat"]
    assert types == ["node:started"] * 200 + ["execution:completed"]


def test_an_error_comes_through_a_stream_with_heartbeats():
    def refuse(connection):
        connection.sendall(response(b"{}", status="401 Unauthorized"))

    with raw_server(refuse) as url, FlowMaestroClient(KEY, url) as client:
        with pytest.raises(FlowMaestroError) as caught:
            list(client.executions.stream("e", heartbeat=0.01))
    assert caught.value.status_code == 401


@pytest.mark.parametrize("bad", [0, -1, float("nan"), "1", True])
def test_a_heartbeat_is_a_number_of_seconds(bad):
    with contextlib.closing(FlowMaestroClient(KEY, "http://127.0.0.1:1")) as client:
        for stream in (client.executions.stream, client.threads.stream):
            with pytest.raises((ValueError, TypeError), match="heartbeat must be"):
                stream("e", heartbeat=bad)
