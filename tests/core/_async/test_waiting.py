"""Waiting for replies and ends: which pauses, how long, and what the error knows then."""

from __future__ import annotations

import contextlib

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_core import errors
from flowmaestro_core._async import stream as stream_module
from flowmaestro_executions import _async as executions_module
from flowmaestro_threads import _async as threads_module
from flowmaestro_webhooks import _async as webhooks_module
from tests.conftest import KEY
from tests.core.mock import Script, data, error

pytestmark = [
    pytest.mark.anyio,  # async only
    pytest.mark.once,
]

URL = "http://127.0.0.1:1"
TAKEN = data({"message_id": "1", "thread_id": "t", "status": "pending"})
NO_ROUTE = httpx.Response(
    404,
    json={
        "statusCode": 404,
        "error": "Not Found",
        "message": "Route GET:/api/v1/threads/t/events not found",
    },
)


class Clock:
    """Goes on only while somebody sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.pauses = []

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        assert seconds >= 0
        self.pauses.append(seconds)
        # The smallest step keeps a loop from standing still for ever.
        self.now += max(seconds, 0.001)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Clock()
    for module in (threads_module, executions_module):
        monkeypatch.setattr(module, "sleep", clock.sleep)
        monkeypatch.setattr(module, "monotonic", clock.monotonic)
    # Of a thread that is polled, which close() may end in a pause.
    monkeypatch.setattr(stream_module.Stop, "sleep", lambda stop, seconds: clock.sleep(seconds))
    # The time that is left of a stream's deadline.
    monkeypatch.setattr(stream_module, "monotonic", clock.monotonic)
    return clock


@contextlib.asynccontextmanager
async def scripted(*steps, **options):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncFlowMaestroClient(
            KEY, URL, http_client=http_client, max_retries=0, **options
        ) as client:
            client.script = script
            yield client


def messages(*roles):
    return data(
        {
            "messages": [
                {"id": str(number), "role": role, "content": f"from {number}"}
                for number, role in enumerate(roles, 1)
            ]
        }
    )


def execution(status, **more):
    return data({"id": "e", "workflow_id": "w", "status": status, **more})


# The reply to a message that was only taken


async def test_a_reply_is_looked_for_at_growing_pauses(clock):
    steps = [TAKEN, *[messages("user")] * 7, messages("user", "assistant")]
    async with scripted(*steps) as client:
        sent = (await client.threads.send_message("t", "Hi"))["data"]
    assert sent["message"] == {"role": "assistant", "content": "from 2"}
    assert clock.pauses == [0.25, 0.5, 1, 2, 4, 5, 5]


@pytest.mark.parametrize(("deadline", "seconds"), [(None, 130), (20, 20)])
async def test_a_reply_that_does_not_come_is_a_timeout_that_names_the_thread(
    clock, deadline, seconds
):
    async with scripted(TAKEN, messages("user")) as client:
        view = client if deadline is None else client.with_options(deadline=deadline)
        with pytest.raises(errors.TimeoutError, match=rf"{seconds} s.*list_messages") as caught:
            await view.threads.send_message("t", "Hi")
    assert caught.value.code == "answer_timeout"
    assert caught.value.outcome_unknown is True
    assert caught.value.details == {"thread_id": "t"}
    assert seconds - 5 <= sum(clock.pauses) <= seconds
    posts = [request for request in client.script.requests if request.method == "POST"]
    assert len(posts) == 1


async def test_the_deadline_of_a_message_holds_for_its_sending_and_its_reply_together(clock):
    def slow(request):
        clock.now += 15
        return TAKEN

    async with scripted(slow, messages("user")) as client:
        with pytest.raises(errors.TimeoutError):
            await client.with_options(deadline=20).threads.send_message("t", "Hi")
    assert 0 < sum(clock.pauses) <= 5


async def test_a_reply_is_polled_at_growing_pauses_while_the_api_is_away(clock):
    steps = [TAKEN, *[error(503)] * 7, messages("user", "assistant")]
    async with scripted(*steps) as client:
        sent = (await client.threads.send_message("t", "Hi"))["data"]
    assert sent["message"]["content"] == "from 2"
    assert clock.pauses == [1, 1.5, 2.25, 3.375, 5, 5, 5]


async def test_a_message_whose_outcome_is_known_names_no_thread():
    async with scripted(error(400)) as client:
        with pytest.raises(errors.ValidationError) as caught:
            await client.threads.send_message("t", "Hi")
    assert caught.value.details is None


async def test_the_details_of_an_error_are_kept_beside_the_thread():
    body = {"error": {"code": "c", "message": "m", "details": {"why": "x"}}}
    async with scripted(httpx.Response(502, json=body)) as client:
        with pytest.raises(errors.ServerError) as caught:
            await client.threads.send_message("t", "Hi")
    assert caught.value.details == {"why": "x", "thread_id": "t"}


# A thread without a stream


async def test_new_replies_of_a_thread_are_told_once_with_their_ids(clock):
    steps = [
        NO_ROUTE,
        messages("user", "assistant"),
        messages("user", "assistant"),
        messages("user", "assistant", "user", "assistant"),
        messages("user", "assistant", "user", "assistant"),
        messages("user", "assistant", "user", "assistant", "assistant"),
    ]
    async with scripted(*steps) as client:
        collected = []
        async with client.threads.stream("t") as stream:
            async for event in stream:
                collected.append(event)
                if len(collected) == 6:
                    break
    assert [event["type"] for event in collected[:3]] == [
        "message:started",
        "message:token",
        "message:completed",
    ]
    # What was there before is not news, and what a user says is no reply.
    assert [event["message_id"] for event in collected] == ["4"] * 3 + ["5"] * 3
    assert {event["thread_id"] for event in collected} == {"t"}
    assert collected[2]["content"] == "from 4"


async def test_a_silent_thread_is_looked_at_less_often_and_a_lively_one_more(clock):
    silent = messages("user")
    steps = [NO_ROUTE, *[silent] * 7, messages("user", "assistant"), error(403)]
    async with scripted(*steps) as client:
        with pytest.raises(errors.AuthorizationError):
            async for _ in client.threads.stream("t"):
                pass
    assert clock.pauses == [1.5, 2.25, 3.375, 5, 5, 5, 5, 1]


async def test_a_thread_without_a_stream_keeps_the_deadline(clock):
    async with scripted(NO_ROUTE, messages("user")) as client:
        with pytest.raises(errors.TimeoutError, match=r"thread 't'.* 20 s") as caught:
            async for _ in client.with_options(deadline=20).threads.stream("t"):
                pass
    assert caught.value.code == "deadline_exceeded"
    assert caught.value.outcome_unknown is False
    assert 15 <= sum(clock.pauses) <= 20


@pytest.mark.parametrize(("deadline", "least", "most"), [(None, 55, 60), (20, 15, 20)])
async def test_an_api_that_stays_away_ends_the_polling_of_a_thread(clock, deadline, least, most):
    async with scripted(NO_ROUTE, error(503)) as client:
        view = client if deadline is None else client.with_options(deadline=deadline)
        with pytest.raises(errors.ServerError):
            async for _ in view.threads.stream("t"):
                pass
    assert least <= sum(clock.pauses) <= most


async def test_a_thread_that_is_missing_is_told_from_a_stream_that_is():
    async with scripted(error(404, "resource_not_found")) as client:
        with pytest.raises(errors.NotFoundError):
            async for _ in client.threads.stream("t"):
                pass
        assert len(client.script.requests) == 1


@pytest.mark.parametrize("kind", ["executions", "threads"])
async def test_json_in_the_place_of_events_is_told_with_its_code(kind):
    async with scripted(data({})) as client:
        with pytest.raises(errors.StreamError) as caught:
            async for _ in getattr(client, kind).stream("x"):
                pass
    assert caught.value.code == "no_event_stream"
    assert "'x'" in caught.value.message


async def test_a_whole_reply_in_the_place_of_a_stream_has_the_ids_that_came_with_it():
    ids = {"message_id": "m", "execution_id": "e"}
    async with scripted(data({**ids, "message": {"content": "Hello"}})) as client:
        told = [event async for event in client.threads.send_message_stream("t", "Hi")]
    assert told == [
        {"type": "message:started", "thread_id": "t", **ids},
        {"type": "message:token", "thread_id": "t", **ids, "token": "Hello"},
        {"type": "message:completed", "thread_id": "t", **ids, "content": "Hello"},
    ]


async def test_a_message_that_was_taken_without_a_reply_ends_its_stream_with_an_error():
    async with scripted(data({"thread_id": "t", "message": None})) as client:
        with pytest.raises(errors.StreamError, match=r"list_messages\('t'\)") as caught:
            async for _ in client.threads.send_message_stream("t", "Hi"):
                pass
    assert caught.value.code == "no_answer"


# The end of an execution


async def test_an_execution_is_asked_for_at_each_interval(clock):
    steps = [execution("pending"), execution("running"), execution("running")]
    async with scripted(*steps, execution("completed", outputs={"a": 1})) as client:
        result = await client.executions.wait_for_completion("e", poll_interval=7)
    assert result["outputs"] == {"a": 1}
    assert clock.pauses == [7, 7, 7]
    assert {request.url.path for request in client.script.requests} == {"/api/v1/executions/e"}


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_an_execution_that_is_over_is_not_waited_for(clock, status):
    async with scripted(execution(status)) as client:
        result = await client.executions.wait_for_completion("e", timeout=0)
        assert result["status"] == status
        if status == "completed":
            await client.executions.wait_for_completion("e", raise_on_failure=True)
            return
        with pytest.raises(errors.ExecutionFailedError, match=f"'e' {status}: no reason") as caught:
            await client.executions.wait_for_completion("e", raise_on_failure=True)
    assert caught.value.code == f"execution_{status}"
    assert caught.value.execution["id"] == "e"
    assert clock.pauses == []


async def test_the_reason_of_a_failure_is_in_the_error():
    async with scripted(execution("failed", error="no such node")) as client:
        with pytest.raises(errors.ExecutionFailedError, match="'e' failed: no such node"):
            await client.executions.wait_for_completion("e", raise_on_failure=True)


async def test_a_wait_ends_at_its_timeout_and_says_what_it_saw(clock):
    async with scripted(execution("running")) as client:
        with pytest.raises(errors.TimeoutError, match=r"'e'.* 10 s.*running") as caught:
            await client.executions.wait_for_completion("e", poll_interval=4, timeout=10)
    assert caught.value.code == "wait_timeout"
    assert caught.value.execution["status"] == "running"
    # The last pause is cut, so that the last poll is at the end.
    assert clock.pauses == [4, 4, 2]


async def test_a_poll_takes_no_longer_than_what_is_left_of_the_wait(clock):
    async with scripted(execution("running")) as client:
        with pytest.raises(errors.TimeoutError):
            await client.executions.wait_for_completion("e", poll_interval=4, timeout=10)
    # The last one has a moment, so that an end in the last second is seen.
    seconds = [request.extensions["timeout"]["read"] for request in client.script.requests]
    assert len(seconds) == 4
    assert all(0 < found <= most for found, most in zip(seconds, [10, 6, 2, 2]))


async def test_a_wait_takes_five_minutes_and_no_longer_unless_told(clock):
    async with scripted(execution("running")) as client:
        with pytest.raises(errors.TimeoutError, match="300 s"):
            await client.executions.wait_for_completion("e", poll_interval=50)
    assert sum(clock.pauses) == 300
    async with scripted(*[execution("running")] * 30, execution("completed")) as client:
        await client.executions.wait_for_completion("e", poll_interval=50, timeout=None)
    assert sum(clock.pauses) == 300 + 30 * 50


async def test_the_deadline_of_a_view_bounds_a_wait_as_well(clock):
    async with scripted(execution("running")) as client:
        view = client.with_options(deadline=8)
        for timeout in (None, 100.0):
            clock.pauses.clear()
            with pytest.raises(errors.TimeoutError, match=" 8 s"):
                await view.executions.wait_for_completion("e", timeout=timeout)
            assert sum(clock.pauses) == 8
        clock.pauses.clear()
        with pytest.raises(errors.TimeoutError, match=" 5 s"):
            await view.executions.wait_for_completion("e", timeout=5)


@pytest.mark.parametrize(
    "step",
    [
        error(500),
        error(502),
        error(408),
        httpx.ReadError("reset"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
    ],
)
async def test_a_wait_outlasts_what_passes(clock, step):
    async with scripted(step, step, execution("completed")) as client:
        result = await client.executions.wait_for_completion("e", poll_interval=3)
    assert result["status"] == "completed"
    assert clock.pauses == [3, 3]


async def test_a_wait_is_as_slow_as_a_rate_limit_asks_for(clock):
    steps = [error(429, retry_after="20"), error(429, retry_after="1"), error(429)]
    async with scripted(*steps, execution("running"), execution("completed")) as client:
        await client.executions.wait_for_completion("e", poll_interval=3)
    assert clock.pauses == [20, 3, 3, 3]


async def test_a_wait_that_saw_nothing_says_so_with_the_last_error(clock):
    async with scripted(error(503)) as client:
        with pytest.raises(errors.TimeoutError, match="HTTP 503") as caught:
            await client.executions.wait_for_completion("e", timeout=5)
    assert caught.value.execution is None
    # An error that passed is not the last one any more.
    async with scripted(error(503), execution("running")) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await client.executions.wait_for_completion("e", timeout=5)
    assert "503" not in caught.value.message


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_wait_raises_at_once_what_does_not_pass(clock, status):
    async with scripted(error(status)) as client:
        with pytest.raises(errors.FlowMaestroError) as caught:
            await client.executions.wait_for_completion("e")
    assert caught.value.status_code == status
    assert clock.pauses == []


async def test_a_callback_hears_of_each_new_status_once(clock):
    statuses = ["pending", "running", "running", "paused", "running", "completed"]
    heard = []
    async with scripted(*map(execution, statuses)) as client:
        await client.executions.wait_for_completion(
            "e", on_update=lambda seen: heard.append(seen["status"])
        )
    assert heard == ["pending", "running", "paused", "running", "completed"]


async def test_a_callback_that_fails_ends_the_wait(clock):
    def fail(seen):
        raise LookupError("mine")

    async with scripted(execution("running")) as client:
        with pytest.raises(LookupError, match="mine"):
            await client.executions.wait_for_completion("e", on_update=fail)
    assert len(client.script.requests) == 1


@pytest.mark.parametrize(
    ("named", "error", "message"),
    [
        ({"poll_interval": 0}, ValueError, "poll_interval must be more than 0"),
        ({"poll_interval": -1}, ValueError, "poll_interval must be"),
        ({"poll_interval": float("nan")}, ValueError, "poll_interval must be"),
        ({"poll_interval": "1"}, TypeError, "poll_interval must be a number"),
        ({"poll_interval": True}, TypeError, "poll_interval must be a number"),
        ({"timeout": -1}, ValueError, "timeout must be 0 seconds or more"),
        ({"timeout": float("nan")}, ValueError, "timeout must be"),
        ({"timeout": "1"}, TypeError, "timeout must be a number"),
        ({"timeout": False}, TypeError, "timeout must be a number"),
    ],
)
async def test_seconds_that_make_no_sense_are_named_and_nothing_is_sent(named, error, message):
    async with scripted(execution("running")) as client:
        with pytest.raises(error, match=message):
            await client.executions.wait_for_completion("e", **named)
    assert client.script.requests == []


async def test_run_hands_its_arguments_to_the_wait(clock):
    started = data({"execution_id": "e", "workflow_id": "w", "status": "pending"})
    async with scripted(started, execution("running"), execution("failed")) as client:
        with pytest.raises(errors.ExecutionFailedError):
            await client.run("w", {"a": 1}, poll_interval=9, raise_on_failure=True)
    assert clock.pauses == [9]
    async with scripted(started, execution("running")) as client:
        with pytest.raises(errors.TimeoutError, match=" 4 s"):
            await client.run("w", timeout=4)


async def test_a_test_delivery_is_measured_where_the_api_does_not_say_how_long_it_took(monkeypatch):
    moments = iter([5.0, 5.1234])
    monkeypatch.setattr(webhooks_module, "monotonic", lambda: next(moments))
    async with scripted(data({"success": True})) as client:
        assert (await client.webhooks.test("w"))["data"]["response_time_ms"] == 123
