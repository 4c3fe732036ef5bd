"""A conversation with an agent in the terminal; an empty line ends it.

uv run examples/chat.py [AGENT_ID]
"""

from __future__ import annotations

from _local import flowmaestro, ids

from flowmaestro import FlowMaestroClient


def main() -> None:
    (agent_id,) = ids("AGENT_ID")
    with flowmaestro(), FlowMaestroClient() as client:
        thread_id = client.agents.create_thread(agent_id)["data"]["id"]
        while True:
            try:
                said = input("you: ")
            except EOFError:
                break
            if not said.strip():
                break
            for event in client.threads.send_message_stream(thread_id, said):
                if event["type"] == "message:started":
                    print("agent: ", end="")
                elif event["type"] == "message:token":
                    print(event["token"], end="", flush=True)
                elif event["type"] == "message:failed":
                    print(f"(failed: {event['error']})", end="")
            print()
        count = len(client.threads.list_messages(thread_id)["data"])
        client.threads.delete(thread_id)
        print(f"{count} messages")


if __name__ == "__main__":
    main()
