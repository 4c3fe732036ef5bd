"""The engine for Dask, on a cluster that is played: who gets a row, and what is lost with whom."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from flowmaestro import FlowMaestroClient
from flowmaestro_batch import Batch, BatchError, DaskEngine, Sent, Ticket
from flowmaestro_batch import dask as module
from tests.batch.virtual import VirtualApi
from tests.conftest import KEY
from tests.receiver import until

URL = "http://127.0.0.1"

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "_begun", {})
    monkeypatch.setattr(module, "_clients", {})


class Task:
    """What Dask's client gives for a task."""

    def __init__(self, future):
        self.future = future
        self.is_cancelled = False

    @property
    def status(self):
        return "error" if self.future.exception() else "finished"

    def result(self):
        return self.future.result()

    def add_done_callback(self, callback):
        self.future.add_done_callback(lambda future: callback(self))

    def cancel(self):
        self.is_cancelled = True


class Cluster:
    """A cluster whose workers are threads of this process."""

    def __init__(self, *workers, threads=2):
        self.workers = dict.fromkeys(workers, threads)
        self.without_package = set()
        self.sent = []
        self.problem = None
        # Tasks run only while this is set.
        self.may_run = threading.Event()
        self.may_run.set()
        self._pool = ThreadPoolExecutor(8)

    def nthreads(self):
        if self.problem is not None:
            raise self.problem
        return dict(self.workers)

    def run(self, function, *arguments, workers, on_error):
        assert on_error == "return"
        return {address: self._ask(address, function, arguments) for address in workers}

    def _ask(self, address, function, arguments):
        if address in self.without_package:
            return ModuleNotFoundError("No module named 'flowmaestro_batch'")
        try:
            return function(*arguments)
        except Exception as error:
            return error

    def submit(self, function, *arguments, key, workers, **options):
        assert options == {"allow_other_workers": False, "pure": False, "retries": 0}
        (address,) = workers
        assert address in self.workers
        self.sent.append(address)

        def run():
            assert self.may_run.wait(60)
            return function(*arguments)

        return Task(self._pool.submit(run))

    def close(self):
        self.may_run.set()
        self._pool.shutdown()


@pytest.fixture
def cluster():
    cluster = Cluster("one", "two")
    yield cluster
    cluster.close()


@contextmanager
def client_of(api):
    with httpx.Client(transport=httpx.MockTransport(api)) as http_client:
        yield FlowMaestroClient(KEY, URL, http_client=http_client)


def test_rows_go_to_the_workers_with_threads_to_spare(cluster):
    cluster.workers["three"] = 1
    cluster.may_run.clear()
    with client_of(VirtualApi()) as client:
        engine = DaskEngine(cluster, lambda: client)
        assert engine.size == 5
        futures = [engine.submit(Ticket("wf", {"n": n})) for n in range(5)]
        assert Counter(cluster.sent) == {"one": 2, "two": 2, "three": 1}
        cluster.may_run.set()
        assert all(future.result(60).execution_id for future in futures)


def test_a_batch_runs_on_a_cluster(cluster, tmp_path):
    api = VirtualApi(plans={1: ["lost"], 2: ["400"]})
    with client_of(api) as client, api.runs_the_clocks():
        batch = Batch(client, "wf", journal=tmp_path / "b.sqlite")
        rows = ({"n": n} for n in range(20))
        outcomes = list(batch.run(rows, engine=DaskEngine(cluster, lambda: client)))
    assert Counter(one.status for one in outcomes) == {"completed": 19, "failed": 1}
    assert set(api.submissions.values()) == {1}
    assert set(cluster.sent) == {"one", "two"}


def test_each_engine_has_clients_of_its_own_on_a_worker(cluster):
    apis = [VirtualApi(), VirtualApi()]
    with client_of(apis[0]) as first, client_of(apis[1]) as second:
        for client in (first, second):
            engine = DaskEngine(cluster, lambda client=client: client)
            assert engine.submit(Ticket("wf", {"n": 1})).result(60).execution_id
    assert [len(api.executions) for api in apis] == [1, 1]


def test_a_worker_that_cannot_make_its_client_is_told_before_the_first_row(cluster, monkeypatch):
    monkeypatch.delenv("FLOWMAESTRO_API_KEY", raising=False)
    with pytest.raises(BatchError, match=r"no Dask worker can submit rows; one says .*api_key"):
        DaskEngine(cluster)
    cluster.without_package = {"one", "two"}
    with pytest.raises(BatchError, match="ModuleNotFoundError: No module named") as caught:
        DaskEngine(cluster)
    assert caught.value.code == "no_workers"
    assert not cluster.sent


def test_a_worker_that_lacks_the_package_is_left_out(cluster, caplog):
    cluster.without_package = {"two"}
    with client_of(VirtualApi()) as client, caplog.at_level(logging.WARNING):
        engine = DaskEngine(cluster, lambda: client)
        assert engine.size == 2
        for n in range(4):
            assert engine.submit(Ticket("wf", {"n": n})).result(60).execution_id
        # Nobody asks it again and again.
        engine._find_workers()
    assert set(cluster.sent) == {"one"}
    assert caplog.text.count("the Dask worker two is not used: ModuleNotFoundError") == 1


def test_without_workers_a_row_was_not_submitted_and_new_ones_are_used(cluster):
    with client_of(VirtualApi()) as client:
        engine = DaskEngine(cluster, lambda: client)
        cluster.workers.clear()
        engine._find_workers()
        assert engine.size == 1
        sent = engine.submit(Ticket("wf", {"n": 1})).result(60)
        assert "the Dask cluster has no workers" in str(sent.error)
        assert (sent.error.code, sent.error.outcome_unknown) == ("no_workers", False)
        cluster.problem = OSError("scheduler closed")
        sent = engine.submit(Ticket("wf", {"n": 1})).result(60)
        assert "the Dask cluster is gone: scheduler closed" in str(sent.error)
        assert sent.error.outcome_unknown is False
        cluster.problem = None
        cluster.workers.update({"three": 1, "four": 1})
        assert engine.submit(Ticket("wf", {"n": 1})).result(60).execution_id
        assert engine.size == 2


def test_a_batch_goes_on_once_there_are_workers_again(cluster, tmp_path):
    api = VirtualApi()
    with client_of(api) as client, api.runs_the_clocks():
        engine = DaskEngine(cluster, lambda: client)
        cluster.workers.clear()
        engine._find_workers()
        api.at[20].append(lambda: cluster.workers.update({"three": 2}))
        batch = Batch(client, "wf", journal=tmp_path / "b.sqlite")
        outcomes = list(batch.run(({"n": n} for n in range(9)), engine=engine))
    assert Counter(one.status for one in outcomes) == {"completed": 9}
    assert set(api.submissions.values()) == {1}


def test_a_worker_that_is_lost_fails_its_rows_and_no_others(cluster):
    cluster.may_run.clear()
    with client_of(VirtualApi()) as client:
        engine = DaskEngine(cluster, lambda: client)
        futures = [engine.submit(Ticket("wf", {"n": n})) for n in range(4)]
        del cluster.workers["two"]
        lost = [future for future, at in zip(futures, cluster.sent) if at == "two"]
        for future in lost:
            with pytest.raises(BatchError, match="the Dask worker two is gone") as caught:
                future.result(60)
            assert caught.value.code == "worker_lost"
        cluster.may_run.set()
        for future in futures:
            if future not in lost:
                assert future.result(60).execution_id


def test_a_cluster_that_is_gone_fails_all_rows(cluster):
    cluster.may_run.clear()
    with client_of(VirtualApi()) as client:
        engine = DaskEngine(cluster, lambda: client)
        future = engine.submit(Ticket("wf", {"n": 1}))
        cluster.problem = OSError()
        with pytest.raises(BatchError, match="the Dask cluster is gone: OSError"):
            future.result(60)


def test_a_cluster_that_takes_no_task_leaves_a_row_in_doubt(cluster, tmp_path, monkeypatch):
    api = VirtualApi()
    submit, taken = cluster.submit, []

    def refuse(*arguments, **options):
        taken.append(options["key"])
        if len(taken) < 3:
            raise RuntimeError("Client is closed")
        return submit(*arguments, **options)

    monkeypatch.setattr(cluster, "submit", refuse)
    with client_of(api) as client, api.runs_the_clocks():
        batch = Batch(client, "wf", journal=tmp_path / "b.sqlite")
        engine = DaskEngine(cluster, lambda: client)
        outcomes = list(batch.run(({"n": n} for n in range(4)), engine=engine))
    assert Counter(one.status for one in outcomes) == {"completed": 4}
    assert set(api.submissions.values()) == {1}


def test_a_task_that_fails_is_a_row_in_doubt(cluster, monkeypatch):
    def fail(client, ticket):
        raise MemoryError

    monkeypatch.setattr(module, "send", fail)
    with client_of(VirtualApi()) as client:
        future = DaskEngine(cluster, lambda: client).submit(Ticket("wf", {"n": 1}))
        with pytest.raises(BatchError, match="its task on a Dask worker is error"):
            future.result(60)


def test_nobody_watches_a_cluster_without_rows(cluster):
    with client_of(VirtualApi()) as client:
        engine = DaskEngine(cluster, lambda: client)
        until(lambda: not watchers())
        for n in range(2):
            assert engine.submit(Ticket("wf", {"n": n})).result(60).execution_id
            until(lambda: not watchers())


def watchers():
    return [one for one in threading.enumerate() if one.name == "flowmaestro-dask"]


class LostResult:
    """A task that is finished, and whose result went down with its worker."""

    status = "finished"

    def __init__(self, error):
        self.error = error

    def add_done_callback(self, callback):
        callback(self)

    def result(self):
        raise self.error

    def cancel(self):
        pass


@pytest.mark.parametrize("error", [asyncio.CancelledError("lost"), KeyError("lost")])
def test_a_result_that_is_lost_with_its_worker_is_an_error_and_not_a_wait_for_ever(
    cluster, monkeypatch, error
):
    monkeypatch.setattr(cluster, "submit", lambda *arguments, **options: LostResult(error))
    with client_of(VirtualApi()) as client:
        future = DaskEngine(cluster, lambda: client).submit(Ticket("wf", {}))
        with pytest.raises(BatchError, match=r"the result of its task was lost: .*lost"):
            future.result(60)


def test_a_ticket_is_not_begun_twice_nor_by_a_process_that_is_another():
    api = VirtualApi()
    with client_of(api) as client:
        ticket = Ticket("wf", {"n": 1})
        sent = module._send_once("one", module._PROCESS, "engine", lambda: client, ticket)
        assert sent == Sent("e0", None, sent.rate_limit)
        for name, process in (("one", module._PROCESS), ("two", "another")):
            with pytest.raises(BatchError, match="started again") as caught:
                module._send_once(name, process, "engine", lambda: client, ticket)
            assert caught.value.code == "worker_lost"
    assert len(api.executions) == 1


def test_a_process_remembers_a_bounded_number_of_tickets_and_clients(monkeypatch):
    monkeypatch.setattr(module, "_MOST_BEGUN", 5)
    monkeypatch.setattr(module, "_MOST_CLIENTS", 2)
    made = []
    with client_of(VirtualApi()) as client:

        def make():
            made.append(client)
            return client

        for number in range(9):
            ticket, engine = Ticket("wf", {"n": number}), f"engine-{number // 3}"
            module._send_once(f"ticket-{number}", module._PROCESS, engine, make, ticket)
    assert len(made) == 3
    assert list(module._begun) == [f"ticket-{number}" for number in range(4, 9)]
    assert list(module._clients) == ["engine-1", "engine-2"]
