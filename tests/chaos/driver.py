"""The same work for any release of the SDK that has the documented calls.

    python driver.py URL CALLS SEED     prints the outcomes as JSON

Every operation has a number of its own, so that the server can tell which of them were
carried out, and how often.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroError

KEY = "fm_live_chaos"
AT_ONCE = 50
TIMEOUT = 1.0
# Nothing takes longer: four tries with their timeouts and pauses, twice, and some luck.
LONGEST = 2 * 4 * (TIMEOUT + 8.0)

# How often each operation comes.
MIX = {"execute": 60, "wait": 15, "stream": 15, "message": 10}


async def execute(client: Any, number: int) -> bool:
    started = await client.workflows.execute("wf", inputs={"number": number})
    return bool(started["data"]["execution_id"])


async def wait(client: Any, number: int) -> bool:
    started = await client.workflows.execute("wf", inputs={"number": number})
    result = await client.executions.wait_for_completion(
        started["data"]["execution_id"], poll_interval=0.2, timeout=20.0
    )
    return bool(result["outputs"] == {"number": number})


async def stream(client: Any, number: int) -> bool:
    started = await client.workflows.execute("wf", inputs={"number": number})
    execution_id = started["data"]["execution_id"]
    events = [event async for event in client.executions.stream(execution_id)]
    steps = [event["progress"] for event in events if event["type"] == "execution:progress"]
    # What was before the stream was opened is not sent; from then on nothing is missing.
    whole = steps == list(range(steps[0], 5)) if steps else True
    last = events[-1] if events else {}
    return (
        whole
        and last.get("type") == "execution:completed"
        and last.get("outputs") == {"number": number}
    )


async def message(client: Any, number: int) -> bool:
    thread = await client.agents.create_thread("agent")
    if hasattr(client, "with_options"):
        # Agents have two minutes by default; one second is plenty for this one.
        client = client.with_options(timeout=TIMEOUT)
    sent = await client.threads.send_message(thread["data"]["id"], f"number {number}")
    return bool(sent["data"])


OPERATIONS = {"execute": execute, "wait": wait, "stream": stream, "message": message}


async def drive(url: str, calls: int, seed: int) -> list[dict[str, Any]]:
    """Do so many operations, and tell what became of each."""
    chance = random.Random(seed)
    kinds = chance.choices(list(MIX), list(MIX.values()), k=calls)
    work = iter(enumerate(kinds))
    outcomes = []
    client = AsyncFlowMaestroClient(api_key=KEY, base_url=url, timeout=TIMEOUT)

    async def worker() -> None:
        for number, kind in work:
            outcome: dict[str, Any] = {"number": number, "kind": kind, "unknown": False}
            try:
                right = await asyncio.wait_for(OPERATIONS[kind](client, number), LONGEST)
                outcome["is"] = "right" if right else "wrong"
            except asyncio.TimeoutError as error:
                late = isinstance(error, FlowMaestroError)
                outcome["is"] = "error" if late else "hung"
                outcome["unknown"] = bool(getattr(error, "outcome_unknown", False))
            except FlowMaestroError as error:
                outcome["is"] = "error"
                outcome["unknown"] = bool(getattr(error, "outcome_unknown", False))
            except Exception as error:
                # An exception that is not the SDK's own.
                outcome["is"] = "wrong"
                outcome["why"] = repr(error)
            outcomes.append(outcome)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    await client.close()
    return outcomes


if __name__ == "__main__":
    print(json.dumps(asyncio.run(drive(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
