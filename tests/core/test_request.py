"""Ids are escaped and queries are checked, before anything is sent."""

from __future__ import annotations

from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowmaestro_core.errors import NotFoundError, ServerError
from flowmaestro_core.request import (
    Request,
    at_least_one,
    check_text,
    deleted_before,
    identifier,
    page_query,
    path,
)
from flowmaestro_types import ExecutionStatus

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(TEXT)
def test_an_id_stays_in_its_place_of_the_path(text):
    try:
        text = identifier("workflow_id", text)
    except ValueError:
        assert not text.strip() or text in (".", "..")
        return
    written = path("/workflows/{}/execute", text)
    # As httpx sends it: whatever the id, it is one segment, and it is the id.
    sent = httpx.URL("http://x/api/v1" + written).raw_path.decode("ascii")
    segments = sent.split("/")
    assert segments[:4] == ["", "api", "v1", "workflows"]
    assert segments[5:] == ["execute"]
    assert unquote(segments[4]) == text
    assert not set(sent) & set("?# \r\n")


@pytest.mark.parametrize("odd", ["", " ", "\n", ".", ".."])
def test_ids_that_no_path_can_carry_are_refused(odd):
    with pytest.raises(ValueError, match="workflow_id"):
        identifier("workflow_id", odd)


@pytest.mark.parametrize("odd", [None, 5, b"wf", ["wf"]])
def test_ids_that_are_no_strings_are_refused(odd):
    with pytest.raises(TypeError, match="workflow_id must be a string"):
        identifier("workflow_id", odd)


def test_an_id_that_is_no_unicode_is_refused():
    with pytest.raises(ValueError, match="no valid Unicode"):
        identifier("workflow_id", "wf\ud800")


def test_queries_have_what_was_given():
    assert page_query() == ""
    assert page_query(2, 50) == "?page=2&per_page=50"
    assert page_query(status=ExecutionStatus.RUNNING) == "?status=running"
    assert page_query(workflow_id="a&b=c", status=None) == "?workflow_id=a%26b%3Dc"


def test_a_filter_that_is_empty_is_none():
    assert page_query(1, status="", workflow_id=None) == "?page=1"


def test_queries_are_checked():
    for page in (0, -1):
        with pytest.raises(ValueError, match="page must be 1 or more"):
            page_query(page)
    for page in ("1", 1.0, True):
        with pytest.raises(TypeError, match="page must be a whole number"):
            page_query(page)
    with pytest.raises(ValueError, match="status must not be empty"):
        page_query(status=" ")
    with pytest.raises(ValueError, match="top_k must be 1 or more"):
        at_least_one("top_k", 0)
    with pytest.raises(TypeError, match="content must be a string"):
        check_text("content", None)


def test_requests_are_repeatable_unless_said_otherwise():
    assert Request.get("/x").repeatable
    assert Request.post("/x", {"a": 1}).body == b'{"a":1}'
    assert Request.post("/x").body is None
    assert not Request.post("/x", {}, repeatable=False).repeatable


def test_a_repeated_deletion_that_finds_nothing_is_done():
    gone = NotFoundError("gone", status_code=404)
    assert deleted_before("t", gone) == {"data": {"id": "t", "deleted": True}}
    assert deleted_before("t", ServerError("broken", status_code=500)) is None
