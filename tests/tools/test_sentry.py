"""Sentry sees each call of the default client: one span, and a header for the other side.

In processes of their own: Sentry's agent patches httpx for good.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
import sentry_sdk
from sentry_sdk.transport import Transport
from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient

url, kind = sys.argv[1:]
events = []


class Kept(Transport):
    def capture_envelope(self, envelope):
        events.append(envelope)


sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", traces_sample_rate=1.0, transport=Kept)


def use(client):
    client.workflows.list()
    execution = client.workflows.execute("wf_greet", {"name": "Ada"})["data"]["execution_id"]
    for event in client.executions.stream(execution):
        pass


async def ause(client):
    await client.workflows.list()
    started = await client.workflows.execute("wf_greet", {"name": "Ada"})
    async for event in client.executions.stream(started["data"]["execution_id"]):
        pass
    await client.close()


with sentry_sdk.start_transaction(name="job"):
    if kind == "sync":
        with FlowMaestroClient("fm_live_secret", url) as client:
            use(client)
    else:
        asyncio.run(ause(AsyncFlowMaestroClient("fm_live_secret", url)))
sentry_sdk.flush()
spans = []
for envelope in events:
    event = envelope.get_transaction_event()
    if event:
        spans += [one["description"] for one in event["spans"] if one["op"] == "http.client"]
for one in spans:
    print(one.replace(url, ""))
assert "fm_live_secret" not in repr([envelope.serialize() for envelope in events])
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_each_call_is_a_span_and_has_a_header(server, kind):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, server.url, kind],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    # A stream may poll the status of its execution, when it is slow.
    spans = [line for line in done.stdout.splitlines() if line.startswith(("GET", "POST"))]
    execution = server.executions[0].id
    assert [span for span in spans if not span.endswith(f"/executions/{execution}")] == [
        "GET /api/v1/workflows",
        "POST /api/v1/workflows/wf_greet/execute",
        f"GET /api/v1/executions/{execution}/events",
    ]
    assert len(spans) == len(server.requests)
    assert all("sentry-trace" in request.headers for request in server.requests)
