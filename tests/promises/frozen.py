"""A program whose time is frozen, as in a user's test: URL WHEN KIND JOURNAL.

WHEN is "before" where everything is imported before time is frozen, or "while". KIND is
"sync", "asyncio" or "trio".
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import datetime

from freezegun import freeze_time


def use_sync(url: str, journal: str) -> None:
    from flowmaestro import FlowMaestroClient, TimeoutError
    from flowmaestro_batch import Batch

    with FlowMaestroClient("fm_live_test", url) as client:
        print("run", client.run("wf", {"n": 1}, poll_interval=0.02)["outputs"])
        slow = client.workflows.execute("wf_slow")["data"]["execution_id"]
        try:
            client.executions.wait_for_completion(slow, poll_interval=0.02, timeout=0.2)
        except TimeoutError as error:
            print("wait", error.code)
        try:
            client.with_options(deadline=0.3).workflows.get("wf_stalls")
        except TimeoutError as error:
            print("deadline", error.code)
        try:
            for _ in client.with_options(deadline=0.3).executions.stream(slow):
                pass
        except TimeoutError as error:
            print("stream's deadline", error.code)
        print("retry", client.workflows.get("wf_again")["data"]["id"])
        started = client.workflows.execute("wf", {"n": 2})["data"]["execution_id"]
        print("stream", [event["type"] for event in client.executions.stream(started)][-1])
        batch = Batch(client, "wf", journal=journal, poll_interval=0.02)
        print("batch", sorted(outcome.status for outcome in batch.run([{"n": 1}, {"n": 2}])))


async def use_async(url: str, journal: str) -> None:
    from flowmaestro import AsyncFlowMaestroClient, TimeoutError
    from flowmaestro_batch import AsyncBatch

    async with AsyncFlowMaestroClient("fm_live_test", url) as client:
        print("run", (await client.run("wf", {"n": 1}, poll_interval=0.02))["outputs"])
        slow = (await client.workflows.execute("wf_slow"))["data"]["execution_id"]
        try:
            await client.executions.wait_for_completion(slow, poll_interval=0.02, timeout=0.2)
        except TimeoutError as error:
            print("wait", error.code)
        try:
            await client.with_options(deadline=0.3).workflows.get("wf_stalls")
        except TimeoutError as error:
            print("deadline", error.code)
        try:
            async for _ in client.with_options(deadline=0.3).executions.stream(slow):
                pass
        except TimeoutError as error:
            print("stream's deadline", error.code)
        print("retry", (await client.workflows.get("wf_again"))["data"]["id"])
        started = (await client.workflows.execute("wf", {"n": 2}))["data"]["execution_id"]
        print("stream", [e["type"] async for e in client.executions.stream(started)][-1])
        batch = AsyncBatch(client, "wf", journal=journal, poll_interval=0.02)
        print("batch", sorted([o.status async for o in batch.run([{"n": 1}, {"n": 2}])]))


def main(url: str, when: str, kind: str, journal: str) -> None:
    if when == "before":
        import flowmaestro_batch
        import flowmaestro_executions
        import flowmaestro_workflows

        flowmaestro_batch.Batch, flowmaestro_batch.AsyncBatch  # noqa: B018
        flowmaestro_executions.Executions, flowmaestro_executions.AsyncExecutions  # noqa: B018
        flowmaestro_workflows.Workflows, flowmaestro_workflows.AsyncWorkflows  # noqa: B018
    # trio measures its own time with the clock that is frozen, unless it is told not to be.
    ignored = ["trio"] if kind == "trio" else []
    with freeze_time("2020-01-01", real_asyncio=True, ignore=ignored):
        before = time.monotonic()
        if kind == "sync":
            use_sync(url, journal)
        elif kind == "asyncio":
            asyncio.run(use_async(url, journal))
        else:
            import trio

            trio.run(use_async, url, journal)
        print("frozen", datetime.now().year, time.monotonic() == before)


if __name__ == "__main__":
    main(*sys.argv[1:])
