"""What the backend says of webhooks, in the documented words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional, cast

from flowmaestro_core.codec import is_array, is_object
from flowmaestro_core.errors import InvalidArgumentError
from flowmaestro_core.shapes import an_object_problem
from flowmaestro_core.statuses import DELIVERY_STATUSES, with_status
from flowmaestro_types.enums import WebhookEventType

__all__ = ["delivery_of", "events_body", "test_result_of", "test_result_problem", "webhook_of"]

_EVENT_TYPES: dict[Any, Any] = {member.value: member for member in WebhookEventType}


def webhook_of(webhook: Any) -> Any:
    """Read a webhook: its event types as enum members."""
    if is_object(webhook) and is_array(events := webhook.get("events")):
        webhook["events"] = [_event_type_of(event) for event in events]
    return webhook


def delivery_of(delivery: Any) -> Any:
    """Read a delivery: its status and event type as enum members."""
    if is_object(delivery) and "event_type" in delivery:
        delivery["event_type"] = _event_type_of(delivery["event_type"])
    return with_status(delivery, DELIVERY_STATUSES)


def _event_type_of(event: Any) -> Any:
    return _EVENT_TYPES.get(event, event) if isinstance(event, str) else event


def test_result_problem(data: Any) -> Optional[str]:
    """Say what is wrong with the ``data`` of a test: it must say how the test went."""
    problem = an_object_problem("data", data, {"success": bool})
    if problem is None and data.get("success") is None:
        return "data.success is missing, expected a boolean"
    return problem


def test_result_of(answer: dict[str, Any], round_trip_ms: int) -> dict[str, Any]:
    """Read how a test went.

    Today's backend does not send the documented ``response_time_ms``, and no
    ``status_code`` where nobody answered.
    """
    data = answer["data"]
    data.setdefault("status_code", None)
    data.setdefault("message", data.get("error") or "")
    data.setdefault("response_time_ms", round_trip_ms)
    return answer


def events_body(events: Any) -> list[str]:
    """Write event types, given as texts or enum members.

    Raises:
        TypeError: They are no list of strings.
        ValueError: There are none.
    """
    if isinstance(events, str) or not isinstance(events, Iterable):
        raise TypeError(f"events must be a list of event types, not {events!r}")
    texts: list[str] = []
    for event in cast("Any", events):
        if not isinstance(event, str):
            raise TypeError(f"events: {event!r} is no event type; use WebhookEventType or a string")
        texts.append(str(event))
    if not texts:
        raise InvalidArgumentError("events must name at least one event type")
    return texts
