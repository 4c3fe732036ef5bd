"""Status texts to enum members; one that we do not know stays a plain string."""

from __future__ import annotations

from typing import Any

from flowmaestro_types.enums import DeliveryStatus, ExecutionStatus, MessageStatus, ThreadStatus

from .codec import is_object

__all__ = [
    "DELIVERY_STATUSES",
    "EXECUTION_STATUSES",
    "MESSAGE_STATUSES",
    "THREAD_STATUSES",
    "with_status",
]

EXECUTION_STATUSES: dict[Any, Any] = {member.value: member for member in ExecutionStatus}
THREAD_STATUSES: dict[Any, Any] = {member.value: member for member in ThreadStatus}
MESSAGE_STATUSES: dict[Any, Any] = {member.value: member for member in MessageStatus}
DELIVERY_STATUSES: dict[Any, Any] = {member.value: member for member in DeliveryStatus}


def with_status(thing: Any, statuses: dict[Any, Any]) -> Any:
    """Put the enum member in the place of a status text, in place."""
    if is_object(thing):
        status = thing.get("status")
        if isinstance(status, str):
            thing["status"] = statuses.get(status, status)
    return thing
