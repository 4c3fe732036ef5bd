"""The bounds and defaults that users rely on: sizes, seconds, and requests at a time."""

from __future__ import annotations

import inspect

import anyio
import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from flowmaestro_core import AsyncCoreClient, CoreClient, errors, events, http
from flowmaestro_core._async import compat as async_compat
from flowmaestro_core._sync import compat as sync_compat
from flowmaestro_core.config import Options, Timeouts, check_options, reconnect_options
from flowmaestro_core.events import event_of
from flowmaestro_core.libraries import body_of
from flowmaestro_core.request import Request
from flowmaestro_core.retries import RetryPolicy
from flowmaestro_core.sse import EventDecoder, EventTooLarge, Frame
from tests.conftest import KEY
from tests.core.mock import Script, data

LIMIT = 10_000_000


def events_of(size: int) -> list[bytes]:
    """Events whose lines have this size, in the shapes that are decoded in ways of their own."""
    first = (size - 12) // 2
    return [
        b"data: " + b"x" * (size - 6) + b"\n\n",
        b"data: " + b"x" * first + b"\ndata: " + b"x" * (size - 12 - first) + b"\n\n",
        b"data: " + b"x" * first + b"\r\ndata: " + b"x" * (size - 12 - first) + b"\r\n\r\n",
    ]


def read(event: bytes, piece: int) -> int:
    decoder = EventDecoder()
    return sum(
        len(decoder.feed(event[start : start + piece])) for start in range(0, len(event), piece)
    )


@pytest.mark.parametrize("piece", [LIMIT * 2, 1_000_003])
def test_an_event_of_ten_million_bytes_is_read_and_a_longer_one_is_not(piece):
    for event in events_of(LIMIT):
        assert read(event, piece) == 1
    for event in events_of(LIMIT + 1):
        with pytest.raises(EventTooLarge, match="10,000,000 bytes"):
            read(event, piece)


def test_a_usual_event_has_the_same_limit_as_any_other():
    """Events of two lines are decoded at once where they are small, and line by line else."""
    usual = b"event: a\ndata: " + b"x" * 85 + b"\n\n"
    for limit in (91, 92, 101, 102, 103):
        assert len(EventDecoder(max_event_bytes=limit).feed(usual)) == 1
    with pytest.raises(EventTooLarge):
        EventDecoder(max_event_bytes=90).feed(usual)


@pytest.mark.parametrize("piece", [1, 7, 40, 64])
def test_a_line_that_comes_in_pieces_counts_once(piece):
    event = b": " + b"c" * 50 + b"\nevent: a\ndata: " + b"x" * 85 + b"\n\n"
    decoder = EventDecoder(max_event_bytes=91)
    for _ in range(3):
        frames = [
            frame
            for start in range(0, len(event), piece)
            for frame in decoder.feed(event[start : start + piece])
        ]
        assert len(frames) == 1


def test_an_event_that_was_read_does_not_count_for_the_next_one():
    for end in (b"\n", b"\r\n", b"\r"):
        decoder = EventDecoder(max_event_bytes=100)
        event = b"id: 1" + end + b"data: " + b"x" * 60 + end + end
        for _ in range(5):
            assert len(decoder.feed(event)) == 1


def test_calls_have_thirty_seconds_for_each_step_and_three_retries():
    for cls in (AsyncCoreClient, CoreClient):
        options = cls(KEY).options
        assert options == Options()
        assert options == Options(Timeouts(30.0, 30.0, 30.0, None), False, None, 3, False, ())
    assert RetryPolicy() == RetryPolicy(max_retries=3, initial=0.5, maximum=8.0, longest_wait=60.0)


def test_what_a_stream_asks_for_beside_its_events_is_one_short_attempt():
    options = Options(Timeouts(30.0, 2.0, None), max_retries=7, headers=(("X", "a"),))
    for remaining in (None, 12.0):
        same = {"max_retries": 0, "deadline": remaining, "headers": (("X", "a"),)}
        assert reconnect_options(options, remaining) == Options(
            Timeouts(5.0, 2.0, 5.0, 5.0), **same
        )
        assert check_options(options, remaining) == Options(Timeouts(3.0, 5.0, 3.0, 2.0), **same)


@pytest.mark.parametrize("cls", [FlowMaestroClient, AsyncFlowMaestroClient])
def test_a_heartbeat_is_an_event_of_what_is_followed(cls, monkeypatch):
    monkeypatch.setattr(cls, "follow", lambda client, source: source)
    client = cls(KEY)
    for resource, key in ((client.executions, "execution_id"), (client.threads, "thread_id")):
        source = resource.stream("x", heartbeat=5)
        assert source.heartbeat == 5
        assert source.heartbeat_event == {"type": "heartbeat", key: "x"}
        assert resource.stream("x").heartbeat is None


def test_an_idle_connection_is_kept_for_thirty_seconds():
    """Less than the API's 72 s, so that none is used in the moment in which it is closed."""
    assert http.CALL_LIMITS.keepalive_expiry == 30
    assert http.CLIENT_LIMITS.keepalive_expiry == 30
    assert http.CLIENT_LIMITS.max_keepalive_connections == http.MAX_CALLS == 100


def test_no_pool_bounds_the_calls_and_streams_of_a_client():
    limits = [http.CALL_LIMITS, http.STREAM_LIMITS, http.CLIENT_LIMITS]
    assert [each.max_connections for each in limits] == [None] * 3
    # Calls do not come to connections of streams, which would stay open unused.
    assert [each.max_keepalive_connections for each in limits] == [10, 0, 100]
    assert http.CONNECTIONS_EACH == 10


def test_responses_are_read_up_to_a_hundred_million_bytes():
    for cls in (AsyncCoreClient, CoreClient, FlowMaestroClient, AsyncFlowMaestroClient):
        default = inspect.signature(cls).parameters["max_response_bytes"].default
        assert default == 100_000_000


@pytest.mark.parametrize("hundreds", [0, 1])
def test_a_response_of_just_the_limit_is_read_and_one_byte_more_is_not(hundreds):
    body = b'{"data": 1}' + b" " * (89 + 100 * hundreds)

    def call(limit):
        with httpx.Client(transport=Script(httpx.Response(200, content=body))) as http_client:
            client = CoreClient(KEY, http_client=http_client, max_response_bytes=limit)
            return client.call(Request.get("/workflows"))

    assert call(len(body)) == {"data": 1}
    with pytest.raises(errors.ServerError, match=f"{len(body) - 1:,} bytes") as caught:
        call(len(body) - 1)
    assert caught.value.code == "response_too_large"
    assert caught.value.status_code == 200


@pytest.mark.parametrize("calls", [1, 3])
def test_a_limiter_lets_so_many_through_and_one_more_for_each_that_leaves(calls):
    limiter = sync_compat.Limiter(calls)
    turns = [limiter.enter(60.0) for _ in range(calls)]
    assert None not in turns
    for within in (60.0, None):
        assert limiter.enter(0.01) is None
        limiter.leave(turns.pop())
        turn = limiter.enter(within)
        assert turn is not None
        turns.append(turn)


@pytest.mark.anyio
@pytest.mark.parametrize("calls", [1, 3])
async def test_an_asynchronous_limiter_does_so_too(calls):
    limiter = async_compat.Limiter(calls)
    turns = [await limiter.enter(60.0) for _ in range(calls)]
    assert None not in turns
    for within in (60.0, None):
        assert await limiter.enter(0.01) is None
        limiter.leave(turns.pop())
        turn = await limiter.enter(within)
        assert turn is not None
        turns.append(turn)


@pytest.mark.anyio
async def test_who_waits_for_a_place_gets_the_next_one():
    limiter = async_compat.Limiter(1)
    turn = await limiter.enter(None)
    entered = []
    async with anyio.create_task_group() as group:

        async def wait():
            entered.append(await limiter.enter(60.0))

        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert entered == []
        limiter.leave(turn)
    assert len(entered) == 1
    assert entered[0] is not None


@pytest.mark.anyio
async def test_a_body_can_be_sent_again_and_its_iterator_is_one_itself():
    body = body_of(httpx, b"content")
    assert isinstance(body, httpx.AsyncByteStream)
    for _ in range(2):
        assert [piece async for piece in body] == [b"content"]
        assert [piece async for piece in body.__aiter__()] == [b"content"]


@pytest.mark.anyio
async def test_a_callback_of_the_asynchronous_client_may_be_a_coroutine_function():
    heard = []

    async def on_update(execution):
        await anyio.lowlevel.checkpoint()
        heard.append(execution["status"])

    script = Script(data({"id": "e", "status": "completed"}))
    async with httpx.AsyncClient(transport=script) as http_client:
        client = AsyncFlowMaestroClient(KEY, http_client=http_client)
        await client.executions.wait_for_completion("e", on_update=on_update)
    assert heard == ["completed"]


def test_a_server_that_invents_keys_does_not_fill_the_memory():
    for number in range(3_000):
        name = f"inventedKey{number}"
        event = event_of(Frame("a", b'{"%s": 1}' % name.encode()), {})
        assert event == {"type": "a", f"invented_key{number}": 1}
    assert len(events._KEYS) <= 1_000
