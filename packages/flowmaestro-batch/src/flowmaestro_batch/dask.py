"""Rows submitted by the workers of a Dask cluster."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from concurrent.futures import Future
from functools import partial
from typing import Any, Callable, Optional

from flowmaestro import FlowMaestroClient

from .errors import BatchError, WorkerLostError
from .sending import Sent, Ticket, reason_of, send

__all__ = ["DaskEngine"]

logger = logging.getLogger("flowmaestro.batch")

# Seconds between two looks at which workers are there.
_LOOK_SECONDS = 0.5

# Of a worker's process: who it is, its clients by engine, and the tickets that it has begun.
_PROCESS = uuid.uuid4().hex
_clients: dict[str, FlowMaestroClient] = {}
_begun: dict[str, None] = {}
_lock = threading.Lock()

# Engines whose client a process keeps, and tickets that it remembers: many more than are
# under way at a time, and none of those that are not comes back.
_MOST_CLIENTS = 8
_MOST_BEGUN = 100_000


class DaskEngine:
    """Submits rows on the workers of a Dask cluster that is there already.

    A task is bound to one process of one worker, and refuses to begin twice, so that Dask
    cannot run it again elsewhere: a worker that is lost fails its tasks, and the batch looks
    for what became of their rows. Workers that come later are used as well.

    Args:
        client: Your ``dask.distributed.Client``, connected to the cluster.
        make_client: Makes a worker's client; it is pickled, and called once in each process.
            Left out, workers take the key from ``FLOWMAESTRO_API_KEY`` in their environment;
            ``functools.partial(FlowMaestroClient, api_key=...)`` hands one over.

    Raises:
        BatchError: The cluster has no workers, or none that can submit: the error has the
            cause, such as a missing key or package.

    Example:
        Spread the submissions over a cluster::

            from dask.distributed import Client
            from flowmaestro_batch import Batch, DaskEngine

            batch = Batch(client, "wf_123", journal="leads.sqlite")
            for outcome in batch.run("leads.csv", engine=DaskEngine(Client("tcp://...:8786"))):
                print(outcome.key, outcome.status)
    """

    def __init__(
        self, client: Any, make_client: Callable[[], FlowMaestroClient] = FlowMaestroClient
    ) -> None:
        self._dask = client
        self._make_client = make_client
        self._name = uuid.uuid4().hex
        self._lock = threading.Lock()
        # Processes by the address of their worker, and what each has under way.
        self._processes: dict[str, str] = {}
        self._threads: dict[str, int] = {}
        self._under_way: dict[str, tuple[str, Any, Future[Sent]]] = {}
        # Why workers are left out, by their address.
        self._unusable: dict[str, str] = {}
        self._is_watched = False
        self._find_workers()
        if not self._processes:
            raise BatchError(self._why_none(), code="no_workers")

    @property
    def size(self) -> int:
        """As many tickets as the workers have threads, so that none waits at a worker."""
        return sum(self._threads.values()) or 1

    def submit(self, ticket: Ticket) -> Future[Sent]:
        """Have a worker submit a row."""
        future: Future[Sent] = Future()
        name = f"flowmaestro-{uuid.uuid4().hex}"
        problem = None
        if not self._processes:
            # Nothing is under way, and so nobody has seen whether some have come.
            try:
                self._find_workers()
            except Exception as why:
                problem = f"the Dask cluster is gone: {reason_of(why)}"
        with self._lock:
            address = self._choose()
            if address is None:
                # It was not submitted: it can be as soon as there is a worker.
                problem = problem or self._why_none()
                future.set_result(Sent(None, WorkerLostError(problem, code="no_workers")))
                return future
            task = self._dask.submit(
                _send_once,
                name,
                self._processes[address],
                self._name,
                self._make_client,
                ticket,
                key=name,
                workers=[address],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
            self._under_way[name] = (address, task, future)
            if not self._is_watched:
                self._is_watched = True
                threading.Thread(target=self._watch, name="flowmaestro-dask", daemon=True).start()
        task.add_done_callback(partial(self._done, name))
        return future

    def _choose(self) -> Optional[str]:
        """Take the worker with the most threads to spare."""
        free = dict(self._threads)
        for address, _, _ in self._under_way.values():
            if address in free:
                free[address] -= 1
        return max(free, key=lambda address: free[address], default=None)

    def _find_workers(self) -> None:
        """Look which workers are there, and which process each of them is."""
        threads: dict[str, int] = dict(self._dask.nthreads())
        known = {**self._processes, **self._unusable}
        new = [address for address in threads if address not in known]
        found: dict[str, Any] = {}
        if new:
            found = self._dask.run(
                _process, self._name, self._make_client, workers=new, on_error="return"
            )
        with self._lock:
            for workers in (self._processes, self._unusable):
                for address in [one for one in workers if one not in threads]:
                    del workers[address]
            for address, process in found.items():
                if isinstance(process, str):
                    self._processes[address] = process
                else:
                    self._unusable[address] = f"{type(process).__name__}: {process}"
                    logger.warning(
                        "the Dask worker %s is not used: %s", address, self._unusable[address]
                    )
            self._threads = {
                address: count for address, count in threads.items() if address in self._processes
            }

    def _why_none(self) -> str:
        for address, problem in self._unusable.items():
            return f"no Dask worker can submit rows; {address} says {problem}"
        return "the Dask cluster has no workers"

    def _watch(self) -> None:
        """Fail the tickets of workers that are gone; ends when nothing is under way."""
        while True:
            time.sleep(_LOOK_SECONDS)
            problem = None
            try:
                self._find_workers()
            except Exception as why:
                problem = f"the Dask cluster is gone: {reason_of(why)}"
            with self._lock:
                if not self._under_way:
                    self._is_watched = False
                    return
                lost = [
                    (name, problem or f"the Dask worker {address} is gone")
                    for name, (address, _, _) in self._under_way.items()
                    if problem or address not in self._processes
                ]
            for name, why_lost in lost:
                self._fail(name, why_lost)

    def _done(self, name: str, task: Any) -> None:
        if task.status != "finished":
            self._fail(name, f"its task on a Dask worker is {task.status}")
            return
        try:
            # The ticket stays under way meanwhile: where the result is lost with its worker,
            # this may wait until _watch has failed the ticket.
            sent = task.result()
        except BaseException as exc:  # a cancelled task raises one
            self._fail(name, f"the result of its task was lost: {reason_of(exc)}")
            return
        with self._lock:
            found = self._under_way.pop(name, None)
        if found is not None:
            found[2].set_result(sent)

    def _fail(self, name: str, problem: str) -> None:
        with self._lock:
            found = self._under_way.pop(name, None)
        if found is not None:
            found[1].cancel()
            found[2].set_exception(WorkerLostError(problem, code="worker_lost"))


def _process(engine: str, make_client: Callable[[], FlowMaestroClient]) -> str:
    """Give the name of this process, if it has all that it takes to submit; runs on a worker."""
    with _lock:
        _client_of(engine, make_client)
    return _PROCESS


def _client_of(engine: str, make_client: Callable[[], FlowMaestroClient]) -> FlowMaestroClient:
    client = _clients.get(engine)
    if client is None:
        client = _clients[engine] = make_client()
        _forget_oldest(_clients, _MOST_CLIENTS)
    return client


def _send_once(
    name: str,
    process: str,
    engine: str,
    make_client: Callable[[], FlowMaestroClient],
    ticket: Ticket,
) -> Sent:
    """Submit a row, unless it was begun before; runs on a worker."""
    with _lock:
        if process != _PROCESS or name in _begun:
            raise WorkerLostError("the Dask worker was started again", code="worker_lost")
        _begun[name] = None
        _forget_oldest(_begun, _MOST_BEGUN)
        client = _client_of(engine, make_client)
    return send(client, ticket)


def _forget_oldest(things: dict[str, Any], most: int) -> None:
    """Keep a process that works for months from growing."""
    while len(things) > most:
        del things[next(iter(things))]
