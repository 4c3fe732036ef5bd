"""Receiving webhooks: ``construct_event`` checks a delivery and gives its event.

Importing this imports no HTTP library.
"""

from flowmaestro_core.errors import WebhookVerificationError
from flowmaestro_webhooks.receiving import construct_event, delivery_id, verify_signature

__all__ = ["WebhookVerificationError", "construct_event", "delivery_id", "verify_signature"]
