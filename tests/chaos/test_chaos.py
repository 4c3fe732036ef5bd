"""Promises 1 to 4 together: thousands of operations under faults, counted at the server.

uv run pytest tests/chaos --chaos-calls 10000 --chaos-seed 7 -s
"""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.driver import drive, drive_in_threads
from tests.chaos.world import build, tally

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("client", ["asynchronous", "synchronous"])
def test_promise_3_nothing_is_done_twice_lost_or_left_hanging(request, client):
    calls = request.config.getoption("--chaos-calls")
    seed = request.config.getoption("--chaos-seed")
    server = build(seed)
    with server.start() as url:
        if client == "asynchronous":
            outcomes = asyncio.run(drive(url, calls, seed))
        else:
            outcomes = drive_in_threads(url, calls, seed)
        counted = tally(server, outcomes)
    print(f"\nseed {seed}, {client}")
    for name, number in [*counted.items(), *sorted(server.faults.injected.items())]:
        print(f"{number:>8,}  {name}")
    for outcome in outcomes:
        if outcome["is"] in ("wrong", "hung"):
            print(outcome)
    assert counted["operations"] == calls
    assert sum(server.faults.injected.values()) > 0.2 * calls
    assert counted["right"] > 0.6 * calls
    bad = {name: number for name, number in counted.items() if "**" in name and number}
    assert bad == {}
