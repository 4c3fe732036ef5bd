"""What the chaos suite does with a client: one function for each operation.

Each has a number of its own, so that the server can tell which of them were carried out,
and how often. Only documented calls, so that any release can do them.
"""

from __future__ import annotations

from typing import Any

# Agents have two minutes by default; these few seconds are plenty, on a busy machine as well.
TIMEOUT = 4.0

ENDS = ("execution:completed", "execution:failed", "execution:cancelled")


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
        client = client.with_options(timeout=TIMEOUT)
    sent = await client.threads.send_message(thread["data"]["id"], f"number {number}")
    return bool(sent["data"])


OPERATIONS = {"execute": execute, "wait": wait, "stream": stream, "message": message}


async def follow(client: Any, execution_id: str, number: int, followed: Any) -> bool:
    events = []
    async for event in client.executions.stream(execution_id):
        if not events:
            followed()
        events.append(event)
    steps = [event["progress"] for event in events if event["type"] == "execution:progress"]
    ends = [event for event in events if event["type"] in ENDS]
    return (
        # What came while there was no connection is sent again only where events have ids.
        steps == sorted(set(steps))
        and len(ends) == 1
        and ends == events[-1:]
        and ends[0]["type"] == "execution:completed"
        and ends[0]["outputs"] == {"number": number}
    )


async def await_end(client: Any, execution_id: str, number: int, followed: Any) -> bool:
    seen = []

    def note(execution: Any) -> None:
        if not seen:
            followed()
        seen.append(execution)

    result = await client.executions.wait_for_completion(execution_id, on_update=note)
    return bool(result["outputs"] == {"number": number})
