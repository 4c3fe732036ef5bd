"""What is tried again, and when."""

from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowmaestro_core.retries import LOST, NOT_SENT, Failure, RetryPolicy, parse_retry_after

NOW = 1_795_463_784.0
POLICY = RetryPolicy()


def wait(failure, attempt=0, repeatable=True, remaining=None, random=1.0, policy=POLICY):
    return policy.next_wait(
        failure, attempt, repeatable=repeatable, remaining=remaining, random=lambda: random
    )


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_failures_are_repeated_where_that_does_no_harm(status):
    assert wait(Failure(status=status)) == 0.5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501, 505])
def test_what_does_not_pass_is_not_repeated(status):
    assert wait(Failure(status=status)) is None


@pytest.mark.parametrize(
    "failure",
    [Failure(network=LOST), Failure(status=408), Failure(status=500), Failure(status=502)]
    + [Failure(status=503), Failure(status=504)],
)
def test_a_post_is_not_repeated_where_it_may_have_been_processed(failure):
    assert wait(failure, repeatable=False) is None
    assert failure.outcome_unknown
    assert not failure.was_not_processed


@pytest.mark.parametrize(
    "failure",
    [Failure(network=NOT_SENT), Failure(status=429), Failure(status=503, retry_after=1.0)],
)
def test_a_post_is_repeated_where_it_certainly_was_not_processed(failure):
    assert wait(failure, repeatable=False) is not None
    assert failure.was_not_processed
    assert not failure.outcome_unknown


def test_what_cannot_get_better_is_not_repeated():
    assert wait(Failure(network=NOT_SENT, final=True)) is None


def test_pauses_double_to_a_ceiling_with_full_jitter():
    ceilings = [POLICY.backoff(attempt, lambda: 1.0) for attempt in range(7)]
    assert ceilings == [0.5, 1, 2, 4, 8, 8, 8]
    assert POLICY.backoff(3, lambda: 0.0) == 0
    assert POLICY.backoff(10_000, lambda: 1.0) == 8


def test_there_are_no_more_retries_than_allowed():
    assert wait(Failure(status=500), attempt=2) is not None
    assert wait(Failure(status=500), attempt=3) is None
    assert wait(Failure(status=500), policy=RetryPolicy(max_retries=0)) is None


def test_retry_after_is_kept_and_never_undercut():
    assert 7 <= wait(Failure(status=429, retry_after=7.0)) <= 8
    assert wait(Failure(status=429, retry_after=7.0), random=0.0) == 7


def test_a_pause_that_is_too_long_is_not_slept():
    assert wait(Failure(status=429, retry_after=60.0)) is not None
    assert wait(Failure(status=429, retry_after=61.0)) is None
    assert wait(Failure(status=429, retry_after=86_400.0)) is None
    assert wait(Failure(status=429, retry_after=math.inf)) is None


def test_a_pause_does_not_pass_the_deadline():
    assert wait(Failure(status=500), remaining=0.6) == 0.5
    assert wait(Failure(status=500), remaining=0.4) is None
    assert wait(Failure(status=429, retry_after=7.0), remaining=5.0) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("-5", 0),
        ("1.5", 1.5),
        (7, 7),
        (2.5, 2.5),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
        (True, None),
        ([7], None),
        ("inf", math.inf),
        ("1e400", math.inf),
        (10**400, math.inf),
        ("9" * 50, 1e50),
        (formatdate(NOW + 90, usegmt=True), 90),
        ("Mon, 23 Nov 2026 19:57:54 GMT", 90),
        ("Monday, 23-Nov-26 19:57:54 GMT", 90),
        ("Mon Nov 23 19:57:54 2026", 90),
        ("Mon, 23 Nov 2020 19:57:54 GMT", 0),
        ("Mon, 99 Nov 2026 19:57:54 GMT", None),
    ],
)
def test_a_retry_after_has_a_defined_result_whatever_it_is(value, seconds):
    assert parse_retry_after(value, NOW) == (seconds if seconds is None else pytest.approx(seconds))


@given(st.text() | st.floats() | st.integers())
def test_no_retry_after_is_an_exception_or_negative(value):
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or seconds >= 0
