"""Shows a running workflow as one line that changes.

uv run examples/progress.py [WORKFLOW_ID]
"""

from __future__ import annotations

from _local import flowmaestro, ids

from flowmaestro import FlowMaestroClient


def main() -> None:
    (workflow_id,) = ids("WORKFLOW_ID")
    with flowmaestro(), FlowMaestroClient() as client:
        started = client.workflows.execute(workflow_id, {"name": "Ada"})
        done, node = 0.0, "starting"
        with client.executions.stream(started["data"]["execution_id"]) as events:
            for event in events:
                if event["type"] == "execution:progress":
                    done = event["progress"]
                elif event["type"] == "node:started":
                    node = event.get("node_name", event["node_id"])
                elif event["type"] == "execution:completed":
                    done, node = 100, "done"
                elif event["type"] == "execution:failed":
                    node = f"failed: {event['error']}"
                bar = "#" * round(done / 5)
                print(f"\r[{bar:<20}] {done:3.0f} % {node:<30}", end="", flush=True)
        print()


if __name__ == "__main__":
    main()
