"""Errors: their texts, their base classes, and that they survive a journey."""

from __future__ import annotations

import builtins
import copy
import json
import math
import pickle

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowmaestro
import flowmaestro_core
from flowmaestro.types import ExecutionStatus
from flowmaestro_batch import DayLimitError
from flowmaestro_core import errors

pytestmark = pytest.mark.once

FACTS = {
    "code": "resource_not_found",
    "status_code": 404,
    "request_id": "req-1",
    "details": {"id": "x"},
    "outcome_unknown": True,
}
ALL = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(
    "travel", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_an_error_survives_pickle_and_copy_with_all_it_knows(cls, travel):
    error = cls("went wrong", **FACTS)
    extra = {"retry_after": 3.5} if cls is errors.RateLimitError else {}
    if cls in (errors.TimeoutError, errors.ExecutionFailedError):
        extra = {"execution": {"id": "e", "status": "running"}}
    error.__dict__.update(extra)
    again = travel(error)
    assert type(again) is cls
    assert again.__dict__ == error.__dict__
    assert str(again) == str(error)
    assert again.args == error.args == (str(error),)


@pytest.mark.parametrize("cls", ALL)
def test_every_error_is_a_flowmaestro_error(cls):
    assert issubclass(cls, errors.FlowMaestroError)


def test_the_text_has_code_message_status_and_request_id():
    assert str(errors.NotFoundError("no workflow", **FACTS)) == (
        "[resource_not_found] no workflow (HTTP 404, request id req-1)"
    )
    assert str(errors.FlowMaestroError("plain")) == "plain"
    limited = errors.RateLimitError("slow down", retry_after=86_400.0, status_code=429)
    assert str(limited) == "slow down (HTTP 429, retry after 86400 s)"


@pytest.mark.parametrize("cls", ALL)
def test_a_text_with_half_a_character_can_be_printed(cls):
    error = cls("no \ud800 \U0001f600", code="\udfff", request_id="\ud800")
    assert str(error).encode().decode() == str(error)
    assert "no \\ud800 \U0001f600" in str(error)
    # What programs read is as it came.
    assert error.message == "no \ud800 \U0001f600"


# Errors that users make in their tests, as with 0.1.0


@pytest.mark.parametrize(
    ("cls", "code", "status_code"),
    [
        (errors.FlowMaestroError, None, None),
        (errors.ValidationError, "validation_error", 400),
        (errors.RequestTooLargeError, "request_too_large", 413),
        (errors.InvalidArgumentError, "invalid_argument", None),
        (errors.AuthenticationError, "authentication_error", 401),
        (errors.AuthorizationError, "authorization_error", 403),
        (errors.NotFoundError, "not_found", 404),
        (errors.ConflictError, "conflict", 409),
        (errors.RateLimitError, "rate_limit_exceeded", 429),
        (errors.ServerError, "server_error", 500),
        (errors.TimeoutError, "timeout", None),
        (errors.ConnectionError, "connection_error", None),
        (errors.StreamError, "stream_error", None),
        (errors.ExecutionFailedError, "execution_failed", None),
        (errors.WebhookVerificationError, "bad_signature", None),
        (errors.ConfigurationError, None, None),
    ],
)
def test_an_error_made_without_facts_has_those_of_its_class(cls, code, status_code):
    error = cls()
    assert (error.code, error.status_code) == (code, status_code)
    assert error.message
    assert str(error) == error.message
    assert (error.request_id, error.details, error.outcome_unknown) == (None, None, False)
    named = cls("m", code="c", status_code=418)
    assert (named.message, named.code, named.status_code) == ("m", "c", 418)


DETAILS = {"field": "x"}


@pytest.mark.parametrize(
    ("error", "status_code"),
    [
        (errors.FlowMaestroError("m", "c", 404, "r", DETAILS), 404),
        (errors.ServerError("m", "c", 503, "r", DETAILS), 503),
        (errors.ValidationError("m", "c", "r", DETAILS), 400),
        (errors.RequestTooLargeError("m", "c", "r", DETAILS), 413),
        (errors.AuthenticationError("m", "c", "r", DETAILS), 401),
        (errors.AuthorizationError("m", "c", "r", DETAILS), 403),
        (errors.NotFoundError("m", "c", "r", DETAILS), 404),
        (errors.RateLimitError("m", "c", "r", DETAILS, 5), 429),
    ],
)
def test_the_arguments_come_in_the_order_of_0_1_0(error, status_code):
    facts = (error.message, error.code, error.status_code, error.request_id, error.details)
    assert facts == ("m", "c", status_code, "r", DETAILS)
    assert getattr(error, "retry_after", 5) == 5


def test_a_stream_error_takes_its_details_second_as_in_0_1_0():
    assert errors.StreamError("m", DETAILS).details == DETAILS


def test_an_invalid_argument_is_a_validation_error_and_a_value_error():
    error = errors.InvalidArgumentError("execution_id must not be empty")
    assert isinstance(error, errors.ValidationError)
    assert isinstance(error, ValueError)
    assert str(error) == "execution_id must not be empty"


def test_timeouts_and_connection_errors_are_the_built_in_ones_too():
    with pytest.raises(builtins.TimeoutError):
        raise errors.TimeoutError("late")
    with pytest.raises(builtins.ConnectionError):
        raise errors.ConnectionError("gone")


def test_missing_scopes_are_read_from_the_details_whatever_they_are():
    error = errors.AuthorizationError("no", details={"missing_scopes": ["workflows:execute"]})
    assert error.missing_scopes == ["workflows:execute"]
    assert errors.AuthorizationError("no").missing_scopes == []
    assert errors.AuthorizationError("no", details={"missing_scopes": "x"}).missing_scopes == []


# Errors that travel as the name of their type and their args, as through Celery's results


def named(cls, args):
    """Make an error again as a task queue does: from its type's name and its args."""
    return getattr(errors, cls.__name__)(*json.loads(json.dumps(args)))


@pytest.mark.parametrize("cls", ALL)
def test_an_error_made_again_from_its_args_has_the_whole_text(cls):
    error = cls("went wrong", **FACTS)
    # As the SDK does it, after the error was made.
    error.message += " - it may have been carried out all the same; look there first"
    again = named(cls, error.args)
    assert type(again) is cls
    assert str(again) == str(error)
    assert "look there first" in str(again)
    assert str(named(cls, again.args)) == str(error)


def test_args_hold_what_a_class_says_beside_the_message():
    error = errors.RateLimitError("slow down", retry_after=7, status_code=429, code="rate")
    assert error.args == ("[rate] slow down (HTTP 429, retry after 7 s)",)
    assert str(named(errors.RateLimitError, error.args)) == str(error)


def test_args_that_somebody_sets_are_kept():
    error = errors.NotFoundError("no workflow")
    error.args = ("something else", 5)
    assert error.args == ("something else", 5)
    assert pickle.loads(pickle.dumps(error)).args == ("something else", 5)
    assert str(error) == "no workflow"


# Errors as JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TEXT = st.none() | st.text()


def extra_of(cls):
    if cls is errors.RateLimitError:
        return {"retry_after": st.none() | st.floats(0, 1e9) | st.just(math.inf)}
    if cls in (errors.TimeoutError, errors.ExecutionFailedError):
        return {"execution": st.none() | st.dictionaries(st.text(), JSON, max_size=3)}
    return {}


@given(cls=st.sampled_from([*ALL, DayLimitError]), data=st.data())
def test_an_error_comes_back_from_json_with_all_it_knows(cls, data):
    facts = {
        "code": data.draw(TEXT),
        "status_code": data.draw(st.none() | st.integers(100, 599)),
        "request_id": data.draw(TEXT),
        "details": data.draw(st.none() | st.dictionaries(st.text(), JSON, max_size=3)),
        "outcome_unknown": data.draw(st.booleans()),
    }
    extra = {name: data.draw(values) for name, values in extra_of(cls).items()}
    error = cls(data.draw(st.text()), **facts, **extra)
    error.api_message = data.draw(TEXT)
    travelled = json.loads(json.dumps(error.to_dict(), allow_nan=False))
    again = errors.FlowMaestroError.from_dict(travelled)
    assert type(again) is cls
    assert {**again.__dict__, "_implied": None} == {**error.__dict__, "_implied": None}
    if None not in (facts["code"], facts["status_code"]):
        assert str(again) == str(error)


def test_a_day_limit_without_end_survives_json():
    error = errors.RateLimitError("no more", retry_after=math.inf)
    for write, read in ((json.dumps, json.loads), (orjson.dumps, orjson.loads)):
        assert errors.FlowMaestroError.from_dict(read(write(error.to_dict()))).retry_after == (
            math.inf
        )


def test_what_json_cannot_carry_becomes_text():
    deep: list = []
    for _ in range(5_000):
        deep = [deep]
    error = errors.TimeoutError(
        "late",
        details={"a": (1, {2}), 3: math.nan, "b": b"raw", "deep": deep},
        execution={"status": ExecutionStatus.RUNNING},
    )
    plain = error.to_dict()
    assert json.loads(orjson.dumps(plain)) == json.loads(json.dumps(plain, allow_nan=False))
    assert type(plain["execution"]["status"]) is str
    assert plain["execution"] == {"status": "running"}
    assert (plain["details"]["a"], plain["details"]["3"]) == ([1, [2]], "nan")
    assert plain["details"]["b"] == "b'raw'"


def test_details_are_kept_a_hundred_levels_deep():
    deep: object = "kept"
    for _ in range(100):
        deep = [deep]
    error = errors.FlowMaestroError("m", details={"kept": deep[0], "cut": deep})
    plain = error.to_dict()["details"]
    for level in ("kept", "cut"):
        inner = plain[level]
        while isinstance(inner, list) and inner:
            inner = inner[0]
        assert inner == ("kept" if level == "kept" else "...")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"type": "NoSuchError", "message": "m", "new": 1},
        {"type": "dict", "message": None, "code": 5, "status_code": "404", "details": []},
        {"type": "RateLimitError", "retry_after": "soon", "outcome_unknown": "yes"},
        {"type": "RateLimitError", "retry_after": [1]},
        {"type": ["x"], "message": {}},
    ],
)
def test_a_dictionary_of_another_version_is_an_error_too(data):
    error = errors.FlowMaestroError.from_dict(data)
    assert type(error) in (errors.FlowMaestroError, errors.RateLimitError)
    assert error.outcome_unknown is False
    assert (error.code, error.status_code, error.details) == (None, None, None)
    assert getattr(error, "retry_after", None) is None
    str(error)


def test_what_is_no_dictionary_is_refused():
    with pytest.raises(TypeError, match="data must be a mapping, not str"):
        errors.FlowMaestroError.from_dict("{}")


@pytest.mark.parametrize("package", [flowmaestro, flowmaestro_core])
def test_every_error_is_exported(package):
    for name in errors.__all__:
        assert name in package.__all__
        assert getattr(package, name) is getattr(errors, name)


def test_a_request_that_is_too_large_is_a_validation_error():
    assert issubclass(errors.RequestTooLargeError, errors.ValidationError)
    assert issubclass(errors.ConfigurationError, ValueError)
