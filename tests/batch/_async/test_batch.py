"""A batch against the local server: outcomes, restarts, faults, and rows that are no good."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import pytest

import flowmaestro
from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_batch import (
    AsyncBatch,
    DayLimitError,
    JournalError,
    JournalInUseError,
    RowError,
    TooManyFailuresError,
    send,
)
from flowmaestro_batch.fingerprint import fingerprint
from flowmaestro_batch.journal import Entry, Journal
from flowmaestro_local import LocalServer
from tests.conftest import KEY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,  # async only
]


@pytest.fixture(params=["wire", pytest.param("documented", marks=pytest.mark.soak)])
def server(request):
    server = LocalServer(dialect=request.param)

    @server.workflow("wf")
    def wf(inputs, run):
        if inputs.get("fail"):
            raise ValueError("no such company")
        run.sleep(inputs.get("seconds", 0))
        return {"n": inputs["n"]}

    with server.start():
        yield server


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "batch.sqlite"


@pytest.fixture
def the_same_day():
    """Let a test that counts the requests of a day begin when midnight is not near."""
    left = 86_400 - time.time() % 86_400
    if left < 60:
        time.sleep(left + 1)


def reserved_port():
    """Find a port that is free, and outside of those that systems hand out by themselves."""
    while True:
        port = random.randrange(10_000, 30_000)
        with contextlib.suppress(OSError), contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.asynccontextmanager
async def batch_on(server, journal, **options):
    options = {"poll_interval": 0.05, "settle": 0.3, **options}
    async with AsyncFlowMaestroClient(KEY, server.url) as client:
        yield AsyncBatch(client, "wf", journal=journal, **options)


async def all_of(outcomes):
    return [outcome async for outcome in outcomes]


def numbers(count):
    return [{"n": number} for number in range(count)]


def ran(server):
    return sorted(execution.inputs["n"] for execution in server.executions)


async def test_every_row_gets_its_outcome(server, journal):
    rows = [*numbers(40), {"n": 40, "fail": True}]
    async with batch_on(server, journal) as batch:
        outcomes = await all_of(batch.run(rows, key="n"))
        summary = batch.summary()
    assert sorted(int(one.key) for one in outcomes) == list(range(41))
    for one in outcomes:
        if one.key == "40":
            assert (one.status, one.outputs) == ("failed", None)
            assert "no such company" in one.error
        else:
            assert (one.status, one.outputs) == ("completed", {"n": int(one.key)})
        assert one.inputs == rows[one.number - 1]
        assert one.execution_id
    assert ran(server) == list(range(41))
    assert (summary.rows, summary.completed, summary.failed, summary.left) == (41, 40, 1, 0)
    assert "41 rows: 40 completed, 1 failed" in str(summary)


async def test_outcomes_come_in_the_order_of_the_rows_where_asked_for(server, journal):
    rows = [{"n": number, "seconds": 0.3 if number == 0 else 0} for number in range(30)]
    async with batch_on(server, journal) as batch:
        outcomes = await all_of(batch.run(rows, ordered=True))
        assert [one.number for one in outcomes] == list(range(1, 31))
        outcomes = await all_of(batch.run(rows, ordered=True))
        assert [one.number for one in outcomes] == list(range(1, 31))


async def test_a_second_start_runs_nothing_again_and_tells_everything(server, journal):
    async with batch_on(server, journal) as batch:
        first = await all_of(batch.run(numbers(10), key="n"))
        second = await all_of(batch.run(numbers(12), key="n"))
    assert not any(one.resumed for one in first)
    assert {one.key: one.outputs for one in first} == {
        one.key: one.outputs for one in second if one.resumed
    }
    assert sorted(one.key for one in second if not one.resumed) == ["10", "11"]
    assert ran(server) == list(range(12))


async def test_few_requests_are_sent(server, journal):
    rows = [{"n": number, "seconds": 1.5} for number in range(100)]
    async with batch_on(server, journal, concurrency=100, poll_interval=0.5) as batch:
        started = time.monotonic()
        await all_of(batch.run(rows))
        intervals = (time.monotonic() - started) / 0.5
        requests = batch.summary().requests
    assert len(server.requests) == requests
    # One for the workflow, one for each row, and one poll of all of them in each interval.
    assert requests <= 1 + 100 + intervals + 2
    assert not any("/executions/" in request.path for request in server.requests)


async def test_leaving_early_loses_nothing(server, journal):
    rows = [{"n": number, "seconds": 0.2} for number in range(40)]
    async with batch_on(server, journal, concurrency=10) as batch:
        outcomes = batch.run(rows, key="n")
        async for outcome in outcomes:
            assert outcome.status == "completed"
            break
        await outcomes.aclose()
        rest = await all_of(batch.run(rows, key="n"))
    assert len(rest) == 40
    assert ran(server) == list(range(40))


async def test_stop_waits_for_what_runs_and_leave_does_not(server, journal):
    rows = [{"n": number, "seconds": 0.05} for number in range(60)]
    async with batch_on(server, journal, concurrency=5) as batch:
        got = []
        async for outcome in batch.run(rows, key="n"):
            got.append(outcome)
            batch.stop()
        assert batch.summary().left == 0
        assert len(got) == len(server.executions) < 60
        got = []
        async for outcome in batch.run(rows, key="n"):
            if not outcome.resumed:
                got.append(outcome)
                batch.stop(leave=True)
        assert len(got) <= 5
        assert len(await all_of(batch.run(rows, key="n"))) == 60
    assert ran(server) == list(range(60))


async def test_a_journal_that_is_in_use_is_refused(server, journal):
    async with batch_on(server, journal) as batch, batch_on(server, journal) as other:
        outcomes = batch.run(numbers(3))
        async for _ in outcomes:
            with pytest.raises(JournalInUseError, match=r"batch\.sqlite is in use"):
                await all_of(other.run(numbers(3)))
        assert len(await all_of(other.run(numbers(3)))) == 3


async def test_a_journal_of_another_workflow_is_refused(server, journal):
    Journal(journal, "wf_other").close()
    async with batch_on(server, journal) as batch:
        with pytest.raises(JournalError, match=r"is of workflow 'wf_other', not of 'wf'"):
            await all_of(batch.run(numbers(3)))


async def test_a_run_that_is_never_begun_holds_nothing(server, journal):
    async with batch_on(server, journal) as batch, batch_on(server, journal) as other:
        never = batch.run(numbers(3))
        assert len(await all_of(other.run(numbers(3)))) == 3
        assert len(await all_of(never)) == 3


async def test_changed_inputs_under_an_old_key_are_an_error_that_names_the_row(server, journal):
    async with batch_on(server, journal) as batch:
        await all_of(batch.run(numbers(3), key="n"))
        with pytest.raises(JournalError, match=r"row 2: the inputs of row '1' are not those"):
            await all_of(batch.run([{"n": 0}, {"n": 1, "more": True}], key="n"))
    assert ran(server) == [0, 1, 2]


async def test_failed_rows_are_run_again_where_asked_for_also_with_other_inputs(server, journal):
    async with batch_on(server, journal) as batch:
        await all_of(batch.run([{"n": 0}, {"n": 1, "fail": True}], key="n"))
        again = await all_of(batch.run([{"n": 0}, {"n": 1, "fail": True}], key="n"))
        assert [one.status for one in again] == ["completed", "failed"]
    assert ran(server) == [0, 1]
    async with batch_on(server, journal, retry_failed=True) as batch:
        again = await all_of(batch.run([{"n": 0}, {"n": 1}], key="n"))
        assert sorted(one.status for one in again) == ["completed", "completed"]
    assert ran(server) == [0, 1, 1]


async def test_an_unknown_workflow_is_an_error_before_anything_is_submitted(server, journal):
    async with AsyncFlowMaestroClient(KEY, server.url) as client:
        batch = AsyncBatch(client, "wf_unknown", journal=journal)
        with pytest.raises(flowmaestro.NotFoundError):
            await all_of(batch.run(numbers(3)))
    assert [request.method for request in server.requests] == ["GET"]


async def test_a_key_that_is_no_good_is_an_error(server, journal):
    server.add_key(KEY, scopes=["workflows:read"])
    async with batch_on(server, journal) as batch:
        with pytest.raises(flowmaestro.AuthorizationError):
            await all_of(batch.run(numbers(3)))
    assert not server.executions


async def test_rows_that_are_no_good_fail_with_their_line_and_the_others_run(
    server, journal, tmp_path
):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"n,name\n1,Ada\n2\n3,Bob\n1,Eve\n4,\xff\n,Zoe\n5,Tim\n")
    async with batch_on(server, journal) as batch:
        outcomes = await all_of(batch.run(path, key="n"))
        assert [one.line for one in await all_of(batch.run(path, key="n", ordered=True))] == [
            2,
            3,
            4,
            5,
            6,
            7,
            8,
        ]
    errors = {one.line: one.error for one in outcomes if one.status == "failed"}
    assert errors == {
        3: "line 3: it has 1 values for 2 columns",
        5: "line 5: its key '1' is that of line 2",
        6: "line 6: it is not UTF-8",
        7: "line 7: its key 'n' is ''; a key is a text or a number",
    }
    assert ran(server) == ["1", "3", "5"]
    async with batch_on(server, tmp_path / "strict.sqlite", strict=True) as batch:
        with pytest.raises(RowError, match="line 3: it has 1 values for 2 columns"):
            await all_of(batch.run(path, key="n"))


async def test_what_json_cannot_carry_fails_its_row(server, journal):
    rows = [{"n": 1}, {"n": 2, "x": {1, 2}}, {"n": 3, "x": float("nan")}, ["n"], {"m": 1}]
    async with batch_on(server, journal) as batch:
        outcomes = await all_of(batch.run(rows, key="n", ordered=True))
    assert [one.status for one in outcomes] == ["completed"] + 4 * ["failed"]
    assert outcomes[1].error == "row 2: its 'x' cannot be sent: JSON cannot express set"
    assert outcomes[3].error == "row 4: it is list, not a mapping of names to values"
    assert outcomes[4].error == "row 5: it has no 'n', which is the key"


async def test_a_run_that_goes_wrong_is_ended_early(server, journal):
    rows = [{"n": number, "fail": True} for number in range(200)]
    async with batch_on(server, journal, concurrency=10, stop_on_failures=5) as batch:
        got = []
        with pytest.raises(TooManyFailuresError, match="after 5 failed rows"):
            async for outcome in batch.run(rows, key="n"):
                got.append(outcome)
    assert 5 <= len(got) == len(server.executions) < 200


AT_ONCE = {"retry-after": "0"}


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_refusals_and_faults_of_the_backend_fail_no_row(server, journal, status):
    server.faults.add("status", "POST */execute", status=status, times=8, headers=AT_ONCE)
    server.faults.add("status", "GET */executions*", status=status, times=2, headers=AT_ONCE)
    async with batch_on(server, journal) as batch:
        outcomes = await all_of(batch.run(numbers(20), key="n"))
        assert batch.summary().refused == (0 if status != 429 else 10)
    assert [one.status for one in outcomes] == 20 * ["completed"]
    assert ran(server) == list(range(20))


# httpx leaves a generator behind, of which trio warns.
@pytest.mark.filterwarnings("ignore:.*ByteStream.__aiter__")
@pytest.mark.parametrize("fault", ["reset_after", "truncate", "reset_before"])
async def test_a_submission_whose_answer_is_lost_is_found_and_not_repeated(server, journal, fault):
    server.faults.add(fault, "POST */execute", times=6)
    async with batch_on(server, journal) as batch:
        outcomes = await all_of(batch.run(numbers(20), key="n"))
    assert sorted(int(one.key) for one in outcomes) == list(range(20))
    assert {one.status for one in outcomes} == {"completed"}
    assert ran(server) == list(range(20))


async def test_an_outage_fails_no_row(server, journal):
    server.faults.add("status", "POST */execute", status=503, times=20)
    server.faults.add("status", "POST */execute", status=500, times=10)
    async with batch_on(server, journal, attempts=1, settle=0.05) as batch:
        outcomes = await all_of(batch.run(numbers(10), key="n"))
    assert [one.status for one in outcomes] == 10 * ["completed"]
    assert ran(server) == list(range(10))


async def test_an_outage_that_does_not_end_is_given_up_and_nothing_is_lost(server, journal):
    fault = server.faults.add("status", "POST */execute", status=502, times=None)
    async with batch_on(server, journal, patience=0.5, settle=0.05) as batch:
        with pytest.raises(flowmaestro.ServerError, match="HTTP 502"):
            await all_of(batch.run(numbers(10), key="n"))
        assert fault.used > 10
        server.faults.clear()
        outcomes = await all_of(batch.run(numbers(10), key="n"))
    assert [one.status for one in outcomes] == 10 * ["completed"]
    assert ran(server) == list(range(10))


@pytest.mark.parametrize("code", ["internal_error", "execution_failed"])
async def test_a_row_that_the_backend_does_not_take_fails_at_last(journal, code):
    def submit(backend, inputs):
        if inputs["n"] != 1:
            return backend.take(inputs)
        tried.append(inputs)
        return httpx.Response(500, json={"error": {"code": code, "message": "m"}})

    tried = []
    options = {"attempts": 3, "settle": 0.05, "concurrency": 1}
    if code == "internal_error":
        # Others are taken at the same time, so that it is this row's fault.
        options["concurrency"] = 5
    outcomes = await outcomes_on(Backend(submit), journal, numbers(20), **options)
    statuses = {one.number - 1: one.status for one in outcomes}
    assert statuses.pop(1) == "failed"
    assert set(statuses.values()) == {"completed"}
    assert f"[{code}] m" in outcomes[1].error
    assert len(tried) == 3


async def test_a_look_that_is_refused_for_good_ends_the_run(server, journal):
    server.faults.add("status", "GET */executions", status=400, times=None)
    async with batch_on(server, journal) as batch:
        with pytest.raises(flowmaestro.ValidationError):
            await all_of(batch.run(numbers(3), key="n"))
        server.faults.clear()
        assert len(await all_of(batch.run(numbers(3), key="n"))) == 3
    assert ran(server) == [0, 1, 2]


async def test_a_row_that_was_cut_off_and_has_arrived_is_adopted(server, journal):
    async with AsyncFlowMaestroClient(KEY, server.url) as client:
        started = await client.workflows.execute("wf", {"n": 1})
    leave_submitting(journal, {"n": 0}, {"n": 1})
    async with batch_on(server, journal) as batch:
        outcomes = {one.key: one for one in await all_of(batch.run(numbers(3), key="n"))}
    assert outcomes["1"].execution_id == started["data"]["execution_id"]
    assert ran(server) == [0, 1, 2]


class Backend:
    """A backend within the process, of which a test says what it does with a submission."""

    def __init__(self, submit):
        self.submit = submit
        self.newest = []

    def take(self, inputs):
        execution = {"id": f"e{inputs['n']}", "workflow_id": "wf", "status": "completed"}
        self.newest.insert(0, {**execution, "inputs": inputs, "outputs": {}, "error": None})
        return httpx.Response(202, json={"data": {"execution_id": execution["id"]}})

    def __call__(self, request):
        if request.method == "POST":
            return self.submit(self, json.loads(request.content)["inputs"])
        pages = {"page": 1, "per_page": 100, "total_count": 3, "has_next": False}
        listing = request.url.path.endswith("/executions")
        content = {"data": self.newest if listing else {"id": "wf"}, "pagination": pages}
        return httpx.Response(200, json=content)


async def outcomes_on(backend, journal, rows, **options):
    async with httpx.AsyncClient(transport=httpx.MockTransport(backend)) as http_client:
        client = AsyncFlowMaestroClient(KEY, "http://127.0.0.1", http_client=http_client)
        batch = AsyncBatch(client, "wf", journal=journal, poll_interval=0.05, **options)
        return await all_of(batch.run(rows, key="n", ordered=True))


async def test_a_late_submission_is_waited_for_from_when_its_request_ended(journal):
    submitted, late = [], []

    def submit(backend, inputs):
        submitted.append(inputs)
        # By the time that the client gives up on it, the grace period has gone by once.
        time.sleep(2.2)
        late.append(inputs)
        raise httpx.ReadTimeout("too late")

    class Late(Backend):
        """One in which a late submission arrives with the second poll after it."""

        polls = 0

        def __call__(self, request):
            if late and request.url.path.endswith("/executions"):
                self.polls += 1
                if self.polls == 2:
                    self.take(late.pop())
            return super().__call__(request)

    outcomes = await outcomes_on(Late(submit), journal, numbers(1), settle=2.0)
    assert [one.status for one in outcomes] == ["completed"]
    assert submitted == numbers(1)


async def test_where_the_backend_changes_inputs_nobody_can_tell(journal):
    def submit(backend, inputs):
        answer = backend.take({**inputs, "added": 1})
        if inputs["n"] == 2:
            raise httpx.ReadError("reset")
        return answer

    backend = Backend(submit)
    outcomes = await outcomes_on(backend, journal, numbers(3), settle=0.2)
    assert [one.status for one in outcomes] == ["completed", "completed", "unknown"]
    assert "does not tell the inputs" in outcomes[2].error
    assert len(backend.newest) == 3


async def test_an_execution_that_is_listed_twice_ends_once(journal):
    def submit(backend, inputs):
        answer = backend.take(inputs)
        backend.newest.insert(0, backend.newest[0])
        return answer

    outcomes = await outcomes_on(Backend(submit), journal, numbers(3))
    assert [one.status for one in outcomes] == 3 * ["completed"]


def leave_submitting(journal, *rows):
    """Write what a process leaves that is killed as it submits."""
    opened = Journal(journal, "wf")
    opened.write(
        Entry(str(row["n"]), fingerprint(row), "submitting", None, time.time() - 1) for row in rows
    )
    opened.close()


@pytest.mark.parametrize("on_unknown", ["report", "retry"])
async def test_where_nobody_can_tell_the_row_is_reported_and_not_run(server, journal, on_unknown):
    async with AsyncFlowMaestroClient(KEY, server.url) as client:
        for _ in range(2):
            await client.workflows.execute("wf", {"n": 1})
    leave_submitting(journal, {"n": 1})
    async with batch_on(server, journal, on_unknown=on_unknown) as batch:
        outcomes = {one.key: one for one in await all_of(batch.run(numbers(3), key="n"))}
        if on_unknown == "report":
            assert outcomes["1"].status == "unknown"
            assert "2 executions have its inputs" in outcomes["1"].error
            again = {one.key: one for one in await all_of(batch.run(numbers(3), key="n"))}
            assert again["1"].status == "unknown"
            assert ran(server) == [0, 1, 1, 2]
        else:
            assert outcomes["1"].status == "completed"
            assert ran(server) == [0, 1, 1, 1, 2]


async def test_a_server_that_is_gone_is_waited_for(server, journal):
    rows = [{"n": number, "seconds": 0.05} for number in range(60)]
    # On a free port of the system's choice, another program could sit down meanwhile.
    port = reserved_port()
    server.stop()
    server.start(port)
    async with batch_on(server, journal, concurrency=5) as batch:
        got = []
        async for outcome in batch.run(rows, key="n"):
            got.append(outcome)
            if len(got) == 10:
                server.stop()
                back = threading.Timer(0.7, server.start, [port])
                back.start()
        back.join()
    # Its memory is gone with it: what ran then is reported, and nothing is run twice.
    assert len(got) == 60
    assert {one.status for one in got} <= {"completed", "failed", "cancelled", "unknown"}
    assert sum(one.status == "completed" for one in got) >= 50


async def test_a_backend_that_stays_away_is_given_up(server, journal):
    async with batch_on(server, journal, patience=0.3) as batch:
        outcomes = batch.run([{"n": n, "seconds": 0.05} for n in range(500)], key="n")
        async for _ in outcomes:
            break
        server.stop()
        with pytest.raises(flowmaestro.ConnectionError):
            with anyio.fail_after(100):  # async only
                await all_of(outcomes)


@pytest.mark.usefixtures("the_same_day")
async def test_the_requests_of_a_day_are_used_up_and_everything_is_saved(journal, server):
    server.add_key(KEY, per_day=40)
    async with batch_on(server, journal, on_day_limit="stop", concurrency=10) as batch:
        got = []
        with pytest.raises(DayLimitError, match="used up; everything is saved") as caught:
            async for outcome in batch.run(numbers(100), key="n"):
                got.append(outcome)
        summary = batch.summary()
    assert 0 < caught.value.retry_after <= 86_400
    assert summary.refused == 0
    assert 20 <= len(server.executions) <= 40
    assert len(got) + summary.left == len(server.executions)
    server.add_key(KEY)
    async with batch_on(server, journal) as batch:
        assert len(await all_of(batch.run(numbers(100), key="n"))) == 100
    assert ran(server) == list(range(100))


@pytest.mark.usefixtures("the_same_day")
async def test_a_wait_for_the_next_day_is_announced_and_can_be_left(journal, server):
    server.add_key(KEY, per_day=40)
    async with batch_on(server, journal, concurrency=10) as batch:
        watcher = threading.Thread(target=leave_when_waiting, args=[batch])
        watcher.start()
        await all_of(batch.run(numbers(100), key="n"))
        watcher.join(100)
        assert "requests of the next day" in batch.progress.waiting


def leave_when_waiting(batch):
    end = time.monotonic() + 100
    while batch.progress.waiting is None and time.monotonic() < end:
        time.sleep(0.05)
    batch.stop(leave=True)


async def test_progress_can_be_watched(server, journal):
    async with batch_on(server, journal, concurrency=5) as batch:
        assert batch.progress.read == 0
        seen = []
        async for _ in batch.run(numbers(30)):
            seen.append(batch.progress)
        assert [one.done for one in seen] == sorted(one.done for one in seen)
        assert all(one.running <= 5 for one in seen)
        assert batch.progress.done == 30
        assert batch.progress.rate > 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"concurrency": 0}, ValueError, "concurrency must be 1 or more, not 0"),
        ({"concurrency": 1.5}, TypeError, "concurrency must be a whole number"),
        ({"poll_interval": 0}, ValueError, "poll_interval must be more than 0"),
        ({"settle": "1"}, TypeError, "settle must be a number of seconds"),
        ({"on_unknown": "ignore"}, ValueError, "'report' or 'retry', not 'ignore'"),
        ({"on_day_limit": "x"}, ValueError, "'wait' or 'stop', not 'x'"),
        ({"stop_on_failures": 0}, ValueError, "stop_on_failures must be 1 or more"),
    ],
)
async def test_arguments_that_make_no_sense_are_refused(journal, options, error, message):
    async with AsyncFlowMaestroClient(KEY, "http://127.0.0.1:1") as client:
        with pytest.raises(error, match=message):
            AsyncBatch(client, "wf", journal=journal, **options)
    with pytest.raises(TypeError, match="client must be"):
        AsyncBatch("client", "wf", journal=journal)


class Careless:
    """An engine that loses tickets, before it has submitted them and after."""

    size = 4

    def __init__(self, url):
        self.client = flowmaestro.FlowMaestroClient(KEY, url)
        self.threads = ThreadPoolExecutor(self.size)
        self.count = 0

    def submit(self, ticket):
        self.count += 1
        return self.threads.submit(self.send, ticket, self.count)

    def send(self, ticket, number):
        if number % 5 == 1:
            raise RuntimeError("lost before it was submitted")
        sent = send(self.client, ticket)
        if number % 5 == 2:
            raise RuntimeError("lost after it was submitted")
        return sent

    def close(self):
        self.threads.shutdown()
        self.client.close()


async def test_an_engine_that_loses_tickets_loses_no_row_and_runs_none_twice(server, journal):
    engine = Careless(server.url)
    async with batch_on(server, journal, concurrency=8) as batch:
        outcomes = await all_of(batch.run(numbers(30), key="n", engine=engine))
    engine.close()
    assert sorted(int(one.key) for one in outcomes) == list(range(30))
    assert {one.status for one in outcomes} == {"completed"}
    assert ran(server) == list(range(30))


@pytest.mark.parametrize("rows", [b"n\n1", 7, {"n": 1}, None])
async def test_what_holds_no_rows_is_refused(server, journal, rows):
    async with batch_on(server, journal) as batch:
        with pytest.raises(TypeError, match="rows must be a path, a DataFrame or an iterable"):
            batch.run(rows)
        with pytest.raises(TypeError, match="key must be the name of a column"):
            batch.run([], key=3)


async def test_outcomes_can_be_written_as_json(server, journal):
    async with batch_on(server, journal) as batch:
        (outcome,) = await all_of(batch.run(numbers(1)))
    assert json.loads(json.dumps(outcome._asdict()))["status"] == "completed"
