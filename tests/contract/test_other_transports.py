"""An httpx client over aiohttp, handed in: everything works as over httpx's own transport."""

from __future__ import annotations

import asyncio

import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_core import errors
from flowmaestro_local import LocalServer
from tests.conftest import KEY

httpx_aiohttp = pytest.importorskip("httpx_aiohttp", reason="httpx-aiohttp needs Python 3.10")


@pytest.mark.parametrize("dialect", ["wire", "documented"])
def test_calls_errors_and_streams_over_aiohttp(dialect):
    server = LocalServer(dialect=dialect)

    @server.workflow("wf")
    async def wf(inputs, run):
        await asyncio.sleep(0.1)
        run.progress(50)
        return inputs

    async def main(url):
        async with httpx_aiohttp.HttpxAiohttpClient() as http_client:
            async with AsyncFlowMaestroClient(KEY, url, http_client=http_client) as client:
                with pytest.raises(errors.NotFoundError):
                    await client.workflows.get("wf_unknown")
                started = await asyncio.gather(
                    *(client.workflows.execute("wf", {"n": number}) for number in range(50))
                )
                last = {}
                async for event in client.executions.stream(started[7]["data"]["execution_id"]):
                    last = event
                assert last["type"] == "execution:completed"
                assert last["outputs"] == {"n": 7}
                result = await client.run("wf", {"n": 50}, poll_interval=0.05)
                assert result["outputs"] == {"n": 50}

    with server.start() as url:
        asyncio.run(main(url))
    assert len(server.executions) == 51


def test_a_server_that_is_gone_is_an_error_of_ours_over_aiohttp():
    with LocalServer().start() as url:
        pass

    async def main():
        async with httpx_aiohttp.HttpxAiohttpClient() as http_client:
            async with AsyncFlowMaestroClient(
                KEY, url, http_client=http_client, max_retries=0
            ) as client:
                await client.workflows.get("wf")

    # httpx-aiohttp takes a refused connection for one that took too long.
    with pytest.raises((errors.ConnectionError, errors.TimeoutError)):
        asyncio.run(main())
