"""Editors and shells complete names and methods, and show docstrings (jedi, IPython, help)."""

from __future__ import annotations

import pydoc
import subprocess
import sys

import jedi
import pytest
from IPython.core.completer import IPCompleter, provisionalcompleter
from jedi.api.environment import InterpreterEnvironment

import flowmaestro
from flowmaestro import FlowMaestroClient

CLIENT = """\
from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
client = FlowMaestroClient()
aclient = AsyncFlowMaestroClient()
"""
RESOURCES = {"workflows", "executions", "agents", "threads", "triggers", "knowledge_bases"}


def script(code):
    # Of this process's own packages, and not of another environment that is active.
    return jedi.Script(code, environment=InterpreterEnvironment())


def completions(code):
    lines = code.split("\n")
    return {one.name for one in script(code).complete(len(lines), len(lines[-1]))}


def test_an_import_is_completed_with_the_names_and_nothing_else():
    names = {name for name in completions("from flowmaestro import ") if not name.startswith("_")}
    assert names == {*flowmaestro.__all__, "client", "errors", "resources", "types", "webhooks"}


@pytest.mark.parametrize("client", ["client", "aclient"])
def test_a_client_is_completed_with_its_resources_and_methods(client):
    names = completions(f"{CLIENT}{client}.")
    assert {*RESOURCES, "webhooks", "run", "request", "with_options", "close"} <= names
    assert {"list", "iter", "get", "execute"} <= completions(f"{CLIENT}{client}.workflows.")
    assert {"stream", "wait_for_completion"} <= completions(f"{CLIENT}{client}.executions.")


def test_a_type_is_completed():
    assert "ExecutionStatus" in completions("from flowmaestro.types import Exec")
    assert "ExecutionStatus" in completions("import flowmaestro\nflowmaestro.types.Exec")
    assert "COMPLETED" in completions(
        "from flowmaestro.types import ExecutionStatus\nExecutionStatus."
    )


def test_a_call_shows_its_arguments_and_docstring():
    call = f"{CLIENT}client.workflows.execute("
    lines = call.split("\n")
    (signature,) = script(call).get_signatures(len(lines), len(lines[-1]))
    assert [one.name for one in signature.params] == ["workflow_id", "inputs"]
    assert "Endpoint:" in signature.docstring()


def test_ipython_completes_what_there_is():
    names = {"client": FlowMaestroClient("k", "http://127.0.0.1:1"), "flowmaestro": flowmaestro}
    completer = IPCompleter(namespace=names, use_jedi=False)

    def complete(text):
        with provisionalcompleter():
            return [one.text for one in completer.completions(text, len(text))]

    assert complete("client.work") == [".workflows"]
    assert complete("flowmaestro.Execution") == [".ExecutionFailedError"]


def test_help_shows_methods_with_their_docstrings():
    text = pydoc.plain(pydoc.render_doc(FlowMaestroClient))
    assert "with_options(" in text
    assert "Run a workflow to its end" in text
    shown = subprocess.run(
        [sys.executable, "-c", "import flowmaestro; help(flowmaestro.types.Execution)"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "One run of a workflow." in shown.stdout, shown.stderr
