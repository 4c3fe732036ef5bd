"""A batch over a Dask cluster of processes, one of which is killed on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from functools import partial

import pytest

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from flowmaestro_batch import AsyncBatch, Batch, BatchError, DaskEngine
from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.receiver import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def server():
    server = LocalServer()

    @server.workflow("wf")
    async def wf(inputs):
        await asyncio.sleep(0.1)
        return {"n": inputs["n"]}

    with server.start():
        yield server


@pytest.fixture
def distributed():
    """Import Dask for these tests alone: it takes as long as all that the others import."""
    return pytest.importorskip(
        "distributed", reason="Dask's releases of today need Python 3.10", exc_type=ImportError
    )


@pytest.fixture
def dask(distributed, tmp_path):
    # Two, so that one is left when the other is killed: each takes seconds to start.
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=3,
        processes=True,
        dashboard_address="127.0.0.1:0",
        local_directory=str(tmp_path),
    ) as cluster:
        with distributed.Client(cluster) as client:
            yield client


def engine_on(dask, server):
    return DaskEngine(dask, partial(FlowMaestroClient, KEY, server.url))


def rows(count):
    return ({"n": number} for number in range(count))


def ran(server):
    return Counter(execution.inputs["n"] for execution in server.executions)


def pids(dask):
    return dask.run(os.getpid)


def kill_amid_the_rows(pid, server):
    until(lambda: len(server.executions) >= 30)
    os.kill(pid, signal.SIGKILL)


def test_rows_are_submitted_by_all_workers_and_a_killed_one_loses_none(server, dask, tmp_path):
    # Answers are late, so that the killed worker has submissions under way.
    server.faults.add("latency", "POST */execute", times=None, seconds=0.1)
    doomed = next(iter(pids(dask).values()))
    killer = threading.Thread(target=kill_amid_the_rows, args=[doomed, server])
    with FlowMaestroClient(KEY, server.url) as client:
        journal = tmp_path / "batch.sqlite"
        batch = Batch(client, "wf", journal=journal, poll_interval=0.2, settle=1.0)
        engine = engine_on(dask, server)
        assert engine.size == 6
        killer.start()
        outcomes = list(batch.run(rows(200), key="n", engine=engine))
        killer.join()
    until(lambda: doomed not in pids(dask).values())
    assert Counter(one.status for one in outcomes) == {"completed": 200}
    assert ran(server) == Counter(range(200))


def test_the_asynchronous_batch_uses_the_cluster_as_well(server, dask, tmp_path):
    async def main():
        async with AsyncFlowMaestroClient(KEY, server.url) as client:
            batch = AsyncBatch(client, "wf", journal=tmp_path / "b.sqlite", poll_interval=0.1)
            run = batch.run(rows(30), key="n", engine=engine_on(dask, server))
            return [outcome.status async for outcome in run]

    assert Counter(asyncio.run(main())) == {"completed": 30}
    assert ran(server) == Counter(range(30))


def test_the_limit_is_shared_by_all_workers(server, dask, tmp_path):
    server.add_key(KEY, per_minute=120)
    with FlowMaestroClient(KEY, server.url) as client:
        batch = Batch(client, "wf", journal=tmp_path / "b.sqlite", poll_interval=0.2)
        started = time.monotonic()
        list(batch.run(rows(10), key="n", engine=engine_on(dask, server)))
        assert batch.summary().refused == 0
    # Two a second, or as many as the minute has left for them.
    assert time.monotonic() - started > 0.5


class Absent:
    """A client that the workers cannot make, as they lack the package that it is of."""

    def __reduce__(self):
        return (__import__, ("a_package_that_is_only_here",))


def test_workers_that_lack_what_it_takes_are_told_before_the_first_row(dask, server):
    for make_client, cause in ((Absent(), "a_package_that_is_only_here"), (no_key, "api_key")):
        with pytest.raises(BatchError, match=f"no Dask worker can submit rows.*{cause}") as caught:
            DaskEngine(dask, make_client)
        assert caught.value.code == "no_workers"
    assert not server.requests


def no_key():
    os.environ.pop("FLOWMAESTRO_API_KEY", None)
    return FlowMaestroClient()


def test_a_cluster_without_workers_is_refused(distributed, tmp_path):
    with (
        distributed.LocalCluster(
            n_workers=0, dashboard_address="127.0.0.1:0", local_directory=str(tmp_path)
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        with pytest.raises(BatchError, match="has no workers"):
            DaskEngine(client)
