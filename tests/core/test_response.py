"""Every shape of an answer is data or a typed error, never a surprise."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowmaestro_core import errors
from flowmaestro_core.pages import page_of, slice_of
from flowmaestro_core.response import (
    Answer,
    RateLimit,
    error_of,
    failure_of,
    is_missing_route,
    read_data,
)

pytestmark = pytest.mark.once

NOW = 1_795_463_784.0


def answer(status, content, headers=None):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, headers or {}, body)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, errors.ValidationError),
        (422, errors.ValidationError),
        (401, errors.AuthenticationError),
        (403, errors.AuthorizationError),
        (404, errors.NotFoundError),
        (408, errors.TimeoutError),
        (409, errors.ConflictError),
        (413, errors.RequestTooLargeError),
        (414, errors.ValidationError),
        (431, errors.ValidationError),
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (501, errors.ServerError),
        (503, errors.ServerError),
        (599, errors.ServerError),
        (302, errors.FlowMaestroError),
        (405, errors.FlowMaestroError),
        (418, errors.FlowMaestroError),
    ],
)
def test_each_status_has_its_class(status, cls):
    error = error_of(answer(status, {"error": {"code": "c", "message": "m"}}), NOW)
    assert type(error) is cls
    assert (error.code, error.message, error.status_code) == ("c", "m", status)


def test_a_handlers_error_has_everything_in_it():
    content = {
        "error": {
            "code": "insufficient_scope",
            "message": "no",
            "details": {"missing_scopes": ["a"]},
        },
        "meta": {"request_id": "req-1", "timestamp": "t"},
    }
    error = error_of(answer(403, content), NOW)
    assert error.request_id == "req-1"
    assert error.details == {"missing_scopes": ["a"]}
    assert error.missing_scopes == ["a"]


def test_a_frameworks_error_whose_error_is_a_string():
    content = {
        "statusCode": 404,
        "error": "Not Found",
        "message": "Route GET:/api/v1/nope not found",
    }
    error = error_of(answer(404, content), NOW)
    assert error.message == "Route GET:/api/v1/nope not found"
    assert is_missing_route(error)
    assert not is_missing_route(
        errors.NotFoundError("x", code="resource_not_found", status_code=404)
    )


def test_an_error_with_success_false():
    error = error_of(answer(400, {"success": False, "error": "bad", "details": ["a"]}), NOW)
    assert error.message == "bad"
    assert error.details == {"details": ["a"]}


def test_an_id_that_is_no_uuid_does_not_exist_and_is_not_tried_again():
    content = {
        "statusCode": 500,
        "code": "22P02",
        "error": "Internal Server Error",
        "message": 'invalid input syntax for type uuid: "invalid-id"',
    }
    error = error_of(answer(500, content), NOW)
    assert type(error) is errors.NotFoundError
    assert error.code == "resource_not_found"
    assert error.details["message"] == content["message"]
    assert failure_of(answer(500, content), error, NOW).final


@pytest.mark.parametrize(
    "body", [b"", b"<html><h1>502 Bad Gateway</h1></html>", b"\xff\xfe", b"[]", b"null", b"7"]
)
def test_a_proxys_error_is_an_error_of_ours_with_its_beginning(body):
    error = error_of(answer(502, body), NOW)
    assert type(error) is errors.ServerError
    if body.startswith(b"<html>"):
        assert "<html><h1>502 Bad Gateway" in str(error)


def test_a_long_page_is_cut_to_200_characters():
    error = error_of(answer(502, b"<p>" + b"x" * 100_000), NOW)
    assert 200 < len(str(error)) < 320


def test_the_request_id_is_in_the_body_or_in_the_header():
    error = error_of(answer(500, b"", {"x-request-id": "from-header"}), NOW)
    assert error.request_id == "from-header"


def test_retry_after_comes_from_the_header_or_the_body():
    content = {
        "error": {"code": "rate_limit_exceeded", "message": "m", "details": {"retry_after": 9}}
    }
    assert error_of(answer(429, content), NOW).retry_after == 9
    assert error_of(answer(429, content, {"retry-after": "7"}), NOW).retry_after == 7
    assert error_of(answer(429, b""), NOW).retry_after is None
    limited = answer(429, content)
    assert failure_of(limited, error_of(limited, NOW), NOW).retry_after == 9
    busy = answer(503, b"", {"retry-after": "3"})
    assert failure_of(busy, error_of(busy, NOW), NOW).retry_after == 3


def test_a_redirect_says_where_and_that_the_key_was_not_sent():
    error = error_of(answer(302, b"", {"location": "https://evil.example"}), NOW)
    assert "https://evil.example" in error.message
    assert "base_url" in error.message


@given(
    st.integers(300, 599),
    st.binary()
    | st.builds(
        lambda x: json.dumps(x).encode(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["error", "code", "message", "details", "meta", "request_id"]),
                    inner,
                )
            ),
        ),
    ),
)
def test_any_status_with_any_bytes_is_an_error_of_ours(status, body):
    error = error_of(answer(status, body), NOW)
    assert isinstance(error, errors.FlowMaestroError)
    assert isinstance(error.message, str)
    assert error.message
    assert error.details is None or isinstance(error.details, dict)
    assert error.request_id is None or isinstance(error.request_id, str)
    failure_of(answer(status, body), error, NOW)
    str(error)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is empty"),
        (b"<html>hi</html>", "<html>hi</html>"),
        (b'{"data": [1, 2', "no JSON"),
        (b"[1]", "no object with data"),
        (b"{}", "no object with data"),
    ],
)
def test_a_success_that_makes_no_sense_is_a_server_error_with_its_beginning(body, says):
    with pytest.raises(errors.ServerError, match=says) as caught:
        read_data(answer(200, body))
    assert caught.value.code == "invalid_response"


def test_a_success_that_says_it_failed_is_an_error():
    with pytest.raises(errors.FlowMaestroError, match="it broke"):
        read_data(answer(200, {"success": False, "error": "it broke"}))


def test_data_is_given_as_it_is():
    assert read_data(answer(200, {"data": None, "meta": {}})) == {"data": None, "meta": {}}


def test_rate_limits_are_read_where_they_are_said():
    headers = {
        "x-ratelimit-limit": "60",
        "x-ratelimit-remaining": "59",
        "x-ratelimit-reset": "1795463820",
        "x-ratelimit-limit-day": "1000",
        "x-ratelimit-remaining-day": "999",
    }
    assert RateLimit.of(headers) == (60, 59, 1795463820, 1000, 999)
    assert RateLimit.of({}) is None
    assert RateLimit.of({**headers, "x-ratelimit-limit": "many"}) is None
    assert RateLimit.of({**headers, "x-ratelimit-reset": "9" * 99}).reset is None


def test_pages_of_both_wordings_are_complete():
    wire = {"page": 1, "per_page": 2, "total_count": 5, "total_pages": 3, "has_next": True}
    assert page_of({"data": [1, 2], "pagination": wire}, 1, 2)["pagination"]["has_more"] is True
    documented = {"page": 3, "per_page": 2, "total_count": 5, "has_more": False}
    assert page_of({"data": [5], "pagination": documented}, 3, 2)["pagination"] == documented
    bare = page_of({"data": [1, 2]}, None, None)
    assert bare["pagination"] == {"page": 1, "per_page": 20, "total_count": 2, "has_more": False}
    counted = page_of({"data": [1], "pagination": {"total_count": 9}}, 1, 1)
    assert counted["pagination"]["has_more"] is True
    assert page_of({"data": None}, 2, 5)["data"] == []


@given(st.lists(st.integers()), st.integers(1, 10))
def test_slices_together_are_the_whole_list(items, per_page):
    got, page = [], 1
    while True:
        answer = slice_of({"data": {}}, items, page, per_page)
        got += answer["data"]
        if not answer["pagination"]["has_more"]:
            break
        page += 1
    assert got == items
    assert slice_of({}, items, None, None)["data"] == items


# Ids that the database cannot read, under a code of the route's own

NOPE = 'invalid input syntax for type uuid: "{}"'


@pytest.mark.parametrize("code", ["execution_failed", "internal_error", None])
@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/workflows/wf_123/execute", "wf_123"),
        ("/triggers/nope/execute", "nope"),
        ("/executions/nope/cancel", "nope"),
        ("/threads/a%20b%2Fc/messages", "a b/c"),
        ("/agents/x/memory/y%22z", 'y"z'),
        ("/executions?status=failed&workflow_id=no+pe", "no pe"),
        ("/executions?workflow_id=no%20pe", "no pe"),
    ],
)
def test_an_id_of_the_request_that_is_no_uuid_is_not_found(code, path, given):
    message = "could not start: " + NOPE.format(given)
    wrong = answer(500, {"error": {"code": code, "message": message, "details": {"a": 1}}})
    error = error_of(wrong, NOW, path)
    assert type(error) is errors.NotFoundError
    assert (error.code, error.status_code) == ("resource_not_found", 404)
    assert error.details == {"a": 1, "message": message, "code": code, "status_code": 500}
    failure = failure_of(wrong, error, NOW)
    assert failure.final
    assert not failure.outcome_unknown


@pytest.mark.parametrize(
    "path",
    [
        "/workflows/8c5a4f0e-0000-4000-8000-000000000000/execute",
        # The value is a word of the route, or of another filter, and no id.
        "/workflows/nope2/nope",
        "/executions?status=nope",
        "/nope",
        "",
    ],
)
def test_the_same_text_about_another_value_stays_what_it_is(path):
    """A database node of the workflow says it of an input: the workflow was carried out."""
    content = {"error": {"code": "execution_failed", "message": NOPE.format("nope")}}
    error = error_of(answer(500, content), NOW, path)
    assert type(error) is errors.ServerError
    assert failure_of(answer(500, content), error, NOW).outcome_unknown


def test_the_same_text_under_another_status_stays_what_it_is():
    content = {"error": {"code": "c", "message": NOPE.format("nope")}}
    assert type(error_of(answer(400, content), NOW, "/workflows/nope")) is errors.ValidationError


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (413, b"", "request body is larger"),
        (413, b"<html>413 Request Entity Too Large</html>", "request body is larger"),
        (414, b"", "URL or a header"),
        (431, b"", "URL or a header"),
    ],
)
def test_what_is_too_large_says_what_is(status, body, says):
    assert says in error_of(answer(status, body), NOW).message


def test_the_api_s_own_message_stands_apart():
    assert error_of(answer(500, {"error": {"message": "LLM failed"}}), NOW).api_message == (
        "LLM failed"
    )
    assert error_of(answer(502, b"<html>"), NOW).api_message is not None
    with pytest.raises(errors.ServerError) as caught:
        read_data(answer(200, b""))
    assert caught.value.api_message is None


# The clock of a Retry-After


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "date",
    [
        "Thu, 26 Nov 2026 20:00:10 GMT",
        "Thursday, 26-Nov-26 20:00:10 GMT",
        "Thu Nov 26 20:00:10 2026",
    ],
)
@pytest.mark.parametrize("wrong_by", [-86_400, 0, 3_600])
def test_a_date_is_counted_from_the_clock_that_wrote_it(status, date, wrong_by):
    sent = "Thu, 26 Nov 2026 20:00:00 GMT"
    limited = answer(status, b"", {"retry-after": date, "date": sent})
    now = 1_795_723_200.0 + wrong_by
    error = error_of(limited, now)
    assert failure_of(limited, error, now).retry_after == 10
    if status == 429:
        assert error.retry_after == 10


@pytest.mark.parametrize("headers", [{}, {"date": "soon"}, {"date": ""}])
def test_a_date_is_counted_from_our_clock_where_the_other_is_not_told(headers):
    limited = answer(429, b"", {"retry-after": "Thu, 26 Nov 2026 20:00:10 GMT", **headers})
    assert error_of(limited, 1_795_723_200.0).retry_after == 10
    limited = answer(429, b"", {"retry-after": "8", **headers})
    assert error_of(limited, 0.0).retry_after == 8
