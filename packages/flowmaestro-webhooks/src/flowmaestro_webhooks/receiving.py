"""Receiving webhooks: is this delivery from FlowMaestro, and what does it say?

Stands on the standard library, the types and the errors: no HTTP library is imported.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Optional, Union, cast

import flowmaestro_types as types
from flowmaestro_core.codec import decode, is_object
from flowmaestro_core.config import check_seconds
from flowmaestro_core.errors import InvalidArgumentError, WebhookVerificationError

__all__ = ["construct_event", "delivery_id", "verify_signature"]

_SIGNATURE = "x-flowmaestro-signature"
_DELIVERY_ID = "x-flowmaestro-delivery-id"

Body = Union[bytes, bytearray, memoryview, str]
Secrets = Union[str, Sequence[str]]
Headers = Mapping[Any, Any]


def construct_event(
    body: Body, headers: Headers, secret: Secrets, tolerance: Optional[float] = None
) -> types.WebhookEvent:
    """Check a delivery and give its event.

    Args:
        body: The request's body as it came: the raw bytes, before any parsing.
        headers: The request's headers, from any framework; a WSGI ``environ`` too.
        secret: The webhook's secret, or several while you change from one to another.
        tolerance: Refuse events that are more than so many seconds old, or ahead of this
            machine's clock, against replays. The backend delivers again for some time
            after a failure, with the first time in ``created_at``: 3600 is sensible. None
            for no bound, as for infinity.

    Returns:
        The event: ``id``, ``event``, ``created_at`` and ``data``; it narrows on
        ``event["event"]``. Types of event that this version does not know pass through.

    Raises:
        WebhookVerificationError: The delivery is not shown to be FlowMaestro's; ``code``
            is ``missing_header``, ``bad_signature``, ``too_old`` or ``not_json``.
        TypeError: The body was parsed already, or a secret is no string.
        ValueError: There is no secret, or one with white space at its beginning or end.

    Example:
        In any web framework::

            event = construct_event(request.body, request.headers, secret=SECRET)
            if event["event"] == "execution.completed":
                print(event["data"]["outputs"])
    """
    bound = None if tolerance is None else check_seconds("tolerance", tolerance)
    raw = _bytes_of(body)
    verify_signature(raw, _header(headers, _SIGNATURE, "X-FlowMaestro-Signature"), secret)
    try:
        event = decode(raw)
    except ValueError as why:
        problem = f"the body is signed but no JSON: {why}"
    else:
        if is_object(event) and isinstance(event.get("event"), str):
            if bound is not None:
                _check_age(event.get("created_at"), bound)
            return event  # type: ignore[return-value]
        problem = "the body is signed, but no event: it has no text under 'event'"
    raise WebhookVerificationError(problem, code="not_json")


def verify_signature(body: Body, signature: Optional[str], secret: Secrets) -> bool:
    """Check the signature of a delivery.

    Args:
        body: The request's body as it came: the raw bytes, before any parsing.
        signature: The header ``X-FlowMaestro-Signature``: ``v1=<hex>``, or several with
            commas between; other versions than v1 are ignored.
        secret: The webhook's secret, or several while you change from one to another.

    Returns:
        True. A signature that does not fit is an error, so that it cannot be overlooked.

    Raises:
        WebhookVerificationError: No signature fits; ``code`` is ``missing_header`` or
            ``bad_signature``.
        TypeError: The body was parsed already, or a secret is no string.
        ValueError: There is no secret, or one with white space at its beginning or end.

    Example:
        Check by hand::

            verify_signature(body, request.headers["X-FlowMaestro-Signature"], SECRET)
    """
    raw = _bytes_of(body)
    keys = _keys_of(secret)
    if not signature:
        raise WebhookVerificationError(
            "there is no X-FlowMaestro-Signature header: this is no delivery of FlowMaestro's, "
            "or something on its way takes headers away",
            code="missing_header",
        )
    given = [
        # What is no ASCII is no signature either, but must not be an error of its own.
        value.strip().lower().encode("ascii", "replace")
        for version, _, value in (part.partition("=") for part in _text(signature).split(","))
        if version.strip() == "v1"
    ]
    if not given:
        raise WebhookVerificationError(
            "the X-FlowMaestro-Signature header has no signature of version v1",
            code="bad_signature",
        )
    fits = False
    for key in keys:
        expected = hmac.new(key, raw, hashlib.sha256).hexdigest().encode()
        # Each is compared to its end, so that the time tells nothing.
        for one in given:
            fits = hmac.compare_digest(expected, one) or fits
    if not fits:
        raise WebhookVerificationError(
            "the signature does not fit: the secret is another webhook's, or the body was "
            "changed on its way (pass the raw bytes, not JSON that was written again)",
            code="bad_signature",
        )
    return True


def delivery_id(headers: Headers) -> str:
    """Get the id of a delivery, which is the same when it comes again.

    Args:
        headers: The request's headers, from any framework; a WSGI ``environ`` too.

    Returns:
        The id; keep those that you have handled, to handle each once.

    Raises:
        WebhookVerificationError: There is no such header.

    Example:
        Handle each delivery once::

            if seen.add_if_new(delivery_id(request.headers)):
                handle(event)
    """
    value = _header(headers, _DELIVERY_ID, "X-FlowMaestro-Delivery-ID")
    if not value:
        raise WebhookVerificationError(
            "there is no X-FlowMaestro-Delivery-ID header: this is no delivery of "
            "FlowMaestro's, or something on its way takes headers away",
            code="missing_header",
        )
    return value


def _header(headers: Headers, name: str, written: str) -> Optional[str]:
    """Find a header without regard to case, dashes or a WSGI prefix."""
    if not isinstance(headers, Mapping) and not hasattr(headers, "items"):
        raise TypeError(f"headers must be a mapping, not {type(headers).__name__}")
    value: Any = headers.get(written)
    if value is None:
        for key, candidate in headers.items():
            text = _text(key).lower().replace("_", "-")
            if text == name or text == "http-" + name:
                value = candidate
                break
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    """Give a header's value as text, from any framework; several are one with commas."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", value)).decode("latin-1")
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, cast("Sequence[Any]", value)))
    try:
        return str(value)
    except Exception:
        # Whatever it is, it is no header, and fits nothing.
        return ""


def _bytes_of(body: Any) -> bytes:
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", body))
    if isinstance(body, str):
        try:
            return body.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            # No bytes were ever read as this text, so its signature does not fit.
            return body.encode("utf-8", "replace")
    raise TypeError(
        f"body must be the raw bytes of the request, not {type(body).__name__}: a body that "
        "was parsed and written again has other bytes, and its signature does not fit"
    )


def _keys_of(secret: Any) -> list[bytes]:
    secrets: Sequence[Any]
    if isinstance(secret, str):
        secrets = [secret]
    elif isinstance(secret, Sequence) and not isinstance(secret, (bytes, bytearray)):
        secrets = cast("Any", secret)
    else:
        raise TypeError(f"secret must be a string or several, not {type(secret).__name__}")
    keys = [_key_of(one) for one in secrets if one != ""]
    if not keys:
        raise InvalidArgumentError(
            "there is no secret: webhooks.create() gives it, once; keep it in the environment"
        )
    return keys


def _key_of(secret: Any) -> bytes:
    """Check one secret; no error shows it."""
    if not isinstance(secret, str):
        raise TypeError(f"each secret must be a string, not {type(secret).__name__}")
    if secret != secret.strip():
        raise InvalidArgumentError(
            "the secret has white space at its beginning or end, such as the end of a line: "
            "no signature would fit"
        )
    try:
        return secret.encode()
    except UnicodeEncodeError:
        pass
    raise InvalidArgumentError("the secret has a character in it that is no valid Unicode")


def _check_age(created_at: object, tolerance: float) -> None:
    try:
        # Before 3.11, fromisoformat does not read the Z.
        created = datetime.fromisoformat(str(created_at).replace("Z", "+00:00"))
        if created.tzinfo is None:
            created = created.replace(tzinfo=timezone.utc)
        age = (datetime.now(timezone.utc) - created).total_seconds()
    except (ValueError, OverflowError):
        shown = repr(created_at)[:100]
        raise WebhookVerificationError(
            f"the event has no readable created_at ({shown}), and a tolerance was asked for",
            code="too_old",
        ) from None
    if abs(age) > tolerance:
        when = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s ahead of this machine's clock"
        raise WebhookVerificationError(
            f"the event is {when}, and the tolerance is {tolerance:g} s: it is a replay, or a "
            "clock is wrong",
            code="too_old",
        )
