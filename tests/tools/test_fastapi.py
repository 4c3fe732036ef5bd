"""Types are response models of FastAPI as they are."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from fastapi.testclient import TestClient

from flowmaestro import AsyncFlowMaestroClient, types
from tests.conftest import KEY


def test_a_type_is_a_response_model(server):
    app = FastAPI()

    @app.post("/greetings", response_model=types.Execution)
    async def greet(name: str):
        async with AsyncFlowMaestroClient(KEY, server.url) as client:
            return await client.run("wf_greet", {"name": name}, poll_interval=0.05)

    @app.get("/threads/{agent_id}")
    async def thread(agent_id: str) -> types.MessagesPage:
        async with AsyncFlowMaestroClient(KEY, server.url) as client:
            created = await client.agents.create_thread(agent_id)
            await client.threads.send_message(created["data"]["id"], "Hello")
            return await client.threads.list_messages(created["data"]["id"])

    server.agent("echo")(lambda message: message)
    with TestClient(app) as client:
        execution = client.post("/greetings", params={"name": "Ada"}).json()
        assert execution["status"] == "completed"
        assert execution["outputs"] == {"text": "Hello Ada!"}
        messages = client.get("/threads/echo").json()["data"]
        assert [one["role"] for one in messages] == ["user", "assistant"]
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert {"Execution", "ExecutionStatus", "ThreadMessage"} <= set(schemas)
    assert schemas["ExecutionStatus"]["enum"][0] == "pending"
    assert asyncio.iscoroutinefunction(greet)
