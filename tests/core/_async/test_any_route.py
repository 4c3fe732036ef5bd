"""Requests to any route, and what a callback is told of each response."""

from __future__ import annotations

import contextlib
import json

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient, errors
from flowmaestro_core._async import transport as transport_module
from tests.conftest import KEY
from tests.core.mock import Script, data, error, events, frame

pytestmark = pytest.mark.anyio  # async only

URL = "http://127.0.0.1:1"


@pytest.fixture
def pauses(monkeypatch):
    """Replace the sleeping between attempts by a list of the pauses."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(transport_module, "sleep", sleep)
    return slept


@contextlib.asynccontextmanager
async def scripted(*steps, **options):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncFlowMaestroClient(KEY, URL, http_client=http_client, **options) as client:
            client.script = script
            yield client


# Requests to any route


@pytest.mark.parametrize(
    ("path", "params", "sent"),
    [
        ("/new/route", None, "/new/route"),
        ("/api/v1/new/route", None, "/new/route"),
        ("/api/v1", None, ""),
        ("/api/v1x", None, "/api/v1x"),
        ("/new?a=1", None, "/new?a=1"),
        ("/new?a=1", {"b": 2}, "/new?a=1&b=2"),
        ("/new", {}, "/new"),
        ("/new", {"none": None}, "/new"),
        ("/new", {"a": True, "b": False, "c": 1.5, "d": "x y&z", "e": ""}, None),
        ("/new", {"a": [1, "two", None], "b": ("x",)}, "/new?a=1&a=two&b=x"),
        ("/a b/é/%2F", None, "/a%20b/%C3%A9/%2F"),
    ],
)
async def test_any_route_can_be_asked_for(path, params, sent):
    async with scripted(data({"n": 1})) as client:
        answer = await client.request("get", path, params=params)
        assert answer == {"data": {"n": 1}, "meta": {"request_id": "r"}}
        (request,) = client.script.requests
        assert request.method == "GET"
        expected = sent if sent is not None else "/new?a=true&b=false&c=1.5&d=x%20y%26z&e="
        assert request.url.raw_path.decode() == "/api/v1" + expected
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.content == b""


async def test_a_body_is_sent_as_json():
    async with scripted(data({})) as client:
        for body in ({"a": [1]}, [], "text", 0, False):
            await client.request("POST", "/new", json=body)
            request = client.script.requests[-1]
            assert json.loads(request.content) == body
            assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize("content", [{"ok": True}, [1, 2], "text", 5, None])
async def test_any_json_is_a_success(content):
    async with scripted(httpx.Response(200, json=content)) as client:
        assert await client.request("GET", "/new") == content


async def test_an_empty_response_is_none():
    for response in (httpx.Response(204), httpx.Response(200, content=b" \n")):
        async with scripted(response) as client:
            assert await client.request("DELETE", "/new/1") is None


async def test_a_response_that_is_no_json_is_an_error():
    async with scripted(httpx.Response(200, html="<p>hello")) as client:
        with pytest.raises(errors.ServerError, match="not valid JSON") as caught:
            await client.request("GET", "/new")
        assert (caught.value.code, caught.value.status_code) == ("invalid_response", 200)
        assert "<p>hello" in caught.value.message
        assert caught.value.outcome_unknown is False
        with pytest.raises(errors.ServerError) as caught:
            await client.request("POST", "/new")
        assert caught.value.outcome_unknown is True


@pytest.mark.parametrize(
    ("method", "idempotent", "attempts"),
    [
        ("GET", None, 3),
        ("HEAD", None, 3),
        ("OPTIONS", None, 3),
        ("PUT", None, 3),
        ("DELETE", None, 3),
        ("POST", None, 1),
        ("PATCH", None, 1),
        ("POST", True, 3),
        ("GET", False, 1),
    ],
)
async def test_what_is_idempotent_is_retried(pauses, method, idempotent, attempts):
    async with scripted(error(500), error(500), data({})) as client:
        with contextlib.suppress(errors.ServerError):
            await client.request(method, "/new", idempotent=idempotent)
        assert len(client.script.requests) == attempts


async def test_a_refusal_is_the_typed_error():
    async with scripted(error(404, "resource_not_found")) as client:
        with pytest.raises(errors.NotFoundError) as caught:
            await client.request("GET", "/new/1")
        assert caught.value.code == "resource_not_found"


async def test_a_timeout_holds_for_the_one_request():
    async with scripted(data({})) as client:
        await client.request("GET", "/new", timeout=7)
        await client.request("GET", "/new", timeout=httpx.Timeout(9, read=2))
        await client.request("GET", "/new")
        reads = [one.extensions["timeout"]["read"] for one in client.script.requests]
        assert reads == [7, 2, 30]


@pytest.mark.parametrize(
    ("method", "path", "problem"),
    [
        ("", "/new", "method must not be empty"),
        ("GET /", "/new", "method must be one of HTTP, such as 'GET', not 'GET /'"),
        ("GET", "", "path must not be empty"),
        ("GET", "new", "path must begin with one slash, such as '/workflows', not 'new'"),
        ("GET", "//evil.example/x", "path must begin with one slash"),
        ("GET", "https://evil.example/x", "path must begin with one slash"),
        ("GET", "/a/../admin", "path has a segment of dots in it: '/a/../admin'"),
        ("GET", "/a/%2e%2E/admin", "path has a segment of dots in it"),
        ("GET", "/./a", "path has a segment of dots in it"),
        ("GET", "/a#b", "path has a backslash, a # or a control character in it: '/a#b'"),
        ("GET", "/a\\b", "path has a backslash"),
        ("GET", "/a\nb", "path has a backslash"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_it_is(method, path, problem):
    async with scripted(data({})) as client:
        with pytest.raises(errors.InvalidArgumentError) as caught:
            await client.request(method, path)
        assert caught.value.message.startswith(problem)
        for arguments in ((5, "/new"), ("GET", 5)):
            with pytest.raises(TypeError, match="must be a string"):
                await client.request(*arguments)
        with pytest.raises(TypeError, match="params must be a mapping, not list"):
            await client.request("GET", "/new", params=[("a", 1)])
        assert client.script.requests == []


# What came with a response


async def test_a_callback_gets_what_came_with_each_attempt(pauses):
    seen = []
    steps = (error(503, x_request_id="r1"), data([], x_remaining="5"))
    async with scripted(*steps) as client:
        await client.with_options(on_response=seen.append).workflows.list(page=2)
    first, second = seen
    assert (first.method, first.path) == ("GET", "/workflows?page=2")
    assert (first.status_code, first.attempt, first.request_id) == (503, 1, "r1")
    assert (second.status_code, second.attempt, second.request_id) == (200, 2, "r")
    assert second.headers["x_remaining"] == "5"
    assert second.headers["content-type"] == "application/json"
    assert 0 <= second.duration < 60
    assert KEY not in repr(seen)


async def test_a_callback_is_told_of_streams_and_of_polls():
    seen = []
    ended = frame("execution:completed", execution_id="e", outputs={})
    async with scripted(events(ended)) as client:
        watched = client.with_options(on_response=seen.append)
        assert len([event async for event in watched.executions.stream("e")]) == 1
    (opened,) = seen
    assert (opened.path, opened.status_code) == ("/executions/e/events", 200)
    assert opened.headers["content-type"] == "text/event-stream"


async def test_a_callback_is_not_told_of_what_brought_no_response(pauses):
    seen = []
    async with scripted(httpx.ConnectError("refused"), data([])) as client:
        await client.with_options(on_response=seen.append).workflows.list()
    assert [(one.status_code, one.attempt) for one in seen] == [(200, 2)]


async def test_a_callback_that_fails_costs_nothing(caplog):
    def fail(info):
        raise ZeroDivisionError("division by zero")

    async with scripted(data([])) as client:
        assert (await client.with_options(on_response=fail).workflows.list())["data"] == []
    assert "on_response failed for GET /workflows" in caplog.text
    assert "division by zero" in caplog.text


async def test_a_callback_may_be_a_coroutine_function():  # async only
    seen = []  # async only

    async def note(info):  # async only
        seen.append(info.status_code)  # async only

    async with scripted(data([])) as client:  # async only
        await client.with_options(on_response=note).workflows.list()  # async only
    assert seen == [200]  # async only


async def test_a_callback_can_be_taken_away_and_must_be_callable():
    seen = []
    async with scripted(data([])) as client:
        watched = client.with_options(on_response=seen.append)
        await watched.with_options(timeout=5).workflows.list()
        await watched.with_options(on_response=None).workflows.list()
        with pytest.raises(TypeError, match="on_response must be callable, not 5"):
            client.with_options(on_response=5)
    assert len(seen) == 1
