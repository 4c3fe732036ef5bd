"""Processes that were forked: what a parent has opened stays the parent's."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from flowmaestro_local import LocalServer
from tests.conftest import KEY

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="forks with the C library's fork"),
]

CALLS = 60


@pytest.fixture(scope="module")
def server():
    server = LocalServer()
    server.workflow("wf")(lambda inputs, run: run.sleep(inputs.get("seconds", 600)))
    for number in range(CALLS):
        server.workflow(f"wf{number}")(lambda inputs, run: None)
    with server.start():
        yield server


# A fork that Python is told of, and one of which it is not, as in uWSGI.
FORKS = {"os": "os.fork", "c": "ctypes.PyDLL(None).fork"}

HEAD = """
import asyncio, ctypes, gc, os, sys, threading, time, warnings
from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient, FlowMaestroError
warnings.simplefilter("ignore")
CALLS = {calls}
KEY, URL = {key!r}, {url!r}
fork = {fork}

def in_child(run):
    # Gives what it returned in a child process, which ends without Python's own end.
    # Threads are at rest by then: a child whose parent's thread waits for Python's lock
    # would wait for that thread.
    time.sleep(0.3)
    child = fork()
    if child == 0:
        code = 99
        try:
            code = run()
        except BaseException as problem:
            print("child:", repr(problem), file=sys.stderr, flush=True)
        os._exit(code)
    return child

def wait_for(child):
    for _ in range(6000):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.WEXITSTATUS(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "it hangs"

def start(seconds=600):
    with FlowMaestroClient(KEY, URL) as client:
        started = client.workflows.execute("wf", {{"seconds": seconds}})
        return started["data"]["execution_id"]
"""


def run(server, fork, program):
    head = HEAD.format(calls=CALLS, key=KEY, url=server.url, fork=FORKS[fork])
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (done.returncode, done.stdout) == (0, "good\n"), done.stderr


both = pytest.mark.parametrize("fork", FORKS)


@both
def test_parent_and_child_get_their_own_responses(server, fork):
    run(
        server,
        fork,
        """
        client = FlowMaestroClient(KEY, URL)
        client.workflows.get("wf")

        def calls(first):
            wrong = 0
            for number in range(first, CALLS, 2):
                found = client.workflows.get(f"wf{number}")["data"]["id"]
                wrong += found != f"wf{number}"
            return wrong

        child = in_child(lambda: calls(1))
        assert calls(0) == 0
        assert wait_for(child) == 0
        # And the child of a child.
        child = in_child(lambda: wait_for(in_child(lambda: calls(0))))
        assert calls(1) == 0
        assert wait_for(child) == 0
        print("good")
        """,
    )


@both
def test_parent_and_child_get_their_own_responses_in_event_loops(server, fork):
    run(
        server,
        fork,
        """
        client = AsyncFlowMaestroClient(KEY, URL)

        async def calls(first):
            wrong = 0
            for number in range(first, CALLS, 2):
                found = (await client.workflows.get(f"wf{number}"))["data"]["id"]
                wrong += found != f"wf{number}"
            return wrong

        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(calls(0)) == 0
        child = in_child(lambda: asyncio.run(calls(1)))
        assert loop.run_until_complete(calls(0)) == 0
        assert wait_for(child) == 0
        assert loop.run_until_complete(calls(0)) == 0
        loop.run_until_complete(client.close())
        loop.close()
        print("good")
        """,
    )


def test_a_process_may_fork_while_its_other_threads_make_calls(server):
    run(
        server,
        # Without its own measures Python cannot run in the child of one with threads.
        "os",
        """
        client = FlowMaestroClient(KEY, URL)
        over = threading.Event()
        wrong = []

        def calls():
            while not over.is_set():
                if client.workflows.get("wf1")["data"]["id"] != "wf1":
                    wrong.append(1)

        threads = [threading.Thread(target=calls) for _ in range(3)]
        for thread in threads:
            thread.start()
        client.workflows.get("wf2")

        def child():
            return client.workflows.get("wf3")["data"]["id"] != "wf3"

        for _ in range(10):
            assert wait_for(in_child(child)) == 0
        over.set()
        for thread in threads:
            thread.join(60)
        assert not wrong
        print("good")
        """,
    )


LEAVE = {
    "close the client": "client.close()",
    "close the stream": "stream.close()",
    "collect": "stream = client = None; gc.collect()",
    "read on": """
try:
    next(stream)
except FlowMaestroError:
    pass
    """,
}


@both
@pytest.mark.parametrize("leave", LEAVE)
def test_a_parent_keeps_its_stream_whatever_a_child_does(server, fork, leave):
    run(
        server,
        fork,
        f"""
        execution = start(1.5)
        client = FlowMaestroClient(KEY, URL)
        stream = client.executions.stream(execution)
        assert next(stream)["type"] == "connected"

        def child():
            exec({LEAVE[leave]!r}, globals())
            gc.collect()
            return 0

        assert wait_for(in_child(child)) == 0
        types = [event["type"] for event in stream]
        assert types[-1] == "execution:completed", types
        client.close()
        print("good")
        """,
    )


@both
def test_a_parent_keeps_its_silent_stream_without_connecting_again(server, fork):
    run(
        server,
        fork,
        """
        import logging
        logging.basicConfig(stream=sys.stderr)
        said = []
        class Keep(logging.Handler):
            def emit(self, record):
                said.append(record.getMessage())
        logging.getLogger("flowmaestro").addHandler(Keep())
        execution = start(2)
        client = FlowMaestroClient(KEY, URL)
        stream = client.executions.stream(execution)
        next(stream)
        types = []

        def follow():
            types.extend(event["type"] for event in stream)

        follower = threading.Thread(target=follow)
        follower.start()

        def child():
            client.close()
            return 0

        assert wait_for(in_child(child)) == 0
        follower.join(60)
        assert types[-1] == "execution:completed", types
        assert not [text for text in said if "broke" in text], said
        print("good")
        """,
    )


LEAVE_LOOP = {
    "close the client": "asyncio.run(client.close())",
    "collect": "stream = client = None; gc.collect()",
    "read on": """
async def read():
    try:
        await stream.__anext__()
    except FlowMaestroError:
        pass
asyncio.run(read())
    """,
    "close the stream": """
async def close():
    await stream.aclose()
asyncio.run(close())
    """,
}


@both
@pytest.mark.parametrize("leave", LEAVE_LOOP)
def test_a_parent_keeps_its_asynchronous_stream_whatever_a_child_does(server, fork, leave):
    run(
        server,
        fork,
        f"""
        execution = start(1.5)
        client = AsyncFlowMaestroClient(KEY, URL)
        stream = client.executions.stream(execution)
        loop = asyncio.new_event_loop()

        async def first():
            event = await stream.__anext__()
            assert event["type"] == "connected"

        async def rest():
            types = [event["type"] async for event in stream]
            assert types[-1] == "execution:completed", types
            await client.close()

        loop.run_until_complete(first())

        def child():
            exec({LEAVE_LOOP[leave]!r}, globals())
            gc.collect()
            return 0

        assert wait_for(in_child(child)) == 0
        loop.run_until_complete(rest())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        print("good")
        """,
    )


@both
def test_a_reply_that_a_parent_reads_is_lost_to_a_child(server, fork):
    """It cannot be asked for a second time, and is not read from the parent's connection."""
    run(
        server,
        fork,
        """
        from tests.raw import raw_server
        HEAD = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\n\\r\\n"
        going = threading.Event()

        def reply(connection):
            connection.sendall(HEAD + b'event: message:token\\ndata: {"token": "a"}\\n\\n')
            going.wait(60)
            connection.sendall(b'event: message:token\\ndata: {"token": "b"}\\n\\n')
            connection.sendall(b'event: message:completed\\ndata: {}\\n\\n')

        with raw_server(reply) as url:
            client = FlowMaestroClient(KEY, url)
            stream = client.threads.send_message_stream("th", "hi")
            first = next(stream)

            def child():
                try:
                    next(stream)
                except FlowMaestroError as error:
                    return 0 if error.code == "stream_lost" else 1
                return 2

            assert wait_for(in_child(child)) == 0
            going.set()
            types = [event["type"] for event in stream]
            assert types[-1] == "message:completed", types
            client.close()
        print("good")
        """,
    )
