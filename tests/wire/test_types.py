"""Each field that is relied on has its type, or the response is an error that names the field."""

from __future__ import annotations

import pytest

from flowmaestro_core import errors
from tests.core.mock import Script, data
from tests.properties.methods import METHODS, call, parameters_of

pytestmark = pytest.mark.once

A_LIST, AN_OBJECT, MISSING = "a list", "an object", object()

# Per method, what `data` is, and the fields of it or of each item.
FIELDS = {
    "workflows.list": (A_LIST, {"id": str}),
    "workflows.get": (AN_OBJECT, {"id": str, "inputs": dict}),
    "workflows.execute": (AN_OBJECT, {"execution_id": "id", "workflow_id": str, "status": str}),
    "executions.list": (A_LIST, {"id": str, "workflow_id": str, "status": str}),
    "executions.get": (AN_OBJECT, {"id": str, "workflow_id": str, "status": "text"}),
    "executions.cancel": (AN_OBJECT, {"id": str, "status": str}),
    "agents.list": (A_LIST, {"id": str}),
    "agents.get": (AN_OBJECT, {"id": str, "available_tools": list}),
    "agents.create_thread": (AN_OBJECT, {"id": "id", "status": str}),
    "agents.memory.list": (
        A_LIST,
        {"user_id": str, "working_memory": str, "metadata": dict},
    ),
    "agents.memory.get": (
        AN_OBJECT,
        {"agent_id": str, "user_id": str, "working_memory": str, "metadata": dict},
    ),
    "agents.memory.set": (
        AN_OBJECT,
        {"agent_id": str, "user_id": str, "working_memory": str, "metadata": dict},
    ),
    "agents.memory.delete": (AN_OBJECT, {"agent_id": str, "user_id": str, "deleted": bool}),
    "agents.memory.search": (
        AN_OBJECT,
        {"agent_id": str, "query": str, "results": list, "result_count": int},
    ),
    "agents.memory.stats": (
        AN_OBJECT,
        {
            "agent_id": str,
            "working_memory_count": int,
            "embedding_count": int,
            "memory_config": dict,
        },
    ),
    "threads.get": (AN_OBJECT, {"id": str, "status": str}),
    "threads.delete": (AN_OBJECT, {"id": str, "deleted": bool}),
    "threads.list_messages": (A_LIST, {"id": str, "role": str, "content": str}),
    "threads.send_message": (
        AN_OBJECT,
        {"thread_id": str, "message_id": str, "status": str, "message": dict},
    ),
    "triggers.list": (A_LIST, {"id": str}),
    "triggers.execute": (AN_OBJECT, {"execution_id": "id", "workflow_id": str, "status": str}),
    "knowledge_bases.list": (A_LIST, {"id": str}),
    "knowledge_bases.get": (AN_OBJECT, {"id": str}),
    "knowledge_bases.query": (A_LIST, {"content": str, "metadata": dict}),
    "webhooks.list": (A_LIST, {"id": str, "url": str, "events": list}),
    "webhooks.get": (AN_OBJECT, {"id": str, "url": str, "events": list}),
    "webhooks.create": (AN_OBJECT, {"id": "id", "secret": "id", "events": list}),
    "webhooks.update": (AN_OBJECT, {"id": str, "url": str, "events": list}),
    "webhooks.delete": (AN_OBJECT, {"id": str, "deleted": bool}),
    "webhooks.test": (AN_OBJECT, {"success": "flag"}),
    "webhooks.deliveries": (A_LIST, {"status": str}),
}
# Nothing can be done without these kinds: they may not be missing.
NEEDED = {"id": "an id", "text": "a string", "flag": "a boolean"}
EXPECTED = {
    str: "a string",
    int: "a number",
    dict: "an object",
    list: "an array",
    bool: "a boolean",
    **NEEDED,
}
GOOD = {str: "x", int: 1, dict: {}, list: [], bool: True, "id": "x", "text": "completed"}
GOOD["flag"] = True

CASES = [
    (method, name, kind) for method, (_, fields) in FIELDS.items() for name, kind in fields.items()
]


def told(method: str, content: object) -> str:
    """Give the message of the error that a method raises for this ``data``, or nothing."""
    needed, _ = parameters_of(method)
    if method == "webhooks.update":
        needed["name"] = "n"
    try:
        call("sync", Script(data(content)), method, needed, max_retries=0)
    except errors.ServerError as error:
        return error.message if error.code == "invalid_response" else repr(error)
    return ""


def content_of(method: str, **changes: object) -> object:
    """Give ``data`` as it is documented, with changes in it, in a list behind one without."""
    what, fields = FIELDS[method]
    good = {name: GOOD[kind] for name, kind in fields.items()}
    changed = {name: value for name, value in {**good, **changes}.items() if value is not MISSING}
    return [good, changed] if what == A_LIST else changed


def place_of(method: str, name: str) -> str:
    return f"data[1].{name}" if FIELDS[method][0] == A_LIST else f"data.{name}"


@pytest.mark.parametrize(("method", "name", "kind"), CASES)
def test_a_field_of_another_type_is_named_with_its_place(method, name, kind):
    assert told(method, content_of(method)) == ""
    wrong, found = ("5", "a string") if kind is int else (5, "a number")
    found = "5" if kind == "id" else found
    assert told(method, content_of(method, **{name: wrong})).startswith(
        f"unexpected response: {place_of(method, name)} is {found}, expected {EXPECTED[kind]}: "
    )


@pytest.mark.parametrize(("method", "name", "kind"), CASES)
def test_a_field_may_be_missing_or_null_unless_nothing_can_be_done_without_it(method, name, kind):
    # A message that was only taken is waited for.
    beside = {"message_id": None} if name == "message" else {}
    for value in (MISSING, None):
        message = told(method, content_of(method, **{name: value}, **beside))
        if kind not in NEEDED:
            assert message == ""
            continue
        found = "None" if kind == "id" and value is None else "missing"
        assert message.startswith(
            f"unexpected response: {place_of(method, name)} is {found}, expected {NEEDED[kind]}: "
        )


@pytest.mark.parametrize("method", FIELDS)
def test_data_of_another_kind_is_named(method):
    expected = "an array" if FIELDS[method][0] == A_LIST else "an object"
    if method in ("threads.list_messages", "knowledge_bases.query"):
        # Around the list there may be an object.
        assert told(method, {}) == ""
        expected = {"threads": "an array", "knowledge_bases": "an object"}[method.partition(".")[0]]
    assert told(method, "text").startswith(
        f"unexpected response: data is a string, expected {expected}: "
    )
    if FIELDS[method][0] == A_LIST:
        assert told(method, [{}, "text"]).startswith(
            "unexpected response: data[1] is a string, expected an object: "
        )


@pytest.mark.parametrize(
    ("method", "content", "problem"),
    [
        (
            "threads.list_messages",
            {"messages": {}},
            "data.messages is an object, expected an array",
        ),
        (
            "threads.list_messages",
            {"messages": [{"id": 5}]},
            "data.messages[0].id is a number, expected a string",
        ),
        (
            "threads.send_message",
            {"message": {"content": 5}},
            "data.message.content is a number, expected a string",
        ),
        (
            "agents.memory.search",
            {"results": [{"content": 5}]},
            "data.results[0].content is a number, expected a string",
        ),
        (
            "agents.memory.search",
            {"results": [{}, {"context_after": {}}]},
            "data.results[1].context_after is an object, expected an array",
        ),
        ("knowledge_bases.query", {"results": {}}, "data.results is an object, expected an array"),
        (
            "knowledge_bases.query",
            {"results": [{"content": 5}]},
            "data.results[0].content is a number, expected a string",
        ),
    ],
)
def test_a_field_within_another_is_named_with_its_place(method, content, problem):
    assert told(method, content).startswith(f"unexpected response: {problem}: ")


@pytest.mark.parametrize(
    "method", [name for name in METHODS if ".iter" in name and name != "threads.iter_messages"]
)
def test_a_walk_refuses_what_its_list_refuses(method):
    listing = method.replace("iter_deliveries", "deliveries").replace("iter", "list")
    needed, _ = parameters_of(method)
    name = next(iter(FIELDS[listing][1]))
    with pytest.raises(errors.ServerError, match=rf"data\[1\]\.{name} is a number"):
        call("sync", Script(data(content_of(listing, **{name: 5}))), method, needed, max_retries=0)


def test_every_method_that_returns_data_is_tried():
    others = {"run", "request", "executions.wait_for_completion"}
    others |= {name for name in METHODS if ".iter" in name or name.endswith("stream")}
    assert set(FIELDS) == set(METHODS) - others


def test_a_workflow_whose_executions_are_walked_has_an_id():
    pages = Script(data([]), data([{"name": "no id"}]))
    with pytest.raises(errors.ServerError, match=r"data\[0\]\.id is missing, expected an id"):
        call("sync", pages, "executions.iter", {}, max_retries=0)
