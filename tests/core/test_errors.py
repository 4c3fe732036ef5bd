"""Errors: their texts, their base classes, and that they survive a journey."""

from __future__ import annotations

import builtins
import copy
import pickle

import pytest

from flowmaestro_core import errors

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
    assert again.args == ("went wrong",)


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
