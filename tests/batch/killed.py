"""A program that runs a batch, and is killed by the test: URL ROWS JOURNAL."""

from __future__ import annotations

import sys

from flowmaestro import FlowMaestroClient
from flowmaestro_batch import Batch


def main(url: str, rows: int, journal: str) -> None:
    with FlowMaestroClient("fm_live_test", url) as client:
        batch = Batch(client, "wf", journal=journal, concurrency=20, poll_interval=0.02, settle=0.3)
        source = ({"n": number} for number in range(rows))
        for outcome in batch.run(source, key="n"):
            if not outcome.resumed:
                print(outcome.key, outcome.status, flush=True)
    print("all", batch.summary(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
