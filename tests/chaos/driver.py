"""Does the same work with any release of the SDK that has the documented calls.

python -m tests.chaos.driver URL CALLS SEED     prints the outcomes as JSON
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient, FlowMaestroError

from ._async import operations as asynchronous
from ._async.operations import TIMEOUT
from ._sync import operations as synchronous

KEY = "fm_live_chaos"
AT_ONCE = 50
# Nothing takes longer: four tries with their timeouts and pauses, twice, and some luck.
LONGEST = 2 * 4 * (TIMEOUT + 8.0)

# How often each operation comes.
MIX = {"execute": 60, "wait": 15, "stream": 15, "message": 10}

Outcome = dict[str, Any]


def work(calls: int, seed: int) -> Iterator[tuple[int, str]]:
    """Give each operation its number and kind."""
    kinds = random.Random(seed).choices(list(MIX), list(MIX.values()), k=calls)
    return iter(enumerate(kinds))


def outcome_of(number: int, kind: str, what: str, error: object = None) -> Outcome:
    unknown = bool(getattr(error, "outcome_unknown", False))
    return {"number": number, "kind": kind, "is": what, "unknown": unknown, "why": repr(error)}


async def drive(url: str, calls: int, seed: int) -> list[Outcome]:
    """Do so many operations in tasks, and tell what became of each."""
    todo = work(calls, seed)
    outcomes = []
    client = AsyncFlowMaestroClient(api_key=KEY, base_url=url, timeout=TIMEOUT)

    async def one(number: int, kind: str) -> Outcome:
        try:
            operation = asynchronous.OPERATIONS[kind](client, number)
            right = await asyncio.wait_for(operation, LONGEST)
        except FlowMaestroError as error:
            return outcome_of(number, kind, "error", error)
        except asyncio.TimeoutError:
            return outcome_of(number, kind, "hung")
        except Exception as error:
            # One that is not the SDK's own.
            return outcome_of(number, kind, "wrong", error)
        return outcome_of(number, kind, "right" if right else "wrong")

    async def worker() -> None:
        for number, kind in todo:
            outcomes.append(await one(number, kind))

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    await client.close()
    return outcomes


def drive_in_threads(url: str, calls: int, seed: int) -> list[Outcome]:
    """Do the same in threads, on one client."""
    client = FlowMaestroClient(api_key=KEY, base_url=url, timeout=TIMEOUT)

    def one(number: int, kind: str) -> Outcome:
        try:
            right = synchronous.OPERATIONS[kind](client, number)
        except FlowMaestroError as error:
            return outcome_of(number, kind, "error", error)
        except Exception as error:
            return outcome_of(number, kind, "wrong", error)
        return outcome_of(number, kind, "right" if right else "wrong")

    def timed(numbered: tuple[int, str]) -> Outcome:
        # A thread cannot be stopped, but what took too long hung.
        began = time.monotonic()
        outcome = one(*numbered)
        return outcome if time.monotonic() - began < LONGEST else {**outcome, "is": "hung"}

    with ThreadPoolExecutor(AT_ONCE) as threads:
        outcomes = list(threads.map(timed, work(calls, seed)))
    client.close()
    return outcomes


if __name__ == "__main__":
    print(json.dumps(asyncio.run(drive(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
