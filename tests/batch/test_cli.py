"""The command line, as a person or a cron job runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flowmaestro_batch import JournalError, Progress, cli
from flowmaestro_batch.cli import main
from flowmaestro_batch.journal import Entry, Journal
from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.receiver import until


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
    told = capsys.readouterr().out
    assert told == "workflow: wf\ncompleted: 1\nfailed: 1\nerror no such company: 1\n"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--key", "email"], 2, "has no column 'email'"),
        (["--concurrency", "0"], 2, "concurrency must be 1 or more"),
        (["--row-timeout", "0"], 2, "row_timeout must be more than 0 seconds"),
        (["--delimiter", ";;"], 2, "delimiter must be one character"),
        (["--journal", "/missing/place.sqlite"], 7, "cannot be claimed"),
        (["--output", "/missing/out.jsonl"], 2, "No such file or directory"),
    ],
)
def test_what_cannot_run_is_told_in_a_line(arguments, capsys, change, code, message):
    assert main(arguments(["ada"], *change)) == code
    told = capsys.readouterr().err.strip()
    assert told.startswith("error: ")
    assert message in told
    assert "\n" not in told


@pytest.mark.parametrize("earlier", [None, "earlier outcomes\n"])
def test_a_start_that_is_refused_leaves_the_output_as_it_was(arguments, tmp_path, capsys, earlier):
    output = tmp_path / "out.jsonl"
    if earlier is not None:
        output.write_text(earlier)
    line = arguments(["ada"])
    line[1] = "wf_unknown"
    assert main(line) == 2
    assert "error: [resource_not_found]" in capsys.readouterr().err
    journal = Journal(tmp_path / "leads.sqlite", "wf_unknown")
    line = arguments(["ada"])
    assert main(line) == 3
    assert "is in use" in capsys.readouterr().err
    journal.close()
    assert main(line) == 6
    assert "is of workflow 'wf_unknown', not of 'wf'" in capsys.readouterr().err
    assert (output.read_text() if output.exists() else None) == earlier
    (tmp_path / "leads.sqlite").unlink()
    assert main(line) == 0
    assert [one["key"] for one in outcomes(tmp_path)] == ["ada"]


def test_a_run_that_is_interrupted_before_its_first_outcome_leaves_the_output(
    arguments, server, tmp_path, monkeypatch
):
    (tmp_path / "out.jsonl").write_text("earlier outcomes\n")

    def interrupt(batch, stack):
        batch.stop()
        return lambda: True

    monkeypatch.setattr(cli, "_stop_on_interrupt", interrupt)
    assert main(arguments(["ada"])) == cli.INTERRUPTED
    assert (tmp_path / "out.jsonl").read_text() == "earlier outcomes\n"
    assert not server.executions


def test_outcomes_and_errors_are_printed_where_not_every_character_can_be(tmp_path):
    path = tmp_path / "leads.sqlite"
    journal = Journal(path, "wf")
    journal.write([Entry("é", "f", "failed", error="kein Gerät")])
    journal.close()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for command in ("export", "status"):
        ended = start(
            [command, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        told, error = ended.communicate(timeout=100)
        assert ended.returncode == 0, error
        if command == "export":
            assert json.loads(told)["key"] == "é"
        else:
            assert b"error kein Ger\\xe4t: 1" in told


@pytest.mark.parametrize("name", ["itself", "link", "hard link"])
@pytest.mark.parametrize(
    "file", ["leads.csv", "leads.sqlite", "leads.sqlite-wal", "leads.sqlite-lock"]
)
def test_an_output_that_is_the_rows_or_the_journal_is_refused(
    arguments, server, tmp_path, capsys, file, name
):
    line = arguments(["ada", "bob"])
    victim = tmp_path / file
    main(line)
    if not victim.exists():
        victim.write_text("of an earlier process")
    output = victim
    if name != "itself":
        output = tmp_path / "other name"
        if name == "link":
            output.symlink_to(victim)
        else:
            os.link(victim, output)
    before, ran = victim.read_bytes(), len(server.executions)
    line[line.index("--output") + 1] = str(output)
    assert main(line) == 2
    assert f"is the file {victim}" in capsys.readouterr().err
    assert victim.read_bytes() == before
    assert len(server.executions) == ran


def test_an_output_of_the_name_of_a_journal_to_be_made_is_refused(arguments, tmp_path, capsys):
    line = arguments(["ada"])
    line[line.index("--output") + 1] = line[line.index("--journal") + 1]
    assert main(line) == 2
    assert "which it would empty" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["leads.csv"]


def test_a_file_is_read_as_it_is_said(arguments, server, tmp_path):
    line = arguments([], "--delimiter", "\\t", "--quotechar", "'", "--encoding", "utf-16-le")
    (tmp_path / "leads.csv").write_text("name\tseconds\n'a\tb'\t0\n", encoding="utf-16-le")
    assert main(line) == 0
    assert [one.inputs for one in server.executions] == [{"name": "a\tb", "seconds": "0"}]


def test_a_file_with_an_error_in_it_is_refused_before_the_first_row(
    arguments, server, tmp_path, capsys
):
    line = arguments([])
    (tmp_path / "leads.csv").write_text('name,seconds\nada,0\nbob,"0\n')
    assert main(line) == 2
    assert "line 3 of" in capsys.readouterr().err
    assert not server.executions
    assert not (tmp_path / "out.jsonl").exists()


def test_outcomes_are_written_again_from_the_journal_alone(arguments, tmp_path, capsys):
    main(arguments(["ada", "bad"], "--ordered"))
    (tmp_path / "leads.csv").unlink()
    fields = ("key", "status", "outputs", "error", "execution_id")
    expected = [{name: one[name] for name in fields} for one in outcomes(tmp_path)]
    journal = str(tmp_path / "leads.sqlite")
    capsys.readouterr()
    assert main(["export", journal]) == 0
    told = capsys.readouterr()
    assert [json.loads(line) for line in told.out.splitlines()] == expected
    assert told.err == "2 outcomes\n"
    output = tmp_path / "out.jsonl"
    opened = Journal(journal, None)
    opened.write(
        [Entry("zoe", "f", "submitting"), Entry("eve", "f", "completed", outputs="\ud83d")]
    )
    opened.close()
    assert main(["export", journal, "--output", str(output)]) == 0
    assert capsys.readouterr().err == "3 outcomes; 1 rows have none yet\n"
    assert [one["key"] for one in outcomes(tmp_path)] == ["ada", "bad", "eve"]
    assert outcomes(tmp_path)[2]["outputs"] == "\ud83d"
    assert main(["export", journal, "--output", journal]) == 2
    assert "which it would empty" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "missing.sqlite")]) == 6


def test_a_journal_is_summed_up(tmp_path, capsys):
    path = tmp_path / "leads.sqlite"
    journal = Journal(path, "wf_1")
    journal.write(
        [
            Entry("a", "f", "submitted", "exec_1", 1_790_000_000.0),
            Entry("b", "f", "submitting", None, 1_790_000_009.0),
            Entry("c", "f", "failed", error="[timeout] it took too long"),
        ]
    )
    journal.close()
    assert main(["status", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "workflow: wf_1",
        "failed: 1",
        "submitted: 1",
        "submitting: 1",
        "oldest under way: 'a', submitted 2026-09-21 14:13:20 UTC, execution exec_1",
        "error timeout: 1",
    ]
    assert main(["status", str(tmp_path / "missing.sqlite")]) == 6


def test_each_trouble_with_a_journal_has_an_exit_code_of_its_own(
    arguments, tmp_path, capsys, monkeypatch
):
    line, journal = arguments(["ada"]), tmp_path / "leads.sqlite"
    journal.write_bytes(b"email,name\n" * 100)
    assert main(line) == 6
    journal.write_bytes(b"")
    assert main(line) == 4
    journal.unlink()
    assert main(line) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.Journal, "counts", raise_full)
        assert main(["status", str(journal)]) == 5
    assert "error: [journal_full] the disk is full" in capsys.readouterr().err


def test_the_exit_codes_are_those_of_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "batches.md").read_text(encoding="utf-8")
    told = {}
    for line in text.splitlines():
        if found := re.fullmatch(r"\| (`.*`) \|.*\|.*\| (\d) \|", line):
            told.update(dict.fromkeys(re.findall(r"`(\w+)`", found[1]), int(found[2])))
    assert told == cli._EXIT_CODES


def raise_full(self):
    raise JournalError("the disk is full", code="journal_full")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a pipe is closed otherwise there")
def test_a_pipe_that_is_closed_changes_no_exit_code(arguments, server, tmp_path):
    # What is told has no reader, nor have the outcomes.
    line = arguments([str(number) for number in range(20)])
    line[line.index("--output") + 1] = "/dev/stdout"
    process = start(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(100) == 0
    assert len(server.executions) == 20
    journal = line[line.index("--journal") + 1]
    opened = Journal(journal, None)
    # More than what is written at once.
    opened.write([Entry(f"{n:05}", "f", "completed", outputs=10_000 * "x") for n in range(50)])
    opened.close()
    for more in ([], ["--output", "/dev/stdout"]):
        process = start(["export", journal, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        _, told = process.communicate(timeout=100)
        assert (process.returncode, told) == (0, b"70 outcomes\n")


def test_a_night_of_waiting_fills_no_log():
    lines, told = cli._Lines(), []
    for second in range(10 * 3_600):
        rest = 10 * 3_600.0 - second
        waiting = None if second < 60 else "the requests of the next day"
        progress = Progress(seconds=float(second), waiting=waiting, wait_seconds=rest)
        if lines.is_due(progress):
            told.append(second)
    # At once what is waited for, and then every five minutes.
    assert 60 in told
    assert len(told) < 140
    assert told[-1] > 10 * 3_600 - 301


def test_what_is_waited_for_is_told_with_the_time_that_is_left():
    progress = Progress(completed=50, seconds=10.0, waiting="requests", wait_seconds=3_590.0)
    assert cli._words(progress, 100) == (
        "50/100 done, 0 failed, 0 running, 5.0 rows/s, ETA 1:00:00, waiting for requests, "
        "for 0:59:50"
    )


def test_an_unknown_workflow_is_told(arguments, capsys):
    line = arguments(["ada"])
    line[1] = "wf_unknown"
    assert main(line) == 2
    assert "error: [resource_not_found]" in capsys.readouterr().err


@pytest.mark.slow
def test_where_there_is_no_terminal_lines_tell_how_far_it_is(arguments, capsys):
    line = arguments([str(number) for number in range(8)], "--concurrency", "1", seconds=0.8)
    assert main(line) == 0
    told = capsys.readouterr().err
    assert "/8 done, 0 failed, 1 running, " in told
    assert " rows/s, ETA 0:00:" in told
    assert "8 rows: 8 completed" in told.splitlines()[-1]


@pytest.mark.slow
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


@pytest.mark.slow
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
