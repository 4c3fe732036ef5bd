"""pydantic reads every type, and checks calls by their annotations, on every Python."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError, validate_call

from flowmaestro import FlowMaestroClient, types
from tests.conftest import KEY


@pytest.mark.parametrize("name", types.__all__)
def test_pydantic_reads_every_type(name):
    assert TypeAdapter(getattr(types, name)).core_schema


def test_a_type_is_validated():
    page = {
        "data": [{"id": "m", "role": "user", "content": "Hi", "created_at": "2026-11-26"}],
        "pagination": {"page": 1, "per_page": 1, "total_count": 1, "has_more": False},
    }
    read = TypeAdapter(types.MessagesPage).validate_python(page)
    assert read == page
    assert type(read["data"]) is types.MessageList
    assert TypeAdapter(types.MessagesPage).dump_python(read) == page
    with pytest.raises(ValidationError, match="role"):
        TypeAdapter(types.MessagesPage).validate_python({**page, "data": [{"id": "m"}]})


@pytest.mark.parametrize(
    "method",
    [
        "workflows.get",
        "workflows.execute",
        "executions.list",
        "executions.wait_for_completion",
        "agents.create_thread",
        "threads.send_message",
        "triggers.execute",
        "knowledge_bases.query",
        "webhooks.create",
        "run",
    ],
)
def test_pydantic_checks_calls(method):
    call = FlowMaestroClient(KEY, "http://127.0.0.1:1")
    for name in method.split("."):
        call = getattr(call, name)
    with pytest.raises(ValidationError):
        validate_call(call)(["no", "id"])
