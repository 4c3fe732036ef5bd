"""The boundaries of decisions: a value on each side of every one, and on it."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from types import ModuleType
from typing import Any

import httpx
import pytest

from flowmaestro_core import errors, http, logs
from flowmaestro_core.clock import monotonic
from flowmaestro_core.config import Timeouts
from flowmaestro_core.lazy import lazy_exports, lazy_module
from flowmaestro_core.pages import page_of, slice_of
from flowmaestro_core.request import Request, deleted_before, page_query
from flowmaestro_core.response import (
    Answer,
    RateLimit,
    error_of,
    failure_of,
    is_missing_route,
    read_data,
)
from flowmaestro_core.retries import LOST, NOT_SENT, Failure, RetryPolicy, is_transient
from flowmaestro_core.sse import EventDecoder
from flowmaestro_core.starting import execute_result_of, inputs_body
from flowmaestro_core.statuses import (
    DELIVERY_STATUSES,
    EXECUTION_STATUSES,
    MESSAGE_STATUSES,
    THREAD_STATUSES,
    with_status,
)
from flowmaestro_types.enums import DeliveryStatus, ExecutionStatus, MessageStatus, ThreadStatus

pytestmark = pytest.mark.once

POLICY = RetryPolicy()


def wait(failure, attempt=0, repeatable=True, remaining=None, random=1.0):
    return POLICY.next_wait(
        failure, attempt, repeatable=repeatable, remaining=remaining, random=lambda: random
    )


# Retries


def test_a_pause_that_takes_all_that_is_left_of_the_deadline_is_not_slept():
    assert wait(Failure(status=500), remaining=0.5) is None
    assert wait(Failure(status=500), remaining=math.nextafter(0.5, 1)) == 0.5
    assert wait(Failure(status=500), remaining=0.0, random=0.0) is None
    assert wait(Failure(status=500), remaining=-1.0, random=0.0) is None


def test_a_retry_after_is_exceeded_by_a_second_at_most():
    for attempt in range(3):
        pause = wait(Failure(status=429, retry_after=7.0), attempt=attempt)
        assert pause == 7.0 + min(1.0, 0.5 * 2**attempt)
    assert wait(Failure(status=429, retry_after=0.0), random=0.0) == 0.0


def test_what_happened_is_known_or_not():
    """Per failure: was it surely not processed, and may it have been processed."""
    table = {
        Failure(network=NOT_SENT): (True, False),
        Failure(network=LOST): (False, True),
        Failure(): (False, False),
        Failure(status=400): (False, False),
        Failure(status=404): (False, False),
        Failure(status=408): (False, True),
        Failure(status=429): (True, False),
        Failure(status=499): (False, False),
        Failure(status=500): (False, True),
        Failure(status=500, final=True): (False, False),
        Failure(status=500, retry_after=1.0): (False, True),
        Failure(status=503): (False, True),
        Failure(status=503, retry_after=0.0): (True, False),
        Failure(status=504): (False, True),
        Failure(network=LOST, final=True): (False, True),
    }
    for failure, expected in table.items():
        assert (failure.was_not_processed, failure.outcome_unknown) == expected, failure


def test_what_is_transient_is_waited_out_and_the_rest_is_raised():
    transient = [
        errors.ConnectionError("m", code="connection_lost"),
        errors.TimeoutError("m", code="read_timeout"),
        errors.RateLimitError("m", status_code=429),
        errors.ServerError("m", status_code=500),
        errors.ServerError("m", status_code=503),
        errors.ServerError("m", code="invalid_response", status_code=200),
    ]
    permanent = [
        errors.ConnectionError("m", code="certificate_untrusted"),
        errors.ConnectionError("m", code="request_invalid"),
        errors.ServerError("m", code="response_too_large", status_code=200),
        errors.ServerError("m", status_code=501),
        errors.ServerError("m", status_code=505),
        errors.FlowMaestroError("m", code="client_closed"),
        errors.ValidationError("m", status_code=400),
        errors.AuthenticationError("m", status_code=401),
        errors.AuthorizationError("m", status_code=403),
        errors.NotFoundError("m", status_code=404),
        errors.ConflictError("m", status_code=409),
        errors.StreamError("m"),
    ]
    assert [is_transient(one) for one in transient] == [True] * len(transient)
    assert [is_transient(one) for one in permanent] == [False] * len(permanent)


# Responses


def answer(status=200, body=b"{}", **headers):
    return Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (399, errors.FlowMaestroError),
        (402, errors.FlowMaestroError),
        (410, errors.FlowMaestroError),
        (499, errors.FlowMaestroError),
        (500, errors.ServerError),
        (599, errors.ServerError),
    ],
)
def test_a_status_without_a_class_of_its_own_has_that_of_its_hundred(status, cls):
    assert type(error_of(answer(status), 0.0)) is cls


def test_only_a_redirect_is_told_as_one():
    for status in (300, 307, 399):
        error = error_of(answer(status, b"", location="https://elsewhere"), 0.0)
        assert "redirects to 'https://elsewhere'" in error.message
    assert "somewhere else" in error_of(answer(301, b""), 0.0).message
    assert "redirect" not in error_of(answer(400, b"", location="https://elsewhere"), 0.0).message


def test_an_excerpt_has_two_hundred_characters_and_says_that_there_are_more():
    for size, dots in ((199, False), (200, False), (201, True)):
        message = error_of(answer(502, b"x" * size), 0.0).message
        assert "x" * min(size, 200) in message
        assert "x" * 201 not in message
        assert ("..." in message) is dots
    # Characters of more than one byte are not taken for more characters.
    assert "\u20ac" * 200 + "..." in error_of(answer(502, "\u20ac".encode() * 201), 0.0).message


def test_the_request_id_of_the_body_wins_and_garbage_is_none():
    for body, expected in (
        (b'{"error": {}, "meta": {"request_id": "body"}}', "body"),
        (b'{"error": {}, "meta": {"request_id": 7}}', "header"),
        (b'{"error": {}, "meta": []}', "header"),
        (b"<p>", "header"),
    ):
        assert error_of(answer(500, body, x_request_id="header"), 0.0).request_id == expected
    assert error_of(answer(500), 0.0).request_id is None


def test_what_an_error_body_holds_is_kept_as_it_is():
    body = b'{"error": {"code": 7, "message": "m", "details": ["a"]}}'
    error = error_of(answer(400, body), 0.0)
    assert (error.code, error.message, error.details) == ("7", "m", {"details": ["a"]})
    body = b'{"statusCode": 400, "error": "Bad Request", "message": "m", "code": "c"}'
    error = error_of(answer(400, body), 0.0)
    assert (error.code, error.message, error.details) == ("c", "m", None)
    assert error_of(answer(400, b'{"error": "only this"}'), 0.0).message == "only this"


def test_a_success_that_holds_an_error_is_that_error():
    with pytest.raises(errors.FlowMaestroError, match="gone") as caught:
        read_data(answer(200, b'{"error": {"code": "c", "message": "gone"}}'))
    assert caught.value.status_code == 200
    for body in (b"", b"[]", b"7", b'{"meta": {}}', b"<p>"):
        with pytest.raises(errors.ServerError) as caught:
            read_data(answer(201, body))
        assert (caught.value.code, caught.value.status_code) == ("invalid_response", 201)
    assert read_data(answer(200, b'{"data": null, "error": null}'))["data"] is None


def test_a_failure_knows_when_to_try_again():
    for status, headers, body, expected in (
        (429, {"retry_after": "7"}, b"{}", 7.0),
        (429, {}, b'{"error": {"details": {"retry_after": 5}}}', 5.0),
        (429, {"retry_after": "7"}, b'{"error": {"details": {"retry_after": 5}}}', 7.0),
        (429, {}, b"{}", None),
        (503, {"retry_after": "7"}, b"{}", 7.0),
        (503, {}, b"{}", None),
    ):
        response = answer(status, body, **headers)
        error = error_of(response, 0.0)
        assert failure_of(response, error, 0.0).retry_after == expected
        if status == 429:
            assert error.retry_after == expected
    # A date is read by the clock that is handed in.
    dated = answer(503, b"{}", retry_after="Thu, 01 Jan 1970 00:01:40 GMT")
    assert failure_of(dated, error_of(dated, 40.0), 40.0).retry_after == 60


def test_only_an_id_that_cannot_exist_is_not_tried_again():
    no_uuid = answer(500, b'{"error": {"code": "22P02", "message": "m"}}')
    assert failure_of(no_uuid, error_of(no_uuid, 0.0), 0.0).final is True
    for other in (answer(500, b'{"error": {"code": "x", "message": "m"}}'), answer(404)):
        assert failure_of(other, error_of(other, 0.0), 0.0).final is False
    # The code alone, with another status, is nothing special.
    assert type(error_of(answer(400, b'{"error": {"code": "22P02"}}'), 0.0)) is (
        errors.ValidationError
    )


def test_a_missing_route_is_told_from_a_missing_thing():
    message = "Route GET:/api/v1/threads/t/events not found"
    missing = error_of(answer(404, f'{{"message": "{message}"}}'.encode()), 0.0)
    assert isinstance(missing, errors.NotFoundError)
    assert is_missing_route(missing) is True
    for other in (
        errors.NotFoundError(message, status_code=404, code="resource_not_found"),
        errors.ServerError(message, status_code=500),
        error_of(answer(404, b'{"message": "Thread not found: Route /api/v1"}'), 0.0),
        error_of(answer(404, b'{"message": "Route GET:/elsewhere not found"}'), 0.0),
    ):
        assert is_missing_route(other) is False


def test_a_rate_limit_needs_both_of_its_first_figures():
    both = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0"}
    assert RateLimit.of(both) == RateLimit(60, 0, None, None, None)
    for name in both:
        assert RateLimit.of({**both, name: ""}) is None
        assert RateLimit.of({key: text for key, text in both.items() if key != name}) is None
    assert RateLimit.of({**both, "x-ratelimit-reset": "9" * 19}).reset == int("9" * 19)
    assert RateLimit.of({**both, "x-ratelimit-reset": "9" * 20}).reset is None


# Lists


def test_a_page_says_whether_there_is_more():
    def has_more(page, per_page, count, **said):
        given = {"data": [0] * count, "pagination": said}
        return page_of(given, page, per_page)["pagination"]["has_more"]

    assert has_more(1, 2, 2, total_count=4) is True
    assert has_more(2, 2, 2, total_count=4) is False
    assert has_more(2, 2, 1, total_count=4) is True
    assert has_more(None, None, 2, total_count=3) is True
    assert has_more(1, 2, 2, has_next=True, total_count=2) is True
    assert has_more(1, 2, 2, has_next=False, total_count=9) is False
    # What the API says in the documented words is left as it is.
    assert has_more(1, 2, 2, has_more=True, has_next=False) is True


def test_a_page_without_figures_counts_what_was_seen():
    page = page_of({"data": [1, 2], "meta": 1}, 3, 5)
    assert page["pagination"] == {"page": 3, "per_page": 5, "total_count": 12, "has_more": False}
    assert page["meta"] == 1
    assert page_of({"data": [1]}, None, 5)["pagination"]["page"] == 1
    assert page_of({"data": [1], "pagination": "odd"}, 1, None)["pagination"]["per_page"] == 20


def test_a_slice_is_a_page_of_the_whole():
    sliced = slice_of({"meta": 1}, [1, 2, 3], 2, 2)
    assert sliced == {
        "meta": 1,
        "data": [3],
        "pagination": {"page": 2, "per_page": 2, "total_count": 3, "has_more": False},
    }
    assert slice_of({}, [1, 2, 3, 4], 1, 2)["pagination"]["has_more"] is True
    assert slice_of({}, [1, 2, 3, 4], 2, 2)["pagination"]["has_more"] is False
    assert slice_of({}, [1, 2, 3], None, None)["pagination"]["per_page"] == 3
    assert slice_of({}, [], None, None)["pagination"] == {
        "page": 1,
        "per_page": 1,
        "total_count": 0,
        "has_more": False,
    }


# Requests


def test_a_query_has_what_was_given_and_nothing_else():
    assert page_query() == ""
    assert page_query(1) == "?page=1"
    assert page_query(None, 1) == "?per_page=1"
    assert (
        page_query(2, 3, status="a&b/c", workflow_id=None) == "?page=2&per_page=3&status=a%26b%2Fc"
    )
    assert page_query(status=ExecutionStatus.RUNNING) == "?status=running"


def test_a_body_is_sent_where_there_is_one():
    assert Request.post("/x") == Request("POST", "/x", None, True, None, None, "")
    assert Request.post("/x", {}).body == b"{}"
    assert Request.post("/x", {"a": 1}, repeatable=False).repeatable is False
    assert Request.get("/x") == Request("GET", "/x")


def test_only_not_found_says_that_a_deletion_was_done_before():
    for status in (400, 403, 405, 410, 500):
        assert deleted_before("t", errors.FlowMaestroError("m", status_code=status)) is None
    gone = deleted_before("t", errors.NotFoundError("m", status_code=404))
    assert gone == {"data": {"id": "t", "deleted": True}}


def test_inputs_are_copied_and_are_a_mapping():
    assert inputs_body(None) == {}
    assert inputs_body({}) == {"inputs": {}}
    assert inputs_body({"a": 1}) == {"inputs": {"a": 1}}
    for odd in ("text", [("a", 1)], 7):
        with pytest.raises(TypeError, match=type(odd).__name__):
            inputs_body(odd)


def test_a_start_has_inputs_and_a_status_that_is_an_enum_member():
    assert execute_result_of({"data": {"status": "pending"}})["data"] == {
        "status": ExecutionStatus.PENDING,
        "inputs": {},
    }
    assert execute_result_of({"data": {"inputs": {"a": 1}}})["data"]["inputs"] == {"a": 1}


@pytest.mark.parametrize(
    ("statuses", "enum"),
    [
        (EXECUTION_STATUSES, ExecutionStatus),
        (THREAD_STATUSES, ThreadStatus),
        (MESSAGE_STATUSES, MessageStatus),
        (DELIVERY_STATUSES, DeliveryStatus),
    ],
)
def test_a_status_is_an_enum_member_or_what_it_was(statuses, enum):
    for member in enum:
        assert with_status({"status": member.value}, statuses)["status"] is member
    assert type(with_status({"status": "new"}, statuses)["status"]) is str
    for odd in ({}, {"status": None}, {"status": 7}, [], None):
        assert with_status(odd, statuses) == odd


# Events


@pytest.mark.parametrize(
    ("line", "retry"),
    [
        (b"retry: 3000", 3000),
        (b"retry:3000", 3000),
        (b"retry: 0", 0),
        (b"retry: abc", None),
        (b"retry: -5", None),
        (b"retry: 1.5", None),
        (b"retry: ", None),
        (b"retry", None),
        (b"retry: \xd9\xa3", None),
        (b"retry: 999999999", 999999999),
        (b"retry: 9999999999", None),
        (b"retrying: 5", None),
    ],
)
def test_only_digits_are_a_pause_between_connections(line, retry):
    for end in (b"\n", b"\r\n"):
        decoder = EventDecoder()
        frames = decoder.feed(line + end + b"data: {}" + end + end)
        assert decoder.retry == retry
        assert [frame.data for frame in frames] == [b"{}"]
    # What cannot be read changes nothing.
    decoder = EventDecoder()
    decoder.feed(b"retry: 7\n" + line + b"\n")
    assert decoder.retry == (7 if retry is None else retry)


def test_an_id_with_a_nul_is_none():
    decoder = EventDecoder(last_event_id="1")
    frames = decoder.feed(b"id: 2\0\ndata: a\n\n")
    assert decoder.last_event_id == "1"
    assert frames[0].id is None


def test_comments_are_counted_and_fields_without_a_colon_are_empty():
    decoder = EventDecoder(last_event_id="1")
    frames = decoder.feed(b":\n: a\n:b\nid\nevent\ndata\ndata\n\n")
    assert decoder.comments == 3
    assert decoder.last_event_id == ""
    assert [(frame.event, frame.data, frame.id) for frame in frames] == [("", b"\n", "")]


def test_one_blank_behind_the_colon_belongs_to_the_field():
    for end in (b"\n", b"\r\n"):
        decoder = EventDecoder()
        (frame,) = decoder.feed(b"event:  a" + end + b"id:  1" + end + b"data:  b" + end + end)
        assert (frame.event, frame.id, frame.data) == (" a", " 1", b" b")


PENDING = [b"data: x\n", b"data\n", b"event: q\n", b"id: 5\n", b": c\n", b"retry: 1\n", b"\n", b"x"]
USUAL = b"event: a\ndata: y\n\n"


@pytest.mark.parametrize("before", [*PENDING, b"".join(PENDING[:4]), b"id: 5\n\n"])
def test_a_usual_event_behind_the_beginning_of_another_is_read_as_one_stream(before):
    """Usual events are decoded all at once, and only where nothing else is under way."""
    for more in (b"", USUAL, b"event: b\nda", b": c\n"):
        whole = EventDecoder()
        expected = whole.feed(before + USUAL + more) + whole.feed(b"\n\n")
        cut = EventDecoder()
        frames = cut.feed(before) + cut.feed(USUAL + more) + cut.feed(b"\n\n")
        # Line by line, nothing is decoded at once.
        slow = EventDecoder()
        lines = (before + USUAL + more).splitlines(keepends=True)
        one_by_one = [frame for line in [*lines, b"\n\n"] for frame in slow.feed(line)]
        assert expected == frames == one_by_one
        assert whole.last_event_id == cut.last_event_id == slow.last_event_id


# Failures of the network


def test_every_failure_has_its_code_and_says_whether_the_request_was_sent():
    request = httpx.Request("GET", "http://h")
    table = [
        (httpx.PoolTimeout("x"), errors.TimeoutError, "pool_timeout", NOT_SENT, False),
        (httpx.ConnectTimeout("x"), errors.TimeoutError, "connect_timeout", NOT_SENT, False),
        (httpx.ReadTimeout("x"), errors.TimeoutError, "read_timeout", LOST, False),
        (httpx.WriteTimeout("x"), errors.TimeoutError, "read_timeout", LOST, False),
        (httpx.ConnectError("x"), errors.ConnectionError, "connection_failed", NOT_SENT, False),
        (httpx.ProxyError("x"), errors.ConnectionError, "connection_failed", NOT_SENT, False),
        (
            httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"),
            errors.ConnectionError,
            "certificate_untrusted",
            NOT_SENT,
            True,
        ),
        (
            httpx.UnsupportedProtocol("x", request=request),
            errors.ConnectionError,
            "request_invalid",
            NOT_SENT,
            True,
        ),
        (
            httpx.LocalProtocolError("x"),
            errors.ConnectionError,
            "request_invalid",
            NOT_SENT,
            True,
        ),
        (httpx.InvalidURL("x"), errors.ConnectionError, "request_invalid", NOT_SENT, True),
        (httpx.DecodingError("x"), errors.ServerError, "invalid_response", LOST, False),
        (httpx.ReadError("x"), errors.ConnectionError, "connection_lost", LOST, False),
        (httpx.RemoteProtocolError("x"), errors.ConnectionError, "connection_lost", LOST, False),
        (OSError("x"), errors.ConnectionError, "connection_lost", LOST, False),
    ]
    for failure, cls, code, network, final in table:
        result = http.unanswered(failure, "host:1", Timeouts(1.0, 2.0, 3.0))
        assert type(result.error) is cls, failure
        assert (result.error.code, result.network, result.final) == (code, network, final), failure
        assert result.no_connection is (code == "pool_timeout")
        assert "host:1" in result.error.message or code == "pool_timeout"


def test_what_breaks_before_there_was_a_connection_has_sent_nothing():
    for failure in (OSError("x"), httpx.ReadError("x"), httpx.RemoteProtocolError("x")):
        result = http.unanswered(failure, "host:1", Timeouts(1.0, 2.0, 3.0), was_sent=False)
        assert (result.error.code, result.network) == ("connection_failed", NOT_SENT)
        assert "host:1" in result.error.message


def test_a_timeout_says_which_seconds_were_too_few():
    timeouts = Timeouts(1.5, 2.0, 3.0)
    message = http.unanswered(httpx.ConnectTimeout(""), "h", timeouts).error.message
    assert "1.5 s" in message
    message = http.unanswered(httpx.ReadTimeout(""), "h", timeouts).error.message
    assert "2 s" in message
    message = http.unanswered(httpx.ReadTimeout(""), "h", Timeouts(None, None, None)).error.message
    assert "None" not in message
    # A failure without words has at least its name.
    assert "ReadError" in http.unanswered(httpx.ReadError(""), "h", timeouts).error.message


@pytest.mark.parametrize(
    ("url", "is_warned_of"),
    [
        ("http://api.example.com", True),
        ("http://10.0.0.1", True),
        ("http://localhost.example.com", True),
        ("https://api.example.com", False),
        ("http://localhost:8000", False),
        ("http://api.localhost", False),
        ("http://127.0.0.1:1", False),
        ("http://[::1]:1", False),
        ("http://testserver", False),
    ],
)
def test_a_plain_address_is_warned_of_where_the_key_crosses_a_network(url, is_warned_of, recwarn):
    http.warn_of_plain_http(url)
    assert [warning.category for warning in recwarn] == [UserWarning] * is_warned_of


# The log


def line_of(caplog, status, request_id, attempt):
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="flowmaestro"):
        logs.log_request("GET", "/x", status, 0.0125, attempt, request_id)
    (record,) = caplog.records
    return record.getMessage()


def test_a_request_is_a_line(caplog):
    assert line_of(caplog, 200, "r", 0) == "GET /x -> 200 in 12 ms (attempt 1, request id r)"
    line = line_of(caplog, None, None, 2)
    assert line.startswith("GET /x -> no ")
    assert line.endswith("in 12 ms (attempt 3, request id -)")


def test_a_program_that_sets_up_no_log_gets_no_line_of_ours():
    """Python writes warnings that nobody takes to stderr."""
    program = "from flowmaestro_core.logs import logger; logger.warning('a retry')"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


@pytest.fixture
def logger():
    before, level = list(logs.logger.handlers), logs.logger.level
    yield logs.logger
    logs.logger.handlers[:] = before
    logs.logger.setLevel(level)


@pytest.mark.parametrize("level", ["debug", "INFO", " Warning ", "error"])
def test_a_level_in_the_environment_turns_the_log_on_once(logger, level):
    before = len(logger.handlers)
    for _ in range(2):
        logs.set_up_from({"FLOWMAESTRO_LOG": level})
    assert logging.getLevelName(logger.level) == level.strip().upper()
    assert len(logger.handlers) == before + 1
    assert logger.handlers[-1].formatter._fmt == "%(asctime)s %(name)s %(levelname)s %(message)s"


def test_a_log_that_the_user_has_set_up_gets_no_handler(logger):
    own = logging.StreamHandler()
    logger.addHandler(own)
    logs.set_up_from({"FLOWMAESTRO_LOG": "debug"})
    assert logger.handlers[-1] is own
    assert logger.level == logging.DEBUG


@pytest.mark.parametrize("environ", [{}, {"FLOWMAESTRO_LOG": ""}, {"FLOWMAESTRO_LOG": "  "}])
def test_without_a_level_the_log_stays_as_it_is(logger, environ):
    before, level = list(logger.handlers), logger.level
    logs.set_up_from(environ)
    assert (logger.handlers, logger.level) == (before, level)


# Names that are loaded late


@pytest.fixture
def package(monkeypatch):
    module = ModuleType("a_lazy_package")
    module.here = 1
    module.__getattr__, module.__dir__ = lazy_exports(
        module.__name__, {"monotonic": "flowmaestro_core.clock"}, modules=("json",)
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_name_is_loaded_when_it_is_asked_for_and_kept(package):
    assert "monotonic" not in vars(package)
    assert package.monotonic is monotonic
    assert vars(package)["monotonic"] is monotonic


def test_a_name_that_is_none_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="'a_lazy_package' has no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_all_names_are_listed_before_they_are_loaded(package):
    # What it needs itself is not listed.
    assert dir(package) == ["__version__", "json", "monotonic"]


def test_a_module_of_a_package_is_loaded_when_it_is_asked_for():
    load, _ = lazy_exports("flowmaestro", {}, modules=("errors",))
    assert load("errors") is sys.modules["flowmaestro.errors"]


def test_a_stand_in_for_a_module_loads_it_when_it_is_asked_for():
    assert lazy_module("decimal").Decimal is sys.modules["decimal"].Decimal
    assert lazy_module(".clock", "flowmaestro_core").monotonic is monotonic
    with pytest.raises(AttributeError):
        lazy_module("decimal").nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        lazy_module("no_such_module").name  # noqa: B018
    # One that a user need not have stands for anything.
    assert lazy_module("no_such_module", is_optional=True).name is Any
