"""``SyncWebhooks`` and ``AsyncWebhooks``, under the path that 0.1.0 had for them."""

from __future__ import annotations

from ._old import GROUPS, old_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowmaestro_webhooks import AsyncWebhooks
    from flowmaestro_webhooks import Webhooks as SyncWebhooks

__all__ = ["AsyncWebhooks", "SyncWebhooks"]

__getattr__, __dir__ = old_names(__name__, {"webhooks": GROUPS["webhooks"]})
