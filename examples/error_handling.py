"""What can go wrong, and what to do about each.

uv run examples/error_handling.py [WORKFLOW_ID]
"""

from __future__ import annotations

from _local import flowmaestro, ids

import flowmaestro as fm


def main() -> None:
    (workflow_id,) = ids("WORKFLOW_ID")
    with flowmaestro(), fm.FlowMaestroClient() as client:
        try:
            client.workflows.execute("wf_unknown")
        except fm.NotFoundError as error:
            print("no such workflow:", error.code)

        try:
            client.workflows.execute(workflow_id, {"when": object()})
        except TypeError as error:
            print("before anything was sent:", error)

        # A workflow that fails is a result like any other, unless you ask for an error.
        try:
            client.run(workflow_id, {"name": ""}, poll_interval=0.2, raise_on_failure=True)
        except fm.ExecutionFailedError as error:
            print("the workflow failed:", error.execution and error.execution["error"])

        started = client.workflows.execute(workflow_id, {"name": "Ada"})
        try:
            client.executions.wait_for_completion(started["data"]["execution_id"], timeout=0.1)
        except TimeoutError as error:
            print("not yet:", type(error).__name__)

        try:
            client.workflows.execute(workflow_id, {"name": "Ada"})
        except fm.RateLimitError as error:
            print(f"too many requests; again in {error.retry_after} s")
        except fm.FlowMaestroError as error:
            if error.outcome_unknown:
                print("it may have started: look at executions.list() before trying again")
            raise


if __name__ == "__main__":
    main()
