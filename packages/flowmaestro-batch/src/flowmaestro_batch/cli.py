"""The command line: a batch over a file, with a progress bar on a terminal and lines elsewhere.

Its exit codes: 0 if every row completed, 1 if some did not, 2 if it could not run, 130 after
Ctrl-C, and one for each trouble with a journal, see ``_EXIT_CODES``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Callable, Optional, TextIO

from flowmaestro import FlowMaestroClient, FlowMaestroError

from . import __version__
from ._sync.batch import Batch
from .files import FileFormat
from .journal import Journal
from .outcomes import Progress
from .rows import count_rows
from .texts import is_storable

__all__ = ["main"]

# Seconds between two drawings of a bar. Where there is no terminal, a line follows the one
# before after twice as long each time, so that a night does not fill a log.
_DRAW_SECONDS = 0.25
_FIRST_LINE_SECONDS, _LINE_SECONDS = 5.0, 300.0

INTERRUPTED = 130

_EXIT_CODES = {
    "journal_in_use": 3,
    "journal_damaged": 4,
    "journal_incomplete": 4,
    "journal_full": 5,
    "no_journal": 6,
    "journal_version": 6,
    "journal_of_another_workflow": 6,
    "inputs_changed": 6,
    "journal_read_only": 7,
    "journal_unreadable": 7,
    "journal_gone": 7,
}
_NOT_RUN = 2

# What a batch and SQLite write beside a journal.
_BESIDE_JOURNAL = ("", "-wal", "-shm", "-lock", "-new")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; gives its exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        status: int = chosen.command(chosen)
    except KeyboardInterrupt:
        _say("\ninterrupted; start again to go on")
        return INTERRUPTED
    except (FlowMaestroError, OSError, ValueError) as error:
        _say(f"error: {error}")
        return _EXIT_CODES.get(getattr(error, "code", None) or "", _NOT_RUN)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flowmaestro_batch",
        description="Run a FlowMaestro workflow for every row of a file. "
        "The key is taken from FLOWMAESTRO_API_KEY.",
        epilog="Exit codes: 0 every row completed, 1 some did not, 2 it could not run, 3 the "
        "journal is in use, 4 it is damaged or not whole, 5 its disk is full, 6 it is another "
        "file or does not fit, 7 it cannot be read or written, 130 after Ctrl-C.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a batch, or go on with one")
    run.set_defaults(command=_run)
    run.add_argument("workflow", help="the workflow's id")
    run.add_argument("rows", help="a .csv, .tsv, .jsonl or .ndjson file, also with .gz")
    run.add_argument("--journal", required=True, help="an SQLite file that is kept for this batch")
    run.add_argument("--key", help="the column that names a row; else its number does")
    run.add_argument("--output", help="write the outcomes to this file, as JSON Lines")
    run.add_argument("--delimiter", type=_character, help="between two cells (comma, or tab)")
    run.add_argument("--quotechar", default='"', help='around a cell (")')
    run.add_argument("--encoding", help="of the file (its byte order mark's, or UTF-8)")
    run.add_argument("--concurrency", type=int, default=50, help="executions at a time (50)")
    run.add_argument(
        "--poll-interval",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="between two polls of the executions (2)",
    )
    run.add_argument(
        "--row-timeout",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="wait no longer for the end of an execution (3600)",
    )
    run.add_argument("--ordered", action="store_true", help="outcomes in the order of the rows")
    run.add_argument("--strict", action="store_true", help="stop at an invalid row")
    run.add_argument("--retry-failed", action="store_true", help="run failed rows again")
    run.add_argument("--stop-on-failures", type=int, metavar="N", help="end after N failed rows")
    run.add_argument(
        "--on-unknown",
        choices=["report", "retry"],
        default="report",
        help="what to do with a row of which nobody knows whether it was run (report)",
    )
    run.add_argument(
        "--on-day-limit",
        choices=["wait", "stop"],
        default="wait",
        help="what to do when the requests of the day are used up (wait)",
    )
    run.add_argument("--base-url", help="the API's address")

    status = commands.add_parser("status", help="sum up what a journal has")
    status.set_defaults(command=_status)
    status.add_argument("journal", help="the journal of a batch that does not run")

    export = commands.add_parser("export", help="write the outcomes that a journal has")
    export.set_defaults(command=_export)
    export.add_argument("journal", help="the journal of a batch that does not run")
    export.add_argument("--output", help="a file; standard output where it is left out")
    return parser


def _character(text: str) -> str:
    """Let a tab be written as shells can."""
    return "\t" if text == "\\t" else text


def _run(chosen: argparse.Namespace) -> int:
    form = FileFormat(chosen.delimiter, chosen.quotechar, chosen.encoding)
    total = count_rows(chosen.rows, form)
    with ExitStack() as stack:
        client = stack.enter_context(FlowMaestroClient(base_url=chosen.base_url))
        batch = Batch(
            client,
            chosen.workflow,
            journal=chosen.journal,
            concurrency=chosen.concurrency,
            poll_interval=chosen.poll_interval,
            row_timeout=chosen.row_timeout,
            on_unknown=chosen.on_unknown,
            on_day_limit=chosen.on_day_limit,
            retry_failed=chosen.retry_failed,
            stop_on_failures=chosen.stop_on_failures,
            strict=chosen.strict,
        )
        outcomes = batch.run(chosen.rows, key=chosen.key, ordered=chosen.ordered, **form._asdict())
        stack.callback(outcomes.close)
        output = None
        if chosen.output is not None:
            others = [chosen.rows, *_files_of(chosen.journal)]
            output = stack.enter_context(_Output(chosen.output, others))
        interrupted = _stop_on_interrupt(batch, stack)
        stack.enter_context(_Reporter(lambda: batch.progress, total))
        for outcome in outcomes:
            if output is not None:
                output.write(_line(outcome._asdict()))
        if output is not None and not interrupted():
            output.begin()
    _say(str(batch.summary()))
    if interrupted():
        return INTERRUPTED
    return 0 if batch.summary().completed == total else 1


def _status(chosen: argparse.Namespace) -> int:
    journal = Journal(chosen.journal, None)
    try:
        _print(f"workflow: {journal.workflow_id}")
        for state, count in sorted(journal.counts().items()):
            _print(f"{state}: {count}")
        oldest = journal.oldest_open()
        if oldest is not None:
            since = datetime.fromtimestamp(oldest.submitted_at or 0, timezone.utc)
            execution = oldest.execution_id or "not known yet"
            _print(
                f"oldest under way: {oldest.key!r}, submitted {since:%Y-%m-%d %H:%M:%S} UTC, "
                f"execution {execution}"
            )
        for error, count in journal.errors().most_common():
            _print(f"error {error}: {count}")
    finally:
        journal.close()
    return 0


def _export(chosen: argparse.Namespace) -> int:
    with ExitStack() as stack:
        journal = Journal(chosen.journal, None)
        stack.callback(journal.close)
        write: Callable[[str], None] = _print
        # JSON in characters that every terminal and file has.
        is_ascii = chosen.output is None
        if chosen.output is not None:
            output = stack.enter_context(_Output(chosen.output, _files_of(chosen.journal)))
            output.begin()
            write = output.write
        count = 0
        for entry in journal.ended():
            count += 1
            write(
                _line(
                    {
                        "key": entry.key,
                        "status": entry.state,
                        "outputs": entry.outputs,
                        "error": entry.error,
                        "execution_id": entry.execution_id,
                    },
                    is_ascii=is_ascii,
                )
            )
        others = sum(journal.counts().values()) - count
    more = f"; {others} rows have none yet" if others else ""
    _say(f"{count} outcomes{more}")
    return 0


def _files_of(journal: str) -> list[str]:
    """Give the journal's file and all that is written beside it."""
    return [f"{os.path.realpath(journal)}{end}" for end in _BESIDE_JOURNAL]


def _line(fields: dict[str, Any], *, is_ascii: bool = False) -> str:
    line = json.dumps(fields, ensure_ascii=is_ascii)
    return line if is_storable(line) else json.dumps(fields)


class _Output:
    """A file for outcomes, which stays as it is until there is one to be written.

    Args:
        path: The file.
        others: Files that it must not be, by whatever name.

    Raises:
        ValueError: It is one of the others.
        OSError: It cannot be written.
    """

    def __init__(self, path: str, others: Iterable[str]) -> None:
        self._path = Path(path)
        self._is_new = not self._path.exists()
        self._has_begun = False
        for other in others:
            if self._is_same(other):
                raise ValueError(f"--output {path} is the file {other}, which it would empty")
        # Not emptied before the batch has begun: it may have the outcomes of an earlier start.
        self._file: TextIO = self._path.open("a", encoding="utf-8")

    def _is_same(self, other: str) -> bool:
        with suppress(OSError):
            return self._path.samefile(other)
        return os.path.realpath(self._path) == os.path.realpath(other)

    def __enter__(self) -> _Output:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        with suppress(BrokenPipeError):
            self._file.close()
        if self._is_new and not self._has_begun:
            with suppress(OSError):
                self._path.unlink()

    def begin(self) -> None:
        """Empty the file, the first time."""
        if self._has_begun:
            return
        self._has_begun = True
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            self._file.truncate(0)

    def write(self, line: str) -> None:
        """Write a line; a reader that has left is no reason to stop."""
        self.begin()
        with suppress(BrokenPipeError):
            print(line, file=self._file)


def _print(line: str) -> None:
    _write(line, sys.stdout)


def _say(line: str) -> None:
    _write(line, sys.stderr)


def _write(line: str, stream: TextIO) -> None:
    """Print, as long as somebody reads it: a closed pipe changes no exit code."""
    try:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        # Python itself would try once more at its end, and fail.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def _stop_on_interrupt(batch: Batch, stack: ExitStack) -> Callable[[], bool]:
    """Let the first Ctrl-C wait for what runs, and the second one leave it."""
    times = 0

    def interrupt(_: int, __: Optional[FrameType]) -> None:
        nonlocal times
        times += 1
        if times > 1:
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt
        batch.stop()
        running = batch.progress.running
        _say(
            f"\nsubmitting no more; waiting for {running} executions "
            "(Ctrl-C again leaves them to the next start)"
        )

    before = signal.signal(signal.SIGINT, interrupt)
    stack.callback(signal.signal, signal.SIGINT, before)
    return lambda: times > 0


class _Reporter:
    """Tells how far the batch is, from a thread, so that long waits are told as well."""

    def __init__(self, progress: Callable[[], Progress], total: int) -> None:
        self._progress = progress
        self._total = total
        self._ended = threading.Event()
        on_terminal = sys.stderr.isatty()
        self._thread = threading.Thread(
            target=self._draw if on_terminal else self._tell, name="progress", daemon=True
        )

    def __enter__(self) -> _Reporter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _tell(self) -> None:
        """Print a line at growing intervals, and what is waited for as soon as it is."""
        lines = _Lines()
        while not self._ended.wait(_DRAW_SECONDS):
            progress = self._progress()
            if lines.is_due(progress):
                _say(_words(progress, self._total))

    def _draw(self) -> None:
        """Draw a bar that goes on."""
        from rich.console import Console
        from rich.logging import RichHandler
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        columns = (BarColumn(), TextColumn("{task.description}"))
        handler = RichHandler(console=console, show_path=False)
        logger = logging.getLogger("flowmaestro.batch")
        logger.addHandler(handler)
        try:
            with Progress(*columns, console=console, transient=True) as bar:
                task = bar.add_task("", total=self._total)
                ended = False
                while not ended:
                    ended = self._ended.wait(_DRAW_SECONDS)
                    progress = self._progress()
                    words = _words(progress, self._total)
                    bar.update(task, completed=progress.done, description=words)
        finally:
            logger.removeHandler(handler)


class _Lines:
    """When a line is due, where there is no terminal."""

    def __init__(self) -> None:
        self._interval = _FIRST_LINE_SECONDS
        self._next = self._interval
        self._waiting: Optional[str] = None

    def is_due(self, progress: Progress) -> bool:
        """True for a line that says something new, or the first one for a while."""
        # That a wait is over is told with the next line.
        is_news = progress.waiting is not None and progress.waiting != self._waiting
        if progress.seconds < self._next and not is_news:
            return False
        self._waiting = progress.waiting
        if not is_news:
            self._interval = min(2 * self._interval, _LINE_SECONDS)
        self._next = progress.seconds + self._interval
        return True


def _words(progress: Progress, total: int) -> str:
    """Say how far a batch is."""
    parts = [f"{progress.done}/{total} done", f"{progress.failed} failed"]
    if progress.unknown:
        parts.append(f"{progress.unknown} unknown")
    parts.append(f"{progress.running} running")
    if progress.rate > 0:
        parts.append(f"{progress.rate:.1f} rows/s")
        seconds = (total - progress.done) / progress.rate + progress.wait_seconds
        parts.append(f"ETA {_duration(seconds)}")
    if progress.waiting:
        parts.append(f"waiting for {progress.waiting}, for {_duration(progress.wait_seconds)}")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
