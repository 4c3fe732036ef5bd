"""Workflows and what starts them."""

from __future__ import annotations

from typing import Any, Optional, Union

from ._typing import NotRequired, TypedDict
from .enums import ExecutionStatus

__all__ = ["ExecuteRequest", "ExecuteResult", "Workflow", "WorkflowInput"]


class WorkflowInput(TypedDict):
    """One input that a workflow takes."""

    type: str
    label: str
    required: bool
    description: NotRequired[str]
    options: NotRequired[list[Any]]


class Workflow(TypedDict):
    """A workflow. ``inputs`` is there in ``get``, not in ``list``."""

    id: str
    name: str
    description: Optional[str]
    version: int
    created_at: str
    updated_at: str
    inputs: NotRequired[Optional[dict[str, WorkflowInput]]]


class ExecuteRequest(TypedDict, total=False):
    """The body of an ``execute`` call."""

    inputs: dict[str, Any]


class ExecuteResult(TypedDict):
    """An execution that was just started; follow it by ``execution_id``."""

    execution_id: str
    workflow_id: str
    status: Union[ExecutionStatus, str]
    inputs: dict[str, Any]
