"""What the API says of a failure, as the methods of the client raise it."""

from __future__ import annotations

import contextlib
import json

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_core import errors
from tests.conftest import KEY
from tests.core.mock import Script

pytestmark = [
    pytest.mark.anyio,  # async only
    pytest.mark.once,
]

NOPE = 'invalid input syntax for type uuid: "nope"'


def failing(status, code, message):
    return httpx.Response(status, json={"error": {"code": code, "message": message}})


@contextlib.asynccontextmanager
async def answering(*steps, **options):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncFlowMaestroClient(
            KEY, "http://127.0.0.1:1", http_client=http_client, **options
        ) as client:
            client.script = script
            yield client


USES = {
    "run": lambda client: client.run("nope"),
    "workflows.get": lambda client: client.workflows.get("nope"),
    "workflows.execute": lambda client: client.workflows.execute("nope"),
    "triggers.execute": lambda client: client.triggers.execute("nope"),
    "executions.get": lambda client: client.executions.get("nope"),
    "executions.cancel": lambda client: client.executions.cancel("nope"),
    "executions.list": lambda client: client.executions.list(workflow_id="nope"),
    "threads.get": lambda client: client.threads.get("nope"),
    "threads.send_message": lambda client: client.threads.send_message("nope", "hi"),
    "agents.create_thread": lambda client: client.agents.create_thread("nope"),
    "memory.get": lambda client: client.agents.memory.get("agent", "nope"),
    "memory.set": lambda client: client.agents.memory.set("nope", "user", "text"),
    "memory.search": lambda client: client.agents.memory.search("nope", "q"),
    "knowledge_bases.query": lambda client: client.knowledge_bases.query("nope", "q"),
    "webhooks.delete": lambda client: client.webhooks.delete("nope"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("code", ["execution_failed", "internal_error"])
@pytest.mark.parametrize("retry_unsafe", [False, True])
async def test_an_id_that_is_no_uuid_is_not_found_at_once(use, code, retry_unsafe):
    async with answering(failing(500, code, NOPE), retry_unsafe=retry_unsafe) as client:
        with pytest.raises(errors.NotFoundError, match="no such id") as caught:
            await use(client)
        assert len(client.script.requests) == 1
    assert not caught.value.outcome_unknown
    assert "carried out" not in str(caught.value)
    assert (caught.value.status_code, caught.value.code) == (404, "resource_not_found")
    assert caught.value.details == {"message": NOPE, "code": code, "status_code": 500}


async def test_an_input_that_is_no_uuid_leaves_the_outcome_unknown():
    async with answering(failing(500, "execution_failed", NOPE)) as client:
        with pytest.raises(errors.ServerError) as caught:
            await client.workflows.execute("wf_123", {"id": "nope"})
        assert len(client.script.requests) == 1
    assert caught.value.outcome_unknown
    assert caught.value.api_message == NOPE
    assert "carried out" in caught.value.message
    again = errors.FlowMaestroError.from_dict(json.loads(json.dumps(caught.value.to_dict())))
    assert again.outcome_unknown
    assert "carried out" in caught.value.args[0]


@pytest.mark.parametrize("first", [200, 501])
async def test_an_agent_that_fails_is_told_in_its_own_words(first):
    """Our advice never goes into the API's data."""
    steps = [failing(500, "execution_failed", "LLM failed")]
    if first == 501:
        steps.insert(0, failing(501, "not_implemented", "no streams yet"))
    async with answering(*steps) as client:
        stream = client.threads.send_message_stream("thread_1", "hi")
        if first == 501:
            events = [event async for event in stream]
            assert [event["type"] for event in events] == ["message:started", "message:failed"]
            assert events[-1]["error"] == "LLM failed"
        else:
            with pytest.raises(errors.ServerError, match="carried out") as caught:
                [event async for event in stream]
            assert caught.value.api_message == "LLM failed"


async def test_an_agent_that_fails_without_a_word_has_no_advice_of_ours_in_its_event():
    wordless = httpx.Response(500, json={"error": {"code": "execution_failed"}})
    async with answering(failing(501, "not_implemented", "no"), wordless) as client:
        events = [event async for event in client.threads.send_message_stream("thread_1", "hi")]
    assert events[-1]["type"] == "message:failed"
    assert "carried out" not in events[-1]["error"]
    assert "list_messages" not in events[-1]["error"]


async def test_a_body_that_is_too_large_has_a_class_of_its_own():
    too_large = httpx.Response(
        413,
        json={
            "statusCode": 413,
            "code": "FST_ERR_CTP_BODY_TOO_LARGE",
            "error": "Payload Too Large",
            "message": "Request body is too large",
        },
    )
    async with answering(too_large) as client:
        with pytest.raises(errors.RequestTooLargeError, match="too large") as caught:
            await client.workflows.execute("wf_123", {"x": "y"})
        assert len(client.script.requests) == 1
    assert isinstance(caught.value, errors.ValidationError)
    assert caught.value.code == "FST_ERR_CTP_BODY_TOO_LARGE"
    assert not caught.value.outcome_unknown
