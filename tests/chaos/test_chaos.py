"""Promise 3, no double work: thousands of calls under faults, counted at the server.

    uv run pytest tests/chaos --chaos-calls 10000 --chaos-seed 7 -s

Every call carries a number of its own, so that the server's executions tell which calls
were carried out, and how often.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

import flowmaestro
from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_local import LocalServer
from tests.conftest import KEY

pytestmark = pytest.mark.slow

AT_ONCE = 50
TIMEOUT = 1.0
# Nothing takes longer: four tries with their timeouts and pauses, and a second for luck.
LONGEST_CALL = 4 * (TIMEOUT + 8.0) + 1.0

# Thirty in a hundred requests, in equal parts.
KINDS = [
    ("reset_before", {}),
    ("reset_after", {}),
    ("truncate", {}),
    ("stall", {"seconds": float("inf")}),
    ("latency", {"seconds": 1.2}),
    *(("status", {"status": status}) for status in (408, 500, 502, 503, 504)),
    ("status", {"status": 429, "headers": {"Retry-After": "0"}}),
    ("status", {"status": 503, "headers": {"Retry-After": "0"}}),
]
SHARE = 0.30


@dataclass
class Tally:
    """What became of the calls."""

    calls: int = 0
    succeeded: int = 0
    refused: int = 0
    unknown: int = 0
    hung: int = 0
    duplicates: int = 0
    losses: int = 0
    lies: int = 0
    answered: dict = field(default_factory=dict)
    denied: set = field(default_factory=set)

    def table(self, injected: dict, seconds: float, seed: int) -> str:
        rows = [
            ("calls", self.calls),
            ("succeeded", self.succeeded),
            ("certainly not carried out (an error)", self.refused),
            ("outcome unknown (an error that says so)", self.unknown),
            ("**duplicates**", self.duplicates),
            ("**losses** (succeeded, and not at the server)", self.losses),
            ("**lies** (denied, and at the server all the same)", self.lies),
            ("**hung**", self.hung),
        ]
        lines = [f"\n{seconds:.0f} s, seed {seed}", "| | |", "|---|---|"]
        lines += [f"| {name} | {number:,} |" for name, number in rows]
        lines += [f"| faults: {kind} | {number:,} |" for kind, number in sorted(injected.items())]
        return "\n".join(lines)


async def one_call(client: AsyncFlowMaestroClient, number: int, tally: Tally) -> None:
    try:
        started = await asyncio.wait_for(
            client.workflows.execute("wf", {"number": number}), LONGEST_CALL
        )
    except flowmaestro.FlowMaestroError as error:
        if error.outcome_unknown:
            tally.unknown += 1
        else:
            tally.refused += 1
            tally.denied.add(number)
    except asyncio.TimeoutError:
        tally.hung += 1
    else:
        tally.succeeded += 1
        tally.answered[number] = started["data"]["execution_id"]
    tally.calls += 1


async def all_calls(url: str, calls: int, tally: Tally) -> None:
    numbers = iter(range(calls))
    async with AsyncFlowMaestroClient(KEY, url, timeout=TIMEOUT) as client:

        async def worker() -> None:
            for number in numbers:
                await one_call(client, number, tally)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


@pytest.mark.timeout(1800)
def test_promise_3_no_execution_is_started_that_was_not_asked_for(request):
    calls = request.config.getoption("--chaos-calls")
    seed = request.config.getoption("--chaos-seed")
    server = LocalServer(seed=seed)
    server.workflow("wf")(lambda: None)
    rest = 1.0
    for kind, options in KINDS:
        # Each has its share of all requests, though the faults are tried one after another.
        share = SHARE / len(KINDS)
        server.faults.add(kind, "POST */execute", times=None, probability=share / rest, **options)
        rest -= share
    tally = Tally()
    began = time.monotonic()
    with server.start() as url:
        asyncio.run(all_calls(url, calls, tally))
        executions = server.executions
    seen = Counter(execution.inputs["number"] for execution in executions)
    ids = {execution.id for execution in executions}
    tally.duplicates = sum(count - 1 for count in seen.values())
    tally.losses = sum(one not in ids for one in tally.answered.values())
    tally.lies = sum(number in seen for number in tally.denied)
    print(tally.table(server.faults.injected, time.monotonic() - began, seed))

    assert tally.calls == calls
    assert sum(server.faults.injected.values()) > 0.2 * calls
    assert tally.succeeded > 0.7 * calls
    assert (tally.duplicates, tally.losses, tally.lies, tally.hung) == (0, 0, 0, 0)
