"""An API that is stopped and started again while 200 streams and waits are open.

``uv run nox -s reliability`` tries every way, dialect and client.

uv run pytest tests/chaos/test_outages.py --outage-seconds 30 -s
"""

from __future__ import annotations

import pytest

from tests.chaos.outages import OPEN, Outage, drive, drive_in_threads

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("way", "dialect", "client"),
    [
        ("stopped", "documented", "asynchronous"),
        ("503", "wire", "synchronous"),
    ],
)
def test_promise_9_streams_and_waits_survive_an_api_that_is_away(request, way, dialect, client):
    seconds = request.config.getoption("--outage-seconds")
    outage = Outage(way, seconds, dialect)
    counted = outage.run(drive if client == "asynchronous" else drive_in_threads)
    print(f"\n{way} for {seconds:g} s, {client}, {dialect}")
    for name, number in counted.items():
        print(f"{number:>8,}  {name}")
    assert counted["ended right"] == OPEN
    # Every stream breaks; a wait may be between two polls all the while.
    assert counted["warnings in the log"] >= OPEN / 2
