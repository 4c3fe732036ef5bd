"""How a batch goes, in a time of its own: clocks that jump, an API that is wrong, waits."""

from __future__ import annotations

import logging
import math
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from flowmaestro import (
    AuthorizationError,
    FlowMaestroClient,
    RateLimitError,
    ServerError,
    ValidationError,
)
from flowmaestro_batch import DayLimitError, JournalError, RowError, TooManyFailuresError, send
from flowmaestro_batch.journal import Entry, Journal
from tests.batch.virtual import HALVES, VirtualApi
from tests.conftest import KEY

# The loop is the same on every Python; with a server, test_batch.py tries it on the oldest too.
pytestmark = pytest.mark.once


@pytest.fixture(params=HALVES)
def half(request):
    return request.param


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "batch.sqlite"


def rows(count):
    return [{"n": n} for n in range(count)]


def statuses(outcomes):
    return {one.inputs["n"]: one.status for one in outcomes}


def all_completed(count):
    return dict.fromkeys(range(count), "completed")


# Clocks


@pytest.mark.parametrize("seconds", [3.0, 90.0, 86_400.0, -3.0, -3_600.0])
@pytest.mark.parametrize("clock", ["wall_ahead", "api_ahead"])
def test_a_clock_that_is_set_runs_no_row_twice_and_stalls_nothing(half, journal, clock, seconds):
    api = VirtualApi(plans={n: ["lost"] for n in range(1, 6)}, ends={1: (30.0, "completed")})
    for moment in (5, 15):
        api.at[moment].append(lambda: setattr(api, clock, getattr(api, clock) + seconds / 2))
    began = api.now
    assert statuses(api.run(half, rows(8), journal)) == all_completed(8)
    assert set(api.made.values()) == {1}
    assert api.now - began < 60


def test_a_clock_that_drifts_runs_no_row_twice(half, journal):
    api = VirtualApi(plans={n: ["lost"] for n in range(50)})
    for event in range(1, 400):
        api.at[event].append(lambda: setattr(api, "api_ahead", api.api_ahead - 0.05))
    assert statuses(api.run(half, rows(50), journal, concurrency=5)) == all_completed(50)
    assert set(api.made.values()) == {1}


@pytest.mark.parametrize("seconds", [3_600.0, 1e9])
def test_an_api_that_tells_two_times_runs_no_row_twice(half, journal, caplog, seconds):
    lost = {n: ["lost"] for n in range(1, 4)}
    api = VirtualApi(plans=lost, told_ahead=seconds)
    outcomes = api.run(half, rows(8), journal)
    assert statuses(outcomes) == {**all_completed(8), **dict.fromkeys(lost, "unknown")}
    assert set(api.made.values()) == {1}
    assert caplog.text.count("the API tells two times") == 1


@pytest.mark.parametrize("seconds", [-3_600.0, -60.0])
def test_an_api_whose_executions_seem_newer_is_believed(half, journal, seconds):
    api = VirtualApi(plans={1: ["lost"]}, told_ahead=seconds)
    assert statuses(api.run(half, rows(3), journal)) == all_completed(3)
    assert set(api.made.values()) == {1}


# An API that is wrong about a row


def test_what_the_api_left_behind_fails_its_row_within_a_minute(half, journal):
    api = VirtualApi(plans={0: ["left"], 1: ["left"]})
    began = api.now
    outcomes = api.run(half, rows(4), journal, concurrency=1)
    assert statuses(outcomes) == {0: "failed", 1: "failed", 2: "completed", 3: "completed"}
    for one in outcomes[:2]:
        assert "[execution_failed] it says" in one.error
        assert f"its execution {one.execution_id} never began" in one.error
    assert api.now - began < 200
    assert api.submissions == dict.fromkeys(range(4), 1)


def test_why_a_start_was_refused_is_still_known_to_the_next_process(half, journal):
    api = VirtualApi(plans={0: ["left"]})

    def leave(batch, outcome):
        batch.stop(leave=True)

    api.run(half, rows(2), journal, each=leave)
    api.start_again(0.0)
    again = {one.inputs["n"]: one for one in api.run(half, rows(2), journal)}
    assert again[0].status == "failed"
    assert "[execution_failed] it says" in again[0].error
    assert api.submissions[0] == 1


def test_an_execution_that_begins_after_all_is_waited_for(half, journal):
    api = VirtualApi(plans={0: ["left"]})

    def begin():
        (one,) = api.executions
        one.is_pending, one.ends_at = False, api.now + 300

    api.at[20].append(begin)
    assert statuses(api.run(half, rows(1), journal)) == {0: "completed"}


def test_a_row_that_never_ends_is_unknown_and_the_next_start_looks_again(half, journal):
    api = VirtualApi(ends={0: (500.0, "completed")})
    outcomes = api.run(half, rows(3), journal, row_timeout=100.0, concurrency=1)
    assert statuses(outcomes) == {0: "unknown", 1: "completed", 2: "completed"}
    assert "had not ended 100 s after its submission" in outcomes[0].error
    assert outcomes[0].execution_id == "e0"
    api.now += 500
    (again, *_) = api.run(half, rows(3), journal, row_timeout=100.0, ordered=True)
    assert (again.status, again.outputs, again.error) == ("completed", {"n": 0}, None)
    assert api.submissions[0] == 1


def test_a_row_of_an_earlier_run_that_still_runs_is_unknown_once_it_is_read(half, journal):
    api = VirtualApi(ends={0: (1_000.0, "completed")}, plans={1: ["late"]})
    options = {"row_timeout": 100.0, "key": "n", "concurrency": 2}
    api.run(half, rows(1), journal, **options)
    many = [{"n": n} for n in [*range(2, 40), 0]]
    assert statuses(api.run(half, many, journal, **options))[0] == "unknown"
    api.now += 1_000
    (again,) = api.run(half, rows(1), journal, **options)
    assert (again.status, again.outputs) == ("completed", {"n": 0})
    assert api.submissions[0] == 1


def test_no_bound_can_be_asked_for(half, journal):
    api = VirtualApi(ends={0: (8_000.0, "completed")})
    assert statuses(api.run(half, rows(1), journal, row_timeout=math.inf)) == {0: "completed"}


@pytest.mark.parametrize("concurrency", [1, 5])
def test_a_list_that_fails_for_good_is_done_without(half, journal, concurrency):
    api = VirtualApi(has_list=False)
    outcomes = api.run(half, rows(30), journal, concurrency=concurrency, patience=60.0)
    assert statuses(outcomes) == all_completed(30)


def test_a_row_in_doubt_ends_although_no_list_can_be_had(half, journal):
    api = VirtualApi(has_list=False, plans={0: ["lost"]})
    outcomes = api.run(half, rows(9), journal, row_timeout=200.0, concurrency=2)
    assert statuses(outcomes) == {**all_completed(9), 0: "unknown"}
    assert (
        "the API did not tell its executions for 200 s"
        in {one.inputs["n"]: one.error for one in outcomes}[0]
    )
    assert api.submissions[0] == 1


def test_executions_that_no_list_shows_are_asked_for_one_by_one(half, journal):
    api = VirtualApi(hidden=frozenset(range(0, 60, 2)))
    assert statuses(api.run(half, rows(60), journal)) == all_completed(60)


def test_an_execution_that_cannot_be_had_holds_no_other_one_up(half, journal):
    singles = dict.fromkeys(range(40), 500)
    api = VirtualApi(hidden=frozenset(range(60)), singles=singles)
    outcomes = api.run(half, rows(60), journal, concurrency=60, row_timeout=900.0)
    told = statuses(outcomes)
    assert {told[n] for n in range(40)} == {"unknown"}
    assert {told[n] for n in range(40, 60)} == {"completed"}
    # Those that can be had did not wait for the others.
    assert [one.status for one in outcomes[:20]] == 20 * ["completed"]


def test_an_execution_that_is_gone_is_unknown(half, journal):
    api = VirtualApi(hidden=frozenset({0}), singles={0: 404})
    (one,) = api.run(half, rows(1), journal)
    assert (one.status, one.error) == ("unknown", "its execution e0 is gone")


def test_two_rows_that_get_one_execution_are_unknown_both(half, journal):
    # One at a time, and together with the first.
    for name, concurrency in (("one.sqlite", 1), ("many.sqlite", 3)):
        api = VirtualApi(plans={2: ["another's"]}, ends={0: (50.0, "completed")})
        outcomes = api.run(half, rows(4), journal.with_name(name), concurrency=concurrency)
        told = statuses(outcomes)
        assert told[2] == "unknown"
        assert told[0] == ("completed" if concurrency == 1 else "unknown")
        assert (told[1], told[3]) == ("completed", "completed")
        error = {one.inputs["n"]: one.error for one in outcomes}[2]
        assert error == "the API gave it the execution e0, and another row as well"


def test_an_execution_that_several_of_one_turn_get_is_none_of_theirs(half, journal):
    api = VirtualApi(plans={1: ["another's"], 2: ["another's"]})
    outcomes = api.run(half, rows(3), journal, concurrency=3)
    assert statuses(outcomes) == dict.fromkeys(range(3), "unknown")
    again = api.run(half, rows(3), journal, concurrency=3)
    assert statuses(again) == dict.fromkeys(range(3), "unknown")
    assert all(one.resumed for one in again)


def test_an_execution_that_is_listed_twice_is_one(half, journal):
    api = VirtualApi(plans={0: ["lost"]}, lists=["twice"] * 9)
    assert statuses(api.run(half, rows(2), journal)) == all_completed(2)


def test_a_response_without_the_id_of_the_execution_is_a_doubt(half, journal):
    api = VirtualApi(plans={0: ["nameless"]})
    assert statuses(api.run(half, rows(2), journal)) == all_completed(2)
    assert set(api.made.values()) == {1}


def test_a_list_whose_pages_repeat_ends(half, journal):
    class Repeating(VirtualApi):
        def _list(self, page):
            response = super()._list(1)
            return self._json(200, {**response.json(), "pagination": {"has_next": True}})

    api = Repeating(plans={0: ["lost"]})
    outcomes = api.run(half, rows(2), journal, row_timeout=100.0)
    # Of what came before, the list tells nothing.
    assert statuses(outcomes) == {0: "unknown", 1: "completed"}
    assert len(api.requests) < 400


@pytest.mark.parametrize("on_unknown", ["report", "retry"])
def test_a_row_of_which_nobody_can_tell_is_not_run_again_unless_it_is_said(
    half, journal, on_unknown
):
    api = VirtualApi(plans={0: ["doubled and lost"]})
    (one,) = api.run(half, rows(1), journal, on_unknown=on_unknown)
    if on_unknown == "report":
        assert one.status == "unknown"
        assert "2 executions have its inputs: " in one.error
        assert api.submissions[0] == 1
        (again,) = api.run(half, rows(1), journal)
        assert (again.status, again.resumed) == ("unknown", True)
        (one,) = api.run(half, rows(1), journal, on_unknown="retry")
    assert (one.status, one.execution_id) == ("completed", "e2")
    assert api.submissions[0] == 2


def test_inputs_that_the_api_changes_tell_nothing(half, journal):
    api = VirtualApi(plans={1: ["lost"]}, adds={"locale": "en"})
    outcomes = api.run(half, rows(3), journal)
    assert statuses(outcomes) == {**all_completed(3), 1: "unknown"}
    assert "does not tell the inputs" in {one.inputs["n"]: one.error for one in outcomes}[1]
    assert api.submissions[1] == 1


class Elsewhere:
    """An engine that submits in threads of its own, and loses some rows on its way."""

    size = 4

    def __init__(self, api):
        self.http_client = httpx.Client(transport=httpx.MockTransport(api))
        self.client = FlowMaestroClient(KEY, "http://127.0.0.1", http_client=self.http_client)
        self.threads = ThreadPoolExecutor(self.size)
        self.tickets = []

    def submit(self, ticket):
        self.tickets.append(ticket)
        return self.threads.submit(self.send, ticket)

    def send(self, ticket):
        n, first = ticket.inputs["n"], self.tickets.count(ticket) == 1
        if n % 5 == 1 and first:
            raise RuntimeError("lost before it was submitted")
        sent = send(self.client, ticket)
        if n % 5 == 2:
            raise RuntimeError("lost after it was submitted")
        return sent

    def close(self):
        self.threads.shutdown()
        self.http_client.close()


def test_an_engine_submits_and_what_it_loses_is_looked_for(half, journal):
    api = VirtualApi()
    engine = Elsewhere(api)
    outcomes = api.run(half, rows(20), journal, engine=engine, concurrency=8)
    engine.close()
    assert statuses(outcomes) == all_completed(20)
    assert set(api.made.values()) == {1}
    assert {ticket.workflow_id for ticket in engine.tickets} == {"wf"}


def test_rows_may_come_asynchronously(journal):
    async def come():
        for n in range(3):
            yield {"n": n}

    assert statuses(VirtualApi().run("async", come(), journal)) == all_completed(3)


# Rows that are refused


def test_a_key_that_was_there_before_is_an_invalid_row(half, journal):
    outcomes = VirtualApi().run(half, [{"n": 1}, {"n": 2}, {"n": 1.0}], journal, key="n")
    assert [(one.number, one.error) for one in outcomes if one.status == "failed"] == [
        (3, "row 3: its key '1' is that of row 1")
    ]
    assert len(outcomes) == 3


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_a_row_that_is_refused_is_failed_with_what_the_api_said(half, journal, status):
    api = VirtualApi(plans={1: [str(status)]})
    outcomes = api.run(half, rows(3), journal)
    assert statuses(outcomes) == {0: "completed", 1: "failed", 2: "completed"}
    (failed,) = [one for one in outcomes if one.status == "failed"]
    assert failed.error.startswith("[some_code] it says")
    assert api.submissions[1] == 1
    again = api.run(half, rows(3), journal)
    assert statuses(again)[1] == "failed"
    assert api.submissions[1] == 1


@pytest.mark.parametrize("fate", ["500", "503"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_row_that_the_api_does_not_take_holds_no_other_one_up(half, journal, fate, concurrency):
    api = VirtualApi(plans={1: [fate] * 100})
    outcomes = api.run(half, rows(9), journal, concurrency=concurrency, attempts=4)
    assert statuses(outcomes) == {**all_completed(9), 1: "failed"}
    # Of those after it, most did not wait for it.
    order = [one.inputs["n"] for one in outcomes]
    assert order.index(1) >= 4
    assert 4 <= api.submissions[1] <= 30


def test_a_row_whose_connection_breaks_each_time_is_given_up(half, journal):
    api = VirtualApi(plans={1: ["cut"] * 10_000})
    many = 80
    outcomes = api.run(half, rows(many), journal, concurrency=2, patience=60.0)
    assert statuses(outcomes) == {**all_completed(many), 1: "failed"}
    assert "reset" in {one.inputs["n"]: one.error for one in outcomes}[1]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_success_that_cannot_be_read_again_and_again_is_given_up(half, journal, concurrency):
    class Proxy(VirtualApi):
        def _submit(self, inputs):
            response = super()._submit(inputs)
            return httpx.Response(200, html="<p>hello") if inputs["n"] == 1 else response

    api = Proxy(plans={1: ["cut"] * 1_000})
    options = {"patience": 100.0, "concurrency": concurrency}
    outcomes = api.run(half, rows(30), journal, **options)
    assert statuses(outcomes) == {**all_completed(30), 1: "failed"}
    alone = Proxy(plans={1: ["cut"] * 1_000})
    began = alone.now
    with pytest.raises(ServerError) as caught:
        alone.run(half, [{"n": 1}], journal.with_name("alone.sqlite"), **options)
    assert caught.value.code == "invalid_response"
    assert 100 < alone.now - began < 300


def test_a_page_of_a_proxy_instead_of_a_list_is_waited_for(half, journal):
    class Proxy(VirtualApi):
        def _list(self, page):
            response = super()._list(page)
            is_first = sum(path.endswith("/executions") for _, path in self.requests) == 1
            return httpx.Response(200, html="<p>back soon") if is_first else response

    assert statuses(Proxy().run(half, rows(3), journal)) == all_completed(3)


def test_an_execution_without_id_or_status_in_a_list_is_passed_over(half, journal):
    class Odd(VirtualApi):
        def _told(self, one):
            told = super()._told(one)
            if one.inputs["n"] == 0 and "status" in told and self.now < one.ends_at + 10:
                del told["status"]
            if one.inputs["n"] == 1 and self.now < one.ends_at + 10:
                del told["id"]
            return told

    assert statuses(Odd().run(half, rows(3), journal)) == all_completed(3)


@pytest.mark.parametrize("retry_after", [None, "0", "30"])
def test_a_429_for_ever_is_given_up(half, journal, retry_after):
    api = VirtualApi(plans={0: ["429"] * 10_000})
    if retry_after is not None:
        api.headers["retry-after"] = retry_after
    began = api.now
    with pytest.raises(RateLimitError):
        api.run(half, rows(1), journal, patience=120.0)
    assert 120 < api.now - began < 400
    assert api.submissions[0] < 40


def test_a_run_that_ends_early_gives_what_waited_for_the_rows_before(half, journal):
    api = VirtualApi()
    api.run(half, rows(3)[1:], journal, key="n")
    got, late = [], VirtualApi(plans={0: ["400"]}, ends={0: (1.0, "failed")})
    with pytest.raises(TooManyFailuresError):
        late.run(
            half,
            [{"n": 5, "wait": 1}, {"n": 0}, *rows(3)[1:]],
            journal,
            key="n",
            ordered=True,
            stop_on_failures=1,
            each=lambda batch, outcome: got.append(outcome.number),
        )
    assert sorted(got) == got
    assert 2 in got


def test_half_a_character_in_an_error_is_made_storable(half, journal):
    api = VirtualApi(ends={0: (1.0, "failed")}, error="gone \ud83d")
    for _ in range(2):
        outcomes = api.run(half, rows(2), journal)
        assert {one.inputs["n"]: one.error for one in outcomes} == {0: "gone \ufffd", 1: None}


def test_an_id_with_half_a_character_is_one(half, journal):
    api = VirtualApi(prefix="e\ud83d", plans={1: ["lost"]})
    assert statuses(api.run(half, rows(3), journal)) == all_completed(3)
    assert all(one.resumed for one in api.run(half, rows(3), journal))
    assert set(api.made.values()) == {1}


def test_a_key_that_is_refused_ends_the_run_and_loses_nothing(half, journal):
    api = VirtualApi(plans={1: ["403"]})
    with pytest.raises(AuthorizationError):
        api.run(half, rows(3), journal, concurrency=1)
    assert statuses(api.run(half, rows(3), journal)) == all_completed(3)
    assert set(api.made.values()) == {1}


def test_a_poll_that_is_refused_for_good_ends_the_run(half, journal):
    api = VirtualApi(lists=["400"])
    with pytest.raises(ValidationError):
        api.run(half, rows(1), journal)


def test_an_api_that_stays_away_is_given_up_after_patience(half, journal):
    api = VirtualApi(plans={n: ["503"] * 10_000 for n in range(500)})
    began = api.now
    with pytest.raises(ServerError):
        api.run(half, rows(500), journal, patience=120.0)
    assert 120 < api.now - began < 300
    # Of an API that is away not all rows are read.
    assert len(api.submissions) <= 160


def test_failures_that_are_too_many_stop_a_run(half, journal):
    api = VirtualApi(ends=dict.fromkeys(range(50), (1.0, "failed")))
    with pytest.raises(TooManyFailuresError, match="after 3 failed rows") as caught:
        api.run(half, rows(50), journal, stop_on_failures=3, concurrency=2)
    assert caught.value.code == "too_many_failures"
    assert len(api.executions) < 10


# Files and the journal


def test_a_file_is_read_in_the_form_that_is_said(half, journal, tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("text;n\n'1;5';1\né;2\n", encoding="cp1252")

    class Numbered(VirtualApi):
        def _submit(self, inputs):
            return super()._submit({**inputs, "n": int(inputs["n"])})

    form = {"delimiter": ";", "quotechar": "'", "encoding": "cp1252"}
    outcomes = Numbered().run(half, table, journal, key="n", form=form, ordered=True)
    assert [one.inputs for one in outcomes] == [{"text": "1;5", "n": "1"}, {"text": "é", "n": "2"}]
    assert [one.key for one in outcomes] == ["1", "2"]
    for wrong in ({"delimiter": ";;"}, {"quotechar": ""}, {"encoding": "utf-9"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Numbered().run(half, table, journal, form=wrong)
    with pytest.raises(RowError, match=r"has no column 'n'.*is the delimiter ';'\?") as caught:
        Numbered().run(half, table, journal, key="n", form={"encoding": "cp1252"})
    assert caught.value.code == "no_such_column"


def test_rows_before_what_cannot_be_read_are_run_and_then_the_error_comes(half, journal, tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("n,text\n1,a\n2,b\n3,\"5 o'clock\n4,c\n")
    api = VirtualApi()
    got = []
    with pytest.raises(RowError, match=r"the record of lines 4 to 5 of .*rows\.csv") as caught:
        api.run(
            half,
            ({**row, "n": int(row["n"])} for row in read(table)),
            journal,
            each=lambda batch, outcome: got.append(outcome),
        )
    assert caught.value.code == "bad_csv"
    assert statuses(got) == {1: "completed", 2: "completed"}


def read(path):
    from flowmaestro_batch.rows import items_of

    for item in items_of(path, None):
        yield item.value


def test_a_row_is_on_disk_before_its_request_leaves(half, journal):
    found = []

    class Watching(VirtualApi):
        def _submit(self, inputs):
            copy = journal.with_name(f"copy-{len(found)}.sqlite")
            shutil.copy(journal, copy)
            shutil.copy(f"{journal}-wal", f"{copy}-wal")
            database = sqlite3.connect(copy)
            found.extend(database.execute("SELECT key, state FROM rows WHERE key = ?", ["0"]))
            database.close()
            return super()._submit(inputs)

    api = Watching()
    api.run(half, rows(1), journal, key="n")
    assert found == [("0", "submitting")]
    opened = Journal(journal, None)
    assert opened.counts() == {"completed": 1}
    opened.close()


def test_a_key_is_known_again_however_it_is_spelled(half, journal):
    api = VirtualApi()
    api.run(half, [{"n": n, "id": n} for n in range(3)], journal, key="id")
    for spelled in (float, str, lambda n: f"{n}.0"):
        again = api.run(half, [{"n": n, "id": spelled(n)} for n in range(3)], journal, key="id")
        assert all(one.resumed for one in again)
    with pytest.raises(JournalError, match="the inputs of row '1' are not those") as caught:
        api.run(half, [{"n": 7, "id": 1}], journal, key="id")
    assert caught.value.code == "inputs_changed"
    assert set(api.made.values()) == {1}


def test_a_journal_that_is_removed_while_a_batch_runs_stops_it(half, journal):
    api = VirtualApi()
    with pytest.raises(JournalError, match="was moved, removed or replaced") as caught:
        api.run(
            half,
            rows(100),
            journal,
            concurrency=1,
            each=lambda batch, outcome: journal.unlink(),
        )
    assert caught.value.code == "journal_gone"
    assert len(api.executions) <= 2


def test_a_strict_batch_stops_at_an_invalid_row(half, journal):
    with pytest.raises(RowError, match="row 1: it has no 'id', which is the key") as caught:
        VirtualApi().run(half, rows(1), journal, key="id", strict=True)
    assert caught.value.code == "bad_row"


# Waiting


def headers(api, **more):
    api.headers = {f"x-ratelimit-{name.replace('_', '-')}": str(it) for name, it in more.items()}


@pytest.mark.parametrize("ahead", [60.0, 95_404.0, 1e12, -95_404.0])
def test_a_minutes_limit_is_waited_for_no_longer_than_a_minute(half, journal, ahead):
    api = VirtualApi()
    reset = int(api.now + api.api_ahead + ahead)
    headers(api, limit=60, remaining=0, reset=reset)
    began = api.now
    api.at[30].append(lambda: headers(api))
    assert statuses(api.run(half, rows(2), journal)) == all_completed(2)
    assert api.now - began < 200


@pytest.mark.parametrize("fails", [True, False])
def test_a_poll_that_fails_tells_of_the_limit_as_well(half, journal, fails):
    limits = {"limit": 60, "remaining": 0}

    class Throttled(VirtualApi):
        def _failure(self, status, code="some_code"):
            headers(self, **limits)
            response = super()._failure(status, code)
            headers(self, limit=60, remaining=60)
            return response

    api = Throttled(lists=["503" if fails else "ok"])
    # Twenty seconds before the next minute.
    api.api_ahead = 1_790_000_000 // 60 * 60 + 40 - api.now
    began = api.now
    assert statuses(api.run(half, rows(1), journal)) == all_completed(1)
    assert (api.now - began > 20) == fails


def test_a_days_limit_is_asked_for_each_hour(half, journal):
    api = VirtualApi()
    # Long before midnight, for the API.
    api.api_ahead = 1_790_000_000 // 86_400 * 86_400 + 3_600 - api.now
    limits = {"limit": 60, "remaining": 50, "limit_day": 100}
    headers(api, **limits, remaining_day=0)
    began, original, sent = api.now, api._event, []

    def event():
        if len(api.requests) > len(sent):
            sent.append(api.now - began)
        if api.now - began > 2.5 * 3_600:
            headers(api, **limits, remaining_day=90)
        original()

    api._event = event
    assert statuses(api.run(half, rows(3), journal)) == all_completed(3)
    assert 2.5 * 3_600 < api.now - began < 4.5 * 3_600
    # One for the workflow, and one for each hour in which there were none left.
    assert sum(moment < 2.5 * 3_600 for moment in sent) == 3


def test_a_wait_for_the_next_day_is_told_once_while_executions_are_polled(half, journal, caplog):
    api = VirtualApi(ends={1: (100.0, "completed")})
    headers(api, limit=60, remaining=50, limit_day=100, remaining_day=90)
    batches, seen, original = [], [], api.sleep

    def each(batch, outcome):
        batches.append(batch)
        # What is left of the day is kept for polls.
        headers(api, limit=60, remaining=50, limit_day=100, remaining_day=5)

    def sleep(seconds):
        original(seconds)
        if batches:
            seen.append(batches[0].progress.waiting)
        if seen[-40:] == 40 * ["the requests of the next day"]:
            batches[0].stop(leave=True)

    api.sleep = sleep
    with caplog.at_level(logging.INFO, "flowmaestro.batch"):
        api.run(half, rows(60), journal, concurrency=2, each=each)
    first = seen.index("the requests of the next day")
    assert set(seen[first:]) == {"the requests of the next day"}
    assert caplog.text.count("waiting for the requests of the next day") == 1
    assert sum(path.endswith("/executions") for _, path in api.requests) > 2


def test_the_end_of_a_days_limit_stops_where_asked_for(half, journal):
    api = VirtualApi()
    headers(api, limit=60, remaining=50, limit_day=100, remaining_day=0)
    with pytest.raises(DayLimitError, match="everything is saved") as caught:
        api.run(half, rows(3), journal, on_day_limit="stop")
    assert caught.value.code == "day_limit"
    assert 0 < caught.value.retry_after <= 86_400


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("503", "the API: it answers HTTP 503"),
        ("unreachable", "the API: cannot connect to 127.0.0.1: refused"),
        ("429", "the end of the API's 429"),
    ],
)
def test_what_is_waited_for_is_told(half, journal, fault, what):
    api = VirtualApi(plans={0: ["ok"], 1: [fault] * 12})
    if fault == "429":
        headers(api, retry_after=30)
        api.headers["retry-after"] = "30"
    seen = set()
    batches = []

    def each(batch, outcome):
        batches.append(batch)

    original = api.sleep

    def sleep(seconds):
        original(seconds)
        if batches:
            progress = batches[0].progress
            seen.add(progress.waiting)
            if progress.waiting is None:
                assert progress.wait_seconds == 0
            else:
                assert 0 < progress.wait_seconds <= 61

    api.sleep = sleep
    api.run(half, rows(2), journal, concurrency=1, each=each, attempts=100)
    assert what in seen
    assert seen <= {what, None}
    assert batches[-1].progress.waiting is None


def test_waiting_costs_no_cpu(half, journal):
    api = VirtualApi(ends={0: (1_000.0, "completed")})
    began = api.now
    api.run(half, rows(1), journal)
    # At least a tenth of a second for each sleep: a wait is no spin.
    assert api.sleeps < 10 * (api.now - began)


@pytest.mark.slow
def test_a_real_wait_costs_no_cpu(half, journal):
    api = VirtualApi(ends={0: (2.0, "completed")})
    real = time.monotonic
    started = real()
    api.monotonic = lambda: real()
    spent = time.process_time()

    def sleep(seconds):
        time.sleep(seconds)
        api.now = 5_000.0 + real() - started

    api.sleep = sleep
    api.run(half, rows(1), journal)
    assert time.process_time() - spent < 1.0


def test_entries_of_other_rows_stay_as_they_are(half, journal):
    opened = Journal(journal, "wf")
    opened.write([Entry("other", "mark", "completed", "e9", outputs={"a": 1})])
    opened.close()
    VirtualApi().run(half, rows(1), journal, key="n")
    opened = Journal(journal, "wf")
    assert opened.get("other") == Entry("other", "mark", "completed", "e9", outputs={"a": 1})
    opened.close()
