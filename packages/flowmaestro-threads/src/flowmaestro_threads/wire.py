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
from flowmaestro_types.enums import MessageStatus
from flowmaestro_types.threads import MessageList

__all__ = [
    "answer_among",
    "events_of_answer",
    "events_of_failure",
    "id_to_wait_for",
    "is_end",
    "messages_page",
    "messages_problem",
    "sent_result_of",
    "sent_result_problem",
    "thread_event_of",
]


_MESSAGE: dict[str, type] = {"id": str, "role": str, "content": str}
_SENT: dict[str, type] = {"thread_id": str, "message_id": str, "status": str, "message": dict}
# What there may be of a reply that is the ``data`` itself.
_OF_REPLY = ("role", "content", "created_at", "tool_calls", "usage")
_UNDER_WAY = ("pending", "processing")


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

    Today's API sends an object that holds all of them, ``{"messages": [...]}``; the
    documented response is a page like any other.
    """
    data = answer["data"]
    messages: list[Any] = (data.get("messages") if is_object(data) else data) or []
    for message in messages:
        for key in ("id", "role", "content"):
            message.setdefault(key, None)
    if is_object(data) or "pagination" not in answer:
        result = slice_of(answer, messages, page, per_page)
    else:
        result = page_of(answer, page, per_page)
    # One that 0.1.0's programs can read as the object that the API sends.
    result["data"] = MessageList(result["data"])
    return result


def sent_result_of(answer: dict[str, Any], thread_id: str) -> dict[str, Any]:
    """Read the response to a message; ``message`` is None where the agent said nothing.

    Today's API sends the agent's reply as ``message``. Some documentation has the reply as the
    ``data`` itself, and 0.1.0 had the id and the status of what was posted.
    """
    data = with_status(answer["data"], MESSAGE_STATUSES)
    data.setdefault("thread_id", thread_id)
    if "message" not in data and data.get("role") == "assistant":
        data["message"] = {key: data[key] for key in _OF_REPLY if key in data}
        data.setdefault("status", MessageStatus.COMPLETED)
    data.setdefault("status", None)
    data.setdefault("message", None)
    return answer


def id_to_wait_for(answer: dict[str, Any]) -> Optional[str]:
    """Give the id of a message whose reply is still to come; None where the response has it.

    Today's API waits for the reply and sends it along. As documented, the response may come
    as soon as the message is posted.
    """
    data = answer["data"]
    if data.get("message") is not None or data.get("role") == "assistant":
        return None
    if "message" in data and data.get("status") not in _UNDER_WAY:
        return None
    posted = data.get("message_id") or data.get("id")
    return posted if isinstance(posted, str) and posted else None


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
