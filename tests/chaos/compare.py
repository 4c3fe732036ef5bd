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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old-python", required=True, help="a Python that has flowmaestro==0.1.0")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--compared-calls", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=7)
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
        f"The same for {chosen.compared_calls:,} operations, beside 0.1.0, asynchronous:\n\n{table(both)}\n"
    )
    page = PAGE.read_text(encoding="utf-8")
    page = re.sub(
        r"(<!-- measured -->\n).*(<!-- end -->)", lambda m: m[1] + text + m[2], page, flags=re.S
    )
    PAGE.write_text(page, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
