"""Two hundred executions with two hundred open streams, with nothing lost."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc

import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_local import LocalServer
from tests.conftest import KEY

AT_ONCE = 200


@pytest.mark.parametrize("dialect", ["wire", "documented"])
def test_two_hundred_streams_lose_nothing_and_memory_stays_flat(dialect):
    server = LocalServer(dialect=dialect)
    everybody_follows = threading.Event()
    connected: list[int] = []

    @server.workflow("wf")
    def wf(inputs, run):
        everybody_follows.wait(30)
        for number in range(10):
            run.progress(number * 10)
        return {"n": inputs["n"]}

    async def follow(client: AsyncFlowMaestroClient, number: int) -> list:
        started = await client.workflows.execute("wf", {"n": number})
        return [event async for event in client.executions.stream(started["data"]["execution_id"])]

    async def main(url: str) -> list:
        connected.clear()
        everybody_follows.clear()
        async with AsyncFlowMaestroClient(KEY, url) as client:
            return await asyncio.gather(*(follow(client, number) for number in range(AT_ONCE)))

    with server.start() as url:
        asyncio.run(main(url))
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        followed = asyncio.run(main(url))
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    for number, events in enumerate(followed):
        assert events[-1]["type"] == "execution:completed"
        assert events[-1]["outputs"] == {"n": number}
        if dialect == "documented":
            progress = [one["progress"] for one in events if one["type"] == "execution:progress"]
            assert progress[-1] == 90
            assert progress == sorted(progress)
    assert grown < 20_000_000
