"""Exceptions that come from outside at any step: time limits of workers, Ctrl-C, signals."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from flowmaestro_local import LocalServer
from tests.conftest import KEY

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="counts sockets in /proc"),
]

HEAD = """
import ctypes, gc, os, random, signal, sys, threading, time
from flowmaestro import FlowMaestroClient, FlowMaestroError
KEY, URL = {key!r}, {url!r}

class Limit(BaseException):
    pass

def sockets():
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink("/proc/self/fd/" + name))
        except OSError:
            pass
    return sum(link.startswith("socket:") for link in links)

def until(condition):
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError((sockets(), threading.enumerate()))

client = FlowMaestroClient(KEY, URL)
started = client.workflows.execute("wf")["data"]["execution_id"]

def work():
    client.workflows.get("wf")
    for _ in client.executions.stream(started):
        break

chance = random.Random(7)
count = 0
"""

TAIL = """
# What was in traceback and frame is gone with the exception.
gc.collect()
for _ in range(2):
    client.workflows.get("wf")
# Those of the operating system: Python goes on listing one whose start was interrupted.
until(lambda: len(os.listdir("/proc/self/task")) == 1)
connections = client._transport._connections
senders = connections._senders.get(connections._open_senders)
assert senders.limiter._line.qsize() == 100, senders.limiter._line.qsize()
assert [pool.taken for pool in senders._pools if pool.taken] == []
# Those that are warm may stay, of a transport or two.
assert sockets() <= 20, sockets()
client.close()
until(lambda: sockets() == 0)
print("good", count > 50)
"""

WAYS = {
    "a signal's handler": """
        is_armed = False

        def raise_limit(*_):
            if is_armed:
                raise Limit

        signal.signal(signal.SIGALRM, raise_limit)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            # Again and again, for one that comes while the garbage collector is at work is lost.
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.008), 0.5)
            try:
                is_armed = True
                while True:
                    work()
            except Limit:
                is_armed = False
                count += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
    """,
    "set in the thread": """
        def set_limits():
            global count
            end = time.monotonic() + 4
            while time.monotonic() < end:
                time.sleep(chance.uniform(0.0001, 0.008))
                number = ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(worker.ident), ctypes.py_object(Limit)
                )
                count += number

        over = False

        def run():
            while not over:
                try:
                    while not over:
                        work()
                except Limit:
                    pass

        def guarded():
            while not over:
                try:
                    run()
                except Limit:
                    pass

        worker = threading.Thread(target=guarded)
        worker.start()
        try:
            set_limits()
        finally:
            over = True
        worker.join(60)
        assert not worker.is_alive()
    """,
}


@pytest.fixture(scope="module")
def server():
    server = LocalServer()
    server.workflow("wf")(lambda inputs, run: run.sleep(600))
    with server.start():
        yield server


@pytest.mark.parametrize("way", WAYS)
def test_interruptions_at_any_step_leave_nothing_behind(server, way):
    head = HEAD.format(key=KEY, url=server.url)
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(WAYS[way]) + TAIL],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.stdout == "good True\n", done.stderr[-3000:]
