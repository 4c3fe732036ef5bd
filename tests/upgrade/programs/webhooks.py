"""Manages webhooks, as a program for 0.1.0 did."""

from __future__ import annotations

import os

from flowmaestro import FlowMaestroClient
from flowmaestro.errors import NotFoundError
from flowmaestro.types import TestWebhookResponse, Webhook


def describe(webhook: Webhook) -> str:
    state = "on" if webhook["is_active"] else "off"
    return f"{webhook['name']} ({', '.join(webhook['events'])}): {state}"


def main() -> None:
    client = FlowMaestroClient(
        api_key=os.environ["FLOWMAESTRO_API_KEY"], base_url=os.environ["FLOWMAESTRO_BASE_URL"]
    )
    created = client.webhooks.create(
        "Ends",
        "http://127.0.0.1:9/hook",
        ["execution.completed", "execution.failed"],
        headers={"X-Team": "data"},
    )
    webhook_id = created["data"]["id"]
    print("secret:", bool(created["data"].get("secret")))

    for webhook in client.webhooks.list()["data"]:
        print(describe(webhook))
    print(describe(client.webhooks.get(webhook_id)["data"]))

    tested: TestWebhookResponse = client.webhooks.test(webhook_id)["data"]
    # Nobody listens there.
    print("test:", tested["success"], isinstance(tested["response_time_ms"], int))

    client.webhooks.delete(webhook_id)
    try:
        client.webhooks.get(webhook_id)
    except NotFoundError as error:
        print("gone:", error.status_code)
    client.close()


if __name__ == "__main__":
    main()
