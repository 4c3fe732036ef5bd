"""The plan's limits are used, and not broken: on paper, and against a server that has them."""

from __future__ import annotations

import time
from collections import Counter

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowmaestro import FlowMaestroClient, RateLimit
from flowmaestro_batch import Batch
from flowmaestro_batch.pace import Pace
from flowmaestro_local import LocalServer
from tests.conftest import KEY


class Plan:
    """An API's limiter, and a clock that only this test moves."""

    def __init__(self, per_minute, per_day=10**9, start=30.0, ahead=0.0):
        self.per_minute, self.per_day = per_minute, per_day
        self.now = start
        # By how much the caller's idea of this clock is wrong.
        self.ahead = ahead
        self.minutes, self.refused, self.today = Counter(), 0, 0

    def request(self):
        minute = int(self.now // 60)
        if self.minutes[minute] >= self.per_minute:
            self.refused += 1
        else:
            self.minutes[minute] += 1
            self.today += 1
        left = self.per_minute - self.minutes[minute]
        left_today = self.per_day - self.today
        return RateLimit(self.per_minute, left, (minute + 1) * 60, self.per_day, left_today)


def drive(plan, pace, seconds, latency):
    """Send whatever may go, in groups whose answers take a while."""
    end = plan.now + seconds
    pace.heard(plan.request(), plan.now, plan.now + plan.ahead)
    while plan.now < end:
        count = min(pace.allowed(plan.now), 32)
        if not count:
            plan.now += max(pace.wait(plan.now), 0.001)
            continue
        pace.spend(count, plan.now)
        plan.now += latency / 2
        limits = [plan.request() for _ in range(count)]
        plan.now += latency / 2
        pace.heard(limits[-1], plan.now, plan.now + plan.ahead)


@given(
    st.integers(30, 6_000),
    st.floats(0, 59),
    st.floats(0.001, 0.3),
    st.floats(-0.2, 0.2),
)
def test_nearly_all_that_a_minute_allows_is_used_and_hardly_any_is_refused(
    per_minute, start, latency, ahead
):
    plan, pace = Plan(per_minute, start=start, ahead=ahead), Pace()
    drive(plan, pace, 240, latency)
    sent = sum(plan.minutes.values()) + plan.refused
    assert plan.refused <= 0.01 * sent
    # A plan that allows nearly as many as groups of 32 can be sent in is not used up by them.
    possible = min(per_minute, 0.8 * 32 / latency * 60)
    for minute in (1, 2, 3):
        assert plan.minutes[minute] >= 0.95 * possible - 1


def test_requests_are_spread_over_the_minute():
    plan, pace = Plan(60, start=0.0), Pace()
    pace.heard(plan.request(), plan.now, plan.now)
    for quarter in range(1, 4 * 60):
        plan.now = quarter / 4
        if pace.allowed(plan.now):
            pace.spend(1, plan.now)
            pace.heard(plan.request(), plan.now, plan.now)
            assert pace.allowed(plan.now) == 0
        assert plan.minutes[0] <= quarter / 4 + 2
    assert plan.minutes[0] >= 58


def test_what_is_left_late_in_a_minute_is_not_sent_all_at_once():
    pace = Pace()
    pace.heard(RateLimit(300, 300, 60), 59.0, 59.0)
    assert pace.allowed(59.9) == 21


def test_without_limits_nothing_is_held_back():
    pace = Pace()
    assert pace.allowed(0.0) > 1_000
    pace.heard(None, 0.0, 0.0)
    assert pace.wait(0.0) == 0
    assert pace.rows_left_today(0.0) is None


def test_a_refusal_closes_for_as_long_as_it_says():
    pace = Pace()
    pace.heard(RateLimit(60, 30, 60), 10.0, 10.0)
    pace.refused(7.0, 10.0, "minute")
    assert pace.allowed(16.9) == 0
    assert pace.wait(10.0) == 7.0
    assert pace.allowed(17.1) > 0


def test_the_last_requests_of_a_day_are_kept_for_looking():
    pace = Pace()
    pace.heard(RateLimit(60, 30, 60, 1_000, 7), 10.0, 10.0)
    assert pace.rows_left_today(10.0) == 2
    pace.spend(2, 10.0)
    assert pace.rows_left_today(10.0) == 0
    assert not pace.day_is_used_up(10.0)
    pace.spend(5, 10.0)
    assert pace.day_is_used_up(10.0)
    assert pace.tomorrow(10.0) == 86_390
    assert pace.rows_left_today(86_400.0) is None


def test_a_day_that_is_refused_is_over_until_it_says():
    pace = Pace()
    pace.heard(RateLimit(60, 30, 60, 1_000, 500), 10.0, 10.0)
    pace.refused(1_234.0, 10.0, "day")
    assert pace.day_is_used_up(10.0)
    assert pace.tomorrow(10.0) == 1_234
    assert not pace.day_is_used_up(1_245.0)


@pytest.mark.parametrize(
    ("window", "asked_for", "wait"),
    [
        ("minute", 95_404.0, 60.0),
        (None, 95_404.0, 3_600.0),
        (None, 90.0, 90.0),
        ("day", 9e9, 3_600.0),
    ],
)
def test_a_refusal_that_makes_no_sense_closes_for_no_longer_than_its_limit_can(
    window, asked_for, wait
):
    pace = Pace()
    pace.heard(RateLimit(60, 30, 60), 10.0, 10.0)
    pace.refused(asked_for, 10.0, window)
    assert pace.is_throttled(10.0 + wait - 1)
    assert not pace.is_throttled(10.0 + wait + 1)
    assert pace.allowed(10.0 + wait + 1)
    assert pace.tomorrow(10.0) <= 86_400


@pytest.mark.parametrize("reset", [0, 1e9, 1e12, -5])
def test_a_minute_that_ends_at_no_moment_of_the_next_one_ends_by_the_clock(reset):
    pace = Pace()
    pace.heard(RateLimit(60, 0, reset), 1_010.0, 10.0)
    assert pace.wait(1_010.0) == 50.25
    assert pace.allowed(1_060.3)
    # The next minutes follow without a response.
    pace.spend(60, 1_060.3)
    assert not pace.allowed(1_100.0)
    assert pace.allowed(1_310.0)
    assert pace.wait(1_310.0) == 0


def test_each_hour_one_request_finds_out_whether_a_day_is_still_used_up():
    pace = Pace()
    pace.heard(RateLimit(60, 30, 60, 1_000, 0), 10.0, 10.0)
    for hour in range(1, 5):
        asked_at = 10.0 + hour * 3_600
        assert pace.day_is_used_up(asked_at - 1)
        assert pace.rows_left_today(asked_at) == 1
        pace.spend(6, asked_at)
        assert pace.day_is_used_up(asked_at)
        assert pace.tomorrow(asked_at) == 86_400 - asked_at


@pytest.mark.clock
@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_batch_uses_95_percent_of_a_real_limit_with_under_1_percent_refused(
    tmp_path, monkeypatch
):
    # A whole minute, with the ends of two others, would take two.
    minute, limit = 30, 150
    monkeypatch.setattr("flowmaestro_local.access._MINUTE", minute)
    monkeypatch.setattr("flowmaestro_batch.pace._MINUTE", float(minute))
    server = LocalServer()
    server.workflow("wf")(lambda inputs: {"n": inputs["n"]})
    server.add_key(KEY, per_minute=limit)
    sent: list[float] = []
    # From late in a minute, through a whole one, into the next.
    time.sleep(max(0.75 * minute - time.time() % minute, 0))
    whole = time.time() // minute + 1

    def note(request):
        sent.append(time.time())

    with server.start() as url, httpx.Client(event_hooks={"request": [note]}) as http_client:
        with FlowMaestroClient(KEY, url, http_client=http_client) as client:
            batch = Batch(client, "wf", journal=tmp_path / "batch.sqlite")
            for _ in batch.run({"n": number} for number in range(10_000)):
                if time.time() // minute > whole:
                    batch.stop()
            summary = batch.summary()
    in_whole_minute = sum(moment // minute == whole for moment in sent)
    assert 0.95 * limit <= in_whole_minute <= limit + 1
    assert summary.refused <= 0.01 * summary.requests
