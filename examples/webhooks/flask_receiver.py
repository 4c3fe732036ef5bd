"""Receives FlowMaestro webhooks with Flask.

FLOWMAESTRO_WEBHOOK_SECRET=whsec_... uv run --group webhooks flask --app examples/webhooks/flask_receiver.py run
"""

import os
from typing import Any

from flask import Flask, request

from flowmaestro.webhooks import WebhookVerificationError, construct_event, delivery_id

app = Flask(__name__)
handled: set[str] = set()  # in a real program: a unique column of your database


@app.post("/hook")
def hook() -> Any:
    secret = os.environ["FLOWMAESTRO_WEBHOOK_SECRET"].split(",")
    try:
        event = construct_event(request.get_data(), request.headers, secret, tolerance=3600)
    except WebhookVerificationError as error:
        return {"error": str(error)}, 400
    delivery = delivery_id(request.headers)
    if delivery in handled:
        return {"event": "handled before"}
    handled.add(delivery)
    return {"event": event["event"]}
