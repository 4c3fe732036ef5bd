"""Streams that break, stall, lie and are left: what the user sees of it."""

from __future__ import annotations

import contextlib
import gc
import re
import threading
import time

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient
from flowmaestro_core import errors, liveness, reading
from flowmaestro_core._async import compat
from flowmaestro_core._async import stream as stream_module
from tests.conftest import KEY
from tests.core.mock import Chunks, Script, data, error, events, frame
from tests.raw import raw_server

pytestmark = pytest.mark.anyio  # async only

URL = "http://127.0.0.1:1"
CONNECTED = frame("connected", execution_id="e", status="running")
STARTED = frame("node:started", type="node:started", nodeId="n1")
DONE = frame("execution:completed", execution_id="e", status="completed", outputs={"a": 1})
RUNNING = data({"id": "e", "workflow_id": "w", "status": "running", "inputs": {}})
COMPLETED = data({"id": "e", "workflow_id": "w", "status": "completed", "outputs": {"a": 1}})


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Replace the sleeping between connections by a list of the pauses."""
    slept = []

    async def sleep(stop, seconds):
        slept.append(seconds)

    monkeypatch.setattr(stream_module.Stop, "sleep", sleep)
    # The pauses alone move the clock, so that a slow machine changes nothing.
    monkeypatch.setattr(stream_module, "monotonic", lambda: 1_000.0 + sum(slept))
    return slept


@pytest.fixture(autouse=True)
def usual_polls(monkeypatch):
    """Let no stream poll the status only because the machine is slow; give what undoes it."""
    usual = liveness._CHECK_PAUSES
    monkeypatch.setattr(liveness, "_CHECK_PAUSES", (600.0,))
    return lambda: monkeypatch.setattr(liveness, "_CHECK_PAUSES", usual)


@contextlib.asynccontextmanager
async def scripted(*steps, **options):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncFlowMaestroClient(KEY, URL, http_client=http_client, **options) as client:
            client.script = script
            yield client


async def types_of(stream):
    return [event["type"] async for event in stream]


async def test_a_stream_that_breaks_is_connected_again_and_connected_is_told_once():
    broken = events(CONNECTED, STARTED, httpx.ReadError("reset"))
    async with scripted(broken, events(CONNECTED, DONE)) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == ["connected", "node:started", "execution:completed"]


async def test_a_stream_that_is_closed_early_is_connected_again():
    async with scripted(events(CONNECTED, STARTED), events(DONE)) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == ["connected", "node:started", "execution:completed"]


def is_stream(request):
    return request.url.path.endswith("/events")


async def test_a_stream_is_given_up_after_a_minute_without_the_api(pauses, caplog):
    def response(request):
        raise httpx.ConnectError("refused")

    async with scripted(events(CONNECTED), response) as client:
        with pytest.raises(
            errors.StreamError, match=r"execution 'e' was lost.*for \d\d s"
        ) as caught:
            await types_of(client.executions.stream("e"))
    assert caught.value.code == "stream_lost"
    assert 60 < sum(pauses) < 120
    reconnects = [request for request in client.script.requests[1:] if is_stream(request)]
    warnings = [record for record in caplog.records if "connecting again" in record.message]
    assert 8 <= len(reconnects) == len(warnings) < 60
    # One warning for each break: a poll that fails beside it says nothing new.
    assert "polling" not in caplog.text


@pytest.mark.parametrize("has_ids", [True, False])
async def test_a_stream_that_brings_something_new_each_time_is_not_given_up(pauses, has_ids):
    count = 0

    class Later(Chunks):
        """Begins with a moment in which nothing comes."""

        def __iter__(self):
            pauses.append(2.0)
            return super().__iter__()

    def response(request):
        nonlocal count
        if not is_stream(request):
            raise httpx.ConnectError("refused")
        count += 1
        if sum(pauses) > 100:
            return events(DONE)
        if has_ids:
            return events(f"id: {count}\n{STARTED}", httpx.ReadError("reset"))
        body = Later(STARTED.encode(), httpx.ReadError("reset"))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)

    async with scripted(response) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == [*["node:started"] * (count - 1), "execution:completed"]


@pytest.mark.parametrize(
    "away", [httpx.ConnectError("refused"), httpx.ReadError("reset"), error(502), error(503)]
)
@pytest.mark.parametrize("stream_of", ["executions", "threads"])
async def test_a_stream_survives_an_api_that_is_away_for_30_s(pauses, caplog, away, stream_of):
    last = DONE if stream_of == "executions" else frame("message:completed", content="Hi")

    def response(request):
        if not pauses:
            return events(CONNECTED, httpx.ReadError("reset"))
        if sum(pauses) >= 30:
            return events(last)
        if isinstance(away, Exception):
            raise away
        return away

    async with scripted(response) as client:
        types = await types_of(getattr(client, stream_of).stream("e"))
    assert types[-1].endswith(":completed")
    assert "connecting again in" in caplog.text


async def test_a_stream_goes_on_by_polls_for_as_long_as_it_cannot_be_had(pauses, usual_polls):
    usual_polls()

    def response(request):
        if is_stream(request):
            return events(CONNECTED)
        return COMPLETED if sum(pauses) > 3_600 else RUNNING

    async with scripted(response) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == ["connected", "execution:completed"]
    # The pauses are 4 s on average once the first ones have failed.
    assert len(client.script.requests) < 2_500


async def test_a_stream_without_retries_does_not_reconnect(pauses):
    for status, ending in ((RUNNING, None), (COMPLETED, "execution:completed")):
        async with scripted(events(CONNECTED), status, max_retries=0) as client:
            stream = client.executions.stream("e")
            if ending is None:
                with pytest.raises(errors.StreamError, match="was lost"):
                    await types_of(stream)
            else:
                assert (await types_of(stream))[-1] == ending
        assert len(client.script.requests) == 2
    assert pauses == []


@pytest.mark.parametrize("greeting", [STARTED, ": keepalive\n\n", "retry: 5\n\n", ""])
async def test_a_stream_that_is_closed_again_and_again_ends_with_its_execution(
    pauses, usual_polls, greeting
):
    usual_polls()

    def response(request):
        if is_stream(request):
            return events(greeting)
        return COMPLETED if sum(pauses) > 20 else RUNNING

    async with scripted(response) as client:
        types = await types_of(client.executions.stream("e"))
    assert types[-1] == "execution:completed"
    assert sum(pauses) < 40
    assert len(client.script.requests) < 100


async def test_the_status_is_polled_after_a_break():
    async with scripted(events(STARTED), COMPLETED) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == ["node:started", "execution:completed"]
    assert [is_stream(request) for request in client.script.requests] == [True, False]


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(204),
        httpx.Response(200, html="<p>hello"),
        httpx.Response(200, json={"data": {}}),
        httpx.Response(302, headers={"location": "/login"}),
        error(400),
        error(404),
        error(501),
    ],
)
async def test_a_refusal_to_reconnect_does_not_hide_the_end(refusal):
    def response(request):
        return refusal if is_stream(request) else COMPLETED

    async with scripted(events(STARTED, httpx.ReadError("reset")), RUNNING, response) as client:
        types = await types_of(client.executions.stream("e"))
    assert types[-1] == "execution:completed"


async def test_a_response_that_is_no_stream_does_not_hide_an_end_that_came_before():
    async with scripted(httpx.Response(204), COMPLETED) as client:
        assert await types_of(client.executions.stream("e")) == ["execution:completed"]


async def test_the_pause_that_a_server_asks_for_is_kept(pauses):
    async with scripted(events("retry: 3000\n\n", STARTED), RUNNING, events(DONE)) as client:
        await types_of(client.executions.stream("e"))
    assert 3 <= sum(pauses) < 4
    pauses.clear()
    async with scripted(events("retry: 999999999\n\n", STARTED), RUNNING, events(DONE)) as client:
        await types_of(client.executions.stream("e"))
    assert 60 <= sum(pauses) < 61, "no longer than any other pause"


async def test_a_retry_field_that_is_no_number_is_ignored(pauses):
    async with scripted(events("retry: abc\n\n", STARTED), RUNNING, events(DONE)) as client:
        await types_of(client.executions.stream("e"))
    assert sum(pauses) <= 0.5


@pytest.mark.parametrize("failures", [0, 1])
async def test_the_status_is_polled_while_a_long_pause_is_kept(
    pauses, monkeypatch, caplog, failures
):
    monkeypatch.setattr(liveness, "_CHECK_PAUSES", (2.0,))
    polls = []

    def response(request):
        if is_stream(request):
            return events("retry: 30000\n\n", STARTED)
        polls.append(sum(pauses))
        if 1 < len(polls) <= 1 + failures:
            return error(503)
        return COMPLETED if polls[-1] >= 6 else RUNNING

    async with scripted(response) as client:
        assert (await types_of(client.executions.stream("e")))[-1] == "execution:completed"
    assert sum(pauses) < 12
    assert caplog.text.count("polling the status of execution 'e' failed (") == failures


async def test_a_pause_after_one_refusal_does_not_slow_later_reconnects(pauses):
    limited = error(429, retry_after="9")
    streams = [events(STARTED), limited, events(STARTED), events(STARTED), events(DONE)]

    def response(request):
        return streams.pop(0) if is_stream(request) else RUNNING

    async with scripted(response) as client:
        await types_of(client.executions.stream("e"))
    assert [pause >= 9 for pause in pauses] == [False, True, False, False]


async def test_a_pause_of_more_than_a_minute_is_the_callers_affair():
    refused = error(429, retry_after="3600")
    async with scripted(events(CONNECTED), RUNNING, refused) as client:
        with pytest.raises(errors.RateLimitError) as caught:
            await types_of(client.executions.stream("e"))
    assert caught.value.retry_after == 3600


async def test_polls_stand_in_for_a_stream_that_is_limited_for_long(pauses):
    streams = [events(STARTED)]

    def respond(request):
        if is_stream(request):
            return streams.pop() if streams else error(429, retry_after="3600")
        return COMPLETED if sum(pauses) >= 60 else RUNNING

    async with scripted(respond) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == ["node:started", "execution:completed"]


HEARTBEATS = [
    "event: ping\ndata:\n\n",
    "event: ping\ndata: {}\n\n",
    'event: ping\ndata: {"at": 5}\n\n',
    "event: heartbeat\ndata: 1\n\n",
    "event: Keep-Alive\n\n",
    "data:\n\n",
    "data: null\n\n",
    "data: ping\n\n",
    "event: message\ndata: null\n\n",
    ": comment\n\n",
]


@pytest.mark.parametrize("beat", HEARTBEATS)
async def test_heartbeats_of_any_form_are_no_events(beat, caplog):
    async with scripted(events(beat, TOKENS, beat, beat, ANSWERED)) as client:
        types = await types_of(client.threads.send_message_stream("t", "Hello"))
    assert types == ["message:started", "message:token", "message:completed"]
    async with scripted(events(beat, CONNECTED, beat, STARTED, DONE)) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == ["connected", "node:started", "execution:completed"]
    assert caplog.text == ""


async def test_an_end_that_the_stream_cannot_bring_is_told_all_the_same():
    def answer(request):
        if request.url.path.endswith("/events"):
            raise httpx.ReadError("reset")
        return COMPLETED

    async with scripted(events(CONNECTED, httpx.ReadError("reset")), answer) as client:
        collected = [event async for event in client.executions.stream("e")]
    assert collected[-1]["type"] == "execution:completed"
    assert collected[-1]["outputs"] == {"a": 1}


async def test_the_first_connection_raises_the_ordinary_errors():
    for step, cls in (
        (error(404), errors.NotFoundError),
        (error(401), errors.AuthenticationError),
        (httpx.ConnectError("refused"), errors.ConnectionError),
    ):
        async with scripted(step, max_retries=0) as client:
            with pytest.raises(cls):
                await types_of(client.executions.stream("e"))


async def test_an_error_that_will_not_pass_ends_a_stream_that_is_connected_again():
    async with scripted(events(CONNECTED), error(403)) as client:
        with pytest.raises(errors.AuthorizationError):
            await types_of(client.executions.stream("e"))


async def test_a_status_that_is_refused_for_good_ends_a_stream(pauses):
    def response(request):
        return events(CONNECTED) if is_stream(request) else error(401)

    async with scripted(response) as client:
        with pytest.raises(errors.AuthenticationError):
            await types_of(client.executions.stream("e"))
    assert len(client.script.requests) == 2


async def test_a_limit_while_connecting_again_is_waited_for(pauses):
    limited = error(429, retry_after="9")
    async with scripted(events(CONNECTED), RUNNING, limited, events(DONE)) as client:
        assert "execution:completed" in await types_of(client.executions.stream("e"))
    assert any(pause >= 9 for pause in pauses)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<p>hello"),
        httpx.Response(200, json={"data": {}}),
        httpx.Response(200, text=""),
    ],
)
async def test_an_answer_that_is_no_event_stream_is_a_clear_error(answer):
    async with scripted(answer) as client:
        with pytest.raises(errors.StreamError, match="no event stream"):
            await types_of(client.executions.stream("e"))


async def test_ids_go_back_to_the_server_and_are_not_told_twice():
    first = events("id: 1\n" + CONNECTED, "id: 2\n" + STARTED, httpx.ReadError("reset"))
    again = events("id: 2\n" + STARTED + "id: 3\n" + DONE)
    async with scripted(first, RUNNING, again) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == ["connected", "node:started", "execution:completed"]
    assert "last-event-id" not in client.script.requests[0].headers
    assert client.script.requests[2].headers["last-event-id"] == "2"


async def test_an_empty_id_clears_the_last_one():
    first = events("id: 1\n" + CONNECTED, "id:\n" + STARTED)
    async with scripted(first, RUNNING, events(DONE)) as client:
        await types_of(client.executions.stream("e"))
    assert is_stream(client.script.requests[2])
    assert "last-event-id" not in client.script.requests[2].headers


async def test_a_frame_that_cannot_be_read_is_left_out_with_a_warning(caplog):
    broken = "event: x\ndata: {\n\n"
    async with scripted(events(CONNECTED, broken, broken, broken, DONE)) as client:
        types = await types_of(client.executions.stream("e"))
    assert types == ["connected", "execution:completed"]
    assert len(caplog.messages) == 1
    assert re.fullmatch(
        "an event of execution 'e' cannot be read: .+; it is skipped, as are later ones",
        caplog.messages[0],
    )


async def test_an_unknown_type_passes_through():
    async with scripted(events(frame("agent:thought", type="agent:thought", x=1), DONE)) as client:
        collected = [event async for event in client.executions.stream("e")]
    assert collected[0] == {"type": "agent:thought", "execution_id": "e", "x": 1}


async def test_nothing_comes_after_the_end():
    async with scripted(events(DONE + STARTED + DONE)) as client:
        assert await types_of(client.executions.stream("e")) == ["execution:completed"]


async def test_an_event_that_is_too_long_ends_the_stream():
    body = Chunks(CONNECTED.encode(), *[b"data: " + b"x" * 1_000_000] * 11)
    endless = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)
    async with scripted(endless) as client:
        with pytest.raises(errors.StreamError, match="longer than 10,000,000 bytes") as caught:
            await types_of(client.executions.stream("e"))
    assert caught.value.code == "event_too_large"
    assert body.is_closed


async def test_leaving_a_stream_early_closes_its_response():
    async def leave_by_block(stream):
        async with stream:
            async for _ in stream:
                break

    async def leave_by_aclose(stream):
        await stream.__anext__()
        await stream.aclose()

    async def leave_by_close(stream):
        await stream.__anext__()
        await stream.close()

    async def leave_by_error(stream):
        with contextlib.suppress(RuntimeError):
            async with stream:
                async for _ in stream:
                    raise RuntimeError("mine")

    for leave in (leave_by_block, leave_by_aclose, leave_by_close, leave_by_error):
        body = Chunks(CONNECTED.encode(), STARTED.encode(), STARTED.encode())
        answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)
        async with scripted(lambda request, answer=answer: answer) as client:
            await leave(client.executions.stream("e"))
            assert body.is_closed, leave


async def test_a_client_that_is_closed_in_a_loop_over_its_stream_ends_the_loop():
    types = []
    async with scripted(events(CONNECTED + STARTED, DONE)) as client:
        with pytest.raises(errors.FlowMaestroError) as caught:
            async for event in client.executions.stream("e"):
                types.append(event["type"])
                await client.aclose()
    assert types == ["connected"]
    assert caught.value.code == "client_closed"


async def test_a_stream_that_was_never_read_opens_nothing():
    async with scripted(events(DONE)) as client:
        stream = client.executions.stream("e")
        await stream.aclose()
        del stream
        gc.collect()
        assert client.script.requests == []


async def test_a_bad_id_is_refused_before_the_stream_is_read():
    async with scripted(events(DONE)) as client:
        for call in (client.executions.stream, client.threads.stream):
            with pytest.raises(ValueError, match="must not be empty"):
                call("")
        with pytest.raises(ValueError, match="content must not be empty"):
            client.threads.send_message_stream("t", " ")


# Answers of agents


TOKENS = frame("message:started") + frame("message:token", token="Hi")
ANSWERED = frame("message:completed", content="Hi")


async def test_tokens_come_as_they_are_made():
    async with scripted(events(TOKENS, ANSWERED)) as client:
        collected = [event async for event in client.threads.send_message_stream("t", "Hello")]
    assert [event["type"] for event in collected] == [
        "message:started",
        "message:token",
        "message:completed",
    ]
    assert len(client.script.requests) == 1


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        ((), "the server closed the stream$"),
        ((httpx.ReadError("reset"),), "the connection to .* broke: reset$"),
    ],
)
async def test_an_answer_whose_stream_breaks_is_an_error_and_not_posted_again(ending, says):
    async with scripted(events(TOKENS, *ending)) as client:
        with pytest.raises(errors.StreamError, match=f"thread 't' was lost: {says}"):
            await types_of(client.threads.send_message_stream("t", "Hello"))
    assert len(client.script.requests) == 1


async def test_garbage_in_an_answer_is_an_error_for_a_token_would_be_missing():
    async with scripted(events(TOKENS, "data: {\n\n", ANSWERED)) as client:
        with pytest.raises(errors.StreamError, match="cannot be read"):
            await types_of(client.threads.send_message_stream("t", "Hello"))


@pytest.mark.parametrize("behind", ["data: [DONE]\n\n", "data: {\n\n", "x: y\n\n"])
async def test_what_comes_behind_the_end_changes_nothing(behind):
    async with scripted(events(TOKENS + ANSWERED + behind)) as client:
        types = await types_of(client.threads.send_message_stream("t", "Hello"))
    assert types[-1] == "message:completed"


async def test_events_before_one_that_cannot_be_read_are_given():
    types = []
    async with scripted(events(TOKENS + "data: {\n\n" + ANSWERED)) as client:
        with pytest.raises(errors.StreamError, match="cannot be read") as caught:
            async for event in client.threads.send_message_stream("t", "Hello"):
                types.append(event["type"])
    assert types == ["message:started", "message:token"]
    # The message was posted.
    assert caught.value.outcome_unknown is True
    assert caught.value.details == {"thread_id": "t"}


async def test_a_message_that_may_have_arrived_names_its_thread():
    for step in (httpx.ReadError("reset"), error(408, "timeout"), error(502)):
        async with scripted(step) as client:
            for send in (client.threads.send_message, collect(client)):
                client.script.requests.clear()
                with pytest.raises(errors.FlowMaestroError, match="list_messages") as caught:
                    await send("t", "Hello")
                assert caught.value.outcome_unknown is True
                assert caught.value.details["thread_id"] == "t"
                assert len(client.script.requests) == 1


def collect(client):
    async def send(thread_id, content):
        return await types_of(client.threads.send_message_stream(thread_id, content))

    return send


async def test_where_streaming_is_not_possible_a_timeout_of_the_send_is_told():
    async with scripted(error(501, "not_implemented"), error(408, "timeout")) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await types_of(client.threads.send_message_stream("t", "Hello"))
    assert caught.value.outcome_unknown is True
    assert len(client.script.requests) == 2


async def test_a_backend_that_answers_a_stream_with_json_gives_the_same_events():
    answer = data({"thread_id": "t", "status": "completed", "message": {"content": "Hi"}})
    async with scripted(answer) as client:
        collected = [event async for event in client.threads.send_message_stream("t", "Hello")]
    assert collected[-1]["content"] == "Hi"
    async with scripted(data({"thread_id": "t", "status": "pending"})) as client:
        with pytest.raises(errors.StreamError, match="without giving the agent's answer"):
            await types_of(client.threads.send_message_stream("t", "Hello"))


async def test_a_threads_stream_ends_where_the_server_closes_it():
    async with scripted(events(TOKENS, ANSWERED)) as client:
        assert (await types_of(client.threads.stream("t")))[-1] == "message:completed"


async def test_a_threads_stream_is_connected_again_after_a_break():
    async with scripted(events(TOKENS, httpx.ReadError("reset")), events(ANSWERED)) as client:
        assert (await types_of(client.threads.stream("t")))[-1] == "message:completed"


async def test_the_stream_of_an_unknown_thread_is_a_not_found_error():
    async with scripted(error(404, "resource_not_found")) as client:
        with pytest.raises(errors.NotFoundError):
            await types_of(client.threads.stream("t"))


async def test_a_deadline_ends_a_stream(pauses):
    def response(request):
        return events(CONNECTED) if is_stream(request) else RUNNING

    async with scripted(response) as client:
        with pytest.raises(errors.TimeoutError, match="deadline of 20 s") as caught:
            await types_of(client.with_options(deadline=20).executions.stream("e"))
    assert caught.value.code == "deadline_exceeded"
    assert 19 < sum(pauses) < 21


async def test_streams_that_ended_leave_their_connection_to_the_next_one(monkeypatch):
    # The asynchronous half has the moment by a name of its own.
    monkeypatch.setattr(reading, "LAST_MOMENT", 30.0)
    monkeypatch.setattr(compat, "LAST_MOMENT", 30.0, raising=False)
    told = threading.Event()

    def answer(connection):
        for _ in range(3):
            body = DONE.encode()
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body)
            )
            # The response ends a moment after its last event was told.
            told.wait(60)
            told.clear()
            time.sleep(0.02)
            connection.sendall(b"0\r\n\r\n")
            connection.recv(65536)

    connections = []
    with raw_server(answer, connections) as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            for _ in range(3):
                async for event in client.executions.stream("e"):
                    assert event["type"] == "execution:completed"
                    told.set()
    assert len(connections) == 1


async def test_a_stream_whose_server_never_ends_the_response_ends_all_the_same():
    def answer(connection):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + DONE.encode()
        )
        connection.recv(1)

    with raw_server(answer) as url:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            started = time.monotonic()
            assert await types_of(client.executions.stream("e")) == ["execution:completed"]
            # The server waits for 60 s.
            assert time.monotonic() - started < 30
