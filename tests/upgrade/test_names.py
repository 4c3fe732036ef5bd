"""The names that 0.1.0 had are still there."""

from __future__ import annotations

import importlib
import typing
import warnings

import pytest

import flowmaestro
from flowmaestro import types

GROUPS = {
    "agents": "Agents",
    "executions": "Executions",
    "knowledge_bases": "KnowledgeBases",
    "threads": "Threads",
    "triggers": "Triggers",
    "webhooks": "Webhooks",
    "workflows": "Workflows",
}


@pytest.mark.parametrize("module", ["client", "errors", "types", "webhooks"])
def test_a_module_of_0_1_0_is_an_attribute_and_warns_of_nothing(module):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = importlib.import_module(f"flowmaestro.{module}")
        assert getattr(flowmaestro, module) is found
    assert module in dir(flowmaestro)


def test_errors_and_clients_are_the_same_under_their_old_paths():
    for name in flowmaestro.errors.__all__:
        assert getattr(flowmaestro, name) is getattr(flowmaestro.errors, name)
    for name in ("FlowMaestroClient", "AsyncFlowMaestroClient"):
        assert getattr(flowmaestro.client, name) is getattr(flowmaestro, name)


@pytest.mark.parametrize("group", GROUPS)
def test_a_resource_has_its_old_name_with_a_warning(group):
    name = GROUPS[group]
    package = importlib.import_module(f"flowmaestro_{group}")
    for path in ("flowmaestro.resources", f"flowmaestro.resources.{group}"):
        module = importlib.import_module(path)
        for old, new in ((f"Sync{name}", name), (f"Async{name}", f"Async{name}")):
            with pytest.warns(DeprecationWarning, match="is now") as warned:
                assert getattr(module, old) is getattr(package, new)
            assert str(warned[0].message) == f"{path}.{old} is now flowmaestro_{group}.{new}"
            assert warned[0].filename == __file__
            assert old in dir(module)
            assert old in module.__all__
        with pytest.raises(AttributeError, match=f"module '{path}' has no attribute 'nothing'"):
            module.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ResponseMeta", "Meta"),
        ("PaginationInfo", "Pagination"),
        ("ExecuteWorkflowResponse", "ExecuteResult"),
        ("SendMessageResponse", "SendMessageResult"),
        ("ExecuteTriggerResponse", "TriggerExecuteResult"),
        ("KnowledgeBaseResult", "SearchResult"),
        ("QueryKnowledgeBaseResponse", "QueryResult"),
        ("TestWebhookResponse", "WebhookTestResult"),
    ],
)
def test_a_type_has_its_old_name(old, new):
    assert getattr(types, old) is getattr(types, new)


def test_types_that_have_no_new_name_are_there():
    assert set(types.ApiError.__annotations__) == {"code", "message", "details"}
    for name in ("OnEventCallback", "OnTokenCallback", "OnErrorCallback", "OnCloseCallback"):
        assert typing.get_origin(getattr(types, name)) is not None


@pytest.mark.parametrize("name", [name for name in types.__all__ if name.endswith("Name")])
def test_the_names_of_an_enum_are_its_values(name):
    enum = getattr(types, name[: -len("Name")])
    assert typing.get_args(getattr(types, name)) == tuple(member.value for member in enum)


def test_a_member_of_an_enum_shows_itself_as_its_text():
    assert repr(types.ExecutionStatus.COMPLETED) == "'completed'"
    assert repr({"status": types.ExecutionStatus.COMPLETED}) == "{'status': 'completed'}"
