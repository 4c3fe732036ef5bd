"""Programs that were written for 0.1.0 run unchanged, against today's API and the documented one.

``uv run nox -s upgrade`` runs them with 0.1.0 itself, where that can be installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowmaestro_local import LocalServer
from tests.conftest import KEY

PROGRAMS = Path(__file__).parent / "programs"

PRINTED = {
    "workflows": """\
workflows: ['greet (version 1)', 'slow (version 1)']
page: 1 of 10
inputs: ['name']
status: completed
outputs: {'text': 'Hello Ada!'}
missing: 404
""",
    "executions": """\
outputs: {'text': 'Hello Ada!'}
not done: True
cancelled: cancelled
over: True
again: 400
together: [{'text': 'Hello Ada!'}, {'text': 'Hello Bob!'}]
completed: 3
""",
    "chat": """\
agent: helper local
status: active
reply: you said hello
history:
  [user] hello
  [assistant] you said hello
streamed: you said and again
tokens: you said and again
""",
    "search": """\
Handbook 2 2
chunks of 1000 by text-embedding-3-small
query: reset password
1. ####------ accounts.md
   To reset your password, open the settings.
2. #--------- prices.md
   A seat costs 10 a month. A password costs nothing.
best: To reset your password, open the settings.
few: 1
""",
    "triggers": """\
by hand manual True
off manual False
other schedule False
trigger: True
outputs: {'text': 'Hello Ada!'}
off: 400 True
of the workflow: {'wf_greet'}
""",
    "webhooks": """\
secret: True
Ends (execution.completed, execution.failed): on
Ends (execution.completed, execution.failed): on
test: False True
gone: 404
""",
    "fakes": """\
odd_code: odd
404 not_found
wait 5 s
authentication_error: no key
validation_error: no name
server_error: down
timeout: late
connection_error: nobody there
stream_error: cut
404 resource_not_found
fine
""",
}


@pytest.fixture(params=["documented", "wire"])
def server(request):
    server = LocalServer(dialect=request.param)

    @server.workflow("wf_slow", name="slow")
    def slow(inputs, run):
        run.sleep(600)

    @server.workflow("wf_greet", name="greet", inputs={"name": {"type": "text"}})
    def greet(inputs):
        return {"text": f"Hello {inputs['name']}!"}

    server.agent("agent_1", name="helper", model="local")(lambda message: f"you said {message}")
    documents = {
        "accounts.md": "To reset your password, open the settings.",
        "prices.md": "A seat costs 10 a month. A password costs nothing.",
    }
    server.knowledge_base("kb_1", name="Handbook", documents=documents)
    server.trigger("trigger_on", "wf_greet", name="by hand")
    server.trigger("trigger_off", "wf_greet", name="off", enabled=False)
    server.trigger("trigger_other", "wf_slow", name="other", trigger_type="schedule", enabled=False)
    with server.start():
        yield server


@pytest.mark.parametrize("program", sorted(PRINTED))
def test_a_program_for_0_1_0_runs_unchanged(request, server, program):
    python = request.config.getoption("--old-python") or sys.executable
    if python != sys.executable and request.node.callspec.params["server"] != "wire":
        pytest.skip("0.1.0 knows what the API sends, and not all of what is documented")
    done = subprocess.run(
        [python, PROGRAMS / f"{program}.py"],
        env={**os.environ, "FLOWMAESTRO_API_KEY": KEY, "FLOWMAESTRO_BASE_URL": server.url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == PRINTED[program], done.stderr
    assert done.returncode == 0
