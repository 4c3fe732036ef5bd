"""Clients of httpx2, and its timeouts, are taken as those of httpx are."""

from __future__ import annotations

import asyncio

import pytest

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient, errors
from flowmaestro_local import LocalServer
from tests.conftest import KEY

httpx2 = pytest.importorskip("httpx2", reason="httpx2 needs Python 3.11")


def test_a_timeout_of_httpx2_is_read():
    timeout = httpx2.Timeout(5, read=7, pool=None)
    with FlowMaestroClient(KEY, "http://127.0.0.1:1", timeout=timeout) as client:
        assert client.options.timeouts == (5, 7, 5, None)
        assert client.with_options(timeout=httpx2.Timeout(2)).options.timeouts == (2, 2, 2, 2)


def test_a_client_of_the_other_kind_is_refused():
    with httpx2.Client() as http_client:
        with pytest.raises(TypeError, match=r"httpx2\.AsyncClient, not httpx2\..*Client"):
            AsyncFlowMaestroClient(KEY, "http://127.0.0.1:1", http_client=http_client)


@pytest.mark.parametrize(
    ("fault", "error", "is_unknown"),
    [
        ("reset_before", errors.ConnectionError, True),
        ("truncate", errors.ConnectionError, True),
        ("latency", errors.TimeoutError, True),
    ],
)
def test_what_httpx2_raises_is_an_error_of_ours(fault, error, is_unknown):
    server = LocalServer()
    server.workflow("wf")(lambda inputs: {"n": 1})
    server.faults.add(fault, "POST */execute", seconds=30, times=None)
    with server.start() as url, httpx2.Client() as http_client:
        client = FlowMaestroClient(KEY, url, http_client=http_client, timeout=1)
        with pytest.raises(error) as caught:
            client.workflows.execute("wf")
        assert caught.value.outcome_unknown is is_unknown
        # The same client goes on.
        server.faults.clear()
        assert client.run("wf", poll_interval=0.05)["outputs"] == {"n": 1}

    async def main():
        async with httpx2.AsyncClient() as http_client:
            client = AsyncFlowMaestroClient(KEY, url, http_client=http_client, max_retries=0)
            await client.workflows.execute("wf")

    # Nobody listens there any more.
    with pytest.raises(errors.ConnectionError) as caught:
        asyncio.run(main())
    assert caught.value.code == "connection_failed"


def test_hooks_of_a_client_of_httpx2_may_raise_for_a_status():
    def hook(response):
        response.raise_for_status()

    with LocalServer().start() as url:
        with httpx2.Client(event_hooks={"response": [hook]}) as http_client:
            client = FlowMaestroClient(KEY, url, http_client=http_client)
            with pytest.raises(errors.NotFoundError) as caught:
                client.workflows.get("00000000-0000-4000-8000-000000000000")
    assert caught.value.code == "resource_not_found"
