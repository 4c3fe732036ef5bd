"""Follows executions, cancels one, and lists them, as a program for 0.1.0 did."""

from __future__ import annotations

import asyncio
import os

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from flowmaestro.errors import FlowMaestroError, TimeoutError
from flowmaestro.types import ExecutionEvent

KEY = os.environ["FLOWMAESTRO_API_KEY"]
URL = os.environ["FLOWMAESTRO_BASE_URL"]
TERMINAL = {"completed", "failed", "cancelled"}


def show(event: ExecutionEvent) -> bool:
    """Print an event; say whether it was the last one."""
    if event["type"] == "execution:completed":
        print("outputs:", event.get("outputs"))
        return True
    if event["type"] == "execution:failed":
        print("error:", event.get("error"))
        return True
    return False


def follow(client: FlowMaestroClient) -> None:
    started = client.workflows.execute("wf_greet", inputs={"name": "Ada"})
    for event in client.executions.stream(started["data"]["execution_id"]):
        if show(event):
            break


def cancel(client: FlowMaestroClient) -> None:
    started = client.workflows.execute("wf_slow")
    execution_id = started["data"]["execution_id"]
    try:
        client.executions.wait_for_completion(execution_id, poll_interval=0.05, timeout=0.2)
    except TimeoutError as error:
        print("not done:", error.code == "timeout")
    cancelled = client.executions.cancel(execution_id)
    print("cancelled:", cancelled["data"]["status"])
    execution = client.executions.get(execution_id)["data"]
    print("over:", execution["status"] in TERMINAL)
    try:
        client.executions.cancel(execution_id)
    except FlowMaestroError as error:
        print("again:", error.status_code)


async def gather() -> None:
    async with AsyncFlowMaestroClient(api_key=KEY, base_url=URL) as client:

        async def run(name: str) -> object:
            started = await client.workflows.execute("wf_greet", inputs={"name": name})
            done = await client.executions.wait_for_completion(
                started["data"]["execution_id"], poll_interval=0.05
            )
            return done["outputs"]

        print("together:", await asyncio.gather(*(run(name) for name in ("Ada", "Bob"))))
        listed = await client.executions.list(workflow_id="wf_greet", status="completed")
        print("completed:", len(listed["data"]))


if __name__ == "__main__":
    with FlowMaestroClient(api_key=KEY, base_url=URL) as sync_client:
        follow(sync_client)
        cancel(sync_client)
    asyncio.run(gather())
