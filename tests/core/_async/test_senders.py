"""Many small pools: who gets which, and what is kept."""

from __future__ import annotations

import httpx
import pytest

from flowmaestro_core._async.senders import AsyncSenders
from flowmaestro_core.http import CALL_LIMITS, CONNECTIONS_EACH, MAX_CALLS, STREAM_LIMITS

pytestmark = pytest.mark.anyio  # async only


class Transport(httpx.AsyncBaseTransport):
    def __init__(self, limits):
        self.limits = limits
        self.is_closed = False

    async def aclose(self):
        self.is_closed = True


@pytest.fixture
def opened():
    return []


@pytest.fixture
def senders(opened):
    def open_transport(limits):
        opened.append(Transport(limits))
        return opened[-1]

    return AsyncSenders(open_transport)


async def test_one_call_after_the_other_finds_the_same_connections(senders, opened):
    for _ in range(3):
        sender = senders.take_for_call()
        senders.give_back_for_call(sender)
        stream = senders.take_for_stream()
        senders.give_back_for_stream(stream)
        assert sender is stream
    assert len(opened) == 1


async def test_no_transport_has_more_than_a_few_calls_under_way(senders, opened):
    taken = [senders.take_for_call() for _ in range(MAX_CALLS)]
    assert len(opened) == MAX_CALLS / CONNECTIONS_EACH
    assert {taken.count(transport) for transport in opened} == {CONNECTIONS_EACH}
    assert [transport.limits for transport in opened] == [CALL_LIMITS] * len(opened)
    for sender in taken:
        senders.give_back_for_call(sender)
    assert senders.take_for_call() is taken[-1]


async def test_streams_beyond_those_that_share_with_calls_keep_nothing_idle(senders, opened):
    taken = [senders.take_for_stream() for _ in range(MAX_CALLS + 15)]
    shared, others = taken[:MAX_CALLS], taken[MAX_CALLS:]
    assert all(transport.limits == CALL_LIMITS for transport in shared)
    assert all(transport.limits == STREAM_LIMITS for transport in others)
    assert senders.take_for_call().limits == CALL_LIMITS
    count = len(opened)
    for sender in taken:
        senders.give_back_for_stream(sender)
    for _ in range(MAX_CALLS + 15):
        senders.take_for_stream()
    assert len(opened) == count


async def test_closing_closes_every_transport(senders, opened):
    for _ in range(25):
        senders.take_for_call()
    await senders.aclose()
    assert [transport.is_closed for transport in opened] == [True] * 3
