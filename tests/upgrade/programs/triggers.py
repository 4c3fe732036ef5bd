"""Pulls a trigger, as a program for 0.1.0 did."""

from __future__ import annotations

import os

from flowmaestro import FlowMaestroClient, FlowMaestroError
from flowmaestro.types import ExecuteTriggerResponse, Trigger


def is_on(trigger: Trigger) -> bool:
    return trigger["enabled"]


def pull(client: FlowMaestroClient, trigger_id: str) -> ExecuteTriggerResponse:
    return client.triggers.execute(trigger_id, inputs={"name": "Ada"})["data"]


def main() -> None:
    with FlowMaestroClient(
        api_key=os.environ["FLOWMAESTRO_API_KEY"], base_url=os.environ["FLOWMAESTRO_BASE_URL"]
    ) as client:
        triggers = client.triggers.list()["data"]
        for trigger in sorted(triggers, key=lambda one: one["name"]):
            print(trigger["name"], trigger["trigger_type"], is_on(trigger))

        (on,) = [trigger for trigger in triggers if is_on(trigger)]
        pulled = pull(client, on["id"])
        print("trigger:", pulled["trigger_id"] == on["id"])
        done = client.executions.wait_for_completion(pulled["execution_id"], poll_interval=0.05)
        print("outputs:", done["outputs"])

        off = [trigger for trigger in triggers if not is_on(trigger)]
        try:
            pull(client, off[0]["id"])
        except FlowMaestroError as error:
            print("off:", error.status_code, "not enabled" in error.message)

        of_workflow = client.triggers.list(workflow_id="wf_greet")["data"]
        print("of the workflow:", {trigger["workflow_id"] for trigger in of_workflow})


if __name__ == "__main__":
    main()
