"""Calls as programs for 0.1.0 make them, and responses in every shape that was documented."""

from __future__ import annotations

import contextlib
import json
import warnings

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient, InvalidArgumentError, ValidationError
from flowmaestro_threads import _async as threads_module
from tests.conftest import KEY
from tests.core.mock import Script, data

pytestmark = pytest.mark.anyio  # async only

URL = "http://127.0.0.1:1"


@pytest.fixture
def pauses(monkeypatch):
    """Replace the sleeping between polls by a list of the pauses."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(threads_module, "sleep", sleep)
    return slept


@contextlib.asynccontextmanager
async def scripted(*steps, **options):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncFlowMaestroClient(KEY, URL, http_client=http_client, **options) as client:
            client.script = script
            yield client


# Arguments


async def test_a_timeout_of_none_is_no_bound_and_warns_of_it_once():
    with pytest.warns(UserWarning, match="in 0.1.0 it meant 30 seconds") as warned:
        client = AsyncFlowMaestroClient(KEY, URL, timeout=None)
    (warning,) = warned
    assert warning.filename == __file__
    assert client.options.timeouts.read is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        on_purpose = AsyncFlowMaestroClient(KEY, URL, timeout=httpx.Timeout(None))
        assert on_purpose.options.timeouts.read is None
        assert client.with_options(timeout=None).options.timeouts.read is None
    await client.close()
    await on_purpose.close()


async def test_what_is_none_or_empty_is_the_default(monkeypatch):
    monkeypatch.delenv("FLOWMAESTRO_BASE_URL", raising=False)
    async with AsyncFlowMaestroClient(KEY, "", max_retries=None) as client:
        assert client.base_url == "https://api.flowmaestro.io"
        assert client.options.max_retries == 3
        assert client.with_options(max_retries=None).options.max_retries == 3
        few = client.with_options(max_retries=1)
        assert few.with_options(max_retries=None).options.max_retries == 1
    async with scripted(data({"results": []}), data([])) as client:
        await client.knowledge_bases.query("kb", "q", None)
        await client.executions.list(status="", workflow_id="")
        asked, listed = client.script.requests
        assert json.loads(asked.content) == {"query": "q", "top_k": 5}
        assert listed.url.query == b""


async def test_an_empty_address_is_that_of_the_users_client():
    async with httpx.AsyncClient(base_url="http://127.0.0.1:2") as http_client:
        client = AsyncFlowMaestroClient(KEY, "", http_client=http_client)
        assert client.base_url == "http://127.0.0.1:2"


async def test_the_stream_of_send_message_is_another_method():
    async with scripted(data({"message": {"role": "assistant", "content": "Hi!"}})) as client:
        sent = await client.threads.send_message("t", "Hello", stream=False)
        assert sent["data"]["message"]["content"] == "Hi!"
        with pytest.raises(InvalidArgumentError, match="use send_message_stream"):
            await client.threads.send_message("t", "Hello", stream=True)
        assert len(client.script.requests) == 1


async def test_a_message_may_say_how_long_the_agent_has():
    reply = data({"message": {"role": "assistant", "content": "Hi!"}})
    async with scripted(reply) as client:
        for seconds, sent in ((2, 2_000), (0.0004, 1), (120, 120_000)):
            await client.threads.send_message("t", "Hello", timeout=seconds)
            body = json.loads(client.script.requests[-1].content)
            assert body == {"content": "Hello", "stream": False, "timeout": sent}
        for seconds in (0, -1, 120.5, float("inf")):
            with pytest.raises(InvalidArgumentError, match="timeout must be"):
                await client.threads.send_message("t", "Hello", timeout=seconds)
        assert len(client.script.requests) == 3


async def test_a_webhook_is_created_with_its_arguments_in_order():
    created = data({"id": "wh", "name": "n", "url": "http://x", "events": [], "secret": "s"})
    async with scripted(created) as client:
        await client.webhooks.create("n", "http://x", ["execution.failed"], headers={"X-A": "b"})
        assert json.loads(client.script.requests[0].content) == {
            "name": "n",
            "url": "http://x",
            "events": ["execution.failed"],
            "headers": {"X-A": "b"},
        }


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.executions.get(""),
        lambda c: c.threads.send_message("t", ""),
        lambda c: c.knowledge_bases.query("kb", ""),
        lambda c: c.knowledge_bases.query("kb", "q", 0),
        lambda c: c.webhooks.create("n", "http://x", []),
        lambda c: c.webhooks.update("wh"),
        lambda c: c.workflows.execute("wf", {"n": float("nan")}),
        lambda c: c.workflows.list(page=0),
    ],
)
async def test_what_cannot_be_sent_is_both_errors(call):
    async with scripted(data({})) as client:
        with pytest.raises(ValidationError) as caught:
            await call(client)
        assert isinstance(caught.value, ValueError)
        assert (caught.value.code, caught.value.status_code) == ("invalid_argument", None)
        assert client.script.requests == []


# Triggers of one workflow


def trigger(number, workflow_id):
    return {"id": f"t{number}", "workflow_id": workflow_id}


def a_page(triggers, **pagination):
    return httpx.Response(200, json={"data": triggers, "pagination": pagination})


async def test_triggers_of_one_workflow_are_given_though_the_api_ignores_the_filter():
    mine, other = trigger(1, "wf_1"), trigger(2, "wf_2")
    pages = [
        a_page([other], page=1, per_page=1, total_count=3, has_more=True),
        a_page([mine], page=2, per_page=1, total_count=3, has_more=True),
        a_page([trigger(3, "wf_2")], page=3, per_page=1, total_count=3, has_more=False),
    ]
    async with scripted(*pages) as client:
        found = [one async for one in client.triggers.iter(per_page=1, workflow_id="wf_1")]
        assert found == [mine]
        sent = client.script.requests[0].url.query
        assert sent == b"page=1&per_page=1&workflow_id=wf_1"
        assert len(client.script.requests) == 3
    async with scripted(a_page([other, mine])) as client:
        assert (await client.triggers.list(workflow_id="wf_1"))["data"] == [mine]
        assert (await client.triggers.list())["data"] == [other, mine]
        assert client.script.requests[1].url.query == b""
        with pytest.raises(InvalidArgumentError, match="workflow_id must not be empty"):
            client.triggers.iter(workflow_id=" ")


# Replies in every documented shape


REPLY = {"id": "m2", "role": "assistant", "content": "Hi!", "created_at": "2026-11-26"}
POSTED = {"id": "m1", "role": "user", "content": "Hello"}


@pytest.mark.parametrize(
    "taken",
    [
        {"message_id": "m1", "thread_id": "t", "status": "processing"},
        {"message_id": "m1", "status": "pending", "message": None},
        POSTED,
    ],
)
async def test_a_reply_that_is_still_to_come_is_waited_for(pauses, taken):
    history = data([POSTED]), data([POSTED, REPLY])
    async with scripted(data(taken), *history) as client:
        sent = (await client.threads.send_message("t", "Hello"))["data"]
        assert sent["message"]["content"] == "Hi!"
        assert sent["thread_id"] == "t"
        assert [one.method for one in client.script.requests] == ["POST", "GET", "GET"]
        assert len(pauses) == 1
    async with scripted(data(taken), *history) as client:
        events = [one async for one in client.threads.send_message_stream("t", "Hello")]
        assert [one["type"] for one in events] == [
            "message:started",
            "message:token",
            "message:completed",
        ]
        assert events[-1]["content"] == "Hi!"


async def test_a_reply_may_be_the_data_of_the_response():
    async with scripted(data(REPLY)) as client:
        sent = (await client.threads.send_message("t", "Hello"))["data"]
        assert (sent["content"], sent["role"]) == ("Hi!", "assistant")
        assert sent["message"]["content"] == "Hi!"
        assert sent["status"] == "completed"
        events = [one async for one in client.threads.send_message_stream("t", "Hello")]
        assert events[-1]["content"] == "Hi!"
        assert all(one.method == "POST" for one in client.script.requests)


async def test_the_messages_of_a_thread_read_as_a_list_and_as_the_api_sends_them():
    for content in ([POSTED, REPLY], {"messages": [POSTED, REPLY]}):
        async with scripted(data(content)) as client:
            messages = (await client.threads.list_messages("t"))["data"]
            assert messages == [POSTED, REPLY]
            with pytest.warns(DeprecationWarning, match="leave"):
                assert messages["messages"] == [POSTED, REPLY]
