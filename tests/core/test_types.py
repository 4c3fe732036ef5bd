"""The types of events know each event and each key that the API relays."""

from __future__ import annotations

import json
from typing import get_args, get_type_hints

import pytest

from flowmaestro import types
from flowmaestro_core.sse import Frame
from flowmaestro_executions.wire import execution_event_of

UNIONS = {
    types.ExecutionEventType: types.ExecutionEvent,
    types.ThreadEventType: types.ThreadEvent,
}

# What the API's event bus relays, with every key.
RELAYED = [
    {"type": "execution:started", "workflowId": "w", "workflowName": "n", "totalNodes": 2},
    {
        "type": "execution:progress",
        "completed": 1,
        "total": 2,
        "percentage": 50,
        "currentNode": "n",
    },
    {
        "type": "execution:paused",
        "status": "paused",
        "reason": "a person is asked",
        "pausedAtNodeId": "n1",
        "pausedAtNodeName": "Ask",
        "pauseContext": {"prompt": "Yes?", "variableName": "yes", "inputType": "boolean"},
    },
    {"type": "execution:resumed", "status": "running", "variableName": "yes", "response": True},
    {"type": "execution:completed", "outputs": {}, "duration": 5, "status": "completed"},
    {"type": "execution:failed", "error": "e", "failedNode": "n", "failedNodeId": "n1"},
    {"type": "node:started", "nodeId": "n1", "nodeName": "n", "nodeType": "http"},
    {
        "type": "node:completed",
        "nodeId": "n1",
        "nodeName": "n",
        "nodeType": "http",
        "output": 1,
        "duration": 5,
        "metadata": {},
    },
    {
        "type": "node:failed",
        "nodeId": "n1",
        "nodeName": "n",
        "nodeType": "http",
        "error": "e",
        "willRetry": True,
    },
    {"type": "node:retry", "nodeId": "n1", "attempt": 1, "maxAttempts": 3, "nextRetryIn": 5},
    {"type": "node:stream", "nodeId": "n1", "chunk": "c", "isComplete": False},
    {"type": "user:input:required", "nodeId": "n1", "prompt": "p", "inputType": "text"},
    {"type": "user:input:response", "nodeId": "n1", "response": 1},
]


def literals(union):
    """Give each TypedDict of a union by its type."""
    return {get_args(get_type_hints(event)["type"])[0]: event for event in get_args(union)}


@pytest.mark.parametrize("enum", UNIONS, ids=lambda enum: enum.__name__)
def test_each_event_of_an_enum_has_a_type_and_each_type_is_in_the_enum(enum):
    assert set(literals(UNIONS[enum])) == {str(member) for member in enum}


@pytest.mark.parametrize("content", RELAYED, ids=lambda content: content["type"])
def test_every_key_that_the_api_relays_has_a_type(content):
    data = json.dumps({**content, "executionId": "e", "timestamp": 5}).encode()
    event = execution_event_of({"execution_id": "e"}, Frame(event="x", data=data))
    known = literals(types.ExecutionEvent)[content["type"]]
    keys = known.__required_keys__ | known.__optional_keys__
    assert set(event) <= keys


def test_what_a_paused_execution_waits_for_stays_as_the_api_writes_it():
    keys = {"prompt", "description", "variableName", "inputType", "placeholder", "validation"}
    assert set(types.PauseContext.__annotations__) == {*keys, "required"}
