"""A server for each test, in each dialect, with all that the documented uses need."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from flowmaestro_local import LocalServer, Run


@pytest.fixture(params=["wire", "documented"])
def server(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    server = build_server(request.param)
    with server.start():
        yield server


def build_server(dialect: str) -> LocalServer:
    server = LocalServer(dialect=dialect)

    @server.workflow("wf_123", name="Greeting", inputs={"name": {"type": "text", "label": "Name"}})
    def greet(inputs: dict, run: Run) -> dict:
        run.sleep(inputs.get("seconds", 0.1))
        run.progress(50)
        with run.node("lookup", type="http"):
            run.sleep(0.05)
        return {"greeting": f"Hello {inputs.get('name', 'you')}"}

    @server.workflow("wf_fails")
    def fails(inputs: dict) -> None:
        time.sleep(0.05)
        raise RuntimeError("Node n1 failed")

    @server.workflow("wf_slow")
    def slow(inputs: dict, run: Run) -> None:
        run.sleep(600)

    @server.workflow("wf_pauses")
    def pauses(inputs: dict, run: Run) -> dict:
        run.pause("a person is asked")
        # One request may be answered already; the next one certainly sees the pause.
        paused_at, latest = len(server.requests), time.monotonic() + 60
        while len(server.requests) < paused_at + 2 and time.monotonic() < latest:
            run.sleep(0.01)
        run.resume()
        return {}

    for number in range(25):
        server.workflow(f"wf_{number}", name=f"Workflow {number}")(greet)

    @server.agent("agent_123", name="Helper", tools=[{"id": "t", "name": "search", "type": "fn"}])
    def reply(message: str, history: list) -> Iterator[str]:
        if message == "please fail":
            raise RuntimeError("Model error")
        yield from ("You ", "said ", message)

    server.knowledge_base(
        "kb_123",
        name="Docs",
        documents={
            "passwords.md": "How to reset your password: open the settings.",
            "cats.md": "Cats sleep for most of the day.",
        },
    )
    server.trigger("trigger_123", "wf_123", name="By hand")
    server.trigger("trigger_off", "wf_123", enabled=False)
    return server
