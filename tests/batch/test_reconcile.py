"""Which execution is whose: decided on paper."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowmaestro import (
    AuthenticationError,
    ConnectionError,
    FlowMaestroError,
    NotFoundError,
    RateLimit,
    RateLimitError,
    ServerError,
    ValidationError,
)
from flowmaestro_batch.clock import ApiClock, created_at
from flowmaestro_batch.fingerprint import fingerprint
from flowmaestro_batch.reconcile import Candidate, Doubt, Verdict, candidate_of, judge
from flowmaestro_batch.work import fate_of, latest_limit


def doubt(key, mark="f", since=100.0, settled=True):
    return Doubt(key, mark, since, settled)


def test_an_execution_with_the_rows_inputs_is_the_rows():
    verdicts = judge([doubt("a")], [Candidate("x", 101.0, "f"), Candidate("y", 101.0, "g")])
    assert verdicts == {"a": Verdict(execution_id="x")}


def test_an_execution_from_before_the_submission_is_not_the_rows():
    assert judge([doubt("a")], [Candidate("x", 99.0, "f")]) == {"a": Verdict()}


def test_a_row_that_may_still_come_waits():
    assert judge([doubt("a", settled=False)], []) == {}
    found = [Candidate("x", 101.0, "f")]
    assert judge([doubt("a", settled=False)], found) == {"a": Verdict(execution_id="x")}


def test_of_two_rows_with_the_same_inputs_and_one_execution_one_was_not_submitted():
    verdicts = judge([doubt("a"), doubt("b")], [Candidate("x", 101.0, "f")])
    assert verdicts == {"a": Verdict(execution_id="x"), "b": Verdict()}


def test_with_more_executions_than_rows_nobody_can_tell():
    found = [Candidate("x", 101.0, "f"), Candidate("y", 102.0, "f")]
    assert "2 executions have its inputs: x, y" in judge([doubt("a")], found)["a"].problem


def test_executions_that_do_not_tell_their_inputs_leave_a_doubt():
    found = [Candidate("x", 101.0, None)]
    assert "does not tell the inputs" in judge([doubt("a")], found)["a"].problem
    assert judge([doubt("a", settled=False)], found) == {}


@given(
    st.lists(st.tuples(st.sampled_from("fgh"), st.floats(0, 10), st.booleans()), max_size=8),
    st.lists(st.tuples(st.sampled_from(["f", "g", "h", None]), st.floats(0, 10)), max_size=8),
)
def test_no_execution_is_given_to_two_rows_and_none_with_other_inputs(rows, executions):
    doubts = [Doubt(str(n), *row) for n, row in enumerate(rows)]
    found = [Candidate(str(n), created, mark) for n, (mark, created) in enumerate(executions)]
    verdicts = judge(doubts, found)
    given_out = [one.execution_id for one in verdicts.values() if one.execution_id is not None]
    assert len(set(given_out)) == len(given_out)
    for one in doubts:
        verdict = verdicts.get(one.key)
        if verdict is None:
            assert not one.settled
        elif verdict.execution_id is not None:
            assert found[int(verdict.execution_id)].fingerprint == one.fingerprint
        elif verdict.problem is None:
            # To be run again only where each execution that could be its own is another's.
            assert one.settled
            own = [c for c in found if c.fingerprint == one.fingerprint and c.created >= one.since]
            assert all(c.id in given_out for c in own)


def test_an_execution_is_read_as_the_backend_tells_it():
    told = {"id": "x", "inputs": {"a": 1.0}, "created_at": "2026-11-23T19:56:50.445Z"}
    assert candidate_of(told) == Candidate("x", 1795463810.445, fingerprint({"a": 1}))
    assert candidate_of({"id": "x", "inputs": None}) == Candidate("x", None, None)
    assert created_at({"created_at": "yesterday"}) is None
    assert created_at({"created_at": "2026-11-23T19:56:50.445"}) == 1795463810.445
    assert created_at({"started_at": "2026-11-23T20:56:50.445+01:00"}) == 1795463810.445


class Clocks:
    """The two clocks of a machine."""

    def __init__(self, monkeypatch):
        self.monotonic, self.wall = 100.0, 1_795_463_810.0
        monkeypatch.setattr("flowmaestro_batch.clock.monotonic", lambda: self.monotonic)
        monkeypatch.setattr("flowmaestro_batch.clock.wall_clock", lambda: self.wall)


@pytest.fixture
def clocks(monkeypatch):
    return Clocks(monkeypatch)


# The time in _told_ is that of the machine's clock in Clocks, and these seconds.
def meta(seconds):
    moment = datetime.fromtimestamp(1_795_463_810 + seconds, timezone.utc)
    return {"timestamp": moment.isoformat().replace("+00:00", "Z")}


def test_until_the_api_tells_its_time_it_is_that_of_the_machine(clocks):
    clock = ApiClock()
    assert clock.margin == 60
    for told in (None, {}, {"timestamp": None}, {"timestamp": "soon"}, "x"):
        clock.heard(told, 100.0, 100.2)
    assert clock.margin == 60
    clocks.monotonic, clocks.wall = 110.0, 0.0
    assert clock.now() == 1_795_463_820
    assert clock.earliest(105.0) == 1_795_463_815


@pytest.mark.parametrize("seconds", [60.0, -60.0, 3_600.0, -3_600.0])
def test_the_first_response_sets_the_clock(clocks, seconds):
    clock = ApiClock()
    clock.heard(meta(seconds + 0.1), 100.0, 100.2)
    assert clock.margin == pytest.approx(2.2)
    assert clock.now() == pytest.approx(1_795_463_810 + seconds)


def test_a_clock_that_agrees_stays_as_it_is(clocks):
    clock = ApiClock()
    clock.heard(meta(0.15), 100.0, 100.2)
    clock.heard(meta(9.9), 109.8, 110.0)
    assert clock.now() == 1_795_463_810


def test_a_clock_that_was_set_is_followed_and_what_came_before_is_remembered(clocks):
    clock = ApiClock()
    clock.heard(meta(0.1), 100.0, 100.2)
    clock.heard(meta(-590.0), 110.0, 110.2)
    clocks.monotonic = 110.2
    assert clock.now() == pytest.approx(1_795_463_810 - 590, abs=0.3)
    # Of a moment before it was set, nobody knows by which of the two it was told.
    assert clock.earliest(105.0) == pytest.approx(1_795_463_810 + 5 - 600, abs=0.3)
    clock.heard(meta(20.0), 120.0, 120.2)
    assert clock.earliest(105.0) == pytest.approx(1_795_463_810 + 5 - 600, abs=0.3)
    assert clock.earliest(119.0) == pytest.approx(1_795_463_810 + 19 - 600, abs=0.3)
    assert clock.earliest(121.0) == pytest.approx(1_795_463_810 + 21, abs=0.3)


def test_a_clock_that_drifts_is_followed_by_as_little_as_it_takes(clocks):
    clock = ApiClock()
    clock.heard(meta(0.1), 100.0, 100.2)
    clock.heard(meta(10.3), 110.0, 110.2)
    clocks.monotonic = 110.0
    # Its time was told at 110.2 at the latest, by a clock that is rounded.
    assert clock.now() == pytest.approx(1_795_463_810 + 10.09)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5),
            st.floats(0, 30),
            st.floats(0, 1),
            st.sampled_from([0.0, 0.0, 3.0, -3.0, 3_600.0, -3_600.0]),
        ),
        min_size=1,
    ),
    st.floats(-1e5, 1e5),
)
def test_no_execution_seems_to_have_been_made_before_its_submission(responses, wrong_by):
    """However the clocks are set: each is measured once after it was."""
    with pytest.MonkeyPatch.context() as patch:
        clocks = Clocks(patch)
        api_ahead = 1_795_463_810.0 - 100.0 + wrong_by
        clock = ApiClock()
        sent_at, created = 0.0, None
        for pause, took, part, jump in responses:
            clocks.monotonic += pause
            sent, clocks.monotonic = clocks.monotonic, clocks.monotonic + took
            told = sent + part * took + api_ahead - 1_795_463_810.0
            clock.heard(meta(told), sent, clocks.monotonic)
            if created is not None:
                assert clock.earliest(sent_at) - clock.margin <= created
            sent_at = clocks.monotonic
            api_ahead += jump
            created = sent_at + 0.01 + api_ahead


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (ServerError("m", status_code=500, outcome_unknown=True), "doubt"),
        (ConnectionError("m", outcome_unknown=True), "doubt"),
        (ConnectionError("m"), "again"),
        (RateLimitError("m", status_code=429), "again"),
        (AuthenticationError("m", status_code=401), "again"),
        (NotFoundError("m", status_code=404), "again"),
        (ServerError("m", status_code=503), "again"),
        (ValidationError("m", status_code=400), "failed"),
        (ValidationError("m", code="inputs_invalid"), "failed"),
        (FlowMaestroError("m", status_code=413), "failed"),
    ],
)
def test_what_an_error_means_for_its_row(error, fate):
    assert fate_of(error) == fate


def test_the_latest_of_several_limits_counts():
    old, new = RateLimit(60, 3, 60), RateLimit(60, 50, 120)
    assert latest_limit([new, None, old, RateLimit(60, 48, 120)]) == RateLimit(60, 48, 120)
    assert latest_limit([None]) is None
