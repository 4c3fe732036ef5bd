"""The whole text of what a receiver is told, and what it is read from."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from enum import Enum

import pytest

from flowmaestro import InvalidArgumentError
from flowmaestro.webhooks import (
    WebhookVerificationError,
    construct_event,
    delivery_id,
    verify_signature,
)
from flowmaestro_webhooks import receiving
from flowmaestro_webhooks.wire import events_body
from tests.webhooks.test_codes import SECRET, SIGNATURE, signature_of

pytestmark = pytest.mark.once

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=timezone.utc)


def told(call, *arguments, **named):
    """Give the type, the text and the code of the error that a call raises."""
    with pytest.raises(Exception) as caught:
        call(*arguments, **named)
    error = caught.value
    text = error.message if isinstance(error, WebhookVerificationError) else str(error)
    return type(error), text, getattr(error, "code", None)


@pytest.mark.parametrize(
    ("signature", "code", "message"),
    [
        (
            None,
            "missing_header",
            "there is no X-FlowMaestro-Signature header: this is no delivery of FlowMaestro's, "
            "or something on its way takes headers away",
        ),
        (
            "v2=00",
            "bad_signature",
            "the X-FlowMaestro-Signature header has no signature of version v1",
        ),
        (
            "v1=a=b",
            "bad_signature",
            "the signature does not fit: the secret is another webhook's, or the body was "
            "changed on its way (pass the raw bytes, not JSON that was written again)",
        ),
        (
            "v1=00",
            "bad_signature",
            "the signature does not fit: the secret is another webhook's, or the body was "
            "changed on its way (pass the raw bytes, not JSON that was written again)",
        ),
    ],
)
def test_a_signature_that_is_refused_says_what_may_be_the_reason(signature, code, message):
    expected = (WebhookVerificationError, message, code)
    assert told(verify_signature, b"{}", signature, SECRET) == expected
    headers = {} if signature is None else {SIGNATURE: signature}
    assert told(construct_event, b"{}", headers, SECRET) == expected


def test_a_delivery_without_an_id_says_what_is_missing():
    assert told(delivery_id, {}) == (
        WebhookVerificationError,
        "there is no X-FlowMaestro-Delivery-ID header: this is no delivery of FlowMaestro's, "
        "or something on its way takes headers away",
        "missing_header",
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is signed but no JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[]", "the body is signed, but no event: it has no text under 'event'"),
        (b'{"event": 5}', "the body is signed, but no event: it has no text under 'event'"),
    ],
)
def test_a_signed_body_that_is_no_event_says_why(body, message):
    headers = {SIGNATURE: signature_of(body)}
    expected = (WebhookVerificationError, message, "not_json")
    assert told(construct_event, body, headers, SECRET) == expected


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ({"event": "x"}, {}, SECRET),
            TypeError,
            "body must be the raw bytes of the request, not dict: a body that was parsed and "
            "written again has other bytes, and its signature does not fit",
        ),
        ((b"", "v1=00", SECRET), TypeError, "headers must be a mapping, not str"),
        ((b"", {}, b"raw"), TypeError, "secret must be a string or several, not bytes"),
        ((b"", {}, 5), TypeError, "secret must be a string or several, not int"),
        ((b"", {}, ["a", b"raw"]), TypeError, "each secret must be a string, not bytes"),
        (
            (b"", {}, [""]),
            InvalidArgumentError,
            "there is no secret: webhooks.create() gives it, once; keep it in the environment",
        ),
        (
            (b"", {}, "a\n"),
            InvalidArgumentError,
            "the secret has white space at its beginning or end, such as the end of a line: "
            "no signature would fit",
        ),
        (
            (b"", {}, "\ud800"),
            InvalidArgumentError,
            "the secret has a character in it that is no valid Unicode",
        ),
        ((b"", {}, SECRET, "60"), TypeError, "tolerance must be a number of seconds, not '60'"),
        (
            (b"", {}, SECRET, 0),
            InvalidArgumentError,
            "tolerance must be more than 0 seconds, not 0",
        ),
    ],
)
def test_an_argument_that_is_refused_says_which_and_what_it_was(arguments, error, message):
    assert told(construct_event, *arguments)[:2] == (error, message)


@pytest.fixture
def at_ten(monkeypatch):
    """Stop the clock."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            assert tz is timezone.utc
            return NOW

    monkeypatch.setattr(receiving, "datetime", Clock)


def event_at(created_at):
    body = json.dumps({"event": "x", "created_at": created_at}).encode()
    return body, {SIGNATURE: signature_of(body)}, SECRET


@pytest.mark.parametrize(
    ("created_at", "found"),
    [
        ("2026-11-23T09:58:58.500Z", "62 s old"),
        ("2026-11-23T09:58:59Z", "61 s old"),
        ("2026-11-23T11:01:02.000+01:00", "62 s ahead of this machine's clock"),
        ("2026-11-23T10:01:01.000", "61 s ahead of this machine's clock"),
    ],
)
def test_an_event_that_is_too_old_says_by_how_much(at_ten, created_at, found):
    assert told(construct_event, *event_at(created_at), tolerance=60) == (
        WebhookVerificationError,
        f"the event is {found}, and the tolerance is 60 s: it is a replay, or a clock is wrong",
        "too_old",
    )


@pytest.mark.parametrize("created_at", ["2026-11-23T09:59:00Z", "2026-11-23T10:01:00Z"])
def test_an_event_of_just_the_tolerance_is_taken(at_ten, created_at):
    assert construct_event(*event_at(created_at), tolerance=60)["created_at"] == created_at


def test_a_time_that_cannot_be_read_is_shown_in_part(at_ten):
    for created_at, shown in ((None, "None"), ("x" * 200, f"'{'x' * 99}")):
        assert told(construct_event, *event_at(created_at), tolerance=60) == (
            WebhookVerificationError,
            f"the event has no readable created_at ({shown}), and a tolerance was asked for",
            "too_old",
        )


def test_event_types_that_are_refused_are_shown():
    assert told(events_body, "x")[:2] == (
        TypeError,
        "events must be a list of event types, not 'x'",
    )
    assert told(events_body, [5])[:2] == (
        TypeError,
        "events: 5 is no event type; use WebhookEventType or a string",
    )
    assert told(events_body, ())[:2] == (
        InvalidArgumentError,
        "events must name at least one event type",
    )


# Bodies and headers of any framework


@pytest.mark.parametrize("text", ["\ud800", '{"event": "\udfff"}'])
def test_a_text_that_no_bytes_can_be_is_refused_as_a_signature_that_does_not_fit(text):
    assert told(verify_signature, text, "v1=00", SECRET)[2] == "bad_signature"
    assert told(construct_event, text, {SIGNATURE: "v1=00"}, SECRET)[2] == "bad_signature"


def test_a_text_that_was_read_from_other_bytes_is_checked_as_those():
    body = b'{"event": "\xff"}'
    text = body.decode("utf-8", "surrogateescape")
    assert verify_signature(text, signature_of(body), SECRET) is True
    assert verify_signature("\u00e9", signature_of("\u00e9".encode()), SECRET) is True


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_values_of_a_header_are_one_with_commas(kind):
    good = signature_of(b"{}")
    for values in ([good, "v1=00"], ["v1=00", good], [b"v2=00", good.encode()]):
        headers = {SIGNATURE: kind(values)}
        assert told(construct_event, b"{}", headers, SECRET)[2] == "not_json"
    assert delivery_id({"X-FlowMaestro-Delivery-ID": kind(["7", b"8"])}) == "7,8"


def test_a_value_of_a_header_that_is_a_text_of_another_class_is_read_as_that_text():
    class Known(str, Enum):
        ID = "7"

    # str(Known.ID) is another text.
    assert delivery_id({"X-FlowMaestro-Delivery-ID": Known.ID}) == "7"


def test_a_value_of_a_header_without_a_text_counts_as_missing():
    class Textless:
        def __str__(self):
            raise LookupError("no text today")

    for call in (
        lambda value: delivery_id({"X-FlowMaestro-Delivery-ID": value}),
        lambda value: construct_event(b"{}", {SIGNATURE: value}, SECRET),
    ):
        assert told(call, Textless())[2] == "missing_header"


def test_a_header_of_just_the_name_wins_over_one_that_may_stand_for_it():
    headers = {"HTTP_X_FLOWMAESTRO_DELIVERY_ID": "8", "X-FlowMaestro-Delivery-ID": "7"}
    assert delivery_id(headers) == "7"
    body = b'{"event": "x"}'
    headers = {"HTTP_X_FLOWMAESTRO_SIGNATURE": "v1=00", SIGNATURE: signature_of(body)}
    assert construct_event(body, headers, SECRET) == {"event": "x"}
