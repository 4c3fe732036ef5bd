"""The main job: run a workflow, follow it live, and talk to an agent.

uv run examples/quickstart.py [WORKFLOW_ID AGENT_ID]
"""

from __future__ import annotations

from _local import flowmaestro, ids

from flowmaestro import FlowMaestroClient


def main() -> None:
    workflow_id, agent_id = ids("WORKFLOW_ID", "AGENT_ID")
    with flowmaestro(), FlowMaestroClient() as client:
        # Executed and awaited.
        result = client.run(workflow_id, {"name": "Ada"}, poll_interval=0.2)
        print("awaited: ", result["status"], result["outputs"])

        # Executed and followed live.
        started = client.workflows.execute(workflow_id, {"name": "Grace"})
        for event in client.executions.stream(started["data"]["execution_id"]):
            if event["type"] == "execution:progress":
                print("streamed:", f"{event['progress']:.0f} %")
            elif event["type"] == "execution:completed":
                print("streamed:", event["outputs"])

        # An agent, with its answer as it is made.
        thread = client.agents.create_thread(agent_id)["data"]
        print("agent:    ", end="")
        for event in client.threads.send_message_stream(thread["id"], "hello"):
            if event["type"] == "message:token":
                print(event["token"], end="", flush=True)
        print()


if __name__ == "__main__":
    main()
