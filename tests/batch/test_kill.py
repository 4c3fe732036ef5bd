"""Killed at any moment, again and again, a batch runs every row exactly once."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowmaestro_batch.journal import Journal
from flowmaestro_local import LocalServer
from tests.batch import killed
from tests.receiver import until

pytestmark = pytest.mark.slow

# Of each of four programs: a hundred in all.
KILLS = 25

LATE_IMPORTS = [
    "flowmaestro._sync",
    "flowmaestro_batch._sync.run",
    "flowmaestro_core._sync.connections",
    "flowmaestro_core._sync.transport",
    "flowmaestro_executions._sync",
    "flowmaestro_workflows._sync",
    "httpcore",
    "orjson",
]


def start(server, rows, journal, **options):
    """Start the program that runs the batch."""
    program = str(Path(killed.__file__))
    arguments = [sys.executable, program, server.url, str(rows), str(journal)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, **options)


@contextmanager
def slow_server(seconds=0.05, held=None):
    """Run a workflow that takes some time, and as long as an event is not set, if one is given."""
    server = LocalServer(max_running=100)

    @server.workflow("wf")
    def wf(inputs, run):
        run.sleep(seconds)
        while held is not None and not held.is_set():
            run.sleep(0.01)
        return {"n": inputs["n"]}

    with server.start():
        yield server


def posts(server):
    return sum(request.method == "POST" for request in server.requests)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.soak) for n in (2, 3, 4))])
def test_killed_again_and_again_every_row_ran_exactly_once(tmp_path, seed):
    journal = tmp_path / "batch.sqlite"
    moments = random.Random(seed)
    # Forked from a process that has imported all that the program uses, also what the client
    # imports late: a start takes milliseconds.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([killed.__name__, *LATE_IMPORTS])
    with slow_server() as server:
        for _ in range(KILLS):
            # More rows than any life of the program can run, however late it is killed.
            rows = len(server.executions) + 100_000
            last = len(server.requests) + moments.randint(1, 40)
            process = processes.Process(target=killed.main, args=(server.url, rows, journal))
            process.start()
            # It is killed at a random moment of its work: before the first submission,
            # within one, between two, or while it polls.
            until(lambda last=last: len(server.requests) >= last)
            time.sleep(moments.uniform(0, 0.005))
            process.kill()
            process.join(60)
            assert process.exitcode == -signal.SIGKILL
        # All that were submitted, and some that no life of the program has reached.
        rows = max(execution.inputs["n"] for execution in server.executions) + 50
        output, _ = start(server, rows, journal).communicate(timeout=600)
        ran = Counter(execution.inputs["n"] for execution in server.executions)
    assert rows > KILLS
    assert f"all {rows} rows: {rows} completed, 0 failed" in output
    assert ran == Counter(range(rows))
    opened = Journal(journal, None)
    assert opened.counts() == {"completed": rows}
    opened.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_leaves_the_journal_right_and_the_next_start_goes_on(tmp_path):
    journal = tmp_path / "batch.sqlite"
    with slow_server() as server:
        for _ in range(3):
            server.faults.add("latency", "POST */execute", times=20, seconds=0.5)
            before = posts(server)
            process = start(server, 100, journal, stderr=subprocess.PIPE)
            until(lambda count=before: posts(server) > count)
            os.kill(process.pid, signal.SIGINT)
            _, error = process.communicate(timeout=110)
            assert "KeyboardInterrupt" in error
            # Every submission was waited for: none is in doubt.
            opened = Journal(journal, None)
            assert "submitting" not in opened.counts()
            opened.close()
            server.faults.clear()
        output, _ = start(server, 100, journal).communicate(timeout=110)
        ran = Counter(execution.inputs["n"] for execution in server.executions)
    assert "all 100 rows: 100 completed, 0 failed" in output
    assert ran == Counter(range(100))


def test_a_second_process_on_the_journal_is_refused(tmp_path):
    journal = tmp_path / "batch.sqlite"
    release = threading.Event()
    with slow_server(held=release) as server:
        first = start(server, 40, journal)
        until(lambda: server.executions)
        _, error = start(server, 40, journal, stderr=subprocess.PIPE).communicate(timeout=110)
        assert "JournalInUseError" in error
        assert "is in use" in error
        release.set()
        output, _ = first.communicate(timeout=110)
    assert "all 40 rows: 40 completed" in output
