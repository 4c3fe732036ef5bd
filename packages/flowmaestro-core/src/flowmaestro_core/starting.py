"""What the two ways to start an execution share: by workflow and by trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from flowmaestro_types.enums import ExecutionStatus

from .shapes import an_object
from .statuses import EXECUTION_STATUSES, with_status

__all__ = ["STARTED", "execute_result_of", "inputs_body"]

# Without the id, the caller cannot follow what was started.
STARTED = an_object("execution_id", workflow_id=str, status=str)


def inputs_body(inputs: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    """Write the body that starts an execution.

    Raises:
        TypeError: The inputs are no mapping.
    """
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs must be a mapping of names to values, not {type(inputs).__name__}")
    return {"inputs": dict(inputs)}


def execute_result_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Read what a start answers: ``status``, as an enum member, and ``inputs`` always there."""
    data = with_status(answer["data"], EXECUTION_STATUSES)
    data.setdefault("status", ExecutionStatus.PENDING)
    if data.get("inputs") is None:
        data["inputs"] = {}
    return answer
