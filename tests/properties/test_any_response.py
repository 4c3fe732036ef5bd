"""Any response to any method is the documented result or an error of ours.

Never another exception, never a hang, never more requests than retries allow; and after
what starts something, ``outcome_unknown`` is right.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from typing import Any, NamedTuple, Optional

import httpx
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

# All modules are loaded before time is replaced in them.
import flowmaestro_core._async.stream
import flowmaestro_core._sync.stream  # noqa: F401
from flowmaestro import FlowMaestroError
from flowmaestro_core.errors import ExecutionFailedError
from tests.conftest import WIRE
from tests.core.mock import Chunks
from tests.properties.methods import METHODS, POLLS, STARTS, call, parameters_of

MAX_RETRIES = 1
EXAMPLES = 15
# More than any documented walk or wait of these tests needs.
MOST_REQUESTS = 3_000


class Reply(NamedTuple):
    """One response of the API."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


KEYS = sorted(
    {
        *("data", "error", "meta", "pagination", "success", "message", "code", "details"),
        *("id", "execution_id", "workflow_id", "thread_id", "message_id", "secret", "events"),
        *("status", "inputs", "outputs", "content", "role", "messages", "results", "score"),
        *("page", "per_page", "total_count", "has_more", "has_next", "type", "retry_after"),
        *("event_type", "completed", "total", "percentage", "metadata", "request_id"),
        *("statusCode", "name", "url", "deleted", "token"),
        *("agent_id", "user_id", "working_memory", "memory_config", "context_before"),
    }
)
TEXTS = st.sampled_from(
    ["", " ", ".", "..", "x", "completed", "failed", "running", "1", "\ud800", "\0", "é" * 50]
)

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("no_pauses_of_streams")]
NUMBERS = st.sampled_from([0, 1, 2, -1, 20, 1.0, 0.5, -0.0, 10**30, 1e308, float("nan"), 10**400])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | TEXTS, inner, max_size=4)
    ),
    max_leaves=8,
)
ENVELOPES = st.fixed_dictionaries(
    {}, optional={"data": JSON, "pagination": JSON, "meta": JSON, "error": JSON, "success": JSON}
)


def _recorded() -> list[Any]:
    bodies = []
    for file in sorted(WIRE.rglob("*.json")):
        case = json.loads(file.read_text(encoding="utf-8"))
        body = case.get("response", {}).get("body")
        if isinstance(body, dict):
            bodies.append(body)
    return bodies


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Give the paths to everything in a JSON value."""
    places = [at] if at else []
    if isinstance(value, (dict, list)):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            places += _places(child, (*at, key))
    return places


RECORDED = [(body, _places(body)) for body in _recorded()]


@st.composite
def almost_right(draw: st.DrawFn) -> Any:
    """Give a recorded body with one or two values replaced, or left out."""
    body, places = draw(st.sampled_from(RECORDED))
    changed = json.loads(json.dumps(body))
    for place in draw(st.lists(st.sampled_from(places), max_size=2)):
        parent = changed
        try:
            for key in place[:-1]:
                parent = parent[key]
            if draw(st.booleans()):
                parent[place[-1]] = draw(JSON)
            else:
                del parent[place[-1]]
        except (TypeError, KeyError, IndexError):
            # An earlier change took this place away.
            continue
    return changed


@st.composite
def event_streams(draw: st.DrawFn) -> bytes:
    """Give the text of a stream: events of any name with any data."""
    names = ["connected", "execution:progress", "execution:completed", "message:token", "x", ""]
    names += ["message:completed", "message:failed"]
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(names))
        content = draw(JSON | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4))
        lines.append(f"event: {name}\ndata: {json.dumps(content)}\n\n")
    return "".join(lines).encode()


BODIES = st.one_of(
    almost_right().map(lambda value: json.dumps(value).encode()),
    ENVELOPES.map(lambda value: json.dumps(value).encode()),
    JSON.map(lambda value: json.dumps(value).encode()),
    event_streams(),
    st.sampled_from(
        [
            *(b"", b" ", b"null", b"{}", b"[]", b"{", b"\xff\xfe\x00", b'{"data": "\xff"}'),
            *(b"<html>Bad Gateway</html>", b"[" * 100_000, b'{"success": true}', b"\xef\xbb\xbf{}"),
            gzip.compress(b'{"data": {}}'),
        ]
    ),
    st.binary(max_size=20),
)
STATUSES = st.sampled_from([200] * 12 + [201, 202, 204]) | st.sampled_from(
    [100, 101, 206, 299, 300, 302, 304, 307, 400, 401, 403, 404, 408, 409, 413, 418, 422, 429]
    + [431, 499, 500, 501, 502, 503, 504, 505, 599]
)
HEADERS = {
    "content-type": ["application/json", "text/event-stream", "text/html; charset=x", "", "\xe9"],
    "content-encoding": ["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "x", ""],
    "retry-after": ["0", "1", "-1", "1e999", "nan", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", ""],
    "location": ["/", "https://other.example/", "http://[", "\xe9", "", "//"],
    "x-request-id": ["r", "", "\xe9" * 300],
    "x-ratelimit-limit": ["60", "x", "-1", "9" * 30],
    "x-ratelimit-remaining": ["0", "1.5", "\xb2"],
    "set-cookie": ["a=b", "\xe9", ";;;="],
}
HEADER = st.sampled_from(sorted(HEADERS)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(HEADERS[name]))
)
SOME_HEADERS = st.lists(HEADER, max_size=3, unique_by=lambda header: header[0]).map(tuple)
REPLIES = st.builds(Reply, STATUSES, SOME_HEADERS, BODIES)


class Api(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Gives the replies in order, the last one for ever, and notes what was asked."""

    def __init__(self, replies: list[Reply]) -> None:
        self.replies = list(replies)
        self.exchanges: list[tuple[str, str, bytes, Reply]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert len(self.exchanges) < MOST_REQUESTS, "the requests have no end"
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        self.exchanges.append((request.method, str(request.url), request.content, reply))
        headers = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers]
        return httpx.Response(reply.status, headers=headers, stream=Chunks(reply.body))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


def check_result(method: str, result: Any) -> None:
    """Hold a result against what is documented."""
    name = method.rpartition(".")[2]
    if method == "request":
        # Whatever the API sent.
        json.dumps(result)
    elif name.startswith("iter"):
        assert all(type(item) is dict for item in result)
    elif name.endswith("stream"):
        assert all(type(event["type"]) is str for event in result)
    elif name in ("run", "wait_for_completion"):
        assert result["status"] in ("completed", "failed", "cancelled")
        assert {"id", "inputs", "outputs", "error"} <= set(result)
    elif name in ("list", "list_messages", "deliveries"):
        assert isinstance(result["data"], list)
        assert all(type(item) is dict for item in result["data"])
        pagination = result["pagination"]
        for key, least in (("page", 1), ("per_page", 1), ("total_count", 0)):
            assert type(pagination[key]) is int, key
            assert pagination[key] >= least, key
        assert type(pagination["has_more"]) is bool
    else:
        assert type(result["data"]) is dict
        for key in NEEDED.get(method, {"get": ["id"], "update": ["id"]}.get(name, [])):
            assert key in result["data"], key


NEEDED = {
    "workflows.execute": ["execution_id", "workflow_id", "status", "inputs"],
    "triggers.execute": ["execution_id", "trigger_id", "status", "inputs"],
    "agents.create_thread": ["id", "agent_id"],
    "threads.send_message": ["message", "status", "thread_id"],
    "threads.delete": ["id", "deleted"],
    "webhooks.delete": ["id", "deleted"],
    "webhooks.create": ["id", "secret"],
    "webhooks.test": ["success", "status_code", "message", "response_time_ms"],
    "executions.cancel": ["id", "status"],
    "knowledge_bases.query": ["query", "results"],
    "agents.memory.get": ["agent_id", "user_id", "metadata"],
    "agents.memory.set": ["agent_id", "user_id", "metadata"],
    "agents.memory.delete": ["agent_id", "user_id", "deleted"],
    "agents.memory.search": ["agent_id", "query", "results", "result_count"],
    "agents.memory.stats": ["agent_id", "memory_config"],
}


def is_doubtful(reply: Reply) -> Optional[bool]:
    """Say whether the API may have carried out a request that it answered so.

    Written from the documentation, not from the code. None where either is right: something
    on the way has spoilt the response.
    """
    headers = dict(reply.headers)
    if headers.get("content-encoding", "") not in ("", "identity", "x", "zstd", "br"):
        return None
    if 300 <= reply.status < 400 and "location" in headers:
        return None
    if reply.status == 503 and "retry-after" in headers:
        readable = (
            headers["retry-after"] in ("0", "1", "-1", "1e999") or "GMT" in headers["retry-after"]
        )
        return not readable
    if reply.status == 500 and b"22P02" in reply.body:
        return False
    if reply.status == 500 and b"type uuid" in reply.body:
        # It is about an id of the request, or about a value that a workflow was given.
        return None
    return reply.status < 300 <= reply.status + 100 or reply.status == 408 or reply.status >= 500


def check_outcome(method: str, error: FlowMaestroError, api: Api) -> None:
    """Hold ``outcome_unknown`` against what the API was asked to start."""
    if method not in STARTS:
        assert error.outcome_unknown is False
        return
    if method.endswith("stream") and any(reply.status == 200 for *_, reply in api.exchanges):
        # The message was posted, and the reply is not all there.
        assert error.outcome_unknown is True
        return
    if isinstance(error, ExecutionFailedError):
        assert error.outcome_unknown is False, "it is known to have ended"
        return
    doubts = [
        # A stream that is not implemented posts nothing.
        False if b'"stream":true' in body and reply.status == 501 else is_doubtful(reply)
        for verb, _, body, reply in api.exchanges
        if verb == "POST"
    ]
    if True in doubts:
        assert error.outcome_unknown is True
    elif None not in doubts:
        assert error.outcome_unknown is False


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("method", METHODS)
def test_any_response_is_the_documented_result_or_an_error_of_ours(method, kind, request):
    needed, optional = parameters_of(method)
    factor = request.config.getoption("--property-examples")

    # The same examples each time, unless more of them are asked for.
    @settings(max_examples=EXAMPLES * factor, derandomize=factor == 1, database=None)
    @given(
        st.lists(REPLIES, min_size=1, max_size=3),
        st.fixed_dictionaries({}, optional={k: st.just(v) for k, v in optional.items()}),
    )
    def check(replies: list[Reply], chosen: dict[str, Any]) -> None:
        api = Api(replies)
        arguments = {**needed, **chosen}
        if "is_active" in optional:
            # An update of nothing is an error of the caller's.
            arguments["is_active"] = True
        try:
            result = call(kind, api, method, arguments, max_retries=MAX_RETRIES)
        except FlowMaestroError as error:
            note(f"{error!r}, outcome_unknown={error.outcome_unknown}")
            str(error).encode()
            check_outcome(method, error, api)
        else:
            check_result(method, result)
        counts = Counter(
            (verb, url, body)
            for verb, url, body, _ in api.exchanges
            if verb != "GET" or method not in POLLS
        )
        assert max(counts.values(), default=0) <= MAX_RETRIES + 1

    check()
