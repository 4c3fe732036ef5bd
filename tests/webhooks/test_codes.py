"""Which code a refused delivery has, and how old one may be."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime, timedelta, timezone

import pytest

from flowmaestro.webhooks import (
    WebhookVerificationError,
    construct_event,
    delivery_id,
    verify_signature,
)

SECRET = "whsec_test"
SIGNATURE = "X-FlowMaestro-Signature"


def signature_of(body: bytes, secret: str = SECRET) -> str:
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def delivery(**content) -> tuple:
    body = json.dumps({"id": "evt", "event": "execution.completed", **content}).encode()
    return body, {SIGNATURE: signature_of(body)}


def aged(seconds: float, zone: str = "Z") -> str:
    """A time so many seconds ago, in the ways that it may be written."""
    moment = datetime.now(timezone.utc) - timedelta(seconds=seconds)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + zone


def code_of(function, *arguments, **named) -> str:
    with pytest.raises(WebhookVerificationError) as caught:
        function(*arguments, **named)
    return caught.value.code


def test_each_refusal_has_its_code():
    body = b'{"event": "x"}'
    good = signature_of(body)
    table = {
        None: "missing_header",
        "": "missing_header",
        "v2=abc": "bad_signature",
        "abc": "bad_signature",
        "v1=": "bad_signature",
        "v1=abc": "bad_signature",
        good[:-1]: "bad_signature",
        good.replace("v1", "v2"): "bad_signature",
        signature_of(body, "another"): "bad_signature",
        signature_of(body + b" "): "bad_signature",
    }
    for signature, code in table.items():
        assert code_of(verify_signature, body, signature, SECRET) == code, signature
    assert code_of(construct_event, body, {}, secret=SECRET) == "missing_header"
    assert code_of(delivery_id, {}) == "missing_header"
    assert code_of(delivery_id, {"X-FlowMaestro-Delivery-ID": ""}) == "missing_header"


def test_one_good_signature_or_secret_among_others_is_enough():
    body = b"{}"
    good, other = signature_of(body), signature_of(body, "another")
    for signature in (f"{good},{other}", f"{other},{good}", f" {other} , {good} ", f"v2=x,{good}"):
        assert verify_signature(body, signature, SECRET) is True
    assert verify_signature(body, good.upper().replace("V1", "v1"), SECRET) is True
    for secrets in ([SECRET, "new"], ["new", SECRET], ("new", SECRET)):
        assert verify_signature(body, good, secrets) is True
    assert code_of(verify_signature, body, f"{other},{other}", SECRET) == "bad_signature"
    assert code_of(verify_signature, body, good, ["new", "newer"]) == "bad_signature"


@pytest.mark.parametrize("body", [b"no json", b"[]", b"7", b"{}", b'{"event": 7}', b""])
def test_what_is_signed_and_no_event_has_its_code(body):
    headers = {SIGNATURE: signature_of(body)}
    assert code_of(construct_event, body, headers, secret=SECRET) == "not_json"


@pytest.mark.parametrize(
    ("seconds", "is_taken"),
    [(0, True), (3_000, True), (4_250, False), (-3_000, True), (-4_250, False)],
)
@pytest.mark.parametrize("zone", ["Z", "+00:00", ""])
def test_a_delivery_may_be_as_old_as_the_tolerance_either_way(seconds, is_taken, zone):
    body, headers = delivery(created_at=aged(seconds, zone))
    if is_taken:
        assert construct_event(body, headers, secret=SECRET, tolerance=3_600)["id"] == "evt"
    else:
        with pytest.raises(WebhookVerificationError, match="3600 s") as caught:
            construct_event(body, headers, secret=SECRET, tolerance=3_600)
        assert caught.value.code == "too_old"
        # The seconds are told as they are, and which way.
        assert ("ahead" in caught.value.message) is (seconds < 0)
        assert "42" in caught.value.message
    # Without a tolerance, any age will do.
    assert construct_event(body, headers, secret=SECRET)["id"] == "evt"


@pytest.mark.parametrize("created_at", [None, "", "soon", 7])
def test_an_age_that_cannot_be_read_is_too_old_where_it_matters(created_at):
    body, headers = delivery(created_at=created_at)
    assert construct_event(body, headers, secret=SECRET)["id"] == "evt"
    assert code_of(construct_event, body, headers, secret=SECRET, tolerance=60) == "too_old"


@pytest.mark.parametrize("tolerance", [0, -1, float("nan")])
def test_a_tolerance_that_makes_no_sense_is_an_error_of_the_program(tolerance):
    body, headers = delivery(created_at=aged(0))
    with pytest.raises(ValueError, match="tolerance"):
        construct_event(body, headers, secret=SECRET, tolerance=tolerance)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-FlowMaestro-Delivery-ID": "7"},
        {"x-flowmaestro-delivery-id": "7"},
        {"X-FLOWMAESTRO-DELIVERY-ID": b"7"},
        {b"x-flowmaestro-delivery-id": b"7"},
        {"HTTP_X_FLOWMAESTRO_DELIVERY_ID": "7"},
        {"other": "1", "X_Flowmaestro_Delivery_Id": ["7"]},
        {"X-FlowMaestro-Delivery-ID": 7},
    ],
)
def test_the_id_of_a_delivery_is_found_in_the_headers_of_any_framework(headers):
    assert delivery_id(headers) == "7"


def test_a_header_with_a_name_that_only_ends_so_is_another_one():
    assert code_of(delivery_id, {"Not-X-FlowMaestro-Delivery-ID": "7"}) == "missing_header"
