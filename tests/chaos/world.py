"""A server on its bad day, and what it saw of the operations that were done on it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flowmaestro_local import LocalServer, Run

FOREVER = {"seconds": float("inf")}

# What starts something is hit by these, thirty in a hundred, in equal parts.
STARTING = [
    ("reset_before", {}),
    ("reset_after", {}),
    ("truncate", {}),
    ("stall", FOREVER),
    # Longer than the timeout of the calls.
    ("latency", {"seconds": 4.8}),
    *(("status", {"status": status}) for status in (408, 500, 502, 503, 504)),
    ("status", {"status": 429, "headers": {"Retry-After": "0"}}),
    ("status", {"status": 503, "headers": {"Retry-After": "0"}}),
]
STREAMING = [
    ("cut_stream", {"after": 2}),
    ("duplicate_event", {"after": 2}),
    ("garbage_frame", {"after": 2}),
    ("stall", {**FOREVER, "after": 2}),
    ("reset_before", {}),
    ("status", {"status": 503}),
]
SHARE = 0.30


def build(seed: int) -> LocalServer:
    server = LocalServer(dialect="documented", keepalive=0.2, seed=seed)

    @server.workflow("wf")
    def wf(inputs: dict[str, Any], run: Run) -> dict[str, Any]:
        run.sleep(0.2)
        for step in range(5):
            run.progress(step)
            run.sleep(0.02)
        return inputs

    server.agent("agent")(lambda message: message)
    for match, kinds in (
        ("POST *", STARTING),
        ("GET */events", STREAMING),
        (f"GET */executions/{'?' * 36}", STARTING),
    ):
        rest = 1.0
        for kind, options in kinds:
            # Each has its share of all requests, though they are tried one after another.
            share = SHARE / len(kinds)
            server.faults.add(kind, match, times=None, probability=share / rest, **options)
            rest -= share
    return server


def tally(server: LocalServer, outcomes: list[dict[str, Any]]) -> dict[str, int]:
    """Hold what the callers were told against what the server did."""
    done = Counter(one.inputs["number"] for one in server.executions)
    posted: Counter[int] = Counter()
    for thread_id in list(server.threads):
        for message in server.messages(thread_id):
            if message.role == "user":
                posted[int(message.content.split()[1])] += 1
    count: Counter[str] = Counter(one["is"] for one in outcomes)
    told = {one["number"]: one for one in outcomes}
    by_number = {
        number: posted[number] if one["kind"] == "message" else done[number]
        for number, one in told.items()
    }
    return {
        "operations": len(outcomes),
        "right": count["right"],
        "an error, and the outcome is known": sum(
            one["is"] == "error" and not one["unknown"] for one in outcomes
        ),
        "an error that says the outcome is unknown": sum(
            one["is"] == "error" and one["unknown"] for one in outcomes
        ),
        "**duplicates**: done more than once": sum(max(n - 1, 0) for n in by_number.values()),
        "**losses**: right, and not at the server": sum(
            one["is"] == "right" and not by_number[one["number"]] for one in outcomes
        ),
        "**wrong**: events lost, results wrong, foreign exceptions": count["wrong"],
        "**untold**: a start failed, was done, and the error does not say so": sum(
            one["is"] == "error"
            and not one["unknown"]
            and one["kind"] in ("execute", "message")
            and by_number[one["number"]] > 0
            for one in outcomes
        ),
        "**hung**": count["hung"],
    }
