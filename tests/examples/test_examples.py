"""Every example program runs to its end and prints what it is for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowmaestro_local import LocalServer
from tests.conftest import KEY

EXAMPLES = Path(__file__).parents[2] / "examples"

PRINTS = {
    "quickstart.py": [
        "awaited:  completed {'greeting': 'Hello Ada'}",
        "'Hello Grace'",
        "Once upon",
    ],
    "quickstart_async.py": ["'Hello Edsger'", "streamed: execution:completed", "Once upon"],
    "progress.py": ["100 % done"],
    "batch_csv.py": [
        "Margaret: completed {'greeting': 'Hello Margaret'}",
        "6 rows: 6 completed",
    ],
    "chat.py": ["agent: Once upon a time, somebody said: hi there", "2 messages"],
    "search.py": ["passwords.md: To reset your password"],
    "error_handling.py": [
        "no such workflow: resource_not_found",
        "before anything was sent: inputs.when is a object",
        "the workflow failed: nobody to greet",
        "not yet: TimeoutError",
    ],
}


def test_every_example_is_here():
    programs = {path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("_")}
    assert programs == set(PRINTS)


@pytest.mark.parametrize("dialect", ["documented", "wire"])
@pytest.mark.parametrize("name", PRINTS)
def test_an_example_prints_what_it_is_for(name, dialect):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        input="hi there\n\n",
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "FLOWMAESTRO_LOCAL_DIALECT": dialect},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for text in PRINTS[name]:
        assert text in done.stdout


NEEDS = {
    "quickstart.py": "WORKFLOW_ID AGENT_ID",
    "quickstart_async.py": "WORKFLOW_ID AGENT_ID",
    "progress.py": "WORKFLOW_ID",
    "batch_csv.py": "WORKFLOW_ID",
    "chat.py": "AGENT_ID",
    "search.py": "KNOWLEDGE_BASE_ID",
    "error_handling.py": "WORKFLOW_ID",
}


@pytest.mark.parametrize("name", sorted(PRINTS))
def test_an_example_with_a_key_asks_for_ids_of_the_users(name):
    environment = {**os.environ, "FLOWMAESTRO_API_KEY": "fm_live_mine"}
    command = [sys.executable, EXAMPLES / name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1
    assert f"{name} {NEEDS[name]}\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_example_with_a_key_uses_the_ids_that_it_is_given():
    server = LocalServer()
    server.workflow("wf_mine")(lambda inputs: {"greeting": inputs["name"]})
    server.agent("agent_mine")(lambda message: "I am yours")
    with server.start() as url:
        done = subprocess.run(
            [sys.executable, EXAMPLES / "quickstart.py", "wf_mine", "agent_mine"],
            capture_output=True,
            text=True,
            env={**os.environ, "FLOWMAESTRO_API_KEY": KEY, "FLOWMAESTRO_BASE_URL": url},
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert "awaited:  completed {'greeting': 'Ada'}" in done.stdout
    assert "I am yours" in done.stdout
