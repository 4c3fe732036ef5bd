"""Writes the tables of docs/reliability.md: this release, and 0.1.0 from the package index.

uv run nox -s reliability
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import platform
import re
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.chaos.driver import drive, drive_in_threads
from tests.chaos.gateway import WAYS
from tests.chaos.outages import OPEN, Outage
from tests.chaos.outages import drive as follow
from tests.chaos.outages import drive_in_threads as follow_in_threads
from tests.chaos.world import build, tally

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


def ours(calls: int, seed: int) -> dict[str, int]:
    server = build(seed)
    with server.start() as url:
        return tally(server, asyncio.run(drive(url, calls, seed)))


def ours_in_threads(calls: int, seed: int) -> dict[str, int]:
    server = build(seed)
    with server.start() as url:
        return tally(server, drive_in_threads(url, calls, seed))


def theirs(python: str, calls: int, seed: int) -> dict[str, int]:
    server = build(seed)
    with server.start() as url:
        done = subprocess.run(
            [python, "-m", "tests.chaos.driver", url, str(calls), str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
            timeout=3600,
        )
        return tally(server, json.loads(done.stdout))


def table(columns: dict[str, dict[str, int]]) -> str:
    names = next(iter(columns.values()))
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name in names:
        lines.append(
            f"| {name} | " + " | ".join(f"{one[name]:,}" for one in columns.values()) + " |"
        )
    return "\n".join(lines)


DRIVES = {"asynchronous": follow, "synchronous, in threads": follow_in_threads}


def outage(case: tuple[str, str, str, float]) -> int:
    """Let the API be away once, and count what ends right all the same."""
    client, dialect, way, seconds = case
    return Outage(way, seconds, dialect).run(DRIVES[client])["ended right"]


def outages(seconds: float) -> str:
    """Let the API be away in each way, for each client and dialect."""
    columns = list(itertools.product(DRIVES, ("documented", "wire")))
    cases = [(*column, way, seconds) for column in columns for way in WAYS]
    # Two at a time: they wait more than they compute.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        survived = dict(zip(cases, processes.map(outage, cases)))
    return table(
        {
            ", ".join(column): {WAYS[way]: survived[(*column, way, seconds)] for way in WAYS}
            for column in columns
        }
    )


def faults(calls: int, compared_calls: int, seed: int, old_python: str) -> str:
    """Do operations under faults with both clients, and fewer of them beside 0.1.0."""
    began = time.monotonic()
    whole = table(
        {
            "asynchronous": ours(calls, seed),
            "synchronous, in threads": ours_in_threads(calls, seed),
        }
    )
    took = time.monotonic() - began
    both = {
        "this release": ours(compared_calls, seed),
        "0.1.0": theirs(old_python, compared_calls, seed),
    }
    return (
        f"{calls:,} operations with each client, in {took:.0f} s, seed {seed}, "
        f"Python {platform.python_version()}:\n\n{whole}\n\n"
        f"The same for {compared_calls:,} operations, beside 0.1.0, asynchronous:\n\n{table(both)}\n"
    )


def write(mark: str, text: str) -> None:
    """Put a text between two marks of the page."""
    page = PAGE.read_text(encoding="utf-8")
    between = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- end -->)", re.DOTALL)
    PAGE.write_text(between.sub(lambda m: m[1] + text + m[2], page), encoding="utf-8")
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old-python", required=True, help="a Python that has flowmaestro==0.1.0")
    parser.add_argument("--only", choices=["faults", "outages"], help="write a part of the page")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--compared-calls", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--outage-seconds", type=float, default=30.0)
    chosen = parser.parse_args()
    if chosen.only != "outages":
        counted = faults(chosen.calls, chosen.compared_calls, chosen.seed, chosen.old_python)
        write("measured", counted)
    if chosen.only != "faults":
        write(
            "outages",
            f"Of {OPEN} streams and waits that were open as the API went away for "
            f"{chosen.outage_seconds:g} s, so many ended right, with their own result, Python "
            f"{platform.python_version()}:\n\n{outages(chosen.outage_seconds)}\n",
        )


if __name__ == "__main__":
    main()
