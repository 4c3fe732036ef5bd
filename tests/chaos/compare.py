"""Writes the tables of docs/reliability.md: this release, and 0.1.0 from the package index.

uv run nox -s reliability
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import re
import subprocess
import time
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


def outages(seconds: float) -> str:
    """Let the API be away in each way, for each client and dialect, and count what survives."""
    drives = {"asynchronous": follow, "synchronous, in threads": follow_in_threads}
    columns: dict[str, dict[str, int]] = {}
    for name, follow_all in drives.items():
        for dialect in ("documented", "wire"):
            column = columns[f"{name}, {dialect}"] = {}
            for way in WAYS:
                counted = Outage(way, seconds, dialect).run(follow_all)
                column[WAYS[way]] = counted["ended right"]
    return table(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old-python", required=True, help="a Python that has flowmaestro==0.1.0")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--compared-calls", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--outage-seconds", type=float, default=30.0)
    chosen = parser.parse_args()
    began = time.monotonic()
    whole = table(
        {
            "asynchronous": ours(chosen.calls, chosen.seed),
            "synchronous, in threads": ours_in_threads(chosen.calls, chosen.seed),
        }
    )
    took = time.monotonic() - began
    both = {
        "this release": ours(chosen.compared_calls, chosen.seed),
        "0.1.0": theirs(chosen.old_python, chosen.compared_calls, chosen.seed),
    }
    text = (
        f"{chosen.calls:,} operations with each client, in {took:.0f} s, seed {chosen.seed}, "
        f"Python {platform.python_version()}:\n\n{whole}\n\n"
        f"The same for {chosen.compared_calls:,} operations, beside 0.1.0, asynchronous:\n\n{table(both)}\n\n"
        f"Of {OPEN} streams and waits that were open as the API went away for "
        f"{chosen.outage_seconds:g} s, so many ended right, with their own result:\n\n"
        f"{outages(chosen.outage_seconds)}\n"
    )
    page = PAGE.read_text(encoding="utf-8")
    page = re.sub(
        r"(<!-- measured -->\n).*(<!-- end -->)", lambda m: m[1] + text + m[2], page, flags=re.S
    )
    PAGE.write_text(page, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
