"""The same with asyncio: three workflows at once, and an agent.

uv run examples/quickstart_async.py [WORKFLOW_ID AGENT_ID]
"""

from __future__ import annotations

import asyncio

from _local import flowmaestro, ids

from flowmaestro import AsyncFlowMaestroClient


async def main(workflow_id: str, agent_id: str) -> None:
    async with AsyncFlowMaestroClient() as client:
        names = ("Ada", "Grace", "Edsger")
        results = await asyncio.gather(
            *(client.run(workflow_id, {"name": name}, poll_interval=0.2) for name in names)
        )
        for result in results:
            print("awaited: ", result["outputs"])

        started = await client.workflows.execute(workflow_id, {"name": "Barbara"})
        async for event in client.executions.stream(started["data"]["execution_id"]):
            print("streamed:", event["type"])

        thread = (await client.agents.create_thread(agent_id))["data"]
        answer = await client.threads.send_message(thread["id"], "hello")
        message = answer["data"]["message"]
        print("agent:   ", message and message["content"])


if __name__ == "__main__":
    chosen = ids("WORKFLOW_ID", "AGENT_ID")
    with flowmaestro():
        asyncio.run(main(*chosen))
