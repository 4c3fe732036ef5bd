"""Webhooks: manage them, receive them, verify them.

The receiving side, ``construct_event`` and its like, imports no HTTP library.
"""

from flowmaestro_core.lazy import lazy_exports as _lazy_exports

# False, in a form that editors do not take for code which is never reached.
TYPE_CHECKING = bool()  # noqa: UP018
if TYPE_CHECKING:
    from flowmaestro_core.errors import WebhookVerificationError

    from ._async import AsyncWebhooks
    from ._sync import Webhooks
    from .receiving import construct_event, delivery_id, verify_signature
del TYPE_CHECKING

__version__ = "1.0.0"

__all__ = [
    "Webhooks",
    "AsyncWebhooks",
    "construct_event",
    "verify_signature",
    "delivery_id",
    "WebhookVerificationError",
]

__getattr__, __dir__ = _lazy_exports(
    __name__,
    {
        "Webhooks": "._sync",
        "AsyncWebhooks": "._async",
        "construct_event": ".receiving",
        "verify_signature": ".receiving",
        "delivery_id": ".receiving",
        "WebhookVerificationError": "flowmaestro_core.errors",
    },
)
