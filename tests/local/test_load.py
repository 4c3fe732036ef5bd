"""Two hundred executions with two hundred open streams, with nothing lost."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading

import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_local import LocalServer
from tests.conftest import KEY

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

AT_ONCE = 200


# A poll that finds no connection in time, as on a busy machine, leaves its socket to the garbage
# collector: anyio cancels a connection in the making so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("dialect", [pytest.param("wire", marks=pytest.mark.soak), "documented"])
def test_two_hundred_streams_lose_nothing_and_memory_stays_flat(dialect):
    server = LocalServer(dialect=dialect)
    everybody_follows = threading.Event()
    connected: list[int] = []

    @server.workflow("wf")
    def wf(inputs, run):
        everybody_follows.wait(300)
        for number in range(10):
            run.progress(number * 10)
        return {"n": inputs["n"]}

    async def follow(client: AsyncFlowMaestroClient, number: int, at_once: int) -> list:
        started = await client.workflows.execute("wf", {"n": number})
        events = []
        async for event in client.executions.stream(started["data"]["execution_id"]):
            events.append(event)
            if event["type"] == "connected":
                connected.append(number)
                if len(connected) == at_once:
                    everybody_follows.set()
        return events

    async def main(url: str, at_once: int) -> list:
        connected.clear()
        everybody_follows.clear()
        async with AsyncFlowMaestroClient(KEY, url) as client:
            return await asyncio.gather(
                *(follow(client, number, at_once) for number in range(at_once))
            )

    with server.start() as url:
        asyncio.run(main(url, 20))
        before = blocks_in_use()
        followed = asyncio.run(main(url, AT_ONCE))
        grown = blocks_in_use() - before
    for number, events in enumerate(followed):
        assert events[-1]["type"] == "execution:completed"
        assert events[-1]["outputs"] == {"n": number}
        if dialect == "documented":
            progress = [one["progress"] for one in events if one["type"] == "execution:progress"]
            assert progress[-1] == 90
            assert progress == sorted(progress)
    # What stays are the records of the executions and requests, and what they told.
    assert grown < 1_000 * AT_ONCE


def blocks_in_use() -> int:
    gc.collect()
    return sys.getallocatedblocks()
