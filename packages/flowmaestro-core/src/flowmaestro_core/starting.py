"""What the two ways to start an execution share: by workflow and by trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from .codec import is_object
from .statuses import EXECUTION_STATUSES, with_status

__all__ = ["execute_result_of", "inputs_body"]


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
    """Read what a start answers: the status as an enum member, ``inputs`` always there."""
    data = with_status(answer["data"], EXECUTION_STATUSES)
    if is_object(data):
        data.setdefault("inputs", {})
    return answer
