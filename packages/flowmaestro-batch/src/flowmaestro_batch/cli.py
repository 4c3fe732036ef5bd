"""The command line: a batch over a file, with a progress bar on a terminal and lines elsewhere.

It ends with 0 if every row completed, 1 if some did not, 2 if it could not run, and 130
after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType
from typing import Any, Callable, Optional, TextIO

from flowmaestro import FlowMaestroClient, FlowMaestroError

from . import __version__
from ._sync.batch import Batch
from .journal import Journal
from .outcomes import Outcome, Progress
from .rows import count_rows

__all__ = ["main"]

# Seconds between two lines where there is no terminal, and two drawings where there is one.
_LINE_SECONDS, _DRAW_SECONDS = 5.0, 0.25

INTERRUPTED = 130


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; gives its exit status."""
    chosen = _parser().parse_args(arguments)
    try:
        status: int = chosen.command(chosen)
    except KeyboardInterrupt:
        print("\ninterrupted; start again to go on", file=sys.stderr)
        return INTERRUPTED
    except (FlowMaestroError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flowmaestro_batch",
        description="Run a FlowMaestro workflow for every row of a file. "
        "The key is taken from FLOWMAESTRO_API_KEY.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a batch, or go on with one")
    run.set_defaults(command=_run)
    run.add_argument("workflow", help="the workflow's id")
    run.add_argument("rows", help="a .csv, .tsv, .jsonl or .ndjson file")
    run.add_argument("--journal", required=True, help="an SQLite file that is kept for this batch")
    run.add_argument("--key", help="the column that names a row; else its number does")
    run.add_argument("--output", help="write the outcomes to this file, as JSON Lines")
    run.add_argument("--concurrency", type=int, default=50, help="executions at a time (50)")
    run.add_argument("--poll-interval", type=float, default=2.0, metavar="SECONDS")
    run.add_argument("--ordered", action="store_true", help="outcomes in the order of the rows")
    run.add_argument("--strict", action="store_true", help="stop at a row that is no good")
    run.add_argument("--retry-failed", action="store_true", help="run failed rows again")
    run.add_argument("--stop-on-failures", type=int, metavar="N", help="end after N failed rows")
    run.add_argument("--on-unknown", choices=["report", "retry"], default="report")
    run.add_argument("--on-day-limit", choices=["wait", "stop"], default="wait")
    run.add_argument("--base-url", help="the backend's address")

    status = commands.add_parser("status", help="count what a journal has")
    status.set_defaults(command=_status)
    status.add_argument("journal", help="the journal of a batch that does not run")
    return parser


def _status(chosen: argparse.Namespace) -> int:
    journal = Journal(chosen.journal, None)
    try:
        for state, count in sorted(journal.counts().items()):
            print(f"{state}: {count}")
    finally:
        journal.close()
    return 0


def _run(chosen: argparse.Namespace) -> int:
    total = count_rows(chosen.rows)
    with ExitStack() as stack:
        client = stack.enter_context(FlowMaestroClient(base_url=chosen.base_url))
        batch = Batch(
            client,
            chosen.workflow,
            journal=chosen.journal,
            concurrency=chosen.concurrency,
            poll_interval=chosen.poll_interval,
            on_unknown=chosen.on_unknown,
            on_day_limit=chosen.on_day_limit,
            retry_failed=chosen.retry_failed,
            stop_on_failures=chosen.stop_on_failures,
            strict=chosen.strict,
        )
        outcomes = batch.run(chosen.rows, key=chosen.key, ordered=chosen.ordered)
        stack.callback(outcomes.close)
        output: Optional[TextIO] = None
        if chosen.output is not None:
            output = stack.enter_context(open(chosen.output, "w", encoding="utf-8"))
        interrupted = _stop_on_interrupt(batch, stack)
        stack.enter_context(_Reporter(lambda: batch.progress, total))
        for outcome in outcomes:
            if output is not None:
                print(_line(outcome), file=output)
    print(batch.summary(), file=sys.stderr)
    if interrupted():
        return INTERRUPTED
    return 0 if batch.summary().completed == total else 1


def _line(outcome: Outcome) -> str:
    fields: dict[str, Any] = outcome._asdict()
    return json.dumps(fields, ensure_ascii=False)


def _stop_on_interrupt(batch: Batch, stack: ExitStack) -> Callable[[], bool]:
    """Let the first Ctrl-C wait for what runs, and the second one leave it."""
    seen: list[int] = []

    def interrupt(number: int, _: Optional[FrameType]) -> None:
        seen.append(number)
        if len(seen) > 1:
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt
        batch.stop()
        running = batch.progress.running
        print(
            f"\nsubmitting no more; waiting for {running} executions "
            "(Ctrl-C again leaves them to the next start)",
            file=sys.stderr,
        )

    before = signal.signal(signal.SIGINT, interrupt)
    stack.callback(signal.signal, signal.SIGINT, before)
    return lambda: bool(seen)


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
        """Print a line from time to time, and what is waited for as soon as it is."""
        waiting: Optional[str] = None
        told = 0.0
        while not self._ended.wait(_DRAW_SECONDS):
            progress = self._progress()
            if progress.seconds - told >= _LINE_SECONDS or progress.waiting != waiting:
                told, waiting = progress.seconds, progress.waiting
                print(_words(progress, self._total), file=sys.stderr, flush=True)

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


def _words(progress: Progress, total: int) -> str:
    """Say how far a batch is."""
    parts = [f"{progress.done}/{total} done", f"{progress.failed} failed"]
    if progress.unknown:
        parts.append(f"{progress.unknown} unknown")
    parts.append(f"{progress.running} running")
    if progress.rate > 0:
        parts.append(f"{progress.rate:.1f} rows/s")
        parts.append(f"ETA {_duration((total - progress.done) / progress.rate)}")
    if progress.waiting:
        parts.append(f"waiting for {progress.waiting}")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
