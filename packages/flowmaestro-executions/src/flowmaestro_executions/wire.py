"""What the backend says of executions and their events, in the documented words."""

from __future__ import annotations

import math
from typing import Any, Optional

from flowmaestro_core.codec import is_object
from flowmaestro_core.errors import FlowMaestroError
from flowmaestro_core.events import event_of
from flowmaestro_core.pages import page_of, says_has_more
from flowmaestro_core.shapes import an_object_problem
from flowmaestro_core.sse import Frame
from flowmaestro_core.statuses import EXECUTION_STATUSES, with_status

__all__ = [
    "TERMINAL_STATUSES",
    "cancelled_before",
    "execution_event_of",
    "execution_of",
    "execution_problem",
    "executions_page",
    "is_terminal",
    "terminal_event_of",
]

TERMINAL_STATUSES = ("completed", "failed", "cancelled")
TERMINAL_EVENTS = frozenset(f"execution:{status}" for status in TERMINAL_STATUSES)


# What an execution has, if only None.
_ALWAYS = ("id", "workflow_id", "status", "outputs", "error", "started_at", "completed_at")

_EXECUTION: dict[str, type] = {"id": str, "workflow_id": str, "status": str}


def execution_problem(data: Any) -> Optional[str]:
    """Say what is wrong with the ``data`` of an execution: nobody can wait without a status."""
    problem = an_object_problem("data", data, _EXECUTION)
    if problem is None and not data.get("status"):
        return "data.status is missing, expected a string"
    return problem


def execution_of(execution: Any) -> Any:
    """Read an execution: the status as an enum member, every documented key there."""
    for key in _ALWAYS:
        execution.setdefault(key, None)
    if execution.get("inputs") is None:
        execution["inputs"] = {}
    _error_as_text(execution)
    return with_status(execution, EXECUTION_STATUSES)


def _error_as_text(found: dict[str, Any]) -> None:
    """Give ``error`` as a text; an object, as some documentation has it, is kept beside it."""
    error = found.get("error")
    if is_object(error):
        message = error.get("message")
        found["error_details"] = error
        found["error"] = message if isinstance(message, str) else str(error)


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
        if not _is_number(event.get("progress")):
            event["progress"] = _progress_of(event)
    elif kind in TERMINAL_EVENTS:
        event.setdefault("status", kind.partition(":")[2])
        event.setdefault("outputs", None)
        event.setdefault("error", None)
    elif kind == "node:completed":
        # The API says ``output``, its documentation ``outputs``.
        for name, other in (("output", "outputs"), ("outputs", "output")):
            if name in event:
                event.setdefault(other, event[name])
    _error_as_text(event)
    if "status" in event:
        with_status(event, EXECUTION_STATUSES)
    return event


def _progress_of(event: dict[str, Any]) -> float:
    """Find how far an execution is, from 0 to 100."""
    percentage: Any = event.pop("percentage", None)
    if _is_number(percentage):
        return percentage  # type: ignore[no-any-return]
    completed: Any = event.get("completed")
    total: Any = event.get("total")
    if not _is_number(completed) or not _is_number(total) or not 0 <= completed <= total:
        return 0
    # Dividing first keeps numbers small that no float can hold a hundred times.
    return 100 * (completed / total) if total else 0


def _is_number(value: object) -> bool:
    """True for what can be shown as a number: neither NaN nor beyond a float's range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


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


def executions_page(
    answer: dict[str, Any], page: Optional[int], per_page: Optional[int], *, exact: bool
) -> dict[str, Any]:
    """Read a page of executions, and correct its ``has_more``.

    Today's API counts what its filters left of the rows that it read, at most as many as
    the pages so far can hold, and so says that there is no more even if there is. A full
    page may have a next one. Where the API sends ``has_more``, as documented, it is right.

    Args:
        answer: The response.
        page: Which page was asked for.
        per_page: How many were asked for.
        exact: Whether the list is one that today's API counts right: that of one workflow,
            without a status.
    """
    result = page_of(answer, page, per_page)
    for execution in result["data"]:
        execution_of(execution)
    pagination = result["pagination"]
    if not exact and not says_has_more(answer) and len(result["data"]) >= pagination["per_page"]:
        pagination["has_more"] = True
    return result
