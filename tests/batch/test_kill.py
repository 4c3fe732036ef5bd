"""Killed at any moment, again and again, a batch runs every row exactly once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowmaestro_batch.journal import Journal
from flowmaestro_local import LocalServer
from tests.receiver import until

pytestmark = pytest.mark.slow

ROWS, RESTARTS = 2_000, 100


def start(server, rows, journal, **options):
    """Start the program that runs the batch."""
    program = str(Path(__file__).with_name("killed.py"))
    arguments = [sys.executable, program, server.url, str(rows), str(journal)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, **options)


@contextmanager
def slow_server():
    server = LocalServer(max_running=100)

    @server.workflow("wf")
    async def wf(inputs):
        await asyncio.sleep(0.4)
        return {"n": inputs["n"]}

    with server.start():
        yield server


def posts(server):
    return sum(request.method == "POST" for request in server.requests)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_hundred_kills_and_every_row_ran_exactly_once(tmp_path):
    journal = tmp_path / "batch.sqlite"
    moments = random.Random(11)
    killed_at_work = 0
    with slow_server() as server:
        for _ in range(RESTARTS):
            before = len(server.executions)
            process = start(server, ROWS, journal)
            # It is killed at a random moment of its work: before the first submission,
            # within one, between two, or as it looks.
            until(lambda count=before: len(server.executions) > count)
            time.sleep(moments.uniform(0, 0.35))
            process.kill()
            process.communicate(timeout=10)
            killed_at_work += process.returncode == -signal.SIGKILL
        assert killed_at_work == RESTARTS, "the rows were done before the kills were"
        told, _ = start(server, ROWS, journal).communicate(timeout=200)
        ran = Counter(execution.inputs["n"] for execution in server.executions)
    assert f"all {ROWS} rows: {ROWS} completed, 0 failed" in told
    assert ran == Counter(range(ROWS))
    opened = Journal(journal, None)
    assert opened.counts() == {"completed": ROWS}
    opened.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.timeout(60)
def test_ctrl_c_leaves_the_journal_right_and_the_next_start_goes_on(tmp_path):
    journal = tmp_path / "batch.sqlite"
    with slow_server() as server:
        for _ in range(3):
            server.faults.add("latency", "POST */execute", times=20, seconds=0.5)
            before = posts(server)
            process = start(server, 100, journal, stderr=subprocess.PIPE)
            until(lambda count=before: posts(server) > count)
            os.kill(process.pid, signal.SIGINT)
            _, error = process.communicate(timeout=10)
            assert "KeyboardInterrupt" in error
            # Every submission was waited for: none is in doubt.
            opened = Journal(journal, None)
            assert "submitting" not in opened.counts()
            opened.close()
            server.faults.clear()
        told, _ = start(server, 100, journal).communicate(timeout=30)
        ran = Counter(execution.inputs["n"] for execution in server.executions)
    assert "all 100 rows: 100 completed, 0 failed" in told
    assert ran == Counter(range(100))


@pytest.mark.timeout(30)
def test_a_second_process_on_the_journal_is_refused(tmp_path):
    journal = tmp_path / "batch.sqlite"
    with slow_server() as server:
        first = start(server, 200, journal)
        assert first.stdout.readline()
        _, error = start(server, 200, journal, stderr=subprocess.PIPE).communicate(timeout=10)
        assert "JournalInUseError" in error
        assert "is in use" in error
        told, _ = first.communicate(timeout=20)
    assert "all 200 rows: 200 completed" in told
