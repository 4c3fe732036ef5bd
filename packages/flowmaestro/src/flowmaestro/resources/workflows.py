"""``SyncWorkflows`` and ``AsyncWorkflows``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowmaestro_workflows import AsyncWorkflows
    from flowmaestro_workflows import Workflows as SyncWorkflows

__all__ = ["AsyncWorkflows", "SyncWorkflows"]

__getattr__, __dir__ = old_names(__name__, {"workflows": GROUPS["workflows"]})
