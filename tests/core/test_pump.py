"""The part of the asynchronous pump that its twin has no need of: looks and cancellation."""

from __future__ import annotations

import anyio
import httpx
import pytest

from flowmaestro_core._async.compat import open_pump
from tests.core.mock import Chunks

pytestmark = pytest.mark.anyio


class Late(Chunks):
    """Sends its bytes while a look is under way."""

    async def __aiter__(self):
        for part in self:
            await anyio.sleep(0.1)
            yield part


@pytest.fixture
async def pump():
    response = httpx.Response(
        200, stream=Late(b"bytes", b"more"), request=httpx.Request("GET", "http://a")
    )
    closed = []
    pump = await open_pump(response, print, lambda: closed.append(True))
    yield pump
    await pump.aclose()
    await pump.aclose()
    assert closed == [True]


async def test_a_look_that_is_under_way_is_not_cancelled_by_bytes(pump):
    """Cancelled while it connects, it could leave an open socket behind."""
    ends = []

    async def look():
        try:
            await anyio.sleep(0.3)
            ends.append("done")
        except BaseException as problem:
            ends.append(repr(problem))
            raise
        return False

    assert await pump.next(lambda: 0.01, look) == b"bytes"
    assert ends[0] == "done"


async def test_bytes_that_were_read_are_not_lost_to_a_look_that_fails(pump):
    async def look(seconds):
        await anyio.sleep(seconds)
        raise ValueError("the status cannot be had")

    assert await pump.next(lambda: 0.01, lambda: look(0.2)) == b"bytes"
    with pytest.raises(ValueError, match="cannot be had"):
        await pump.next(lambda: 0.0, lambda: look(0.0))


async def test_a_look_that_takes_long_does_not_hold_bytes_back_for_ever(pump, monkeypatch):
    monkeypatch.setattr("flowmaestro_core._async.compat._LONGEST_LOOK", 0.1)
    with anyio.fail_after(5):
        assert await pump.next(lambda: 0.01, anyio.sleep_forever) == b"bytes"


@pytest.mark.parametrize("left", ["with bytes", "cancelled"])
async def test_no_look_outlives_the_reading(pump, monkeypatch, left):
    monkeypatch.setattr("flowmaestro_core._async.compat._LONGEST_LOOK", 0.01)
    looks = []

    async def look():
        looks.append("begun")
        try:
            await anyio.sleep_forever()
        finally:
            looks.append("ended")

    with anyio.move_on_after(5 if left == "with bytes" else 0.05) as scope:
        await pump.next(lambda: 0.01, look)
    assert scope.cancelled_caught == (left == "cancelled")
    assert looks == ["begun", "ended"]


async def test_looks_are_repeated_until_one_ends_the_reading(pump):
    looks = []

    async def look():
        looks.append(len(looks))
        return len(looks) == 3

    assert await pump.next(lambda: 0.01, look) is None
    assert looks == [0, 1, 2]
