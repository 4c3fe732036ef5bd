"""Handlers: how they are called, whatever they raise, return or never return."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
import time
from typing import Any, Optional
from unittest.mock import AsyncMock, Mock

import httpx
import pytest

from flowmaestro import FlowMaestroClient, ServerError
from flowmaestro_local import ExecutionCancelled, LocalServer, Run
from flowmaestro_local.handlers import arguments_of, json_copy
from tests.conftest import KEY
from tests.receiver import until


@pytest.fixture(params=["wire", "documented"])
def server(request):
    server = LocalServer(dialect=request.param)
    with server.start():
        yield server


@pytest.fixture
def client(server):
    with FlowMaestroClient(KEY, server.url, max_retries=0) as client:
        yield client


def run(client: FlowMaestroClient, workflow_id: str = "wf", **inputs: object) -> Any:
    return client.run(workflow_id, inputs, poll_interval=0.01, timeout=100)


def error_of(server: LocalServer, client: FlowMaestroClient, handler: Any) -> str:
    """Run a handler that fails, then another, as the server has to go on."""
    server.workflow("wf")(handler)
    execution = run(client)
    assert execution["status"] == "failed"
    server.workflow("next")(lambda: {"a": 1})
    assert run(client, "next")["outputs"] == {"a": 1}
    error = execution["error"]
    assert isinstance(error, str)
    return error


# ---- How a handler is called


def positional_only(inputs, times=3, /, run=None): ...


def test_arguments_go_by_name_and_by_position_where_they_have_to():
    class Handler:
        def __call__(self, inputs, run): ...

        def method(self, run): ...

    class Untold:
        __signature__ = "none"

        def __call__(self, inputs, run): ...

    def annotated(data, r: Optional[Run] = None): ...

    def annotated_in_text(data, r: Run = None): ...  # the module's annotations are texts

    @functools.wraps(annotated)
    def wrapped(*args, **kwargs): ...

    for handler, positional, keywords in (
        (lambda: 0, (), {}),
        (lambda inputs: 0, ("inputs",), {}),
        (lambda inputs, run: 0, ("inputs", "run"), {}),
        (lambda run, inputs: 0, ("run", "inputs"), {}),
        (lambda data, context: 0, ("inputs", "run"), {}),
        (lambda data, context, times=3: 0, ("inputs", "run"), {}),
        # Two values that are there, and a parameter of the user's own.
        (lambda inputs, times=3: 0, ("inputs",), {}),
        (lambda data=None, times=3: 0, ("inputs",), {}),
        (lambda inputs, times=3, run=None: 0, ("inputs",), {"run": "run"}),
        (lambda run: 0, ("run",), {}),
        (lambda times, run: 0, ("inputs", "run"), {}),
        (lambda *, inputs, run=None: 0, (), {"inputs": "inputs", "run": "run"}),
        (lambda *args: 0, ("inputs", "run"), {}),
        (lambda inputs, *args: 0, ("inputs", "run"), {}),
        (lambda inputs, times=3, *args: 0, ("inputs",), {}),
        (lambda **kwargs: 0, (), {"inputs": "inputs", "run": "run"}),
        (lambda inputs, **kwargs: 0, ("inputs",), {"run": "run"}),
        (lambda *args, **kwargs: 0, ("inputs", "run"), {}),
        (annotated, ("inputs", "run"), {}),
        (annotated_in_text, ("inputs", "run"), {}),
        (wrapped, ("inputs", "run"), {}),
        (Handler(), ("inputs", "run"), {}),
        (Handler().method, ("run",), {}),
        (functools.partial(lambda times, inputs: 0, 3), ("inputs",), {}),
        (Mock(), ("inputs", "run"), {}),
        # What tells nothing of its parameters, as some callables written in C.
        (Untold(), ("inputs", "run"), {}),
        (positional_only, ("inputs",), {"run": "run"}),
    ):
        arguments = arguments_of(handler, ("inputs", "run"))
        assert arguments is not None
        assert (arguments.positional, arguments.keywords) == (positional, keywords), handler
    for handler in (
        lambda inputs, run, more: 0,
        lambda inputs, *, more: 0,
        lambda inputs, run, context: 0,
    ):
        assert arguments_of(handler, ("inputs", "run")) is None


def test_a_default_of_the_users_own_stays(server, client):
    @server.workflow("wf")
    def repeat(inputs, times=3):
        return {"text": inputs["text"] * times}

    @server.agent("a")
    def reply(message, tone="kind"):
        return f"{tone}: {message}"

    assert run(client, text="ab")["outputs"] == {"text": "ababab"}
    thread = client.agents.create_thread("a")["data"]["id"]
    client.threads.send_message(thread, "hi")
    assert server.messages(thread)[-1].content == "kind: hi"


# ---- Whatever it raises


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Silent(BaseException):
    pass


def raising(error: BaseException) -> Any:
    def handler() -> None:
        raise error

    return handler


def recursing() -> None:
    recursing()


RAISED = [
    (raising(ValueError("a sentence")), "a sentence"),
    (raising(ValueError()), "ValueError"),
    (raising(KeyError("name")), "KeyError: 'name'"),
    (raising(Silent()), "Silent"),
    (raising(Silent("text")), "Silent: text"),
    (raising(KeyboardInterrupt()), "KeyboardInterrupt"),
    (raising(GeneratorExit()), "GeneratorExit"),
    (raising(asyncio.CancelledError()), "CancelledError"),
    (lambda: sys.exit(3), "the handler called sys.exit(3)"),
    (lambda: sys.exit("a reason"), "the handler called sys.exit('a reason')"),
    (raising(Unprintable()), "Unprintable, whose text raises RuntimeError"),
    (raising(ValueError("caf\ud800")), "caf\\ud800"),
    (recursing, "RecursionError: maximum recursion depth exceeded"),
    (raising(StopIteration()), "a Mock with side_effect=[...] once all its values are used"),
    (raising(StopAsyncIteration()), "the handler raised StopAsyncIteration"),
    (Mock(side_effect=[]), "the handler raised StopIteration"),
    (AsyncMock(side_effect=[]), "StopAsyncIteration"),
]


@pytest.mark.parametrize(("handler", "says"), RAISED)
def test_whatever_a_handler_raises_is_its_executions_error(server, client, handler, says):
    assert says in error_of(server, client, handler)


@pytest.mark.parametrize(("handler", "says"), RAISED[:13])
def test_whatever_a_coroutine_or_generator_raises_is_its_executions_error(
    server, client, handler, says
):
    async def coroutine():
        await asyncio.sleep(0)
        handler()

    def generator():
        yield 1
        handler()

    async def asynchronous_generator():
        yield 1
        handler()

    kinds = (coroutine, generator, asynchronous_generator, lambda: coroutine())
    for number, kind in enumerate(kinds):
        server.workflow(f"wf_{number}")(kind)
        execution = run(client, f"wf_{number}")
        assert execution["status"] == "failed"
        assert says in execution["error"]


@pytest.mark.parametrize(("handler", "says"), RAISED)
def test_whatever_an_agent_raises_fails_its_reply(server, client, handler, says):
    server.agent("a")(handler)
    server.agent("next")(lambda message: message)
    thread = client.agents.create_thread("a")["data"]["id"]
    if server.dialect == "wire":
        with pytest.raises(ServerError) as caught:
            client.threads.send_message(thread, "hi")
        assert says in caught.value.message
    else:
        events = list(client.threads.send_message_stream(thread, "hi"))
        assert events[-1]["type"] == "message:failed"
        assert says in events[-1]["error"]
    other = client.agents.create_thread("next")["data"]["id"]
    client.threads.send_message(other, "hello")
    assert server.messages(other)[-1].content == "hello"


def test_a_task_of_a_handler_that_exits_stops_nothing(server, client):
    async def leave():
        sys.exit(1)

    async def handler():
        task = asyncio.ensure_future(leave())
        await asyncio.sleep(0.01)
        return {"done": task.done()}

    server.workflow("wf")(handler)
    assert run(client)["outputs"] == {"done": True}
    assert run(client)["outputs"] == {"done": True}


def test_a_cancellation_that_nobody_asked_for_ends_the_execution(server, client):
    @server.workflow("wf")
    def handler(inputs, run):
        raise ExecutionCancelled("mine")

    assert run(client)["status"] == "cancelled"


def test_a_handler_that_is_cancelled_hears_of_it_in_all_that_it_does(server, client):
    is_over = threading.Event()
    raised, runs = [], []

    @server.workflow("wf")
    def handler(inputs, run):
        runs.append(run)
        node = run.node("n")
        with contextlib.suppress(ExecutionCancelled):
            run.sleep(100)
        for call in (
            lambda: run.sleep(0),
            lambda: run.progress(1),
            lambda: node.__enter__(),
            lambda: node.stream("x"),
            lambda: node.retry(1, "x"),
            lambda: run.pause(),
            lambda: run.resume(),
            lambda: run.ask("Which?"),
            lambda: run.emit("custom"),
            lambda: run.check_cancelled(),
        ):
            try:
                call()
            except ExecutionCancelled as cancelled:
                raised.append(str(cancelled))
        is_over.set()

    started = client.workflows.execute("wf")["data"]["execution_id"]
    until(lambda: runs)
    assert not runs[0].is_cancelled
    client.executions.cancel(started)
    assert is_over.wait(60)
    assert raised == [started] * 10
    assert runs[0].is_cancelled
    assert server.executions[0].status == "cancelled"


def test_a_handler_knows_what_it_runs(server, client):
    @server.workflow("wf")
    def handler(inputs, run):
        return {"execution": run.execution_id, "workflow": run.workflow_id}

    execution = run(client)
    assert execution["outputs"] == {"execution": execution["id"], "workflow": "wf"}


def test_what_a_handler_tells_after_its_end_is_not_heard(server, client):
    runs = []

    @server.workflow("wf")
    def handler(inputs, run):
        runs.append(run)
        return {"a": 1}

    assert run(client)["outputs"] == {"a": 1}
    # As a thread of the handler's might, which is not told to stop either.
    runs[0].emit("custom")
    assert not runs[0].is_cancelled
    assert server.executions[0].status == "completed"


def test_no_thread_to_be_had_fails_the_execution(server, client, monkeypatch):
    class NoThread(threading.Thread):
        def start(self) -> None:
            if self.name == "flowmaestro-local-handler":
                raise RuntimeError("can't start new thread")
            super().start()

    server.workflow("wf")(dict)
    monkeypatch.setattr("flowmaestro_local.handlers.threading.Thread", NoThread)
    assert run(client)["error"] == "no thread for the handler: can't start new thread"


# ---- Whatever it returns


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def circle() -> Any:
    items: list[Any] = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda: object(), "not JSON serializable"),
        (lambda: Mock(), "not JSON serializable"),
        (lambda: {"x": float("nan")}, "Out of range float values"),
        (lambda: {"x": {1, 2}}, "not JSON serializable"),
        (lambda: {(1, 2): 3}, "keys must be str"),
        (circle, "Circular reference"),
        (lambda: {"x": "\ud800"}, r"lone surrogate, '\ud800'"),
        (lambda: nested(100_000), "nested too deeply"),
        (lambda: 10**5_000, "what the handler returned cannot be written as JSON"),
    ],
)
def test_what_json_cannot_carry_is_said(server, client, value, says):
    error = error_of(server, client, value)
    assert says in error
    assert error.startswith("what the handler returned")


@pytest.mark.parametrize(
    ("value", "outputs"),
    [
        (None, {}),
        ({}, {}),
        (0, {"result": 0}),
        ([], {"result": []}),
        ("", {"result": ""}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}),
        ({1: "a"}, {"1": "a"}),
    ],
)
def test_what_a_handler_returns_is_its_outputs(server, client, value, outputs):
    server.workflow("wf")(lambda: value)
    assert run(client)["outputs"] == outputs


def test_outputs_that_are_nested_can_be_read_again(server, client):
    server.workflow("wf")(lambda: nested(300))
    assert run(client)["outputs"] == nested(300)
    assert client.executions.list()["data"][0]["outputs"] == nested(300)


def test_what_a_handler_does_to_its_outputs_later_changes_nothing(server, client):
    outputs = {"a": [1]}
    server.workflow("wf")(lambda: outputs)
    first = run(client)
    outputs["a"].append(object())
    assert client.executions.get(first["id"])["data"]["outputs"] == {"a": [1]}


def test_what_an_event_cannot_carry_is_raised_where_it_is_told(server, client):
    told = []

    @server.workflow("wf")
    def handler(inputs, run):
        for tell in (
            lambda: run.emit("custom", value=object()),
            lambda: run.emit("custom", value="\ud800"),
            lambda: run.emit("two\nlines"),
            lambda: run.emit(""),
            lambda: run.emit("a line\n"),
        ):
            with pytest.raises((TypeError, ValueError)) as caught:
                tell()
            told.append(str(caught.value))
        with contextlib.suppress(TypeError), run.node("n") as node:
            node.output(object())

    assert run(client)["status"] == "completed"
    assert told[0].startswith("the event 'custom' cannot be written as JSON")
    assert "lone surrogate" in told[1]
    assert told[2:] == [
        r"an event's type must be one line, not 'two\nlines'",
        "an event's type must be one line, not ''",
        r"an event's type must be one line, not 'a line\n'",
    ]


def test_a_yield_that_json_cannot_carry_fails_the_execution(server, client):
    def handler():
        yield object()

    error = error_of(server, client, handler)
    assert error.startswith("the event 'node:stream' cannot be written as JSON")


@pytest.mark.parametrize("reply", [Unprintable(), "\ud800"])
def test_a_reply_without_a_text_fails(server, client, reply):
    server.agent("a")(lambda: reply)
    thread = client.agents.create_thread("a")["data"]["id"]
    if server.dialect == "wire":
        with pytest.raises(ServerError):
            client.threads.send_message(thread, "hi")
    else:
        events = list(client.threads.send_message_stream(thread, "hi"))
        assert events[-1]["type"] == "message:failed"
    assert [message.role for message in server.messages(thread)] == ["user"]


def test_a_copy_says_what_it_is_of():
    assert json_copy({"a": (1, 2)}, "x") == {"a": [1, 2]}
    with pytest.raises(TypeError, match=r"^the x cannot be written as JSON: Object of type set"):
        json_copy({1}, "the x")


# ---- What never returns


def never(release: threading.Event) -> Any:
    def handler() -> None:
        release.wait(100)

    return handler


def blocking(release: threading.Event) -> Any:
    async def handler() -> None:
        release.wait(100)

    return handler


def waiting(release: threading.Event) -> Any:
    async def handler() -> None:
        await asyncio.Event().wait()

    return handler


@pytest.mark.once
@pytest.mark.parametrize("kind", [never, blocking, waiting])
def test_a_handler_that_never_returns_fails_in_time(kind):
    server = LocalServer(handler_timeout=2.0)
    release = threading.Event()

    async def fine():
        await asyncio.sleep(0)
        return {"a": 1}

    server.workflow("wf")(kind(release))
    server.workflow("next")(fine)
    server.agent("a")(kind(release))
    with server.start() as url, FlowMaestroClient(KEY, url, max_retries=0) as client:
        error = "the handler has not returned after 2 s; see handler_timeout"
        started = client.workflows.execute("wf")["data"]["execution_id"]
        thread = client.agents.create_thread("a")["data"]["id"]
        with pytest.raises(ServerError, match=error):
            client.threads.send_message(thread, "hi")
        assert client.executions.wait_for_completion(started, 0.01, 100)["error"] == error
        assert run(client, "next")["outputs"] == {"a": 1}
        release.set()


@pytest.mark.once
@pytest.mark.parametrize(("kind", "is_replaced"), [(blocking, True), (waiting, False)])
def test_only_an_event_loop_that_is_blocked_is_replaced(kind, is_replaced):
    server = LocalServer(handler_timeout=None)
    release = threading.Event()
    loops = []

    async def which():
        loops.append(asyncio.get_running_loop())

    server.workflow("wf")(kind(release))
    server.workflow("which")(which)
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        run(client, "which")
        held = client.workflows.execute("wf")["data"]["execution_id"]
        # It waits behind the one that blocks, and then is done by another event loop.
        run(client, "which")
        assert client.executions.get(held)["data"]["status"] == "running"
        # Cancelling one that blocks frees nobody; later ones go on all the same.
        client.executions.cancel(held)
        run(client, "which")
        release.set()
        assert (loops[0] is not loops[1]) == is_replaced


def test_a_handler_that_is_out_of_time_is_told():
    server = LocalServer(handler_timeout=0.1)
    was_told = threading.Event()

    @server.workflow("wf")
    def handler(inputs, run):
        try:
            run.sleep(100)
        except ExecutionCancelled:
            was_told.set()
            raise

    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        assert run(client)["status"] == "failed"
        assert was_told.wait(60)


@pytest.mark.once
def test_time_that_an_execution_is_paused_does_not_count():
    server = LocalServer(handler_timeout=1.0)

    @server.workflow("wf")
    def handler(inputs, run):
        run.sleep(0.05)
        run.pause()
        # Longer than it may run, and over at no multiple of that.
        run.sleep(1.4)
        run.resume()
        run.sleep(0.05 if not inputs else 100)
        return {"a": 1}

    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        assert run(client)["outputs"] == {"a": 1}
        # Paused or not, what it runs is bounded.
        assert run(client, slow=True)["status"] == "failed"


def test_without_a_bound_a_handler_may_take_its_time():
    server = LocalServer(handler_timeout=None)
    server.workflow("wf")(lambda: time.sleep(0.2))
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        assert run(client)["status"] == "completed"


@pytest.mark.parametrize(
    "name",
    ["keepalive", "per_minute", "per_day", "max_running", "handler_timeout", "max_body_bytes"],
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_bound_is_more_than_nothing(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be more than 0, not {value}$"):
        LocalServer(**{name: value})


def test_a_coroutine_that_blocks_does_not_hold_up_the_server(server):
    release = threading.Event()
    server.workflow("wf")(blocking(release))
    with httpx.Client(base_url=server.url, headers={"x-api-key": KEY}, timeout=60) as http:
        started = http.post("/api/v1/workflows/wf/execute").json()["data"]
        for _ in range(20):
            path = f"/api/v1/executions/{started['execution_id']}"
            assert http.get(path).json()["data"]["status"] in ("pending", "running")
    release.set()


def test_cancelling_reaches_a_coroutine(server, client):
    began, cancelled = threading.Event(), threading.Event()

    @server.workflow("wf")
    async def handler():
        try:
            began.set()
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    execution_id = client.workflows.execute("wf")["data"]["execution_id"]
    assert began.wait(60)
    client.executions.cancel(execution_id)
    assert cancelled.wait(60)
    assert client.executions.get(execution_id)["data"]["status"] == "cancelled"


def test_stopping_cancels_coroutines_and_ends_their_thread():
    server = LocalServer()
    began, cancelled = threading.Event(), threading.Event()

    @server.workflow("wf")
    async def handler():
        try:
            began.set()
            await asyncio.sleep(100)
        finally:
            cancelled.set()

    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        client.workflows.execute("wf")
        assert began.wait(60)
    assert cancelled.wait(60)
    for thread in threading.enumerate():
        if thread.name == "flowmaestro-local-handlers":
            thread.join(60)
            assert not thread.is_alive()


def test_coroutines_share_an_event_loop(server, client):
    lock: list[asyncio.Lock] = []

    @server.workflow("wf")
    async def handler():
        lock[:] = lock or [asyncio.Lock()]
        async with lock[0]:
            await asyncio.sleep(0.01)
        return {"a": 1}

    ids = [client.workflows.execute("wf")["data"]["execution_id"] for _ in range(5)]
    for execution_id in ids:
        execution = client.executions.wait_for_completion(execution_id, 0.01, 100)
        assert execution["outputs"] == {"a": 1}


# ---- What runs with it


class Nasty:
    """Whatever is asked of it exits."""

    def __str__(self) -> str:
        sys.exit("asked for a text")

    __repr__ = __str__


class NastyMap(dict):
    def items(self) -> Any:
        sys.exit("asked for items")


class NastyError(Exception):
    __str__ = Nasty.__str__


@pytest.mark.parametrize(
    "handler",
    [
        lambda: NastyMap(a=1),
        lambda: sys.exit(Nasty()),
        raising(NastyError()),
        raising(KeyError(Nasty())),
        lambda: {Nasty(): 1},
    ],
)
def test_what_a_result_or_an_error_does_when_it_is_asked_stops_nothing(server, client, handler):
    assert error_of(server, client, handler)
    server.agent("a")(handler)
    thread = client.agents.create_thread("a")["data"]["id"]
    with contextlib.suppress(ServerError):
        client.threads.send_message(thread, "hi")
    assert client.workflows.list()["data"]


def test_an_error_that_takes_its_time_holds_nobody_up(server, client):
    asked, release = threading.Event(), threading.Event()

    class SlowError(Exception):
        def __str__(self) -> str:
            asked.set()
            release.wait(100)
            return "slow"

    server.workflow("wf")(raising(SlowError()))
    execution_id = client.workflows.execute("wf")["data"]["execution_id"]
    assert asked.wait(60)
    assert client.executions.get(execution_id)["data"]["status"] == "running"
    release.set()
    assert client.executions.wait_for_completion(execution_id, 0.01)["error"] == "slow"


def test_a_handler_that_cancels_all_tasks_ends_them():
    server = LocalServer(handler_timeout=None)
    release = threading.Event()

    @server.workflow("wf")
    async def cancels_all(inputs):
        release.wait(0.5)
        for task in asyncio.all_tasks():
            task.cancel()

    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        ids = [client.workflows.execute("wf")["data"]["execution_id"] for _ in range(3)]
        release.set()
        for execution_id in ids:
            execution = client.executions.wait_for_completion(execution_id, 0.01, 100)
            assert execution["error"] in (None, "CancelledError")


@pytest.mark.parametrize("ends_by", ["time", "stop"])
def test_an_agent_that_goes_on_for_ever_is_stopped(ends_by):
    timeout = 1.0 if ends_by == "time" else None
    server = LocalServer(dialect="documented", handler_timeout=timeout)
    began, stopped = threading.Event(), threading.Event()

    @server.agent("a")
    def reply():
        try:
            while True:
                began.set()
                time.sleep(0.001)
                yield "x"
        finally:
            stopped.set()

    with server.start() as url, FlowMaestroClient(KEY, url, max_retries=0) as client:
        thread = client.agents.create_thread("a")["data"]["id"]
        if ends_by == "time":
            events = [one["type"] for one in client.threads.send_message_stream(thread, "hi")]
            assert events[-1] == "message:failed"
            assert events.count("message:failed") == 1
        else:
            stream = client.threads.send_message_stream(thread, "hi")
            next(stream)
            assert began.wait(60)
            stream.close()
    assert stopped.wait(60)


def test_coroutines_clean_up_before_a_stop_returns():
    server = LocalServer()
    began, cleaned = threading.Event(), []

    @server.workflow("wf")
    async def handler():
        try:
            began.set()
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0.1)
            cleaned.append(True)

    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        client.workflows.execute("wf")
        assert began.wait(60)
    assert cleaned == [True]


def test_what_begins_while_the_server_stops_has_an_end():
    server = LocalServer()
    server.workflow("wf")(lambda inputs, run: run.sleep(100))
    for _ in range(5):
        running = server.start()
        is_stopped = threading.Event()

        def execute(url=running.url, is_stopped=is_stopped):
            with httpx.Client(base_url=url, headers={"x-api-key": KEY}, timeout=60) as http:
                while not is_stopped.is_set():
                    try:
                        http.post("/api/v1/workflows/wf/execute")
                    except httpx.TransportError:
                        return

        before = len(server.executions)
        threads = [threading.Thread(target=execute) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda before=before: len(server.executions) > before + 4)
        running.stop()
        is_stopped.set()
        for thread in threads:
            thread.join(60)
        assert {one.status for one in server.executions} == {"failed"}
