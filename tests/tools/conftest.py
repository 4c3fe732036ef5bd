"""A server for the tools to talk to."""

from __future__ import annotations

import pytest

from flowmaestro_local import LocalServer


@pytest.fixture
def server():
    server = LocalServer(dialect="documented")

    @server.workflow("wf_greet", name="Greeting", inputs={"name": {"type": "text"}})
    def greet(inputs):
        return {"text": f"Hello {inputs.get('name', 'you')}!"}

    with server.start():
        yield server
