"""Deliveries: which are shown to be FlowMaestro's, and what is said of the others."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowmaestro.types import WebhookEventType
from flowmaestro.webhooks import (
    WebhookVerificationError,
    construct_event,
    delivery_id,
    verify_signature,
)
from tests.conftest import recording

SECRET = "whsec_0123"
NAME = "X-FlowMaestro-Signature"


def sign(body: bytes, secret: str = SECRET) -> str:
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def event_body(event: str = "execution.completed", age: float = 0.0, **data: object) -> bytes:
    created = datetime.now(timezone.utc) - timedelta(seconds=age)
    stamp = created.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return json.dumps({"id": "1", "event": event, "created_at": stamp, "data": data}).encode()


def refused(code: str, *arguments, **named) -> str:
    with pytest.raises(WebhookVerificationError) as caught:
        construct_event(*arguments, **named)
    assert caught.value.code == code
    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.__dict__)
    return str(caught.value)


def test_the_recorded_delivery_verifies_with_its_secret():
    case = recording("webhooks/delivered_test")
    delivery = case["delivery"]
    event = construct_event(delivery["body"], delivery["headers"], case["secret"])
    assert event["event"] == "test"
    assert event["data"]["webhook_id"] == "c511646d-21e2-4069-93be-78cddb3eff69"
    assert delivery_id(delivery["headers"]) == "test_1795464052979"
    assert construct_event(delivery["body"].encode(), delivery["headers"], case["secret"]) == event


@given(st.binary(), st.text(min_size=1).filter(lambda secret: secret == secret.strip()))
def test_what_is_signed_verifies_and_what_is_changed_does_not(body, secret):
    secret = secret.encode("utf-8", "replace").decode()
    assert verify_signature(body, sign(body, secret), secret) is True
    with pytest.raises(WebhookVerificationError):
        verify_signature(body + b" ", sign(body, secret), secret)
    with pytest.raises(WebhookVerificationError):
        verify_signature(body, sign(body, secret), secret + "x")


@pytest.mark.parametrize("event", [*map(str, WebhookEventType), "test", "future.event"])
def test_every_type_of_event_passes(event):
    body = event_body(event, outputs={"a": 1})
    got = construct_event(body, {NAME: sign(body)}, SECRET)
    assert got["event"] == event
    assert got["data"] == {"outputs": {"a": 1}}


@pytest.mark.parametrize(
    "headers",
    [
        lambda value: {"x-flowmaestro-signature": value},
        lambda value: {"X-FLOWMAESTRO-SIGNATURE": value},
        lambda value: {"HTTP_X_FLOWMAESTRO_SIGNATURE": value, "wsgi.input": object()},
        lambda value: {b"x-flowmaestro-signature": value.encode()},
        lambda value: {NAME: [value]},
        lambda value: {NAME: value.upper().replace("V1=", "v1=")},
    ],
)
def test_headers_of_any_framework_are_read(headers):
    body = event_body()
    assert construct_event(body, headers(sign(body)), SECRET)


def test_bodies_of_any_kind_of_bytes_are_read():
    body = event_body()
    for kind in (body, bytearray(body), memoryview(body), body.decode()):
        assert construct_event(kind, {NAME: sign(body)}, SECRET)


def test_several_signatures_and_unknown_versions():
    body = event_body()
    several = f"v0=00, v1={'0' * 64}, {sign(body)}, v2=zz"
    assert construct_event(body, {NAME: several}, SECRET)
    assert "version v1" in refused("bad_signature", body, {NAME: "v2=00"}, SECRET)
    assert "version v1" in refused("bad_signature", body, {NAME: sign(body)[3:]}, SECRET)


def test_a_secret_can_be_changed_without_losing_deliveries():
    body = event_body()
    for secrets in (["old", SECRET], (SECRET, "new")):
        assert construct_event(body, {NAME: sign(body)}, secrets)
    refused("bad_signature", body, {NAME: sign(body)}, ["old", "new"])


def test_a_missing_header_is_told_as_that():
    body = event_body()
    for headers in ({}, {NAME: ""}, {"X-Other": "a"}):
        assert NAME in refused("missing_header", body, headers, SECRET)
    with pytest.raises(WebhookVerificationError, match="Delivery-ID"):
        delivery_id({})


@pytest.mark.parametrize("signature", ["v1=", "v1=é", "v1=" + "0" * 64, "v1=\x00", "v1" * 1000])
def test_signatures_that_are_none_are_refused(signature):
    refused("bad_signature", event_body(), {NAME: signature}, SECRET)


def test_a_tampered_body_says_what_it_may_be():
    body = event_body()
    said = refused(
        "bad_signature", body.replace(b"completed", b"failed"), {NAME: sign(body)}, SECRET
    )
    assert "raw bytes" in said


def test_a_parsed_body_is_refused_with_the_reason():
    for parsed in ({"event": "test"}, ["x"], None):
        with pytest.raises(TypeError, match="parsed and written again has other bytes"):
            construct_event(parsed, {NAME: "v1=00"}, SECRET)


@pytest.mark.parametrize("secret", ["", [], [""]])
def test_no_secret_is_an_error_of_the_program(secret):
    with pytest.raises(ValueError, match="there is no secret"):
        construct_event(b"{}", {NAME: "v1=00"}, secret)


def test_a_secret_or_headers_of_another_type_are_errors_of_the_program():
    for secret in (None, 5, b"raw"):
        with pytest.raises(TypeError, match="secret must be"):
            construct_event(b"{}", {NAME: "v1=00"}, secret)
    with pytest.raises(TypeError, match="headers must be a mapping"):
        construct_event(b"{}", "v1=00", SECRET)


@pytest.mark.parametrize("secret", [f"{SECRET}\n", f" {SECRET}", f"\t{SECRET}\r\n", " ", "\u3000"])
@pytest.mark.parametrize("several", [False, True])
def test_a_secret_with_white_space_around_it_is_told_as_that(secret, several):
    body = event_body()
    with pytest.raises(ValueError, match="white space at its beginning or end") as caught:
        construct_event(body, {NAME: sign(body)}, [SECRET, secret] if several else secret)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("secret", [SECRET.encode(), None, 5, [SECRET], bytearray(b"x")])
@pytest.mark.parametrize("beside", [[], [SECRET]])
def test_a_secret_among_several_that_is_no_string_is_refused(secret, beside):
    body = event_body()
    with pytest.raises(TypeError, match="each secret must be a string") as caught:
        construct_event(body, {NAME: sign(body)}, [*beside, secret])
    assert SECRET not in str(caught.value)


def test_a_secret_that_cannot_be_written_is_refused_without_being_shown():
    with pytest.raises(ValueError, match="no valid Unicode") as caught:
        construct_event(b"{}", {NAME: "v1=00"}, f"{SECRET}\ud800")
    assert SECRET not in repr(caught.value.__dict__)
    assert not isinstance(caught.value, UnicodeError)


def test_a_secret_of_a_variable_that_is_not_set_may_stand_among_several():
    body = event_body()
    assert construct_event(body, {NAME: sign(body)}, ["", SECRET])


# Any bytes of the network


class Textless:
    """Stands where a header should."""

    def __str__(self):
        raise ValueError("no text today")

    def __repr__(self):
        return "Textless()"


LIKE_A_SIGNATURE = st.builds(
    lambda version, value: f"{version}={value}", st.sampled_from(["v1", " V1", "v0", ""]), st.text()
)
VALUE = st.recursive(
    st.none()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs", "Nd"]))
    | LIKE_A_SIGNATURE
    | st.binary().map(lambda value: b"v1=" + value)
    | st.binary()
    | st.integers()
    | st.floats()
    | st.just(Textless())
    | st.just("v1=\udcff"),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=4,
)
HEADER = st.sampled_from(
    [NAME, NAME.lower(), "HTTP_X_FLOWMAESTRO_SIGNATURE", b"x-flowmaestro-signature", "X-Other"]
)
HEADERS = st.dictionaries(HEADER | st.text() | st.binary() | st.just(Textless()), VALUE, max_size=4)
BODY = st.binary() | st.text(st.characters()) | st.binary().map(bytearray) | st.just(b"{}")


@given(BODY, HEADERS)
def test_any_delivery_is_refused_with_an_error_of_ours(body, headers):
    with pytest.raises(WebhookVerificationError):
        construct_event(body, headers, secret=[SECRET, "old"], tolerance=60)


@given(BODY, VALUE)
def test_any_signature_is_refused_with_an_error_of_ours(body, signature):
    with pytest.raises(WebhookVerificationError):
        verify_signature(body, signature, SECRET)


@given(HEADERS)
def test_any_headers_have_an_id_or_none(headers):
    with pytest.raises(WebhookVerificationError):
        delivery_id(headers)
    assert delivery_id({**headers, "X-FlowMaestro-Delivery-ID": 17}) == "17"


ODD_TIMES = st.sampled_from(
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31", "T", "", "20261126"]
    + ["2026-11-26T20:00:00", "2026-11-26T20:00:00Z", "2026-11-26T20:00:00.1234567Z", 10**300]
    + [1795463784, 1e308, True, None, [], {}]
)


@given(
    st.dictionaries(
        st.sampled_from(["id", "event", "created_at", "data", "x"]),
        ODD_TIMES | st.text() | st.just("execution.completed"),
    ).map(lambda event: json.dumps(event).encode())
    | st.binary()
    | st.just(b'{"event": "test", "created_at": %s}' % (b"1" * 5_000)),
    st.none() | st.just(300),
)
def test_anything_that_is_signed_is_an_event_or_an_error_of_ours(body, tolerance):
    try:
        event = construct_event(body, {NAME: sign(body)}, SECRET, tolerance)
    except WebhookVerificationError as error:
        event = None
        code = error.code
    if event is None:
        assert code in ("not_json", "too_old")
    else:
        assert isinstance(event["event"], str)


@pytest.mark.parametrize("tolerance", [math.inf, 1e9, 10**400], ids=range(3))
def test_a_tolerance_without_end_is_no_bound(tolerance):
    body = b'{"event": "test", "created_at": "1999-01-01T00:00:00Z"}'
    assert construct_event(body, {NAME: sign(body)}, SECRET, tolerance=tolerance)


@pytest.mark.parametrize("body", [b"nope", b'{"event": "test"}'])
def test_a_tolerance_that_makes_no_sense_is_refused_by_name(body):
    """Whatever is delivered: the first delivery of all shows it."""
    for tolerance in (0, -1, math.nan, -math.inf):
        with pytest.raises(ValueError, match="tolerance must be more than 0"):
            construct_event(body, {NAME: sign(body)}, SECRET, tolerance=tolerance)
    for tolerance in (True, "300"):
        with pytest.raises(TypeError, match="tolerance must be a number"):
            construct_event(body, {NAME: sign(body)}, SECRET, tolerance=tolerance)


def test_replays_are_refused_by_their_age():
    for age in (0, 200):
        body = event_body(age=age)
        assert construct_event(body, {NAME: sign(body)}, SECRET, tolerance=300)
    for age, says in ((400, r"4\d\d s old"), (-400, "ahead of this machine's clock")):
        body = event_body(age=age)
        assert construct_event(body, {NAME: sign(body)}, SECRET)
        with pytest.raises(WebhookVerificationError, match=says) as caught:
            construct_event(body, {NAME: sign(body)}, SECRET, tolerance=300)
        assert caught.value.code == "too_old"
    body = b'{"event": "test", "created_at": "soon"}'
    assert "created_at" in refused("too_old", body, {NAME: sign(body)}, SECRET, tolerance=300)
    with pytest.raises(ValueError, match="tolerance must be more than 0"):
        construct_event(event_body(), {NAME: sign(event_body())}, SECRET, tolerance=0)


@pytest.mark.parametrize(
    "body", [b"", b"nope", b"\xff\xfe", b"[]", b"{}", b'{"event": 5}', b"[" * 100_000, b"null"]
)
def test_what_is_signed_but_no_event_is_told_as_that(body):
    assert "signed" in refused("not_json", body, {NAME: sign(body)}, SECRET)


def test_a_large_body_is_checked():
    body = event_body(outputs={"text": "x" * 10_000_000})
    assert construct_event(body, {NAME: sign(body)}, SECRET)
    refused("bad_signature", body[:-1] + b" ", {NAME: sign(body)}, SECRET)


def test_receiving_imports_no_http_library():
    code = (
        "import sys, flowmaestro.webhooks, flowmaestro_webhooks;"
        "flowmaestro_webhooks.construct_event;"
        "print([name for name in ('httpx', 'anyio', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=True
    )
    assert done.stdout.strip() == "[]"
