"""Runs a workflow for every row of a CSV file; interrupted, it goes on where it was.

uv run examples/batch_csv.py [people.csv], with a key: WORKFLOW_ID [people.csv]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from _local import flowmaestro, ids

from flowmaestro import FlowMaestroClient
from flowmaestro_batch import Batch

PEOPLE = Path(__file__).with_name("people.csv")


def main(workflow_id: str, path: Path = PEOPLE) -> None:
    # The local server forgets its executions, and so must the journal; yours is a file that
    # stays beside the rows.
    with tempfile.TemporaryDirectory() as folder, flowmaestro(), FlowMaestroClient() as client:
        journal = Path(folder) / "people.sqlite"
        batch = Batch(client, workflow_id, journal=journal, concurrency=4, poll_interval=0.2)
        for outcome in batch.run(path, key="name", ordered=True):
            print(f"{outcome.key}: {outcome.status} {outcome.outputs or outcome.error}")
        print(batch.summary())


if __name__ == "__main__":
    (workflow,) = ids("WORKFLOW_ID")
    main(workflow, *map(Path, sys.argv[1:2]))
