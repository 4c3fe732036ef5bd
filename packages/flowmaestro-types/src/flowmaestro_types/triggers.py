"""Triggers: what starts a workflow, and starting one by hand."""

from __future__ import annotations

from typing import Any, Optional, Union

from ._typing import NotRequired, TypedDict
from .enums import ExecutionStatus

__all__ = ["Trigger", "TriggerExecuteResult"]


class Trigger(TypedDict):
    """A trigger of a workflow."""

    id: str
    workflow_id: str
    name: str
    trigger_type: str
    enabled: bool
    last_triggered_at: Optional[str]
    trigger_count: int
    created_at: str
    updated_at: str
    config: NotRequired[dict[str, Any]]
    type: NotRequired[str]


class TriggerExecuteResult(TypedDict):
    """An execution that a trigger just started; follow it by ``execution_id``."""

    execution_id: str
    workflow_id: str
    trigger_id: str
    status: Union[ExecutionStatus, str]
    inputs: dict[str, Any]
