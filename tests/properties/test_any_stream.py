"""Any stream ends: whatever a server does with the connections of an execution's stream.

A state machine writes the script of a server, step by step: connections and what they bring,
and how the status can be polled. Then a client follows the execution by a clock that jumps, so
that minutes take milliseconds.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

import httpx
import pytest
import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroError
from flowmaestro_core._async import stream as stream_module
from flowmaestro_core._async import transport as transport_module
from tests.conftest import KEY
from tests.core.mock import frame

# Seconds from the end of an execution to the end of its stream: the longest pause between two
# polls, the moment that the stream has to bring its own end, and the last events of a stream
# whose server gives ids.
PROMISED = 16 + 0.5 + 3 + 1

# More than any script leads to, and few enough to find a simple one that does.
MOST_REQUESTS = 1_000

HEARTBEATS = [
    ": keepalive\n\n",
    "event: ping\ndata:\n\n",
    "data: null\n\n",
    "event: heartbeat\n\n",
]
REFUSALS = [
    httpx.Response(204),
    httpx.Response(200, html="<p>hello"),
    httpx.Response(200, json={"data": {}}),
    httpx.Response(302, headers={"location": "/"}),
    httpx.Response(404),
    httpx.Response(429, headers={"retry-after": "2"}),
    httpx.Response(500),
    httpx.Response(502, html="<p>away"),
    httpx.Response(503, headers={"retry-after": "3"}),
]


@dataclass
class Connection:
    """What one connection brings, and how it ends."""

    # A response that is no stream, an error, "hang", or None for a stream.
    refusal: Any = None
    # Text, seconds of silence, or an event with its number and id.
    parts: list[Any] = field(default_factory=list)
    # "close", "break", or "silence".
    end: str = "silence"
    # In pieces of so many bytes.
    size: int = 1_000
    # The server tells the end of the execution on this connection.
    tells_end: bool = False


class Scripted(httpx.AsyncBaseTransport):
    """A server that does what a script says; the last connection is repeated for ever."""

    def __init__(self, script: list[Connection], polls: list[Any], ends_after: float) -> None:
        self.script = script
        self.polls = polls
        self.ends_at = trio.current_time() + ends_after
        self.requests: Counter[str] = Counter()
        # The ids of events whose bytes were taken.
        self.sent: list[Any] = []

    @property
    def is_over(self) -> bool:
        return trio.current_time() >= self.ends_at

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert sum(self.requests.values()) < MOST_REQUESTS
        seconds = request.extensions["timeout"]["read"]
        if not request.url.path.endswith("/events"):
            self.requests["poll"] += 1
            step = self.polls.pop(0) if self.polls and not self.is_over else None
            return await self._respond(step, seconds) or self._status()
        self.requests["stream"] += 1
        connection = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        refusal = await self._respond(connection.refusal, seconds)
        if refusal is not None:
            return refusal
        return httpx.Response(
            200, headers={"content-type": "text/event-stream"}, stream=Body(self, connection)
        )

    async def _respond(self, step: Any, seconds: Optional[float]) -> Optional[httpx.Response]:
        if step == "hang":
            await trio.sleep(math.inf if seconds is None else seconds)
            raise httpx.ReadTimeout("silence")
        if step == "slow":
            await trio.sleep(4.8)
            return None
        if isinstance(step, Exception):
            raise step
        if step is None:
            return None
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)

    def _status(self) -> httpx.Response:
        status = "completed" if self.is_over else "running"
        data = {"id": "e", "workflow_id": "w", "status": status, "outputs": {"n": 1}}
        return httpx.Response(200, json={"data": data})


class Body(httpx.AsyncByteStream):
    """The bytes of one connection, in pieces, with pauses."""

    def __init__(self, server: Scripted, connection: Connection) -> None:
        self._server = server
        self._connection = connection

    async def __aiter__(self) -> Any:
        connection = self._connection
        for part in connection.parts:
            if isinstance(part, float):
                await trio.sleep(part)
                continue
            text, number = part
            content = text.encode()
            for start in range(0, len(content), connection.size):
                yield content[start : start + connection.size]
            # Whoever asks for more has taken it all.
            if number is not None:
                self._server.sent.append(number)
        if connection.end == "break":
            raise httpx.ReadError("reset")
        if connection.end == "close":
            return
        await trio.sleep_until(self._server.ends_at)
        if connection.tells_end:
            yield frame("execution:completed", execution_id="e", outputs={"n": 1}).encode()
        await trio.sleep_forever()


class Slow(Scripted):
    """A server whose polls take a second, and whose last events come as late."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            self.requests["poll"] += 1
            response = self._status()
            await trio.sleep(1)
            return response
        return httpx.Response(
            200, headers={"content-type": "text/event-stream"}, stream=LastEvents(self)
        )


class LastEvents(httpx.AsyncByteStream):
    """Three events, a second apart, after the end of an execution."""

    def __init__(self, server: Scripted) -> None:
        self._server = server

    async def __aiter__(self) -> Any:
        await trio.sleep_until(self._server.ends_at + 1)
        for number in range(2):
            await trio.sleep(1)
            yield frame("node:completed", type="node:completed", number=number).encode()
        await trio.sleep(1)
        yield frame("execution:completed", execution_id="e", outputs={"n": 1}).encode()


def by_a_clock_that_jumps(follow: Callable[[], Awaitable[None]]) -> None:
    """Run something so that minutes take milliseconds."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    real = stream_module.monotonic, transport_module.monotonic
    stream_module.monotonic = transport_module.monotonic = trio.current_time
    try:
        trio.run(follow, clock=clock)
    finally:
        stream_module.monotonic, transport_module.monotonic = real


def test_the_last_events_of_a_slow_api_come_before_the_end_that_a_poll_saw():
    async def follow() -> None:
        server = Slow([], [], ends_after=0.9)
        async with httpx.AsyncClient(transport=server) as http_client:
            async with AsyncFlowMaestroClient(
                KEY, "http://127.0.0.1:1", http_client=http_client
            ) as client:
                types = [event["type"] async for event in client.executions.stream("e")]
        assert types == ["node:completed", "node:completed", "execution:completed"]
        # It was the poll, and not the stream, that saw the end first.
        assert server.requests["poll"] == 1

    by_a_clock_that_jumps(follow)


def numbered(*numbers: int) -> list[Any]:
    """Give the events with these ids, as parts of a connection."""
    return [
        (f"id: {number}\n" + frame("node:started", type="node:started", number=number), number)
        for number in numbers
    ]


@pytest.mark.parametrize(
    "dead",
    [
        [Connection(parts=numbered(1))],
        [Connection(parts=numbered(1)), Connection(parts=numbered(2))],
        # It brings events to the last moment, and is behind all the same.
        [Connection(parts=[*numbered(1), 6.0, *numbered(2), 1.0, *numbered(3), 1.0, *numbered(4)])],
    ],
    ids=["silent", "silent twice", "behind"],
)
def test_what_a_connection_kept_back_is_fetched_though_the_poll_was_slow(dead):
    async def follow() -> None:
        whole = Connection(parts=numbered(1, 2, 3, 4, 5), tells_end=True)
        server = Scripted([*dead, whole], ["slow"], ends_after=2.0)
        async with httpx.AsyncClient(transport=server) as http_client:
            async with AsyncFlowMaestroClient(
                KEY, "http://127.0.0.1:1", http_client=http_client
            ) as client:
                events = [event async for event in client.executions.stream("e")]
        assert [event.get("number") for event in events] == [1, 2, 3, 4, 5, None]
        assert trio.current_time() < 2.0 + 16 + 4.8 + 3 + 3

    by_a_clock_that_jumps(follow)


class AnyStream(RuleBasedStateMachine):
    """Writes a script; the stream is followed when it is written."""

    @initialize(
        ends_after=st.floats(0, 120),
        max_retries=st.integers(1, 3),
        repeats=st.booleans(),
        polls=st.lists(st.sampled_from([None, None, "hang", *REFUSALS[5:]]), max_size=4),
    )
    def begin(self, ends_after: float, max_retries: int, repeats: bool, polls: list[Any]) -> None:
        self.ends_after = ends_after
        self.max_retries = max_retries
        self.polls = polls
        # Do the last thing again and again, and not end in silence.
        self.repeats = repeats
        self.script = [Connection()]
        self.numbers = 0
        self.ids: list[int] = []

    @property
    def connection(self) -> Connection:
        return self.script[-1]

    @rule(end=st.sampled_from(["close", "break"]), size=st.sampled_from([1, 2, 7, 1_000]))
    def end_the_connection(self, end: str, size: int) -> None:
        self.connection.end, self.connection.size = end, size
        self.script.append(Connection())

    @rule(refusal=st.sampled_from([*REFUSALS, httpx.ConnectError("refused"), "hang"]))
    def refuse_a_connection(self, refusal: Any) -> None:
        # The first connection's errors are the caller's, as of any call.
        if len(self.script) == 1:
            self.connection.end = "close"
        else:
            self.script.pop()
        self.script += [Connection(refusal=refusal), Connection()]

    @rule(count=st.integers(1, 3), has_id=st.booleans())
    def send_events(self, count: int, has_id: bool) -> None:
        for _ in range(count):
            self.numbers += 1
            text = frame("node:started", type="node:started", number=self.numbers)
            text = f"id: {self.numbers}\n{text}" if has_id else text
            self.connection.parts.append((text, self.numbers if has_id else None))
            self.ids += [self.numbers] * has_id

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def send_an_event_again(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.ids))
        text = frame("node:started", type="node:started", number=number)
        self.connection.parts.append((f"id: {number}\n{text}", number))

    @rule(text=st.sampled_from([*HEARTBEATS, "retry: 500\n\n", "retry: abc\n\n", "data: {\n\n"]))
    def send_what_is_no_event(self, text: str) -> None:
        self.connection.parts.append((text, None))

    @rule(seconds=st.floats(0.01, 40))
    def be_silent(self, seconds: float) -> None:
        self.connection.parts.append(seconds)

    @rule()
    def tell_the_end(self) -> None:
        self.connection.tells_end = True

    def teardown(self) -> None:
        if not hasattr(self, "script"):
            return
        by_a_clock_that_jumps(self.follow)

    async def follow(self) -> None:
        if self.repeats and len(self.script) > 1:
            self.script.pop()
        server = Scripted(self.script, self.polls, self.ends_after)
        events: list[Any] = []
        error: Optional[FlowMaestroError] = None
        async with httpx.AsyncClient(transport=server) as http_client:
            async with AsyncFlowMaestroClient(
                KEY, "http://127.0.0.1:1", http_client=http_client, max_retries=self.max_retries
            ) as client:
                with trio.move_on_after(600) as within:
                    try:
                        async for event in client.executions.stream("e"):
                            events.append(event)
                    except FlowMaestroError as raised:
                        error = raised
        story = json.dumps([event["type"] for event in events])
        assert not within.cancelled_caught, f"it hangs: {story}"
        late = trio.current_time() - server.ends_at
        assert late < PROMISED, f"{late:.1f} s late: {story}"
        assert error is None, repr(error)
        assert [event["type"] for event in events].count("execution:completed") == 1, story
        assert events[-1]["type"] == "execution:completed"
        assert events[-1]["outputs"] == {"n": 1}
        given = [event["number"] for event in events if "number" in event]
        once = Counter(given)
        missing = [number for number in server.sent if number not in once]
        assert not missing, f"{missing} were sent and not given: {given}"
        again = {number for number in server.sent if number is not None and once[number] > 1}
        assert not again, f"{again} were given more than once: {given}"
        # A poll a second at most, and as many connections; 1 + 3 attempts for the first one.
        seconds = trio.current_time() - server.ends_at + self.ends_after
        assert sum(server.requests.values()) <= 2 * len(self.polls) + 12 + 2 * seconds


TestAnyStream = AnyStream.TestCase
TestAnyStream.settings = settings(stateful_step_count=20)
