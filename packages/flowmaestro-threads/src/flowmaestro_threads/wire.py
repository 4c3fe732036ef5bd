"""What the backend says of threads and messages, in the documented words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

from flowmaestro_core.codec import is_object
from flowmaestro_core.errors import FlowMaestroError
from flowmaestro_core.events import event_of
from flowmaestro_core.pages import page_of, slice_of
from flowmaestro_core.shapes import a_list_problem, an_object_problem
from flowmaestro_core.sse import Frame
from flowmaestro_core.statuses import MESSAGE_STATUSES, with_status

__all__ = [
    "answer_among",
    "events_of_answer",
    "events_of_failure",
    "is_end",
    "is_only_taken",
    "messages_page",
    "messages_problem",
    "sent_result_of",
    "sent_result_problem",
    "thread_event_of",
]


_MESSAGE: dict[str, type] = {"id": str, "role": str, "content": str}
_SENT: dict[str, type] = {"thread_id": str, "message_id": str, "status": str, "message": dict}


def messages_problem(data: Any) -> Optional[str]:
    """Say what is wrong with the ``data`` of a thread's messages: a list, or around one."""
    if not is_object(data):
        return a_list_problem("data", data, _MESSAGE)
    return a_list_problem("data.messages", data.get("messages"), _MESSAGE)


def sent_result_problem(data: Any) -> Optional[str]:
    """Say what is wrong with the ``data`` that sending a message answers."""
    problem = an_object_problem("data", data, _SENT)
    if problem is None and data.get("message") is not None:
        problem = an_object_problem("data.message", data["message"], {"content": str})
    return problem


def messages_page(
    answer: dict[str, Any], page: Optional[int], per_page: Optional[int]
) -> dict[str, Any]:
    """Read a thread's messages as a page of a list.

    Today's backend sends an object that holds all of them, ``{"messages": [...]}``; the
    documented answer is a page like any other.
    """
    data = answer["data"]
    messages: list[Any] = (data.get("messages") if is_object(data) else data) or []
    for message in messages:
        for key in ("id", "role", "content"):
            message.setdefault(key, None)
    if is_object(data) or "pagination" not in answer:
        return slice_of(answer, messages, page, per_page)
    return page_of(answer, page, per_page)


def sent_result_of(answer: dict[str, Any], thread_id: str) -> dict[str, Any]:
    """Read what sending a message answers; ``message`` is None where the agent said nothing."""
    data = with_status(answer["data"], MESSAGE_STATUSES)
    data.setdefault("thread_id", thread_id)
    data.setdefault("status", None)
    data.setdefault("message", None)
    return answer


def is_only_taken(answer: dict[str, Any]) -> bool:
    """True where the backend took a message and does not speak of the agent's answer.

    That is the documented way; today's backend waits for the answer and sends it along.
    """
    data = answer["data"]
    return "message" not in data and bool(data.get("message_id"))


def answer_among(messages: list[dict[str, Any]], message_id: object) -> Optional[dict[str, Any]]:
    """Find the agent's answer to a message: that message itself, or the first one behind it.

    Args:
        messages: The thread's messages, the oldest first.
        message_id: What the backend said when the message was posted.
    """
    found = False
    for message in messages:
        found = found or message.get("id") == message_id
        if found and message.get("role") == "assistant":
            return {key: value for key, value in message.items() if key != "id"}
    return None


def thread_event_of(frame: Frame, thread_id: str) -> dict[str, Any]:
    """Read an event of a thread's stream.

    Raises:
        ValueError: The frame holds no event.
    """
    event = event_of(frame, {"thread_id": thread_id})
    if event["type"] == "message:token":
        event.setdefault("token", event.get("content", ""))
    return event


def is_end(event: dict[str, Any]) -> bool:
    """True for the last event of an answer."""
    return event["type"] in ("message:completed", "message:failed")


def events_of_answer(
    message: dict[str, Any], thread_id: str, **ids: Any
) -> Iterator[dict[str, Any]]:
    """Tell a whole answer as the events that a stream would have brought."""
    identity = {"thread_id": thread_id, **{name: one for name, one in ids.items() if one}}
    content = message.get("content") or ""
    yield {"type": "message:started", **identity}
    if content:
        yield {"type": "message:token", **identity, "token": content}
    yield {"type": "message:completed", **identity, "content": content}


def events_of_failure(error: FlowMaestroError, thread_id: str) -> Iterator[dict[str, Any]]:
    """Tell the failure of an agent as the events that a stream would have brought."""
    yield {"type": "message:started", "thread_id": thread_id}
    # Without the advice that the error may have for its caller: events are the API's data.
    text = error.api_message or error.message
    yield {"type": "message:failed", "thread_id": thread_id, "error": text}
