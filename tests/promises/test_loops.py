"""One asynchronous client under many event loops, as web frameworks and tests make them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import warnings
from pathlib import Path

import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.receiver import until

trio = pytest.importorskip("trio")

FILES = Path("/proc/self/fd")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILES.exists(), reason="counts files in /proc"),
]

MANY = 30


@pytest.fixture(scope="module")
def server():
    server = LocalServer()
    server.workflow("wf")(lambda inputs, run: run.sleep(600))
    with server.start():
        yield server


@pytest.fixture
def client(server):
    client = AsyncFlowMaestroClient(KEY, server.url)
    yield client
    asyncio.run(client.aclose())


def files() -> int:
    return len(os.listdir(FILES))


def ended_well(main):
    asyncio.run(main())


def closed_at_once(main):
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def under_trio(main):
    trio.run(main)


def in_a_thread(main):
    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join(60)


LOOPS = [ended_well, closed_at_once, under_trio, in_a_thread]


def one_after_the_other(run, main):
    """Run loops, and give the files that the later ones have left open."""
    for _ in range(3):
        run(main)
    before = files()
    for _ in range(MANY):
        run(main)
    # The server's side of a connection is closed a moment after the client's.
    until(lambda: files() < before + MANY / 2)
    return files() - before


@pytest.mark.parametrize("run", LOOPS)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_calls_under_many_event_loops_leave_no_connections(run, client):
    async def main():
        assert (await client.workflows.get("wf"))["data"]["id"] == "wf"

    gc.disable()
    try:
        # Not by the chance of a collection.
        assert one_after_the_other(run, main) < MANY / 2
    finally:
        gc.enable()


@pytest.mark.parametrize("run", LOOPS)
@pytest.mark.parametrize("keep", [False, True], ids=["dropped", "kept"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_streams_that_are_left_open_under_many_event_loops_leave_no_connections(
    run, keep, client, caplog
):
    kept = []

    async def main():
        started = (await client.workflows.execute("wf"))["data"]["execution_id"]
        stream = client.executions.stream(started)
        assert (await stream.__anext__())["type"] == "connected"
        if keep:
            kept.append(stream)

    with caplog.at_level(logging.ERROR, "asyncio"):
        assert one_after_the_other(run, main) < MANY / 2
    if run is not closed_at_once:
        # Where a loop is closed while its generators wait for their end, asyncio says so.
        assert caplog.records == []


def test_an_event_loop_that_ends_closes_its_connections_without_a_word(client, caplog):
    async def main():
        await client.workflows.get("wf")

    async def many():
        await asyncio.gather(*(client.workflows.get("wf") for _ in range(25)))

    # What other tests have left.
    gc.collect()
    with warnings.catch_warnings(record=True) as seen, caplog.at_level(logging.WARNING, "asyncio"):
        warnings.simplefilter("always")
        asyncio.run(main(), debug=True)
        asyncio.run(many(), debug=True)
        gc.collect()
    assert [str(warning.message) for warning in seen if "unclosed" in str(warning.message)] == []
    assert [r for r in caplog.records if "took" not in r.getMessage()] == []


def test_event_loops_in_threads_have_connections_of_their_own(client):
    barrier = threading.Barrier(4, timeout=60)
    done = []

    async def main():
        for _ in range(5):
            barrier.wait()
            done.append((await client.workflows.get("wf"))["data"]["id"])

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == ["wf"] * 20


def test_closing_a_client_lets_go_of_what_other_loops_have(client):
    async def call():
        await client.workflows.get("wf")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(call())
    before = files()

    async def last():
        await call()
        await client.close()

    asyncio.run(last())
    # It is still there, and closes its connection when it goes on.
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0.01))
    until(lambda: files() < before)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
