"""The command line, as a person or a cron job runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from flowmaestro_batch.cli import main
from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.receiver import until

pytestmark = pytest.mark.slow


@pytest.fixture
def server():
    server = LocalServer(max_running=100)
    # Rows end only while this is set.
    server.may_end = threading.Event()
    server.may_end.set()

    @server.workflow("wf")
    def wf(inputs, run):
        if inputs["name"] == "bad":
            raise ValueError("no such company")
        run.sleep(float(inputs["seconds"]))
        while not server.may_end.is_set():
            run.sleep(0.01)
        return {"hello": inputs["name"]}

    with server.start():
        yield server


@pytest.fixture
def arguments(server, tmp_path, monkeypatch):
    """Give what makes a command line of some rows."""
    monkeypatch.setenv("FLOWMAESTRO_API_KEY", KEY)
    monkeypatch.setenv("FLOWMAESTRO_BASE_URL", server.url)

    def of(rows, *more, seconds=0.0):
        path = tmp_path / "leads.csv"
        lines = ["name,seconds", *(f"{name},{seconds}" for name in rows)]
        path.write_text("\n".join(lines) + "\n")
        journal, output = str(tmp_path / "leads.sqlite"), str(tmp_path / "out.jsonl")
        fixed = ["--key", "name", "--journal", journal, "--output", output]
        return ["run", "wf", str(path), *fixed, "--poll-interval", "0.1", *more]

    return of


def outcomes(tmp_path):
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def test_a_batch_runs_and_its_outcomes_are_written(arguments, tmp_path, capsys):
    assert main(arguments(["ada", "bob"], "--ordered")) == 0
    assert [(one["key"], one["status"], one["outputs"]) for one in outcomes(tmp_path)] == [
        ("ada", "completed", {"hello": "ada"}),
        ("bob", "completed", {"hello": "bob"}),
    ]
    assert "2 rows: 2 completed, 0 failed" in capsys.readouterr().err


def test_starting_again_goes_on_and_writes_every_outcome(arguments, server, tmp_path, capsys):
    main(arguments(["ada"]))
    assert main(arguments(["ada", "bad"])) == 1
    assert {one["key"]: one["status"] for one in outcomes(tmp_path)} == {
        "ada": "completed",
        "bad": "failed",
    }
    assert len(server.executions) == 2
    assert main(["status", str(tmp_path / "leads.sqlite")]) == 0
    assert capsys.readouterr().out == "completed: 1\nfailed: 1\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--key", "email"], "has no column 'email'"),
        (["--concurrency", "0"], "concurrency must be 1 or more"),
        (["--journal", "/missing/place.sqlite"], "cannot be opened"),
        (["--output", "/missing/out.jsonl"], "No such file or directory"),
    ],
)
def test_what_cannot_run_is_told_in_a_line(arguments, capsys, change, message):
    assert main(arguments(["ada"], *change)) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("error: ")
    assert message in told
    assert "\n" not in told


def test_an_unknown_workflow_is_told(arguments, capsys):
    line = arguments(["ada"])
    line[1] = "wf_unknown"
    assert main(line) == 2
    assert "error: [resource_not_found]" in capsys.readouterr().err


def test_where_there_is_no_terminal_lines_tell_how_far_it_is(arguments, capsys):
    line = arguments([str(number) for number in range(8)], "--concurrency", "1", seconds=0.8)
    assert main(line) == 0
    told = capsys.readouterr().err
    assert "/8 done, 0 failed, 1 running, " in told
    assert " rows/s, ETA 0:00:" in told
    assert "8 rows: 8 completed" in told.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_on_a_terminal_there_is_a_bar(arguments, server, monkeypatch):
    import pty

    server.may_end.clear()

    ours, theirs = pty.openpty()
    told = b""

    def read():
        nonlocal told
        try:
            while piece := os.read(ours, 65536):
                told += piece
                if b"4 running" in told:
                    server.may_end.set()
        except OSError:
            # The other end is closed.
            pass

    reader = threading.Thread(target=read)
    reader.start()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    line = arguments([str(number) for number in range(4)])
    with open(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        status = main(line)
    reader.join(100)
    os.close(ours)
    assert status == 0
    assert "\u2501".encode() in told
    assert b"4 running" in told
    assert b"4 rows: 4 completed" in told


def start(line, **options):
    program = [sys.executable, "-m", "flowmaestro_batch", *line]
    return subprocess.Popen(program, **options)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_waits_for_what_runs_and_a_second_one_leaves_it(arguments, server, tmp_path, times):
    rows = [str(number) for number in range(30)]
    server.may_end.clear()
    process = start(arguments(rows, "--concurrency", "5"), stderr=subprocess.PIPE, text=True)
    until(lambda: len(server.executions) == 5)
    # The process knows of all five, and polls them.
    until(lambda: polls(server))
    process.send_signal(signal.SIGINT)
    told = ""
    while "waiting for 5 executions" not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    assert "(Ctrl-C again leaves them to the next start)" in told
    if times == 1:
        server.may_end.set()
    else:
        process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=100)
    assert process.returncode == 130
    if times == 1:
        assert "5 completed" in rest
        assert len(outcomes(tmp_path)) == 5
    else:
        assert "interrupted; start again to go on" in rest
        assert {one.status for one in server.executions} == {"running"}
    assert len(server.executions) == 5
    server.may_end.set()
    assert main(arguments(rows)) == 0
    assert sorted(one.inputs["name"] for one in server.executions) == sorted(rows)


def polls(server):
    """Count the requests for the list of executions that were sent after the fifth submission."""
    requests = [(request.method, request.path) for request in server.requests]
    submissions = [n for n, (method, _) in enumerate(requests) if method == "POST"]
    polled = [n for n, request in enumerate(requests) if request == ("GET", "/api/v1/executions")]
    return sum(n > submissions[4] for n in polled)
