"""Tests of the user's that stop or patch the time do not stop the server."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from datetime import datetime
from unittest.mock import Mock, patch
from urllib.parse import urlsplit

import pytest
from freezegun import freeze_time

from flowmaestro import FlowMaestroClient
from flowmaestro_local import LocalServer
from flowmaestro_local.clock import monotonic, timestamp
from flowmaestro_local.records import now
from tests.conftest import KEY


def run(url: str) -> str:
    with FlowMaestroClient(KEY, url) as client:
        status: str = client.run("wf", poll_interval=0.01, timeout=100)["status"]
        return status


@pytest.fixture(scope="module", autouse=True)
def _imported():
    """Load all that a call needs, so that nothing of it keeps what a test patches."""
    server = LocalServer()
    server.workflow("wf")(lambda: {"a": 1})
    with server.start() as url:
        run(url)


@pytest.fixture(params=["plain", "coroutine"])
def server(request):
    server = LocalServer()

    async def handler(inputs, run):
        await asyncio.sleep(0.01)
        with run.node("n"):
            await asyncio.sleep(0.01)

    def plain(inputs, run):
        with run.node("n"):
            run.sleep(0.01)

    server.workflow("wf")(handler if request.param == "coroutine" else plain)
    return server


def test_a_frozen_clock(server):
    with freeze_time("2020-01-01 12:00"):
        with server.start() as url:
            assert run(url) == "completed"
        assert server.executions[0].created_at == "2020-01-01T12:00:00.000Z"


@pytest.mark.parametrize("name", ["time", "monotonic", "perf_counter"])
@pytest.mark.parametrize("how", ["fails", "stands", "exhausted"])
def test_a_patched_time_is_left_to_the_test(server, name, how):
    values = {"fails": RuntimeError("mine"), "stands": None, "exhausted": [1.0]}
    patched = Mock(side_effect=values[how], return_value=5.0)
    with patch("flowmaestro_local.clock.time." + name, patched):
        running = server.start()
        # By hand, as a client of any kind may ask for the time.
        address = urlsplit(running.url)
        with socket.create_connection((address.hostname, address.port), timeout=60) as sock:
            path = "/api/v1/workflows/wf/execute"
            head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n\r\n"
            sock.sendall(head.encode())
            assert sock.recv(65536).startswith(b"HTTP/1.1 202 ")
        running.stop()
    assert patched.call_count == 0
    with server.start() as url:
        assert run(url) == "completed"


def test_sleeping_may_be_patched(server):
    with patch("time.sleep", Mock(side_effect=RuntimeError("mine"))), server.start() as url:
        with FlowMaestroClient(KEY, url) as client:
            started = client.workflows.execute("wf")["data"]["execution_id"]
            assert client.executions.get(started)["data"]["id"] == started


def test_everything_may_be_imported_under_a_frozen_clock():
    code = (
        "from freezegun import freeze_time\n"
        "with freeze_time('2020-01-01'):\n"
        "    from flowmaestro_local import LocalServer\n"
        "    from flowmaestro import FlowMaestroClient\n"
        "    server = LocalServer()\n"
        "    server.workflow('wf')(lambda: {'a': 1})\n"
        "    with server.start() as url, FlowMaestroClient('fm_live_x', url) as client:\n"
        "        print(client.run('wf', poll_interval=0.01)['outputs'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=110
    )
    assert done.stdout == "{'a': 1}\n", done.stderr


def test_its_own_clock_goes_on():
    with freeze_time("2020-01-01"):
        began = monotonic()
        while monotonic() == began:
            pass
        assert timestamp() == 1_577_836_800
    assert abs(timestamp() - time.time()) < 60


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone is that of the system here")
def test_what_is_shown_is_utc_wherever_it_runs(monkeypatch):
    monkeypatch.setenv("TZ", "HERE-5")
    time.tzset()
    try:
        shown = now()
    finally:
        monkeypatch.undo()
        time.tzset()
    moment = datetime.fromisoformat(shown.replace("Z", "+00:00"))
    assert abs(moment.timestamp() - time.time()) < 60


def test_ids_that_are_patched_are_left_to_the_test(server):
    with patch("uuid.uuid4", Mock(side_effect=RuntimeError("mine"))), server.start() as url:
        for _ in range(2):
            assert run(url) == "completed"
    assert len({one.id for one in server.executions}) == 2
