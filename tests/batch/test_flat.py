"""A batch of any size takes no more memory than a small one."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import tracemalloc
from collections import deque

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from flowmaestro_batch import AsyncBatch, Batch
from flowmaestro_local import LocalServer
from tests.conftest import KEY

SOAK = pytest.mark.soak


def at_once():
    """Make a backend within the process, whose executions are over as soon as they begin."""
    newest = deque(maxlen=100)

    def answer(request):
        if request.method == "POST":
            inputs = json.loads(request.content)["inputs"]
            execution = {"id": f"e{inputs['n']}", "workflow_id": "wf", "status": "completed"}
            newest.appendleft({**execution, "inputs": inputs, "outputs": inputs, "error": None})
            return httpx.Response(202, json={"data": {"execution_id": execution["id"]}})
        pages = {"page": 1, "per_page": 100, "total_count": 100, "has_next": False}
        listing = request.url.path.endswith("/executions")
        content = {"data": list(newest) if listing else {"id": "wf"}, "pagination": pages}
        return httpx.Response(200, json=content)

    return httpx.MockTransport(answer)


def held_by(rows, journal, **options):
    """Run so many rows, and give the most memory that was held meanwhile, in bytes.

    What is held, and not what was ever taken: garbage of the requests comes and goes.
    """
    held = 0
    with httpx.Client(transport=at_once()) as http_client:
        client = FlowMaestroClient(KEY, "http://127.0.0.1", http_client=http_client)
        batch = Batch(client, "wf", journal=journal, poll_interval=0.001)
        source = ({"n": n, "text": f"{n:4000}"} for n in range(rows))
        tracemalloc.start()
        for number, _ in enumerate(batch.run(source, **options)):
            if number % 100 == 0:
                gc.collect()
                held = max(held, tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert batch.summary().completed == rows
    return held


@pytest.fixture
def threads_without_coverage():
    """Have no thread followed: of each that there was, coverage keeps more than a kilobyte."""
    # Python 3.9 has no name for reading it.
    trace = threading.gettrace() if hasattr(threading, "gettrace") else threading._trace_hook
    threading.settrace(None)
    yield
    threading.settrace(trace)


@pytest.mark.usefixtures("threads_without_coverage")
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "options",
    [pytest.param({}, marks=SOAK), pytest.param({"ordered": True}, marks=SOAK), {"key": "n"}],
)
def test_memory_does_not_grow_with_the_rows(tmp_path, options):
    small = held_by(200, tmp_path / "small.sqlite", **options)
    # All of the rows would be 1.6 MB more, and those that were already run as well.
    assert held_by(600, tmp_path / "large.sqlite", **options) < small + 500_000
    assert held_by(600, tmp_path / "large.sqlite", **options) < small + 500_000


def test_rows_that_come_asynchronously_are_run_as_they_come(tmp_path):
    server = LocalServer()
    server.workflow("wf")(lambda inputs: inputs)

    async def rows():
        for number in range(5):
            await asyncio.sleep(0.02)
            yield {"n": number}

    async def main(url):
        async with AsyncFlowMaestroClient(KEY, url) as client:
            batch = AsyncBatch(client, "wf", journal=tmp_path / "b.sqlite", poll_interval=0.05)
            return [outcome.key async for outcome in batch.run(rows(), key="n", ordered=True)]

    with server.start() as url:
        assert asyncio.run(main(url)) == ["0", "1", "2", "3", "4"]
