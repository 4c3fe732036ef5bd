"""The whole text of what methods tell in errors and in the log, with the advice in it."""

from __future__ import annotations

import logging

import httpx
import pytest

from flowmaestro_core import errors
from tests.core._async.test_waiting import (
    NO_ROUTE,
    TAKEN,
    Clock,
    clock,
    execution,
    messages,
    scripted,
)
from tests.core.mock import data, error, events

pytestmark = [
    pytest.mark.anyio,  # async only
    pytest.mark.once,
    pytest.mark.usefixtures("clock"),
]

__all__ = ["Clock", "clock"]

EVENTS = ["execution.completed"]


async def all_of(stream):
    return [event async for event in stream]


# What to look at before a start is repeated.
ADVICE = {
    "workflows.execute": (
        lambda c: c.workflows.execute("w"),
        "look at executions.list(workflow_id='w') before trying again",
    ),
    "triggers.execute": (
        lambda c: c.triggers.execute("t"),
        "look at executions.list() before trying again",
    ),
    "agents.create_thread": (
        lambda c: c.agents.create_thread("a"),
        "a second call makes a second thread",
    ),
    "threads.send_message": (
        lambda c: c.threads.send_message("t", "Hi"),
        "look at threads.list_messages('t') before sending again",
    ),
    "threads.send_message_stream": (
        lambda c: all_of(c.threads.send_message_stream("t", "Hi")),
        "look at threads.list_messages('t') before sending again",
    ),
    "webhooks.create": (
        lambda c: c.webhooks.create(name="n", url="u", events=EVENTS),
        "look at webhooks.list() before trying again",
    ),
    "webhooks.test": (
        lambda c: c.webhooks.test("w"),
        "a second call sends a second test delivery",
    ),
}


@pytest.mark.parametrize("name", ADVICE)
async def test_a_start_whose_outcome_is_unknown_says_what_to_look_at(name):
    call, advice = ADVICE[name]
    async with scripted(error(502)) as client:
        with pytest.raises(errors.ServerError) as caught:
            await call(client)
    assert caught.value.message == f"m - it may have been carried out all the same; {advice}"
    assert caught.value.api_message == "m"
    assert caught.value.outcome_unknown is True


async def test_a_send_in_the_place_of_a_stream_that_fails_is_an_error_and_no_event():
    async with scripted(error(501), error(502)) as client:
        with pytest.raises(errors.ServerError) as caught:
            await all_of(client.threads.send_message_stream("t", "Hi"))
    assert caught.value.message == (
        "m - it may have been carried out all the same; "
        "look at threads.list_messages('t') before sending again"
    )
    # That the agent failed is what the stream would have told.
    async with scripted(error(501), error(500, "execution_failed")) as client:
        told = await all_of(client.threads.send_message_stream("t", "Hi"))
    assert [event["type"] for event in told] == ["message:started", "message:failed"]


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (execution("running"), "(status: running)"),
        (error(503), "(status: not seen yet); the last poll failed: [c] m (HTTP 503)"),
    ],
)
async def test_a_wait_that_ends_early_says_how_it_stood(step, problem):
    async with scripted(step) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await client.executions.wait_for_completion("e", timeout=2.5)
    assert caught.value.message == (
        f"execution 'e' was not over within 2.5 s {problem}; it goes on: wait again or cancel it"
    )
    assert caught.value.code == "wait_timeout"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
@pytest.mark.parametrize("reason", [None, "no such node"])
async def test_an_execution_that_failed_says_why(status, reason):
    async with scripted(execution(status, error=reason)) as client:
        with pytest.raises(errors.ExecutionFailedError) as caught:
            await client.executions.wait_for_completion("e", raise_on_failure=True)
    assert caught.value.message == f"execution 'e' {status}: {reason or 'no reason given'}"
    assert caught.value.code == f"execution_{status}"
    assert caught.value.execution["error"] == reason


async def test_a_poll_that_fails_is_told_in_the_log(caplog):
    steps = [error(503), error(429, retry_after="7"), execution("completed")]
    async with scripted(*steps) as client:
        await client.executions.wait_for_completion("e", poll_interval=2.5)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "polling execution 'e' failed ([c] m (HTTP 503)); polling again in 2.5 s",
        ),
        (
            logging.WARNING,
            "polling execution 'e' failed ([c] m (HTTP 429, retry after 7 s)); "
            "polling again in 7.0 s",
        ),
    ]


async def test_a_poll_of_a_thread_that_fails_is_told_in_the_log(caplog):
    steps = [error(503), error(429, retry_after="7"), messages("user", "assistant")]
    async with scripted(TAKEN, *steps) as client:
        await client.threads.send_message("t", "Hi")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "polling the messages of thread 't' failed ([c] m (HTTP 503)); polling again in 1.0 s",
        ),
        (
            logging.WARNING,
            "polling the messages of thread 't' failed ([c] m (HTTP 429, retry after 7 s)); "
            "polling again in 7.0 s",
        ),
    ]


async def test_json_in_the_place_of_events_is_told_with_what_was_asked_for():
    async with scripted(data({})) as client:
        for stream, message in (
            (
                client.executions.stream("e"),
                "the response for the events of execution 'e' is JSON and no event stream",
            ),
            (
                client.threads.stream("t"),
                "the answer for the events of thread 't' is no event stream",
            ),
        ):
            with pytest.raises(errors.StreamError) as caught:
                await all_of(stream)
            assert (caught.value.message, caught.value.code) == (message, "no_event_stream")


@pytest.mark.parametrize(("deadline", "seconds"), [(None, 130), (2.5, 2.5)])
async def test_a_reply_that_does_not_come_says_where_to_look(deadline, seconds):
    async with scripted(TAKEN, messages("user")) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await client.with_options(deadline=deadline).threads.send_message("t", "Hi")
    assert caught.value.message == (
        f"the message was posted, but the agent has not answered within {seconds} s; "
        "look at threads.list_messages('t')"
    )
    assert caught.value.code == "answer_timeout"


async def test_a_message_that_was_taken_without_a_reply_says_where_to_look():
    async with scripted(data({"message": None})) as client:
        with pytest.raises(errors.StreamError) as caught:
            await all_of(client.threads.send_message_stream("t", "Hi"))
    assert caught.value.message == (
        "the backend took the message without giving the agent's answer; "
        "look at threads.list_messages('t')"
    )
    assert (caught.value.code, caught.value.outcome_unknown) == ("no_answer", True)


async def test_a_thread_whose_deadline_has_passed_says_which_it_was():
    async with scripted(NO_ROUTE, messages("user")) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await all_of(client.with_options(deadline=2.5).threads.stream("t"))
    assert caught.value.message == "the stream of thread 't' reached its deadline of 2.5 s"
    assert caught.value.code == "deadline_exceeded"


async def test_workflows_that_may_not_be_listed_are_told_in_the_log(caplog):
    async with scripted(data([]), error(403)) as client:
        assert await all_of(client.executions.iter()) == []
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "executions.iter() cannot list the workflows ([c] m (HTTP 403)), so executions that "
            "are missing from the API's list of all executions are left out; give the key the "
            "scope workflows:read, or pass workflow_id",
        )
    ]


async def test_a_list_that_brings_nothing_new_says_where_it_is_stuck():
    page = {"data": [{"id": "a"}], "pagination": {"has_more": True}}
    async with scripted(httpx.Response(200, json=page)) as client:
        with pytest.raises(errors.ServerError) as caught:
            await all_of(client.workflows.iter())
    assert caught.value.message == (
        "the list is stuck at page 4: the last 4 pages have the same items, but the API says "
        "that there are more; narrow the list with a filter, or report this to FlowMaestro"
    )
    assert caught.value.code == "pagination_stuck"


async def test_an_event_that_cannot_be_read_is_told_in_the_log_and_left_out(caplog):
    ended = "event: execution:completed\ndata: {}\n\n"
    async with scripted(events("event: a\ndata: [1]\n\n", ended)) as client:
        told = await all_of(client.executions.stream("e"))
    assert [event["type"] for event in told] == ["execution:completed"]
    (record,) = caplog.records
    assert "the data of an event is list, not an object" in record.getMessage()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda c: c.webhooks.update("w"),
            ValueError,
            "there is nothing to change: name at least one argument",
        ),
        (
            lambda c: c.agents.create_thread("a", metadata=["x"]),
            TypeError,
            "metadata must be a mapping, not list",
        ),
        (
            lambda c: c.workflows.execute("w", inputs=["x"]),
            TypeError,
            "inputs must be a mapping of names to values, not list",
        ),
        (
            lambda c: c.knowledge_bases.query("k", "q", top_k=0),
            ValueError,
            "top_k must be 1 or more, not 0",
        ),
        (
            lambda c: c.agents.memory.get("a", "stats"),
            ValueError,
            "user_id cannot be 'stats': the API has another route at this path",
        ),
        (lambda c: c.threads.send_message("t", " "), ValueError, "content must not be empty"),
    ],
)
async def test_an_argument_that_is_refused_says_which_and_what_it_was(call, error, message):
    async with scripted(data({})) as client:
        with pytest.raises(error) as caught:
            await call(client)
    assert str(caught.value) == message
