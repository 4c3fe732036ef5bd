"""``SyncExecutions`` and ``AsyncExecutions``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowmaestro_executions import AsyncExecutions
    from flowmaestro_executions import Executions as SyncExecutions

__all__ = ["AsyncExecutions", "SyncExecutions"]

__getattr__, __dir__ = old_names(__name__, {"executions": GROUPS["executions"]})
