"""Numbers of seconds that clocks cannot take: without end, they are no bound."""

from __future__ import annotations

import contextlib
import math

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_core import errors
from tests.conftest import KEY
from tests.core.mock import Script, data, error

pytestmark = [
    pytest.mark.anyio,  # async only
    pytest.mark.once,
]

NO_BOUND = [math.inf, 1e9, 1e300, 10**400]
RUNNING = {"id": "e", "workflow_id": "wf", "status": "running", "created_at": "now"}
DONE = {**RUNNING, "status": "completed", "outputs": {"a": 1}}


@contextlib.asynccontextmanager
async def answering(*steps):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncFlowMaestroClient(
            KEY, "http://127.0.0.1:1", http_client=http_client
        ) as client:
            client.script = script
            yield client


@pytest.mark.parametrize("seconds", NO_BOUND, ids=range(4))
async def test_a_call_takes_any_large_number(seconds):
    async with answering(data({"id": "wf"})) as client:
        for view in (
            client.with_options(timeout=seconds),
            client.with_options(deadline=seconds),
            client.with_options(timeout=httpx.Timeout(5, read=seconds)),
        ):
            assert (await view.workflows.get("wf"))["data"]["id"] == "wf"


@pytest.mark.parametrize("seconds", NO_BOUND, ids=range(4))
async def test_a_wait_takes_any_large_number(seconds):
    async with answering(data(RUNNING), data(DONE)) as client:
        client.script.steps = [data(RUNNING), data(DONE)]
        done = await client.executions.wait_for_completion("e", 0.01, timeout=seconds)
        assert done["outputs"] == {"a": 1}


@pytest.mark.parametrize("seconds", NO_BOUND, ids=range(4))
async def test_a_wait_that_polls_once_ends_with_its_timeout(seconds):
    async with answering(data(RUNNING)) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await client.executions.wait_for_completion("e", poll_interval=seconds, timeout=0.05)
        assert caught.value.code == "wait_timeout"
        # Once at the beginning, and once more at the end.
        assert len(client.script.requests) == 2
    async with answering(data(DONE)) as client:
        assert await client.executions.wait_for_completion("e", seconds, timeout=None)


async def test_a_wait_bears_a_limit_without_end():
    async with answering(error(429, retry_after="9" * 400)) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await client.executions.wait_for_completion("e", 0.01, timeout=0.05)
        assert caught.value.code == "wait_timeout"


@pytest.mark.parametrize("name", ["timeout", "poll_interval"])
@pytest.mark.parametrize("value", [-1, math.nan, -math.inf])
async def test_a_wait_refuses_what_makes_no_sense_by_name(name, value):
    async with answering(data(DONE)) as client:
        with pytest.raises(ValueError, match=f"{name} must be"):
            await client.executions.wait_for_completion("e", **{name: value})
        with pytest.raises(TypeError, match=f"{name} must be a number"):
            await client.executions.wait_for_completion("e", **{name: True})
        assert not client.script.requests


@pytest.mark.parametrize("name", ["timeout", "poll_interval"])
async def test_nothing_is_started_where_a_number_of_its_wait_makes_no_sense(name):
    async with answering(data({"execution_id": "e"}), data(DONE)) as client:
        for value in (-1, math.nan):
            with pytest.raises(ValueError, match=f"{name} must be"):
                await client.run("wf", {}, **{name: value})
        with pytest.raises(TypeError, match=f"{name} must be a number"):
            await client.run("wf", {}, **{name: True})
        assert not client.script.requests
        assert (await client.run("wf", {}, **{name: math.inf}))["outputs"] == {"a": 1}


async def test_a_number_that_cannot_be_written_is_named():
    async with answering(data(DONE)) as client:
        with pytest.raises(ValueError, match=r"inputs\.n is a whole number of too many digits"):
            await client.workflows.execute("wf", {"n": 10**5_000})
        assert not client.script.requests


async def test_a_number_that_cannot_be_read_is_an_error_of_ours():
    long = httpx.Response(200, content=b'{"data": {"id": %s}}' % (b"1" * 5_000))
    async with answering(long) as client:
        with pytest.raises(errors.ServerError, match="too many digits"):
            await client.workflows.get("wf")
