"""Under a frozen clock, as in users' tests, whatever waits goes on, and ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flowmaestro_local import LocalServer, Run
from tests.promises import frozen

pytestmark = pytest.mark.long

EXPECTED = """\
run {'n': 1}
wait wait_timeout
deadline deadline_exceeded
stream's deadline deadline_exceeded
retry wf_again
stream execution:completed
batch ['completed', 'completed']
frozen 2020 True
"""


@pytest.fixture
def server():
    server = LocalServer()

    @server.workflow("wf")
    def echo(inputs: dict, run: Run) -> dict:
        run.sleep(0.05)
        return inputs

    @server.workflow("wf_slow")
    def slow(inputs: dict, run: Run) -> None:
        run.sleep(600)

    for name in ("wf_stalls", "wf_again"):
        server.workflow(name)(echo)
    server.faults.add("latency", "GET */workflows/wf_stalls", seconds=60, times=None)
    server.faults.add("status", "GET */workflows/wf_again", status=503, times=1)
    with server.start():
        yield server


@pytest.mark.parametrize("when", ["before", "while"])
@pytest.mark.parametrize("kind", ["sync", "asyncio", "trio"])
def test_a_frozen_clock_stops_nothing(server, when, kind, tmp_path):
    """The frozen program is another process than the server, whose own time goes on."""
    if when == "while":
        # Streams fall silent at once, so that their end is only seen by asking for the status.
        server.faults.add("stall", "GET */events", seconds=600, times=None, after=0)
    done = subprocess.run(
        [sys.executable, frozen.__file__, server.url, when, kind, str(tmp_path / "journal")],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.stdout == EXPECTED, done.stderr
