"""What the backend says of executions and their events, in the documented words."""

from __future__ import annotations

from typing import Any, Optional

from flowmaestro_core.codec import is_object
from flowmaestro_core.errors import FlowMaestroError
from flowmaestro_core.events import event_of
from flowmaestro_core.sse import Frame
from flowmaestro_core.statuses import EXECUTION_STATUSES, with_status

__all__ = [
    "TERMINAL_STATUSES",
    "cancelled_before",
    "execution_event_of",
    "execution_of",
    "is_terminal",
    "terminal_event_of",
    "with_more_if_full",
]

TERMINAL_STATUSES = ("completed", "failed", "cancelled")
TERMINAL_EVENTS = frozenset(f"execution:{status}" for status in TERMINAL_STATUSES)


def execution_of(execution: Any) -> Any:
    """Read an execution: the status as an enum member, every documented key there."""
    if is_object(execution):
        for key in ("outputs", "error", "started_at", "completed_at"):
            execution.setdefault(key, None)
        execution.setdefault("inputs", {})
    return with_status(execution, EXECUTION_STATUSES)


def execution_event_of(identity: dict[str, str], frame: Frame) -> dict[str, Any]:
    """Read an event of an execution's stream.

    Today's backend names the type only in the frame, says ``percentage`` where
    ``progress`` is documented, and writes camelCase.

    Args:
        identity: The ``execution_id``.
        frame: What the stream had.

    Raises:
        ValueError: The frame holds no event.
    """
    event = event_of(frame, identity)
    kind = event["type"]
    if kind == "execution:progress":
        if "progress" not in event:
            event["progress"] = _progress_of(event)
    elif kind in TERMINAL_EVENTS:
        event.setdefault("status", kind.partition(":")[2])
        event.setdefault("outputs", None)
        event.setdefault("error", None)
    if "status" in event:
        with_status(event, EXECUTION_STATUSES)
    return event


def _progress_of(event: dict[str, Any]) -> float:
    """Find how far an execution is, from 0 to 100."""
    percentage = event.pop("percentage", None)
    if isinstance(percentage, (int, float)):
        return percentage
    completed, total = event.get("completed"), event.get("total")
    if isinstance(completed, (int, float)) and isinstance(total, (int, float)) and total > 0:
        return 100 * completed / total
    return 0


def is_terminal(event: dict[str, Any]) -> bool:
    """True for the last event of a stream."""
    return event["type"] in TERMINAL_EVENTS


def terminal_event_of(execution: dict[str, Any]) -> Optional[dict[str, Any]]:
    """Write the last event of an execution that is over, as its stream would have it."""
    if execution.get("status") not in TERMINAL_STATUSES:
        return None
    return {
        "type": f"execution:{execution['status']}",
        "execution_id": execution["id"],
        "status": execution["status"],
        "outputs": execution["outputs"],
        "error": execution["error"],
        "completed_at": execution["completed_at"],
    }


def cancelled_before(execution_id: str, error: FlowMaestroError) -> Optional[dict[str, Any]]:
    """Read the refusal to cancel twice as what it is when the first answer was lost."""
    if error.status_code != 400 or not error.message.endswith("Current status: cancelled"):
        return None
    cancelled = {"id": execution_id, "status": "cancelled", "message": error.message}
    return {"data": cancelled}


def with_more_if_full(answer: dict[str, Any]) -> dict[str, Any]:
    """Correct ``has_more`` of a list that was filtered by status.

    Today's backend counts the rows of the filtered page as the total, so it says that
    there is no more whenever it was asked for a status. A full page may have a next one.
    """
    pagination = answer["pagination"]
    if len(answer["data"]) >= pagination["per_page"]:
        pagination["has_more"] = True
    return answer
