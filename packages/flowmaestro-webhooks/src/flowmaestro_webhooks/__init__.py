"""Webhooks: manage them, receive them, verify them.

The receiving side, ``construct_event`` and its like, imports no HTTP library.
"""

from __future__ import annotations

from flowmaestro_core.lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowmaestro_core.errors import WebhookVerificationError

    from ._async import AsyncWebhooks
    from ._sync import Webhooks
    from .receiving import construct_event, delivery_id, verify_signature

__version__ = "1.0.0"

__all__ = [
    "Webhooks",
    "AsyncWebhooks",
    "construct_event",
    "verify_signature",
    "delivery_id",
    "WebhookVerificationError",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "WebhookVerificationError": "flowmaestro_core.errors",
        "AsyncWebhooks": "._async",
        "Webhooks": "._sync",
        "construct_event": ".receiving",
        "delivery_id": ".receiving",
        "verify_signature": ".receiving",
    },
)
