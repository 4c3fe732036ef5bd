"""What users hand in is checked when the client is made."""

from __future__ import annotations

import math
import pickle

import httpx
import pytest

from flowmaestro_core.config import (
    NOT_GIVEN,
    Options,
    Secret,
    Timeouts,
    resolve_api_key,
    resolve_base_url,
)


def test_a_missing_key_names_both_ways_to_give_one():
    for key in (None, ""):
        with pytest.raises(ValueError, match=r"api_key=.*FLOWMAESTRO_API_KEY"):
            resolve_api_key(key, {})


def test_the_key_comes_from_the_argument_and_then_from_the_environment():
    environ = {"FLOWMAESTRO_API_KEY": "fm_live_env"}
    assert resolve_api_key(None, environ).reveal() == "fm_live_env"
    assert resolve_api_key("fm_live_arg", environ).reveal() == "fm_live_arg"


@pytest.mark.parametrize(
    "key", ["fm_live_a b", "fm_live_a\n", " fm_live_a", "fm_live_\x00", "fm_live_é"]
)
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key):
    with pytest.raises(ValueError) as caught:
        resolve_api_key(key, {})
    assert "fm_live" not in str(caught.value)
    frame = caught.value.__traceback__
    while frame is not None:
        if "flowmaestro_core" in frame.tb_frame.f_code.co_filename:
            assert key not in map(repr, frame.tb_frame.f_locals.values())
            assert key not in frame.tb_frame.f_locals.values()
        frame = frame.tb_next


def test_a_key_that_is_no_string_is_refused():
    with pytest.raises(ValueError, match="must be a string, not int"):
        resolve_api_key(5, {})


def test_a_secret_shows_itself_nowhere():
    secret = Secret("fm_live_secret")
    assert "fm_live" not in f"{secret} {secret!r}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (None, "https://api.flowmaestro.io"),
        ("https://x.example", "https://x.example"),
        ("https://x.example/", "https://x.example"),
        ("https://x.example/api/v1", "https://x.example"),
        ("https://x.example/api/v1/", "https://x.example"),
        ("http://127.0.0.1:8080/flow/api/v1", "http://127.0.0.1:8080/flow"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_addresses_lose_their_ending(given, address):
    assert resolve_base_url(given, {}) == address


@pytest.mark.parametrize(
    "given",
    ["api.flowmaestro.io", "ftp://x", "https://", "https://x y", "https://x\n", "https://x?a=1"]
    + ["https://x#a", "https://user:pw@x", "https://x:99999", "", "//x"],
)
def test_addresses_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="base_url"):
        resolve_base_url(given, {})


def test_an_address_that_is_no_string_is_refused():
    with pytest.raises(TypeError, match="base_url must be a string"):
        resolve_base_url(5, {})


def test_timeouts_are_seconds_or_httpx_timeouts_or_none():
    assert Timeouts.of(5) == (5, 5, 5, None)
    assert Timeouts.of(None) == (None, None, None, None)
    assert Timeouts.of(httpx.Timeout(3, read=7, pool=1)) == (3, 7, 3, 1)
    assert Timeouts.of(30).within(2) == (2, 2, 2, 2)
    assert Timeouts.of(None).within(2) == (2, 2, 2, 2)
    assert Timeouts.of(1).within(None) == (1, 1, 1, None)


@pytest.mark.parametrize("timeout", [-1, 0, math.nan, -0.5])
def test_timeouts_that_make_no_sense_are_refused(timeout):
    with pytest.raises(ValueError, match="timeout must be more than 0"):
        Options().changed(timeout=timeout)


@pytest.mark.parametrize("timeout", ["5", True, [5]])
def test_timeouts_of_another_type_are_refused(timeout):
    with pytest.raises(TypeError, match="timeout must be"):
        Options().changed(timeout=timeout)


def test_options_are_changed_one_by_one():
    options = Options().changed(max_retries=0, deadline=4, retry_unsafe=True)
    assert (options.max_retries, options.deadline, options.retry_unsafe) == (0, 4.0, True)
    assert options.changed(deadline=None).deadline is None
    assert options.changed() == options
    with pytest.raises(ValueError, match="max_retries must be 0 or more"):
        Options().changed(max_retries=-1)
    for odd in (1.5, True, "3"):
        with pytest.raises(TypeError, match="max_retries must be a whole number"):
            Options().changed(max_retries=odd)
    with pytest.raises(ValueError, match="deadline must be more than 0"):
        Options().changed(deadline=0)


def test_headers_are_added_and_replaced_without_regard_to_case():
    options = Options().changed(headers={"X-Team": "a", "X-B": "b"})
    assert options.changed(headers={"x-team": "c"}).headers == (("X-B", "b"), ("x-team", "c"))
    assert options.changed(headers=None) == options
    assert repr(NOT_GIVEN) == "NOT_GIVEN"


@pytest.mark.parametrize(
    "headers", [{"X Y": "a"}, {"": "a"}, {"X": "a\r\nEvil: b"}, {"X": "a\x00"}, {"X\n": "a"}]
)
def test_a_header_that_would_split_a_request_is_refused(headers):
    with pytest.raises(ValueError, match="headers"):
        Options().changed(headers=headers)


def test_a_header_that_is_no_string_is_refused():
    with pytest.raises(TypeError, match="headers"):
        Options().changed(headers={"X": 5})
