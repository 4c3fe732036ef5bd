"""Runs a workflow for every row of a CSV file, a few at a time.

uv run examples/batch_csv.py [people.csv]
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from _local import WORKFLOW, flowmaestro

from flowmaestro import FlowMaestroClient, FlowMaestroError

AT_ONCE = 4
PEOPLE = Path(__file__).with_name("people.csv")


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def main(path: Path = PEOPLE) -> None:
    with flowmaestro(), FlowMaestroClient() as client:

        def run(row: dict[str, str]) -> str:
            try:
                result = client.run(WORKFLOW, row, poll_interval=0.2)
            except FlowMaestroError as error:
                return f"{row['name']}: {error}"
            return f"{row['name']}: {result['status']} {result['outputs'] or result['error']}"

        # One client serves all threads; the rows come back in the file's order.
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for line in pool.map(run, rows_of(path)):
                print(line)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
