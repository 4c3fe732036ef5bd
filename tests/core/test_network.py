"""The part of the asynchronous network that its twin has no need of: writing beside reading."""

from __future__ import annotations

from weakref import WeakSet

import anyio
import httpcore
import pytest

from flowmaestro_core.network import _AsyncStream

pytestmark = pytest.mark.anyio

BIG = b"x" * 1_000_000


class Stuck(httpcore.AsyncNetworkStream):
    """A connection on which nothing comes, and nothing can be sent."""

    def __init__(self, problem):
        self.problem = problem

    async def read(self, max_bytes, *_):
        await anyio.sleep_forever()

    async def write(self, buffer, *_):
        raise self.problem

    def get_extra_info(self, info):
        return None


@pytest.mark.parametrize("problem", [httpcore.WriteTimeout("late"), httpcore.WriteError("gone")])
async def test_what_ends_the_writing_of_a_large_request_is_raised_as_it_is(problem):
    """After a ``WriteError`` httpcore waits for a response; after others there is none."""
    stream = _AsyncStream(Stuck(problem), WeakSet())
    with anyio.fail_after(60):
        with pytest.raises(type(problem)) as caught:
            await stream.write(BIG)
    assert caught.value is problem
