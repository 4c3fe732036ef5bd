"""What the API leaves out, says in other words, or may say one day becomes what is documented."""

from __future__ import annotations

import json

import pytest

from flowmaestro.types import (
    DeliveryStatus,
    ExecutionStatus,
    MessageStatus,
    WebhookEventType,
)
from flowmaestro_core.errors import FlowMaestroError, ServerError, ValidationError
from flowmaestro_core.sse import Frame
from flowmaestro_executions import wire as executions
from flowmaestro_knowledge_bases import wire as knowledge_bases
from flowmaestro_threads import wire as threads
from flowmaestro_webhooks import wire as webhooks

IDENTITY = {"execution_id": "e"}


def execution_event(name, data):
    return executions.execution_event_of(IDENTITY, Frame(name, data))


# Executions


def test_an_execution_has_every_documented_key_and_keeps_what_it_has():
    assert executions.execution_of({"id": "e", "status": "running"}) == {
        "id": "e",
        "workflow_id": None,
        "status": ExecutionStatus.RUNNING,
        "inputs": {},
        "outputs": None,
        "error": None,
        "started_at": None,
        "completed_at": None,
    }
    full = {
        "id": "e",
        "workflow_id": "w",
        "status": "failed",
        "inputs": {"a": 1},
        "outputs": {"b": 2},
        "error": "why",
        "started_at": "then",
        "completed_at": "now",
    }
    assert executions.execution_of(dict(full)) == full


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_terminal_event_has_status_outputs_and_error(status):
    kind = f"execution:{status}"
    event = execution_event(kind, b"{}")
    assert event == {
        "type": kind,
        "execution_id": "e",
        "status": ExecutionStatus(status),
        "outputs": None,
        "error": None,
    }
    assert type(event["status"]) is ExecutionStatus
    assert executions.is_terminal(event) is True
    event = execution_event(kind, b'{"status": "failed", "outputs": 1, "error": "x", "at": 2}')
    assert (event["status"], event["outputs"], event["error"], event["at"]) == ("failed", 1, "x", 2)


@pytest.mark.parametrize("kind", ["connected", "node:failed", "execution:paused", "x", "message"])
def test_no_other_event_is_terminal_or_gets_keys(kind):
    event = execution_event(kind, b"{}")
    assert event == {"type": kind, "execution_id": "e"}
    assert executions.is_terminal(event) is False


def test_the_status_in_any_event_is_an_enum_member():
    event = execution_event("connected", b'{"status": "running"}')
    assert event["status"] is ExecutionStatus.RUNNING


def test_the_id_in_an_event_wins_over_that_of_the_stream():
    assert execution_event("connected", b'{"executionId": "other"}')["execution_id"] == "other"


@pytest.mark.parametrize(
    ("data", "progress"),
    [
        (b'{"progress": 40, "percentage": 50}', 40),
        (b'{"percentage": 50}', 50),
        (b'{"percentage": 0, "completed": 1, "total": 2}', 0),
        (b'{"completed": 1, "total": 4}', 25),
        (b'{"completed": 4, "total": 4}', 100),
        (b'{"completed": 0, "total": 4}', 0),
        (b'{"completed": 1, "total": 0}', 0),
        (b'{"completed": 1}', 0),
        (b'{"total": 4}', 0),
        (b'{"completed": "1", "total": "4"}', 0),
        (b'{"progress": %s, "percentage": 50}' % (b"9" * 400), 50),
        (b'{"percentage": %s, "completed": 1, "total": 4}' % (b"9" * 400), 25),
        (b'{"completed": 1, "total": %s}' % (b"9" * 400), 0),
        (b'{"progress": true, "percentage": 50}', 50),
        (b'{"progress": NaN, "percentage": 50}', 50),
        (b"{}", 0),
    ],
)
def test_progress_is_a_number_from_0_to_100_however_it_is_told(data, progress):
    event = execution_event("execution:progress", data)
    assert event["progress"] == progress
    # Only `progress` is documented.
    assert "percentage" not in event or b'"progress": 40' in data


@pytest.mark.parametrize("status", ["pending", "running", "paused", "new"])
def test_an_execution_that_goes_on_has_no_last_event(status):
    assert executions.terminal_event_of(executions.execution_of({"status": status})) is None


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_the_last_event_of_an_execution_has_what_the_execution_has(status):
    execution = {"id": "e", "status": status, "outputs": 1, "error": "x", "completed_at": "now"}
    assert executions.terminal_event_of(execution) == {
        "type": f"execution:{status}",
        "execution_id": "e",
        "status": status,
        "outputs": 1,
        "error": "x",
        "completed_at": "now",
    }


def test_only_a_refusal_that_names_the_same_end_says_that_a_cancel_was_done():
    message = "Cannot cancel execution. Current status: cancelled"
    done = executions.cancelled_before("e", ValidationError(message, status_code=400))
    assert done == {"data": {"id": "e", "status": "cancelled", "message": message}}
    for refusal in (
        ValidationError("Current status: completed", status_code=400),
        FlowMaestroError(message, status_code=409),
        FlowMaestroError(message, status_code=401),
        ValidationError(message + " no more", status_code=400),
    ):
        assert executions.cancelled_before("e", refusal) is None


# Threads


def test_messages_of_each_shape_are_a_page():
    three = [message(number, "user") for number in "123"]
    for data in ({"messages": three}, three):
        page = threads.messages_page({"data": data}, 2, 2)
        assert page["data"] == three[2:]
        assert page["pagination"]["total_count"] == 3
    for data in ({"messages": None}, {}, None):
        assert threads.messages_page({"data": data}, None, None)["data"] == []
    documented = {"data": three[:1], "pagination": {"page": 3, "has_more": True}}
    assert threads.messages_page(documented, 3, 1)["pagination"]["has_more"] is True
    assert threads.messages_page(documented, 3, 1)["data"] == three[:1]


def test_what_sending_gives_has_every_documented_key():
    sent = threads.sent_result_of({"data": {}}, "t")["data"]
    assert sent == {"thread_id": "t", "status": None, "message": None}
    full = {"thread_id": "other", "status": "completed", "message": {"content": "Hi"}}
    sent = threads.sent_result_of({"data": dict(full)}, "t")["data"]
    assert sent == full
    assert sent["status"] is MessageStatus.COMPLETED


@pytest.mark.parametrize(
    ("data", "message_id"),
    [
        ({"message_id": "m"}, "m"),
        ({"message_id": "m", "thread_id": "t", "status": "processing"}, "m"),
        ({"message_id": "m", "status": "pending", "message": None}, "m"),
        # What was posted, and not the reply to it.
        ({"id": "m", "role": "user", "content": "Hello!"}, "m"),
        ({"message_id": "m", "message": None}, None),
        ({"message_id": "m", "status": "completed", "message": None}, None),
        ({"message_id": "m", "message": {"role": "assistant", "content": "Hi!"}}, None),
        ({"id": "m", "role": "assistant", "content": "Hi!"}, None),
        ({"message_id": ""}, None),
        ({"message_id": 5}, None),
        ({}, None),
    ],
)
def test_a_reply_that_is_still_to_come_is_waited_for(data, message_id):
    assert threads.id_to_wait_for({"data": data}) == message_id


def test_a_reply_may_be_the_data_itself():
    data = {
        "id": "m",
        "role": "assistant",
        "content": "Hi!",
        "tool_calls": [],
        "created_at": "2026-11-26T00:00:00Z",
        "usage": {"tokens": 3},
    }
    read = threads.sent_result_of({"data": dict(data)}, "t")["data"]
    assert read["message"] == {key: data[key] for key in data if key != "id"}
    assert (read["thread_id"], read["status"]) == ("t", MessageStatus.COMPLETED)
    assert {key: read[key] for key in data} == data
    # One that says how it stands is believed.
    failed = {"role": "assistant", "content": "", "status": "failed"}
    assert threads.sent_result_of({"data": failed}, "t")["data"]["status"] is MessageStatus.FAILED


def test_messages_are_a_list_that_also_answers_by_name():
    page = threads.messages_page({"data": {"messages": [message("1", "user")]}}, None, None)
    messages = page["data"]
    assert messages == [message("1", "user")]
    assert json.loads(json.dumps(messages)) == messages
    with pytest.warns(DeprecationWarning, match=r"leave \[\"messages\"\] out") as warned:
        assert messages["messages"] is messages
    assert warned[0].filename == __file__
    assert messages[0]["id"] == "1"
    assert messages[-1:] == messages
    with pytest.raises(TypeError):
        messages["other"]


def message(message_id, role):
    return {"id": message_id, "role": role, "content": f"from {message_id}"}


def test_the_reply_to_a_message_is_the_first_one_behind_it():
    messages = [
        message("1", "user"),
        message("2", "assistant"),
        message("3", "user"),
        message("4", "tool"),
        message("5", "assistant"),
        message("6", "assistant"),
    ]
    assert threads.answer_among(messages, "3") == {"role": "assistant", "content": "from 5"}
    assert threads.answer_among(messages, "1") == {"role": "assistant", "content": "from 2"}
    # The message itself, where its id is that of the reply.
    assert threads.answer_among(messages, "5") == {"role": "assistant", "content": "from 5"}
    assert threads.answer_among(messages, "6") == {"role": "assistant", "content": "from 6"}
    assert threads.answer_among(messages, "9") is None
    assert threads.answer_among(messages[:4], "3") is None
    assert threads.answer_among([], "1") is None


def test_a_token_is_where_it_is_documented():
    for data, token in (
        (b'{"token": "a"}', "a"),
        (b'{"content": "a"}', "a"),
        (b'{"token": "a", "content": "b"}', "a"),
        (b"{}", ""),
    ):
        event = threads.thread_event_of(Frame("message:token", data), "t")
        assert (event["token"], event["thread_id"]) == (token, "t")
    assert "token" not in threads.thread_event_of(Frame("message:completed", b"{}"), "t")


def test_a_reply_ends_with_its_completion_or_its_failure():
    kinds = ["message:completed", "message:failed", "message:token", "message:started", "connected"]
    assert [threads.is_end({"type": kind}) for kind in kinds] == [True, True, False, False, False]


def test_a_whole_reply_is_told_as_the_events_of_a_stream():
    ids = {"thread_id": "t", "message_id": "m"}
    events = list(threads.events_of_answer({"content": "Hi"}, "t", message_id="m", execution_id=""))
    assert events == [
        {"type": "message:started", **ids},
        {"type": "message:token", **ids, "token": "Hi"},
        {"type": "message:completed", **ids, "content": "Hi"},
    ]
    for empty in ({"content": ""}, {"content": None}, {}):
        events = list(threads.events_of_answer(empty, "t"))
        assert [event["type"] for event in events] == ["message:started", "message:completed"]
        assert events[-1] == {"type": "message:completed", "thread_id": "t", "content": ""}


def test_a_failed_reply_is_told_as_the_events_of_a_stream():
    started, failed = threads.events_of_failure(ServerError("LLM failed"), "t")
    assert started == {"type": "message:started", "thread_id": "t"}
    assert failed == {"type": "message:failed", "thread_id": "t", "error": "LLM failed"}


# Knowledge bases


def test_results_have_the_documented_names():
    found = {"score": 0.5, "id": "c", "content": "text"}
    expected = {"similarity": 0.5, "chunk_id": "c", "content": "text", "metadata": {}}
    for data in ([found], {"results": [found]}, {"results": [found], "query": "q"}):
        response = knowledge_bases.query_result_of({"data": data, "meta": 1}, "q")
        assert response["meta"] == 1
        assert response["data"]["query"] == "q"
        (result,) = response["data"]["results"]
        assert expected.items() <= result.items()


def test_results_in_the_documented_names_are_left_as_they_are():
    found = {"similarity": 0.5, "chunk_id": "c", "metadata": {"page": 1}}
    data = knowledge_bases.query_result_of({"data": {"results": [found]}}, "q")["data"]
    (result,) = data["results"]
    assert result == {**found, "score": 0.5, "id": "c"}
    both = {"similarity": 0.5, "score": 0.1, "chunk_id": "c", "id": "x", "metadata": {}}
    assert knowledge_bases.query_result_of({"data": [both]}, "q")["data"]["results"] == [both]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, None),
        ("it failed", "it failed"),
        ({"code": "x", "message": "it failed"}, "it failed"),
        ({"code": "x"}, "{'code': 'x'}"),
        ({"message": 5}, "{'message': 5}"),
    ],
)
def test_the_error_of_an_execution_is_a_text(error, text):
    execution = executions.execution_of({"id": "e", "status": "failed", "error": error})
    event = execution_event("execution:failed", json.dumps({"error": error}).encode())
    for found in (execution, event):
        assert found["error"] == text
        assert found.get("error_details") == (error if isinstance(error, dict) else None)


@pytest.mark.parametrize("name", ["output", "outputs"])
def test_what_a_node_gave_has_both_names(name):
    event = execution_event("node:completed", json.dumps({name: {"n": 1}}).encode())
    assert event["output"] == event["outputs"] == {"n": 1}
    assert not {"output", "outputs"} & execution_event("node:completed", b"{}").keys()


def test_a_search_that_finds_nothing_has_no_results():
    for data in ([], {}, {"results": None}, {"results": []}):
        found = knowledge_bases.query_result_of({"data": data}, "q")["data"]
        assert found == {"query": "q", "results": []}
    # The API's own words for the query win.
    assert knowledge_bases.query_result_of({"data": {"query": "Q"}}, "q")["data"]["query"] == "Q"


# Webhooks


def test_the_events_of_a_webhook_are_enum_members_where_they_are_known():
    for member in WebhookEventType:
        (event,) = webhooks.webhook_of({"events": [member.value]})["events"]
        assert event is member
    assert webhooks.webhook_of({"events": ["new.event"]})["events"] == ["new.event"]
    for odd in ({}, {"events": None}, None, []):
        assert webhooks.webhook_of(odd) == odd


def test_a_delivery_has_enum_members_where_they_are_known():
    delivery = webhooks.delivery_of({"event_type": "execution.failed", "status": "retrying"})
    assert delivery["event_type"] is WebhookEventType.EXECUTION_FAILED
    assert delivery["status"] is DeliveryStatus.RETRYING
    assert webhooks.delivery_of({"event_type": "x", "status": "y"}) == {
        "event_type": "x",
        "status": "y",
    }
    for odd in ({}, {"status": None}, None, []):
        assert webhooks.delivery_of(odd) == odd


def test_a_test_delivery_has_every_documented_key():
    result = webhooks.test_result_of({"data": {"success": False}}, 7)["data"]
    assert result == {"success": False, "status_code": None, "message": "", "response_time_ms": 7}
    result = webhooks.test_result_of({"data": {"error": "refused"}}, 7)["data"]
    assert result["message"] == "refused"
    full = {"status_code": 200, "message": "ok", "response_time_ms": 3, "error": "x"}
    assert webhooks.test_result_of({"data": dict(full)}, 7)["data"] == full


def test_event_types_are_written_as_texts():
    given = (WebhookEventType.EXECUTION_FAILED, "new.event")
    for events in (given, list(given), iter(given)):
        written = webhooks.events_body(events)
        assert written == ["execution.failed", "new.event"]
        assert {type(event) for event in written} == {str}
    for odd in ("execution.failed", 7, None, [7], [None]):
        with pytest.raises(TypeError, match="event"):
            webhooks.events_body(odd)
    with pytest.raises(ValueError, match="at least one"):
        webhooks.events_body([])
