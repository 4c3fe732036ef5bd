"""Promise 6: leaving is clean, in every way that a program can leave."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

import flowmaestro
from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.receiver import until
from tests.threads import all_ended, threads_started_by

pytestmark = pytest.mark.slow

TCP = Path("/proc/self/net/tcp")


@pytest.fixture(params=["wire", "documented"])
def server(request):
    server = LocalServer(dialect=request.param)
    server.workflow("wf")(lambda inputs, run: run.sleep(600))
    with server.start():
        yield server


async def eventually(condition):
    """Wait for something as ``until`` does, and let the event loop go on meanwhile."""
    for _ in range(6_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within 60 s")


def start(server: LocalServer) -> str:
    with FlowMaestroClient(KEY, server.url) as client:
        return client.workflows.execute("wf")["data"]["execution_id"]


def sockets(server: LocalServer) -> int:
    """Count the sockets to a server that somebody here has not closed: those with an inode."""
    ending = f":{int(server.url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in TCP.read_text().splitlines()[1:]]
    return sum(row[2].endswith(ending) and row[9] != "0" for row in rows)


needs_proc = pytest.mark.skipif(not TCP.exists(), reason="counts sockets in /proc")


@needs_proc
def test_promise_6_a_stream_that_is_left_frees_its_socket_and_its_thread(server):
    execution_id = start(server)

    def leave_by_break(client):
        for _ in client.executions.stream(execution_id):
            break

    def leave_by_block(client):
        with client.executions.stream(execution_id) as stream:
            next(stream)
            until(lambda: sockets(server) == 1)

    def leave_by_error(client):
        with pytest.raises(ZeroDivisionError):
            for _ in client.executions.stream(execution_id):
                1 / 0  # noqa: B018

    def leave_by_close(client):
        stream = client.executions.stream(execution_id)
        next(stream)
        stream.close()
        assert list(stream) == []

    with FlowMaestroClient(KEY, server.url) as client:
        for leave in (leave_by_break, leave_by_block, leave_by_error, leave_by_close):
            with threads_started_by("flowmaestro_core") as threads:
                leave(client)
            assert all_ended(threads), leave
            until(lambda: sockets(server) == 0)


@needs_proc
def test_promise_6_an_asynchronous_stream_that_is_left_frees_its_socket(server):
    execution_id = start(server)

    async def main():
        async with AsyncFlowMaestroClient(KEY, server.url) as client:
            own = sockets(server)
            async for _ in client.executions.stream(execution_id):
                break
            await eventually(lambda: sockets(server) <= own)
            seen = []
            task = asyncio.create_task(collect(client, seen))
            await eventually(lambda: seen)
            assert sockets(server) > own
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await eventually(lambda: sockets(server) <= own)
            async with client.executions.stream(execution_id) as stream:
                await stream.__anext__()
            await eventually(lambda: sockets(server) <= own)

    async def collect(client, seen):
        async for event in client.executions.stream(execution_id):
            seen.append(event)

    asyncio.run(main())
    until(lambda: sockets(server) == 0)


def test_promise_6_closing_a_client_ends_its_open_streams(server):
    execution_id = start(server)
    client = FlowMaestroClient(KEY, server.url)
    seen, problems = [], []

    def follow():
        try:
            for event in client.executions.stream(execution_id):
                seen.append(event)
        except flowmaestro.FlowMaestroError as error:
            problems.append(error)

    follower = threading.Thread(target=follow)
    follower.start()
    until(lambda: seen)
    client.close()
    # At once, and not when a read has taken too long, nor when the execution ends.
    follower.join(20)
    assert not follower.is_alive()
    assert problems[0].code == "client_closed"

    async def main():
        client = AsyncFlowMaestroClient(KEY, server.url)

        seen = []

        async def follow():
            async for event in client.executions.stream(execution_id):
                seen.append(event)

        follower = asyncio.create_task(follow())
        await eventually(lambda: seen)
        await client.close()
        with pytest.raises(flowmaestro.FlowMaestroError, match="closed"):
            await asyncio.wait_for(follower, 20)

    asyncio.run(main())


def test_promise_6_cancelling_in_a_pause_between_tries_returns_at_once(server, caplog):
    server.faults.add("status", times=None, status=429, headers={"Retry-After": "60"})

    async def main():
        async with AsyncFlowMaestroClient(KEY, server.url) as client:
            call = asyncio.create_task(client.workflows.list())
            # It is said at the beginning of the pause.
            await eventually(lambda: "trying again in 60" in caplog.text)
            began = time.monotonic()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            return time.monotonic() - began

    assert asyncio.run(main()) < 30


def test_promise_6_with_one_connection_leaving_a_stream_lets_the_next_call_through(server):
    execution_id = start(server)
    with httpx.Client(limits=httpx.Limits(max_connections=1)) as http_client:
        client = FlowMaestroClient(KEY, server.url, http_client=http_client, timeout=60)
        with client.executions.stream(execution_id) as stream:
            next(stream)
        assert client.workflows.list()["data"]

    async def main():
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(limits=limits) as http_client:
            client = AsyncFlowMaestroClient(KEY, server.url, http_client=http_client, timeout=60)
            async with client.executions.stream(execution_id) as stream:
                await stream.__anext__()
            assert (await client.workflows.list())["data"]

    asyncio.run(main())


def test_promise_6_with_one_connection_a_silent_stream_still_ends():
    server = LocalServer()
    is_followed = threading.Event()

    @server.workflow("wf")
    def wf(inputs, run):
        while not is_followed.is_set():
            run.sleep(0.01)
        run.sleep(1)

    types = []
    with server.start() as url:
        with httpx.Client(limits=httpx.Limits(max_connections=1)) as http_client:
            client = FlowMaestroClient(KEY, url, http_client=http_client)
            started = client.workflows.execute("wf")["data"]["execution_id"]
            for event in client.executions.stream(started):
                types.append(event["type"])
                is_followed.set()
    assert types == ["connected", "execution:completed"]


# The connection that the first loop leaves idle can only be closed there; asyncio says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_promise_6_a_client_works_under_a_second_event_loop(server):
    client = AsyncFlowMaestroClient(KEY, server.url)

    async def call():
        return len((await client.workflows.list())["data"])

    async def last():
        assert await call() == 1
        await client.close()

    assert asyncio.run(call()) == 1
    asyncio.run(last())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_promise_6_a_client_that_was_used_before_a_fork_works_in_the_child(server):
    with FlowMaestroClient(KEY, server.url) as client:
        client.workflows.list()
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if client.workflows.list()["data"] else 3)
            except BaseException:
                os._exit(4)
        _, status = os.waitpid(child, 0)
        assert os.WEXITSTATUS(status) == 0
        assert client.workflows.list()["data"]


PROGRAMS = {
    "interpreter exit with an open stream": """
client = FlowMaestroClient(KEY, URL)
stream = client.executions.stream(EXECUTION)
next(stream)
print("left")
""",
    "interpreter exit with an open asynchronous stream": """
async def main():
    client = AsyncFlowMaestroClient(KEY, URL)
    stream = client.executions.stream(EXECUTION)
    await stream.__anext__()
    await client.close()
    print("left")
asyncio.run(main())
""",
    "Ctrl-C in a stream": """
client = FlowMaestroClient(KEY, URL)
try:
    with client.executions.stream(EXECUTION) as stream:
        for event in stream:
            press_ctrl_c_soon_after(event)
except KeyboardInterrupt:
    print("left")
client.close()
""",
    "Ctrl-C in an asynchronous stream": """
async def main():
    async with AsyncFlowMaestroClient(KEY, URL) as client:
        async with client.executions.stream(EXECUTION) as stream:
            async for event in stream:
                press_ctrl_c_soon_after(event)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("left")
""",
    "trio, cancelled": """
import trio
async def main():
    async with AsyncFlowMaestroClient(KEY, URL) as client:
        with trio.CancelScope() as scope:
            async with client.executions.stream(EXECUTION) as stream:
                async for event in stream:
                    if event["type"] == "connected":
                        scope.deadline = trio.current_time() + 0.3
        await client.workflows.list()
    print("left")
trio.run(main)
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_promise_6_a_program_ends_without_a_word(server, name):
    if "Ctrl-C" in name and sys.platform == "win32":
        pytest.skip("Windows has no SIGINT for one process")
    program = (
        "import asyncio, os, signal, threading\n"
        "from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient\n"
        f"KEY, URL, EXECUTION = {KEY!r}, {server.url!r}, {start(server)!r}\n"
        # In the silence that follows, and not in the imports of a slow machine before it.
        "def press_ctrl_c_soon_after(event):\n"
        "    if event['type'] == 'connected':\n"
        "        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program + PROGRAMS[name]],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.stdout == "left\n", done.stderr
    # An open socket at the interpreter's exit is the program's own affair; nothing else is said.
    said = [
        line for line in done.stderr.splitlines() if "ResourceWarning: unclosed <socket" not in line
    ]
    assert done.returncode == 0
    assert "Task was destroyed" not in done.stderr
    assert not [line for line in said if "Error" in line or "exception" in line.lower()], (
        done.stderr
    )
