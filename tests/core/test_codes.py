"""Codes that 0.1.0 knew by another name."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from flowmaestro_core import errors


@pytest.mark.parametrize(
    ("error", "old"),
    [
        (errors.TimeoutError("m", code="read_timeout"), "timeout"),
        (errors.TimeoutError("m", code="wait_timeout"), "timeout"),
        (errors.ConnectionError("m", code="connection_lost"), "connection_error"),
        (errors.StreamError("m", code="stream_lost"), "stream_error"),
    ],
)
def test_a_code_is_equal_to_its_old_name_too(error, old):
    code = error.code
    assert code == old
    assert old == code
    assert (code != old) is False
    assert code in (old,)
    assert code != "other"
    assert code not in ("other", None, 5)
    # It is written, and found in a set or a dictionary, by its own name.
    plain = str(code)
    assert code == plain
    assert code in {plain}
    assert code not in {old: 1}
    assert json.loads(json.dumps(code)) == plain
    assert error.to_dict()["code"] == plain
    assert type(error.to_dict()["code"]) is str
    assert str(error).startswith(f"[{plain}] ")


@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        lambda error: pickle.loads(pickle.dumps(error)),
        lambda error: errors.FlowMaestroError.from_dict(error.to_dict()),
    ],
    ids=["copy", "deepcopy", "pickle", "json"],
)
def test_an_error_keeps_the_old_name_of_its_code_on_its_way(again):
    error = again(errors.TimeoutError("m", code="read_timeout"))
    assert error.code == "timeout"
    assert error.code == "read_timeout"


def test_a_code_of_the_api_has_no_other_name():
    assert errors.NotFoundError("m", code="resource_not_found").code != "not_found"
    assert type(errors.NotFoundError("m", code="resource_not_found").code) is str
