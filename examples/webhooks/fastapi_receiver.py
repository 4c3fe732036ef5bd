"""Receives FlowMaestro webhooks with FastAPI.

FLOWMAESTRO_WEBHOOK_SECRET=whsec_... uv run --group webhooks uvicorn --app-dir examples/webhooks fastapi_receiver:app
"""

import os

from fastapi import FastAPI, HTTPException, Request

from flowmaestro.webhooks import WebhookVerificationError, construct_event, delivery_id

app = FastAPI()
handled: set[str] = set()  # in a real program: a unique column of your database


@app.post("/hook")
async def hook(request: Request) -> dict[str, str]:
    body = await request.body()
    secret = os.environ["FLOWMAESTRO_WEBHOOK_SECRET"].split(",")
    try:
        event = construct_event(body, request.headers, secret, tolerance=3600)
    except WebhookVerificationError as error:
        raise HTTPException(400, str(error)) from None
    delivery = delivery_id(request.headers)
    if delivery in handled:
        return {"event": "handled before"}
    handled.add(delivery)
    return {"event": event["event"]}
