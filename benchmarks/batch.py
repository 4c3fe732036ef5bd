"""Measures flowmaestro-batch, and writes the figures of docs/batches.md.

    python -m benchmarks.batch [--quick]

Takes some ten minutes: a million rows, a minute of a plan's limit, and the loop that a
batch stands in for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from flowmaestro import FlowMaestroClient
from flowmaestro_batch import Batch
from flowmaestro_local import LocalServer

PAGE = Path(__file__).parent.parent / "docs" / "batches.md"
KEY = "fm_live_benchmark"


def at_once() -> httpx.MockTransport:
    """Make a backend within the process, whose executions are over as soon as they begin."""
    newest: deque[dict[str, object]] = deque(maxlen=100)
    workflow = {"id": "wf", "name": "w", "description": None, "version": 1, "inputs": {}}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            inputs = json.loads(request.content)["inputs"]
            execution_id = f"e{inputs['n']}"
            newest.appendleft(
                {
                    "id": execution_id,
                    "workflow_id": "wf",
                    "status": "completed",
                    "inputs": inputs,
                    "outputs": {"n": inputs["n"]},
                    "error": None,
                    "created_at": "2026-11-24T12:00:00.000Z",
                }
            )
            data: object = {"execution_id": execution_id, "status": "pending"}
        elif request.url.path.endswith("/executions"):
            pages = {"page": 1, "per_page": 100, "total_count": 100, "has_next": False}
            return httpx.Response(200, json={"data": list(newest), "pagination": pages})
        else:
            data = workflow
        return httpx.Response(200, json={"data": data})

    return httpx.MockTransport(answer)


def memory_of(rows: int) -> None:
    """Run so many rows in this process, and print what it took."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        with httpx.Client(transport=at_once()) as http_client:
            client = FlowMaestroClient(KEY, "http://127.0.0.1", http_client=http_client)
            journal = Path(folder) / "batch.sqlite"
            batch = Batch(client, "wf", journal=journal, poll_interval=0.001)
            for _ in batch.run({"n": number, "name": "Ada Lovelace"} for number in range(rows)):
                pass
            assert batch.summary().completed == rows, batch.summary()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak, "seconds": seconds}))


def memory(sizes: list[int]) -> list[str]:
    """Measure each size in a process of its own."""
    lines = ["| rows | peak memory | rows a second |", "| --- | --- | --- |"]
    for rows in sizes:
        program = [sys.executable, "-m", "benchmarks.batch", "--memory-of", str(rows)]
        took = json.loads(subprocess.run(program, check=True, capture_output=True).stdout)
        rate = rows / took["seconds"]
        lines.append(f"| {rows:,} | {took['peak']:.0f} MB | {rate:,.0f} |")
        print(lines[-1], flush=True)
    return lines


def requests(rows: int, seconds: float, at_a_time: int) -> list[str]:
    """Count the requests of a batch, and of the loop that is written by hand."""
    lines = ["| | requests | a row | time |", "| --- | --- | --- | --- |"]
    for name in ("a loop of `client.run`", "`Batch`"):
        server = LocalServer(max_running=1_000)

        @server.workflow("wf")
        async def wf(inputs: dict[str, object]) -> dict[str, object]:
            import asyncio

            await asyncio.sleep(seconds)
            return inputs

        started = time.perf_counter()
        with server.start() as url, FlowMaestroClient(KEY, url) as client:
            source = [{"n": number} for number in range(rows)]
            if name == "`Batch`":
                with tempfile.TemporaryDirectory() as folder:
                    journal = Path(folder) / "batch.sqlite"
                    batch = Batch(client, "wf", journal=journal, concurrency=at_a_time)
                    assert all(one.status == "completed" for one in batch.run(source))
            else:
                with ThreadPoolExecutor(at_a_time) as pool:
                    assert all(pool.map(lambda row, run=client.run: run("wf", row), source))
        count = len(server.requests)
        took = time.perf_counter() - started
        lines.append(f"| {name} | {count:,} | {count / rows:.2f} | {took:.0f} s |")
        print(lines[-1], flush=True)
    return lines


def pace(per_minute: int) -> list[str]:
    """Measure a whole minute of a limit, and what is refused around it."""
    server = LocalServer()
    server.workflow("wf")(lambda inputs: inputs)
    server.add_key(KEY, per_minute=per_minute)
    sent: list[float] = []
    time.sleep((50 - time.time()) % 60)
    whole = time.time() // 60 + 1
    with tempfile.TemporaryDirectory() as folder, server.start() as url:
        hooks = {"request": [lambda _: sent.append(time.time())]}
        with httpx.Client(event_hooks=hooks) as http_client:
            client = FlowMaestroClient(KEY, url, http_client=http_client)
            batch = Batch(client, "wf", journal=Path(folder) / "batch.sqlite")
            for _ in batch.run({"n": number} for number in range(10**6)):
                if time.time() // 60 > whole:
                    batch.stop()
            summary = batch.summary()
    used = sum(moment // 60 == whole for moment in sent)
    lines = [
        "| limit | requests in a whole minute | refused with 429 |",
        "| --- | --- | --- |",
        f"| {per_minute} a minute | {used} ({used / per_minute:.0%}) | "
        f"{summary.refused} of {summary.requests} |",
    ]
    print(lines[-1], flush=True)
    return lines


def write(lines: list[str]) -> None:
    """Put the figures where the page has them."""
    text = PAGE.read_text(encoding="utf-8")
    figures = "\n".join(["<!-- figures -->", *lines, "<!-- end of figures -->"])
    pattern = r"<!-- figures -->.*<!-- end of figures -->"
    PAGE.write_text(re.sub(pattern, lambda _: figures, text, flags=re.S), encoding="utf-8")


def machine() -> str:
    """Say where this was measured."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(": ")[2] if names else cpu
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"Machine: {cpu}, {os.cpu_count()} cores; CPython {platform.python_version()}; {day}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small figures; nothing is written")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.memory_of is not None:
        memory_of(chosen.memory_of)
        return
    quick: bool = chosen.quick
    rows, seconds, at_a_time = (50, 1.0, 10) if quick else (500, 3.0, 50)
    counted = requests(rows, seconds, at_a_time)
    paced = pace(300)
    flat = memory([1_000, 10_000] if quick else [1_000, 10_000, 100_000, 1_000_000])
    if not quick:
        write(
            [
                "",
                f"{rows} rows whose executions take {seconds:g} s, {at_a_time} at a time:",
                "",
                *counted,
                "",
                "A plan's limit, kept by the local server:",
                "",
                *paced,
                "",
                "One run in a process of its own, its backend within it, whose executions are "
                "over at once: what is left is the batch itself, with a journal that is written "
                "to the disk before and after every submission.",
                "",
                *flat,
                "",
                machine(),
                "",
            ]
        )


if __name__ == "__main__":
    main()
