"""The clockwork of streams, told the time in plain numbers."""

from __future__ import annotations

import pytest

from flowmaestro_core.liveness import GRACE, LAST_SECONDS, Liveness


def clockwork(max_retries=3, checks=True):
    liveness = Liveness(0.0, max_retries=max_retries, checks=checks)
    liveness.opened(0.0)
    return liveness


def silent_checks(until: float) -> list[float]:
    """When a silent stream asks for the status."""
    liveness, now, times = clockwork(), 0.0, []
    while now < until:
        now += liveness.pause(now)
        if liveness.check_is_due(now):
            times.append(now)
            liveness.checked(now)
    return times


def test_a_silent_stream_asks_at_growing_intervals():
    assert silent_checks(70) == [1, 3, 5, 7, 9, 11, 15, 23, 38, 53, 68, 83]


@pytest.mark.parametrize("end", [0.1, 1, 2.9, 5.5, 8, 10])
def test_an_end_within_ten_seconds_is_seen_within_three(end):
    seen = next(time for time in silent_checks(60) if time >= end)
    assert seen + GRACE - end <= 3


@pytest.mark.parametrize("end", [11.5, 20, 40, 100, 1000])
def test_any_end_is_seen_within_sixteen_seconds(end):
    seen = next(time for time in silent_checks(2000) if time >= end)
    assert seen + GRACE - end <= 16


def test_an_event_puts_the_checks_off():
    liveness = clockwork()
    liveness.heard(0.9, event=True, comment=False)
    assert liveness.pause(0.9) == pytest.approx(1.0)
    liveness.checked(1.9)
    liveness.heard(2.0, event=True, comment=False)
    assert liveness.pause(2.0) == pytest.approx(1.0), "the intervals begin anew"


def test_keepalives_do_not_put_the_checks_off():
    liveness = clockwork()
    liveness.heard(0.9, event=False, comment=True)
    assert liveness.check_is_due(1.0)


def test_a_check_that_is_limited_waits_as_long_as_it_is_told():
    liveness = clockwork()
    liveness.checked(1.0, retry_after=30.0)
    assert not liveness.check_is_due(30.9)
    assert liveness.check_is_due(31.0)


def test_after_a_check_saw_the_end_the_stream_has_a_moment():
    liveness = clockwork()
    liveness.ending(5.0)
    assert liveness.pause(5.0) == pytest.approx(GRACE)
    assert not liveness.is_over(5.0)
    assert liveness.is_over(5.0 + GRACE)
    assert not liveness.check_is_due(100.0)


def test_events_that_follow_each_other_after_a_check_saw_the_end_are_waited_for():
    liveness = clockwork()
    liveness.ending(5.0)
    for tenth in range(4, 60, 4):
        liveness.heard(5.0 + tenth / 10, event=True, comment=False)
    assert not liveness.is_over(4.9 + LAST_SECONDS)
    assert liveness.is_over(5.0 + LAST_SECONDS), "a stream that goes on for ever ends"


def test_comments_after_a_check_saw_the_end_put_nothing_off():
    liveness = clockwork()
    liveness.ending(5.0)
    liveness.heard(5.4, event=False, comment=True)
    assert liveness.is_over(5.0 + GRACE)


@pytest.mark.parametrize(
    ("took", "moment"), [(0.1, GRACE), (0.5, 1.0), (1.2, 2.4), (5.0, LAST_SECONDS)]
)
def test_where_a_check_was_slow_events_may_be_as_slow(took, moment):
    liveness = clockwork()
    liveness.ending(5.0, took=took)
    assert liveness.pause(5.0) == pytest.approx(moment)
    assert not liveness.is_over(4.99 + moment)
    assert liveness.is_over(5.0 + moment)
    # A connection that is opened for the last events has as long.
    liveness.ending(7.0)
    assert liveness.pause(7.0) == pytest.approx(moment)


def test_new_connections_for_the_last_events_have_their_own_time():
    liveness = clockwork()
    liveness.ending(5.0, took=5.0)
    liveness.catching_up(5.0 + LAST_SECONDS)
    assert liveness.last_moment == 5.0 + 2 * LAST_SECONDS
    # One that is silent leaves as much to the next.
    liveness.ending(8.0)
    assert liveness.pause(8.0) == pytest.approx(LAST_SECONDS / 2)


def test_a_quick_poll_leaves_time_for_many_new_connections():
    liveness = clockwork()
    liveness.ending(5.0)
    liveness.catching_up(5.5)
    liveness.ending(5.5)
    assert liveness.pause(5.5) == pytest.approx(GRACE)


def test_a_connection_is_stale_when_its_keepalives_stay_away():
    liveness = clockwork(checks=False)
    assert not liveness.is_stale(1000.0), "a stream that showed no keepalive proves nothing"
    liveness.heard(30.0, event=False, comment=True)
    liveness.heard(60.0, event=False, comment=True)
    assert not liveness.is_stale(119.0)
    assert liveness.is_stale(121.0)
    assert liveness.pause(60.0) == pytest.approx(60.0, abs=0.01)


def test_a_rhythm_that_was_misjudged_is_learned():
    """A server that begins each stream with two comments, and then sends one every 30 s."""
    liveness, now, connections = clockwork(checks=False), 0.0, 0
    while now < 3_600:
        connections += 1
        liveness.opened(now)
        comments = [now, now + 0.01, *(now + 30 * number for number in range(1, 200))]
        while comments and not liveness.is_stale(now):
            now = min(now + liveness.pause(now), comments[0])
            if now == comments[0]:
                liveness.heard(comments.pop(0), event=False, comment=True)
        assert liveness.lost(now) is not None
        now += 0.25
    assert connections < 20


def lose_until_given_up(liveness, now, every=1.0, **facts):
    while liveness.lost(now, **facts) is not None:
        now += every
        assert now < 10_000
    return now


def test_a_stream_is_given_up_after_a_minute_without_progress():
    assert 60 < lose_until_given_up(clockwork(checks=False), 0.0) <= 61


def test_a_stream_without_retries_is_given_up_at_once():
    assert clockwork(max_retries=0).lost(1.0) is None


def test_losses_are_counted_until_there_is_progress():
    liveness = clockwork()
    assert [liveness.lost(now) for now in (0.1, 0.2, 0.3)] == [0, 1, 2]
    liveness.opened(0.4)
    liveness.heard(0.5, event=True, comment=True)
    assert liveness.lost(0.6) == 3, "what a server greets every connection with is no progress"
    liveness.opened(0.7)
    liveness.heard(0.8, event=True, comment=False, is_new=True)
    assert liveness.lost(0.9) == 0


@pytest.mark.parametrize("what", [{"event": True}, {"comment": True}])
def test_what_comes_on_a_connection_that_has_settled_is_progress(what):
    liveness = clockwork()
    assert liveness.lost(0.1) == 0
    liveness.opened(0.2)
    liveness.heard(1.2, **{"event": False, "comment": False, **what})
    assert liveness.lost(1.3) == 0


def test_a_connection_that_lasted_is_progress():
    liveness = clockwork()
    assert liveness.lost(1.0) == 0
    liveness.opened(2.0)
    assert liveness.lost(13.0) == 0


def test_an_attempt_that_took_long_is_no_connection_that_lasted():
    liveness = clockwork()
    assert liveness.lost(1.0) == 0
    assert liveness.lost(31.0) == 1
    assert liveness.lost(61.0) is None


def test_progress_ends_an_outage():
    liveness = clockwork()
    liveness.lost(50.0)
    assert liveness.outage(50.0) == 0, "the connection had lasted"
    liveness.opened(60.0)
    liveness.heard(61.0, event=True, comment=False)
    assert 121 < lose_until_given_up(liveness, 62.0) <= 122.1


def test_a_status_that_can_be_polled_is_no_outage():
    liveness = clockwork()
    for now in range(1, 1000):
        assert liveness.lost(float(now)) is not None
        liveness.checked(now + 0.5)
    liveness.checked(1000.0, succeeded=False)
    assert 1059 < lose_until_given_up(liveness, 1001.0) <= 1060


def test_a_pause_that_is_asked_for_is_no_outage_but_has_an_end():
    liveness = clockwork(checks=False)
    assert liveness.lost(1.0, asked_for=50.0) == 0
    assert 110 < lose_until_given_up(liveness, 51.0) <= 112
    assert 120 < lose_until_given_up(clockwork(checks=False), 1.0, asked_for=50.0) <= 122


def test_a_silent_connection_to_an_api_that_is_gone_is_left():
    liveness = clockwork()
    liveness.checked(30.0)
    assert not liveness.is_gone(1000.0), "silence alone proves nothing"
    liveness.checked(40.0, succeeded=False, unreachable=True)
    assert not liveness.is_gone(90.0)
    assert liveness.is_gone(90.1)
    liveness.heard(95.0, event=False, comment=True)
    assert not liveness.is_gone(150.0)
    liveness.checked(160.0, succeeded=False)
    assert not liveness.is_gone(1000.0), "whoever is refused has reached somebody"


def test_the_same_events_after_each_break_do_not_put_the_checks_off():
    liveness = clockwork()
    liveness.checked(1.0)
    for now in (1.1, 1.6, 2.1, 2.6):
        liveness.lost(now)
        liveness.opened(now)
        liveness.heard(now + 0.1, event=True, comment=False)
    assert liveness.until_check(3.0) == 0


def test_a_stream_without_checks_has_only_long_pauses():
    assert clockwork(checks=False).pause(0.0) == 60.0
