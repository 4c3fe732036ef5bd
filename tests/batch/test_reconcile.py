"""Which execution is whose: decided on paper."""

from __future__ import annotations

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
from flowmaestro_batch.clock import clock_offset, created_at
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


@pytest.mark.parametrize(
    ("timestamp", "offset"),
    [
        ("2026-11-23T19:56:50.500Z", 0.0),
        ("2026-11-23T19:57:50.500Z", 60.0),
        ("2026-11-23T19:55:50.500Z", -60.0),
        (None, None),
        ("soon", None),
    ],
)
def test_the_two_clocks_are_compared(timestamp, offset):
    assert clock_offset({"timestamp": timestamp}, 1795463810.4, 1795463810.6) == offset


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
