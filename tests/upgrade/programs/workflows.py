"""Runs a workflow and prints its result, as a program for 0.1.0 did."""

from __future__ import annotations

import os
import sys
from typing import Any

from flowmaestro import FlowMaestroClient, NotFoundError
from flowmaestro.types import Execution, PaginationInfo


def describe(workflow: Any) -> str:
    return f"{workflow['name']} (version {workflow['version']})"


def main() -> int:
    client = FlowMaestroClient(
        api_key=os.environ["FLOWMAESTRO_API_KEY"],
        base_url=os.environ["FLOWMAESTRO_BASE_URL"],
        timeout=30.0,
        max_retries=3,
    )
    try:
        listed = client.workflows.list(page=1, per_page=10)
        workflows = listed["data"]
        pagination: PaginationInfo = listed["pagination"]
        print("workflows:", [describe(workflow) for workflow in workflows])
        print("page:", pagination["page"], "of", pagination["per_page"])

        response = client.workflows.get(workflows[0]["id"])
        workflow = response["data"]
        assert workflow["id"] == workflows[0]["id"]
        print("inputs:", sorted(workflow.get("inputs") or {}))

        started = client.workflows.execute(workflow["id"], inputs={"name": "Ada"})
        execution_id = started["data"]["execution_id"]
        assert started["data"]["workflow_id"] == workflow["id"]

        result: Execution = client.executions.wait_for_completion(
            execution_id, poll_interval=0.05, timeout=60.0
        )
        if result["status"] == "failed":
            print("failed:", result["error"])
            return 1
        print("status:", result["status"])
        print("outputs:", result["outputs"])

        try:
            client.workflows.get("00000000-0000-4000-8000-000000000000")
        except NotFoundError as error:
            print("missing:", error.status_code)
    finally:
        client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
