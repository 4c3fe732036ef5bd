"""The same with asyncio: three workflows at once, and an agent.

uv run examples/quickstart_async.py
"""

from __future__ import annotations

import asyncio

from _local import AGENT, WORKFLOW, flowmaestro

from flowmaestro import AsyncFlowMaestroClient


async def main() -> None:
    async with AsyncFlowMaestroClient() as client:
        names = ("Ada", "Grace", "Edsger")
        results = await asyncio.gather(
            *(client.run(WORKFLOW, {"name": name}, poll_interval=0.2) for name in names)
        )
        for result in results:
            print("awaited: ", result["outputs"])

        started = await client.workflows.execute(WORKFLOW, {"name": "Barbara"})
        async for event in client.executions.stream(started["data"]["execution_id"]):
            print("streamed:", event["type"])

        thread = (await client.agents.create_thread(AGENT))["data"]
        answer = await client.threads.send_message(thread["id"], "hello")
        message = answer["data"]["message"]
        print("agent:   ", message and message["content"])


if __name__ == "__main__":
    with flowmaestro():
        asyncio.run(main())
