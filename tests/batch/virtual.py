"""An API within the process, in a time of its own: hours pass in milliseconds.

What it does with each request is planned by a test, so that a fault comes exactly where it is
wanted. A process that is killed is played as well: what it would leave on disk is copied aside.
"""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import Any, Optional

import anyio
import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from flowmaestro_batch import AsyncBatch, Batch
from flowmaestro_batch.errors import JournalInUseError
from flowmaestro_batch.journal import Journal
from tests.conftest import KEY

HALVES = ["async", "sync"]

# Seconds that a request takes.
LATENCY = 0.05

# Requests and sleeps of one test, many more than any needs.
MOST_EVENTS = 50_000


class Killed(BaseException):
    """Takes a process that is dead out of its loop."""


@dataclass
class Execution:
    """One execution, as the API has it."""

    id: str
    inputs: dict[str, Any]
    created: float
    ends_at: float
    status: str
    error: Optional[str]
    is_pending: bool = False
    is_hidden: bool = False


@dataclass
class VirtualApi:
    """An API, its clock, and the two clocks of the machine that calls it.

    Attributes:
        plans: What becomes of the submissions of rows with this ``n``, one after the other,
            and then ``"ok"``; see ``_submit``.
        ends: Seconds that their executions take, and how they end.
        lists: What becomes of the next requests for a list: ``"ok"``, ``"reset"``, ``"stale"``,
            ``"twice"`` or a status.
        has_list: False for one that fails for good.
        singles: A status for requests for single executions, by ``n``.
        hidden: The ``n`` of executions that no list shows.
        adds: What it adds to the inputs that it is sent.
        told_ahead: Seconds by which the time that it tells differs from its executions'.
        error: What executions that fail say.
        headers: Of each response.
        prefix: What ids of executions begin with.
        late: Seconds after which a submission arrives whose response was lost.
    """

    plans: dict[int, list[str]] = field(default_factory=dict)
    ends: dict[int, tuple[float, str]] = field(default_factory=dict)
    lists: Iterable[str] = ()
    has_list: bool = True
    singles: dict[int, int] = field(default_factory=dict)
    hidden: frozenset[int] = frozenset()
    adds: dict[str, Any] = field(default_factory=dict)
    told_ahead: float = 0.0
    error: str = "no such company"
    headers: dict[str, str] = field(default_factory=dict)
    prefix: str = "e"
    late: float = 5.0

    def __post_init__(self) -> None:
        self.now = 5_000.0
        self.api_ahead, self.wall_ahead = 1_790_000_000.0, 1_790_000_000.0
        # When the machine's monotonic clock began.
        self.boot = 0.0
        self.events = 0
        self.sleeps = 0
        self.at: dict[int, list[Any]] = defaultdict(list)
        self.executions: list[Execution] = []
        self.submissions: Counter[int] = Counter()
        self.made: Counter[int] = Counter()
        self.requests: list[tuple[str, str]] = []
        self.is_dead = False
        self._lists = deque(self.lists)
        self._arriving: list[tuple[float, dict[str, Any]]] = []
        self._lock = threading.RLock()

    # Time

    def monotonic(self) -> float:
        return self.now - self.boot

    def wall_clock(self) -> float:
        return self.now + self.wall_ahead

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.sleeps += 1
            # No sleep is shorter than the clock can tell.
            self.now += max(seconds, 1e-6)
            self._event()
            if self.is_dead:
                raise Killed

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)
        await anyio.lowlevel.checkpoint()

    def _event(self) -> None:
        self.events += 1
        assert self.events < MOST_EVENTS, "it does not end"
        for act in self.at.pop(self.events, ()):
            act()

    def kill(self, journal: Path, left: Path) -> None:
        """End the process, and copy aside what it has on disk."""
        self.is_dead = True
        left.mkdir()
        for file in journal.parent.glob(f"{journal.name}*"):
            if not file.name.endswith("-lock"):
                shutil.copy(file, left / file.name)
        # Even though the files were opened and closed here, the journal is still claimed.
        with pytest.raises(JournalInUseError):
            Journal(journal, "wf")

    def start_again(self, pause: float) -> None:
        """Begin with a new process, on a machine that was switched off meanwhile."""
        self.is_dead = False
        self.now += pause
        self.boot = self.now - 7.0

    # The API

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self._event()
            if self.is_dead:
                raise httpx.ConnectError("the process is dead")
            self.requests.append((request.method, request.url.path))
            self.now += LATENCY
            self._arrive()
            response = self._respond(request)
            self._event()
            if self.is_dead:
                raise httpx.ReadError("the process is dead")
            if isinstance(response, Exception):
                raise response
            return response

    def _respond(self, request: httpx.Request) -> Any:
        path = request.url.path
        if request.method == "POST":
            return self._submit(json.loads(request.content)["inputs"])
        if path.endswith("/executions"):
            return self._list(int(request.url.params["page"]))
        if "/executions/" in path:
            (one,) = [one for one in self.executions if one.id == path.rpartition("/")[2]]
            status = self.singles.get(one.inputs["n"])
            return self._failure(status) if status else self._success(200, self._told(one))
        return self._success(200, {"id": "wf"})

    def _submit(self, inputs: dict[str, Any]) -> Any:
        n = inputs["n"]
        self.submissions[n] += 1
        plan = self.plans.get(n, [])
        fate = plan[self.submissions[n] - 1] if len(plan) >= self.submissions[n] else "ok"
        if fate.isdigit():
            return self._failure(int(fate))
        if fate == "unreachable":
            return httpx.ConnectError("refused")
        if fate == "cut":
            return httpx.ReadError("reset")
        if fate == "late":
            self._arriving.append((self.now + self.late, inputs))
            return httpx.ReadError("reset")
        one = self._make(inputs)
        if fate == "left":
            one.is_pending, one.ends_at = True, math.inf
            return self._failure(500, "execution_failed")
        if fate == "lost":
            return httpx.ReadError("reset")
        if fate in ("doubled", "doubled and lost"):
            self._make(inputs)
            self.made[n] -= 1
            if fate == "doubled and lost":
                return httpx.ReadError("reset")
        if fate == "nameless":
            return self._success(202, {"status": "running"})
        if fate == "another's" and len(self.executions) > 1:
            return self._success(202, {"execution_id": self.executions[0].id})
        one.is_hidden = n in self.hidden and fate == "ok"
        return self._success(202, {"execution_id": one.id})

    def _make(self, inputs: dict[str, Any]) -> Execution:
        seconds, status = self.ends.get(inputs["n"], (1.0, "completed"))
        error = self.error if status == "failed" else None
        created = self.now + self.api_ahead
        self.made[inputs["n"]] += 1
        name = f"{self.prefix}{len(self.executions)}"
        one = Execution(name, inputs, created, self.now + seconds, status, error)
        self.executions.append(one)
        return one

    def _arrive(self) -> None:
        due = [inputs for moment, inputs in self._arriving if moment <= self.now]
        self._arriving = [one for one in self._arriving if one[0] > self.now]
        for inputs in due:
            self._make(inputs)

    def _list(self, page: int) -> Any:
        fate = self._lists.popleft() if self._lists else "ok"
        if not self.has_list:
            return self._failure(500)
        if fate.isdigit():
            return self._failure(int(fate))
        if fate == "reset":
            return httpx.ReadError("reset")
        shown = [one for one in reversed(self.executions) if not one.is_hidden]
        told = [self._told(one) for one in shown[(page - 1) * 100 : page * 100]]
        if fate == "twice":
            told = [one for one in told for _ in range(2)]
        if fate == "stale":
            told = [{**one, "status": "running", "outputs": None, "error": None} for one in told]
        pages = {"page": page, "per_page": 100, "total_count": len(shown)}
        pages["has_next"] = page * 100 < len(shown)
        return self._success(200, told, pagination=pages)

    def _told(self, one: Execution) -> dict[str, Any]:
        status = one.status if one.ends_at <= self.now else "running"
        if one.is_pending:
            status = "pending"
        return {
            "id": one.id,
            "workflow_id": "wf",
            "status": status,
            "inputs": {**one.inputs, **self.adds},
            "outputs": one.inputs if status == "completed" else None,
            "error": one.error if status == "failed" else None,
            "created_at": _text(one.created),
        }

    def _success(self, status: int, data: Any, **more: Any) -> httpx.Response:
        told = self.now + self.api_ahead + self.told_ahead
        meta = {"request_id": "r", "timestamp": _text(told)}
        return self._json(status, {"data": data, "meta": meta, **more})

    def _failure(self, status: int, code: str = "some_code") -> httpx.Response:
        return self._json(status, {"error": {"code": code, "message": "it says"}})

    def _json(self, status: int, content: Any) -> httpx.Response:
        headers = {"content-type": "application/json", **self.headers}
        # As JavaScript writes it, which has halves of characters as well.
        return httpx.Response(status, content=json.dumps(content), headers=headers)

    # The machine

    @contextmanager
    def runs_the_clocks(self) -> Iterator[None]:
        """Have batches live in this time."""
        with pytest.MonkeyPatch.context() as patch:
            for half, sleep in (("_async", self.asleep), ("_sync", self.sleep)):
                for name in ("run", "backend"):
                    module = import_module(f"flowmaestro_batch.{half}.{name}")
                    patch.setattr(module, "monotonic", self.monotonic)
                    patch.setattr(module, "sleep", sleep)
                patch.setattr(f"flowmaestro_core.{half}.transport.sleep", sleep)
            clock = import_module("flowmaestro_batch.clock")
            patch.setattr(clock, "monotonic", self.monotonic)
            patch.setattr(clock, "wall_clock", self.wall_clock)
            yield

    def run(
        self,
        half: str,
        rows: Any,
        journal: Path,
        *,
        key: Optional[str] = None,
        ordered: bool = False,
        each: Any = None,
        form: Any = None,
        engine: Any = None,
        **options: Any,
    ) -> list[Any]:
        """Run a batch against this API to its end, and give its outcomes."""
        given: list[Any] = []
        arguments = {"key": key, "ordered": ordered, "engine": engine, **(form or {})}

        def take(batch: Any, outcome: Any) -> None:
            given.append(outcome)
            if each is not None:
                each(batch, outcome)

        async def run_async() -> None:
            async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as http_client:
                client = AsyncFlowMaestroClient(KEY, "http://127.0.0.1", http_client=http_client)
                batch = AsyncBatch(client, "wf", journal=journal, **options)
                async for outcome in batch.run(rows, **arguments):
                    take(batch, outcome)

        with self.runs_the_clocks():
            if half == "async":
                asyncio.run(run_async())
            else:
                with httpx.Client(transport=httpx.MockTransport(self)) as http_client:
                    client = FlowMaestroClient(KEY, "http://127.0.0.1", http_client=http_client)
                    batch = Batch(client, "wf", journal=journal, **options)
                    for outcome in batch.run(rows, **arguments):
                        take(batch, outcome)
        return given


def _text(moment: float) -> str:
    told = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds")
    return told.replace("+00:00", "Z")
