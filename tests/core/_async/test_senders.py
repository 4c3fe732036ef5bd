"""Many small pools: who gets which, and what is kept."""

from __future__ import annotations

import gc

import httpx
import pytest

from flowmaestro_core._async import senders as module
from flowmaestro_core._async.senders import AsyncSenders
from flowmaestro_core.http import (
    CALL_LIMITS,
    CONNECTIONS_EACH,
    IDLE_SECONDS,
    MAX_CALLS,
    STREAM_LIMITS,
)

pytestmark = pytest.mark.anyio  # async only


class Transport(httpx.AsyncBaseTransport):
    def __init__(self, limits):
        self.limits = limits
        self.is_closed = False
        self.problem = None
        self.meanwhile = None

    async def aclose(self):
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        if self.problem is not None:
            raise self.problem
        self.is_closed = True


@pytest.fixture
def opened():
    return []


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture
def senders(opened, clock):
    def open_transport(limits):
        opened.append(Transport(limits))
        return opened[-1]

    return AsyncSenders(open_transport)


async def test_one_call_after_the_other_finds_the_same_connections(senders, opened):
    for _ in range(3):
        call, stream = senders.take_for_call(), senders.take_for_stream()
        assert call.sender is stream.sender
        senders.give_back(call)
        senders.give_back(stream)
    assert len(opened) == 1


async def test_no_transport_has_more_than_a_few_calls_under_way(senders, opened):
    taken = [senders.take_for_call() for _ in range(MAX_CALLS)]
    assert len(opened) == MAX_CALLS / CONNECTIONS_EACH
    sending = [place.sender for place in taken]
    assert {sending.count(transport) for transport in opened} == {CONNECTIONS_EACH}
    assert [transport.limits for transport in opened] == [CALL_LIMITS] * len(opened)
    for place in taken:
        senders.give_back(place)
    assert senders.take_for_call() is taken[-1]


async def test_streams_beyond_those_that_share_with_calls_keep_nothing_idle(senders, opened):
    taken = [senders.take_for_stream() for _ in range(MAX_CALLS + 15)]
    shared, others = taken[:MAX_CALLS], taken[MAX_CALLS:]
    assert all(place.sender.limits == CALL_LIMITS for place in shared)
    assert all(place.sender.limits == STREAM_LIMITS for place in others)
    call = senders.take_for_call()
    assert call.sender.limits == CALL_LIMITS
    count = len(opened)
    for place in taken:
        senders.give_back(place)
    taken = [senders.take_for_stream() for _ in range(MAX_CALLS + 15)]
    assert len(opened) == count


async def test_closing_closes_every_transport(senders, opened):
    taken = [senders.take_for_call() for _ in range(25)]
    await senders.aclose()
    assert [transport.is_closed for transport in opened] == [True] * 3
    assert len(taken) == 25


async def test_a_transport_that_nobody_uses_any_more_is_closed(senders, opened, clock):
    taken = [senders.take_for_call() for _ in range(3 * CONNECTIONS_EACH)]
    for place in taken:
        senders.give_back(place)
    for seconds in range(0, 50, 5):
        # A server keeps its connections for some time as well.
        assert seconds > IDLE_SECONDS or not any(transport.is_closed for transport in opened)
        # One of them goes on being used.
        senders.give_back(senders.take_for_call())
        clock.now += 5
        assert senders.tidy_at <= clock.now
        await senders.tidy()
        assert senders.tidy_at > clock.now
    assert [transport.is_closed for transport in opened] == [True, True, False]
    call, stream = senders.take_for_call(), senders.take_for_stream()
    # Those of the closed ones are not handed out.
    assert call.sender is stream.sender is opened[-1]
    more = [senders.take_for_call() for _ in range(CONNECTIONS_EACH)]
    assert more[-1].sender is opened[3]


async def test_a_transport_is_not_closed_under_a_stream(senders, opened, clock):
    stream = senders.take_for_stream()
    for _ in range(20):
        clock.now += 5
        await senders.tidy()
    assert not opened[0].is_closed
    senders.give_back(stream)
    for _ in range(8):
        clock.now += 5
        await senders.tidy()
    assert opened[0].is_closed


async def test_a_retired_transport_is_closed_when_its_places_are_all_back(senders, opened, clock):
    first, second = senders.take_for_call(), senders.take_for_call()
    senders.retire(first)
    senders.give_back(first)
    await senders.tidy()
    assert not opened[0].is_closed
    third = senders.take_for_call()
    assert third.sender is opened[1]
    senders.give_back(second)
    assert senders.tidy_at <= clock.now
    await senders.tidy()
    assert [transport.is_closed for transport in opened] == [True, False]


async def test_the_transport_of_a_place_that_was_lost_is_retired(senders, opened):
    place = senders.take_for_stream()
    del place
    gc.collect()
    await senders.tidy()
    assert opened[0].is_closed
    assert senders.take_for_stream().sender is opened[1]


async def test_a_transport_may_be_closed_by_two_calls_at_the_same_time(senders, opened):
    place = senders.take_for_call()
    senders.retire(place)
    senders.give_back(place)
    opened[0].meanwhile = senders.tidy
    await senders.tidy()
    assert opened[0].is_closed


async def test_a_transport_that_cannot_be_closed_is_left(senders, opened):
    for place in [senders.take_for_call() for _ in range(CONNECTIONS_EACH + 1)]:
        senders.retire(place)
        senders.give_back(place)
    opened[0].problem = OSError("broken")
    await senders.tidy()
    assert opened[1].is_closed
    assert senders.take_for_call().sender is opened[2]
