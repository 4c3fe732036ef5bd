"""Promise 5: many at once."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.core.mock import Chunks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # asyncio drops a connection whose opening is cancelled, as polls that take too long are.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _enough_files():
    """Both ends of every connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("at_once", [150, pytest.param(1_000, marks=pytest.mark.soak)])
def test_promise_5_many_waits_on_one_client(at_once):
    server = LocalServer(max_running=2_000)

    @server.workflow("wf")
    async def wf(inputs):
        await asyncio.sleep(3)
        return inputs

    async def one(client, number):
        result = await client.run("wf", {"n": number}, poll_interval=2, timeout=300)
        assert result["outputs"] == {"n": number}

    async def main(url):
        async with AsyncFlowMaestroClient(KEY, url) as client:
            await asyncio.gather(*(one(client, number) for number in range(at_once)))

    with server.start() as url:
        asyncio.run(main(url))
    assert len(server.executions) == at_once


@pytest.mark.parametrize("at_once", [150, pytest.param(1_000, marks=pytest.mark.soak)])
def test_promise_5_many_streams_on_one_client_and_calls_get_through(at_once):
    server = LocalServer(dialect="documented", max_running=2_000)
    everybody_follows = threading.Event()

    @server.workflow("wf")
    async def wf(inputs, run):
        while not everybody_follows.is_set():
            await asyncio.sleep(1)
        run.progress(50)
        return inputs

    connected = []

    async def one(client, number):
        started = await client.workflows.execute("wf", {"n": number})
        async for event in client.executions.stream(started["data"]["execution_id"]):
            if event["type"] == "connected":
                connected.append(number)
        assert event["outputs"] == {"n": number}

    async def main(url):
        async with AsyncFlowMaestroClient(KEY, url) as client:
            streams = [asyncio.create_task(one(client, number)) for number in range(at_once)]
            while len(connected) < at_once:
                await asyncio.sleep(0.05)
            await client.with_options(deadline=100).workflows.list()
            everybody_follows.set()
            await asyncio.gather(*streams)

    with server.start() as url:
        asyncio.run(main(url))


def test_promise_5_two_hundred_threads_on_one_client():
    server = LocalServer()
    server.workflow("wf")(lambda inputs: inputs)

    with server.start() as url, FlowMaestroClient(KEY, url) as client:

        def one(number):
            return client.run("wf", {"n": number}, poll_interval=0.2)["outputs"]["n"]

        with ThreadPoolExecutor(200) as pool:
            assert list(pool.map(one, range(400))) == list(range(400))


FRAME = b'event: node:stream\ndata: {"type":"node:stream","nodeId":"n","chunk":"0123456789"}\n\n'
END = b'event: execution:completed\ndata: {"outputs":{}}\n\n'


def test_promise_5_memory_stays_flat_over_a_hundred_thousand_events():
    body = Chunks(*[FRAME * 100] * 1_000, END)
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)
    transport = httpx.MockTransport(lambda request: answer)
    with httpx.Client(transport=transport) as http_client:
        client = FlowMaestroClient(KEY, "http://127.0.0.1:1", http_client=http_client)
        count, levels = 0, []
        for _ in client.executions.stream("e"):
            count += 1
            if count in (10_000, 90_000):
                gc.collect()
                levels.append(sys.getallocatedblocks())
    assert count == 100_001
    assert levels[1] - levels[0] < 5_000


def test_promise_5_a_slow_reader_holds_the_server_back():
    """What is not read stays with the server, behind a full socket, and not in memory here."""
    sent = []

    class Endless(httpx.SyncByteStream):
        def __iter__(self):
            for number in range(10_000):
                sent.append(number)
                yield FRAME
            yield END

        def close(self):
            pass

    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Endless())
    transport = httpx.MockTransport(lambda request: answer)
    with httpx.Client(transport=transport) as http_client:
        client = FlowMaestroClient(KEY, "http://127.0.0.1:1", http_client=http_client)
        with client.executions.stream("e") as stream:
            next(stream)
            time.sleep(0.3)
            assert len(sent) < 20
