"""JSON in and out: what cannot be carried is named with the path to it."""

from __future__ import annotations

import datetime
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowmaestro_core import codec
from flowmaestro_core.codec import decode, encode

# More digits than Python reads or writes.
LONG = 10**5_000
BORN = datetime.date(2020, 1, 1)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_json_can_carry_comes_back(value):
    assert decode(encode(value)) == value


@given(JSON)
def test_what_is_written_is_ascii_and_compact(value):
    assert encode(value).decode("ascii") == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (
            {"inputs": {"user": {"born": BORN}}},
            TypeError,
            r"inputs\.user\.born is a date.*isoformat",
        ),
        ({"inputs": {"all": [1, {2, 3}]}}, TypeError, r"inputs\.all\[1\] is a set"),
        ({"inputs": {"x": b"raw"}}, TypeError, r"inputs\.x is a bytes"),
        ({"inputs": {"x": (1, object())}}, TypeError, r"inputs\.x\[1\] is a object"),
        ({"inputs": {"x": math.nan}}, ValueError, r"inputs\.x is nan"),
        ({"inputs": {"x": [-math.inf]}}, ValueError, r"inputs\.x\[0\] is -inf"),
        ({"inputs": {(1, 2): 3}}, TypeError, r"inputs has the key \(1, 2\)"),
        (BORN, TypeError, "the body is a date"),
        ({"inputs": {"n": LONG}}, ValueError, r"^inputs\.n is a whole number of too many digits"),
        ({"inputs": {"n": [1, -LONG]}}, ValueError, r"^inputs\.n\[1\] is a whole number"),
        ({"inputs": {"x": {LONG: 1}}}, ValueError, r"^inputs\.x has a key of too many digits"),
        ({"inputs": {"x": {math.nan: 1}}}, ValueError, r"^inputs\.x has the key nan"),
        ({"inputs": {"x": {(1, 2): BORN}}}, TypeError, r"^inputs\.x has the key \(1, 2\)"),
        (LONG, ValueError, "the body is a whole number"),
    ],
    ids=range(14),
)
def test_what_json_cannot_carry_is_named_with_its_path(body, error, message):
    with pytest.raises(error, match=message):
        encode(body)


def test_what_cannot_be_written_for_another_reason_says_which():
    class Odd(dict):
        def items(self):
            raise ValueError("no items today")

    with pytest.raises(ValueError, match="no items today"):
        encode({"a": Odd(b=1)})


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (ValueError("not now"), "the body cannot be written as JSON: not now"),
        (TypeError("not now"), "the body cannot be written as JSON: not now"),
        # As near the end of a stack that is nearly full already.
        (RecursionError("not now"), "the body is nested too deep for JSON"),
    ],
)
def test_what_fails_only_while_it_is_written_is_an_error_of_ours(failure, message):
    failures = [failure]

    class Once(dict):
        def items(self):
            if failures:
                raise failures.pop()
            return super().items()

    with pytest.raises(ValueError) as caught:
        encode({"a": Once(b=1)})
    assert str(caught.value) == message


@pytest.mark.parametrize("fast", [True, False])
def test_bytes_that_are_no_utf8_are_replaced_in_an_event_and_refused_in_a_body(monkeypatch, fast):
    if not fast:
        monkeypatch.setattr(codec, "_fast_loads", lambda: None)
    assert codec.decode_text(b'{"a": "x\xff"}') == {"a": "x\ufffd"}
    with pytest.raises(ValueError, match="it is not text"):
        decode(b'{"a": "x\xff"}')


@pytest.mark.parametrize("read", [decode, codec.decode_text])
@pytest.mark.parametrize("fast", [True, False])
def test_a_number_of_too_many_digits_is_told_as_that(monkeypatch, read, fast):
    if not fast:
        monkeypatch.setattr(codec, "_fast_loads", lambda: None)
    for body in (b'{"n": %s}', b"[-%s]", b"%s"):
        with pytest.raises(ValueError, match="too many digits"):
            read(body % (b"1" * 5_000))
    assert read(b"1" * 4_000) == int("1" * 4_000)


def test_a_value_inside_itself_is_named():
    loop: dict = {}
    loop["me"] = loop
    with pytest.raises(ValueError, match="me holds itself"):
        encode(loop)


def test_a_value_that_occurs_twice_is_fine():
    shared = [1]
    assert encode({"a": shared, "b": shared}) == b'{"a":[1],"b":[1]}'


def test_a_value_that_occurs_twice_does_not_hide_what_is_wrong():
    shared = [1]
    with pytest.raises(TypeError, match=r"^c is a set, which JSON cannot carry$"):
        encode({"a": shared, "b": shared, "c": {1}})


def test_what_is_too_deep_is_told_with_the_beginning_of_its_path():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError) as caught:
        encode({"k" * 81: deep})
    assert str(caught.value) == f"{'k' * 80}... is nested too deep for JSON"
    while deep:
        deep = deep.pop()


def test_what_is_too_deep_is_an_error_both_ways():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deep"):
        encode(deep)
    while deep:
        deep = deep.pop()
    with pytest.raises(ValueError, match="nested too deep"):
        decode(b"[" * 1_000_000)


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff\xfe{", b"nope"])
def test_what_is_no_json_is_a_value_error(body):
    with pytest.raises(ValueError):
        decode(body)


# With orjson and without

ODD_NUMBERS = ["NaN", "-Infinity", "1e400", "-0", "-0.0", "1.0", "1E3", str(2**63), str(-(2**70))]
ODD_NUMBERS += [str(-(2**63) - 1), "9" * 18, "-" + "9" * 18, "9" * 19, "-" + "9" * 19]
ODD_NUMBERS += [str(2**64), "9" * 400, "0.1234567890123456789012345", "12345678901234567890.5"]
ODD = [
    *(f'{{"a": [{number}]}}'.encode() for number in ODD_NUMBERS),
    *(b" " * shift + b'{"n": 123456789012345678901}' for shift in range(7)),
    b"123456789012345678901",
    b'{"a": 1, "a": 2}',
    b'"\\ud800"',
    b'"\xff"',
    b"\xef\xbb\xbf{}",
    '{"a": "\u20ac"}'.encode("utf-16"),
    b"[" * 1_100 + b"]" * 1_100,
    b"[" * 500_000,
    b"{} {}",
    b"{} ]",
    b" \t\r\n{} \t\r\n",
    b"{}\x0b",
    b"{}\xc2\xa0",
    b"1\x00",
    b"'a'",
    b"01",
    b"[1,]",
    b"\x00",
    b"",
    b'"\x01"',
]


def outcome(body):
    """Give both results with their types, or the errors."""
    outcomes = []
    for read in (decode, codec.decode_text):
        try:
            outcomes.append(repr(read(body)))
        except ValueError as error:
            outcomes.append(str(error))
    return outcomes


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
def test_without_orjson_what_is_read_is_what_the_standard_library_reads(monkeypatch, body):
    monkeypatch.setattr(codec, "_fast_loads", lambda: None)
    try:
        expected = repr(json.loads(body))
    except (ValueError, RecursionError):
        with pytest.raises(ValueError):
            decode(body)
    else:
        assert repr(decode(body)) == expected


@pytest.mark.parametrize("read", [decode, codec.decode_text])
def test_orjson_reads_what_it_can_where_it_is_installed(monkeypatch, read):
    monkeypatch.setattr(codec, "_fast_loads", lambda: lambda body: ["fast", body])
    for body in (b'{"a": 1}', b"123456789012345678"):
        assert read(body) == ["fast", body]
    # It would make a float of this one.
    assert read(b"-9999999999999999999") == -9999999999999999999


def both(monkeypatch, body):
    assert codec._fast_loads() is not None
    fast = outcome(body)
    with monkeypatch.context() as patch:
        patch.setattr(codec, "_fast_loads", lambda: None)
        return fast, outcome(body)


@pytest.mark.parametrize("body", ODD, ids=[repr(body[:30]) for body in ODD])
def test_orjson_and_the_standard_library_agree_on_what_is_odd(monkeypatch, body):
    fast, plain = both(monkeypatch, body)
    assert fast == plain


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.booleans(),
)
def test_orjson_and_the_standard_library_agree_on_anything(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as monkeypatch:
        body = text.encode("utf-8", "surrogatepass")
        fast, plain = both(monkeypatch, body)
        assert fast == plain


GARBAGE = st.text(alphabet='{}[]",:0123456789.eE+-tfn \\u', max_size=40).map(str.encode)


@given(st.binary(max_size=40) | GARBAGE)
def test_orjson_and_the_standard_library_agree_on_garbage(body):
    with pytest.MonkeyPatch.context() as monkeypatch:
        fast, plain = both(monkeypatch, body)
    assert fast == plain
