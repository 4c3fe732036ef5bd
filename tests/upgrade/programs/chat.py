"""Talks to an agent, as a chat for 0.1.0 did: it reads what the API itself sends."""

from __future__ import annotations

import os
from typing import Any

from flowmaestro.client import FlowMaestroClient
from flowmaestro.types import OnTokenCallback, ThreadEvent


def show_history(client: FlowMaestroClient, thread_id: str) -> None:
    messages = client.threads.list_messages(thread_id)["data"]["messages"]
    for message in messages:
        print(f"  [{message['role']}] {message['content']}")


def reply_of(response: Any) -> str:
    message = response["data"].get("message") or {}
    return str(message.get("content", "no reply"))


def stream(client: FlowMaestroClient, thread_id: str, on_token: OnTokenCallback) -> str:
    event: ThreadEvent
    for event in client.threads.send_message_stream(thread_id, "and again"):
        if event["type"] == "message:token":
            on_token(event.get("token", ""))
        elif event["type"] == "message:completed":
            return event.get("content", "")
        elif event["type"] == "message:failed":
            return f"failed: {event.get('error')}"
    return "no end"


def main() -> None:
    client = FlowMaestroClient(
        api_key=os.environ["FLOWMAESTRO_API_KEY"], base_url=os.environ["FLOWMAESTRO_BASE_URL"]
    )
    agents = client.agents.list()["data"]
    agent = client.agents.get(agents[0]["id"])["data"]
    print("agent:", agent["name"], agent["model"])
    thread = client.agents.create_thread(agent["id"], metadata={"source": "chat"})["data"]
    thread_id = thread["id"]
    print("status:", client.threads.get(thread_id)["data"]["status"])

    sent = client.threads.send_message(thread_id, "hello", stream=False)
    print("reply:", reply_of(sent))
    print("history:")
    show_history(client, thread_id)

    tokens: list[str] = []
    print("streamed:", stream(client, thread_id, tokens.append))
    print("tokens:", "".join(tokens))

    client.threads.delete(thread_id)
    client.close()


if __name__ == "__main__":
    main()
