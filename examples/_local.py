"""A FlowMaestro of our own for the examples, where no key for the real one is set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from flowmaestro_local import LocalServer, Run

WORKFLOW = "wf_greeting"
AGENT = "agent_storyteller"
KNOWLEDGE_BASE = "kb_handbook"


_IDS = {"WORKFLOW_ID": WORKFLOW, "AGENT_ID": AGENT, "KNOWLEDGE_BASE_ID": KNOWLEDGE_BASE}


def ids(*names: str) -> list[str]:
    """Give the ids to use: those of the local server, or, with a key, the command line's."""
    if not os.environ.get("FLOWMAESTRO_API_KEY"):
        return [_IDS[name] for name in names]
    given, sys.argv[1:] = sys.argv[1 : 1 + len(names)], sys.argv[1 + len(names) :]
    if len(given) < len(names):
        sys.exit(
            "FLOWMAESTRO_API_KEY is set, so this runs on your account, and needs ids of yours:\n"
            f"    {sys.argv[0]} {' '.join(names)}\n"
            "Without a key, it runs on a local server."
        )
    return given


@contextmanager
def flowmaestro() -> Iterator[None]:
    """Use the API that the environment names, or start a local one for the block."""
    if os.environ.get("FLOWMAESTRO_API_KEY"):
        yield
        return
    with build_server().start() as url:
        os.environ["FLOWMAESTRO_API_KEY"] = "fm_live_local"
        os.environ["FLOWMAESTRO_BASE_URL"] = url
        try:
            yield
        finally:
            del os.environ["FLOWMAESTRO_API_KEY"], os.environ["FLOWMAESTRO_BASE_URL"]


def build_server() -> LocalServer:
    """Make the server; FLOWMAESTRO_LOCAL_DIALECT=wire answers as the public backend does."""
    server = LocalServer(dialect=os.environ.get("FLOWMAESTRO_LOCAL_DIALECT", "documented"))

    @server.workflow(WORKFLOW, name="Greeting")
    def greet(inputs: dict[str, str], run: Run) -> dict[str, str]:
        run.sleep(0.2)
        for percent, node in ((30, "Look the name up"), (60, "Write"), (90, "Check")):
            with run.node(node, type="llm"):
                run.sleep(0.1)
            run.progress(percent)
        if not inputs.get("name"):
            raise ValueError("nobody to greet: the input 'name' is empty")
        return {"greeting": f"Hello {inputs['name']}"}

    @server.agent(AGENT, name="Storyteller")
    def tell(message: str, history: list[dict[str, str]]) -> Iterator[str]:
        yield from ("Once ", "upon ", "a time, ", "somebody ", "said: ", message)

    server.knowledge_base(
        KNOWLEDGE_BASE,
        name="Handbook",
        documents={
            "passwords.md": "To reset your password, open the settings and choose Security.",
            "holidays.md": "Ask for holidays two weeks ahead, in the calendar.",
        },
    )
    return server
