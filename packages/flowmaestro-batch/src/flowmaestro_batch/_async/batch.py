"""A workflow over many rows: the public half of it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Optional, Union

from flowmaestro import AsyncFlowMaestroClient

from ..files import FileFormat
from ..outcomes import Outcome, Progress, Summary
from ..rows import RowReader
from ..sending import Engine
from ..settings import Settings
from .compat import open_items
from .run import AsyncRun

__all__ = ["AsyncBatch"]


class AsyncBatch:
    """Runs one workflow for every row of a file or table, and can be started again.

    What is known of each row is in a journal. A run that was interrupted, in whatever way,
    goes on where it was: rows that ended are not run again, executions under way are picked
    up, and a row whose submission was cut is looked for among the workflow's executions.

    Args:
        client: Your client. Its ``max_retries`` has no say here: the batch tries again.
        workflow_id: The workflow to run; each row is its inputs.
        journal: An SQLite file for this batch; it is made where it is missing.
        concurrency: Executions under way at the same time, at most.
        poll_interval: Seconds between two looks at the executions. Where the plan's limit
            would suffer, there are fewer.
        settle: Seconds after which a submission that left no execution has not arrived.
        patience: Seconds of a backend that fails, or is away, after which to give up.
        row_timeout: Seconds after which an execution that has not ended is waited for no
            longer: its row is ``unknown``, and the next start looks at it again.
            ``math.inf`` for no bound.
        attempts: How often a row is submitted that the backend answers with 5xx while it
            takes others.
        on_unknown: What to do with a row of which nobody knows whether it was run:
            ``"report"`` it, or ``"retry"``, and accept that it may be run twice.
        on_day_limit: When the requests of the day are used up: ``"wait"`` for tomorrow, or
            ``"stop"`` with a ``DayLimitError``.
        retry_failed: Run rows again that failed, or were cancelled, in an earlier run; their
            inputs may have changed.
        stop_on_failures: After so many failed rows submit no more, wait for what runs, and
            raise ``TooManyFailuresError``; None for no bound.
        strict: Raise ``RowError`` for a row that is no good, instead of an outcome.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument makes no sense.

    Example:
        Enrich leads, and go on after an interruption::

            from flowmaestro_batch import AsyncBatch

            batch = AsyncBatch(client, "wf_123", journal="leads.sqlite")
            async for outcome in batch.run("leads.csv", key="email"):
                print(outcome.key, outcome.status, outcome.outputs)
            print(batch.summary())
    """

    def __init__(
        self,
        client: AsyncFlowMaestroClient,
        workflow_id: str,
        *,
        journal: Union[str, os.PathLike[str]],
        concurrency: int = 50,
        poll_interval: float = 2.0,
        settle: float = 10.0,
        patience: float = 600.0,
        row_timeout: float = 3600.0,
        attempts: int = 5,
        on_unknown: str = "report",
        on_day_limit: str = "wait",
        retry_failed: bool = False,
        stop_on_failures: Optional[int] = None,
        strict: bool = False,
    ) -> None:
        if not isinstance(client, AsyncFlowMaestroClient):
            raise TypeError(f"client must be an AsyncFlowMaestroClient, not {client!r}")
        self._client = client
        self._settings = Settings(
            workflow_id,
            journal,
            concurrency,
            poll_interval,
            settle,
            patience,
            row_timeout,
            attempts,
            on_unknown,
            on_day_limit,
            retry_failed,
            stop_on_failures,
            strict,
        ).checked()
        self._run: Optional[AsyncRun] = None

    def run(
        self,
        rows: object,
        *,
        key: Optional[str] = None,
        ordered: bool = False,
        engine: Optional[Engine] = None,
        delimiter: Optional[str] = None,
        quotechar: str = '"',
        encoding: Optional[str] = None,
    ) -> AsyncGenerator[Outcome, None]:
        """Run the workflow for every row.

        Nothing goes on while you keep an outcome: the next row is looked at when the next
        outcome is asked for. Executions that are under way go on at the backend.

        Args:
            rows: A path to ``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson``, also with ``.gz``,
                a DataFrame of pandas or polars, a Table of pyarrow, or an iterable of
                mappings, which may be asynchronous where the client is.
            key: The column whose value names a row, once and for all; the row's number
                where it is left out. 1, 1.0 and the text 1.0 are the same key.
            ordered: Give outcomes in the order of the rows, instead of as they come.
            engine: Where rows are submitted, as a ``DaskEngine``; here where it is left out.
            delimiter: What stands between two cells of a table; a comma, or a tab in
                ``.tsv``, where it is left out.
            quotechar: What stands around a cell that has delimiters or line ends in it.
            encoding: Of the file; what its byte order mark says, or UTF-8, where it is left
                out.

        Returns:
            An iterator over the outcomes, one for each row; those of earlier runs have
            ``resumed``. A row that is no good is ``failed``, with its line in ``error``.

        Raises:
            RowError: The rows cannot be read, or have no such column. While iterating, after
                what runs has ended: the file cannot be read any further.
            TypeError: There are no rows in this.
            ValueError: ``delimiter``, ``quotechar`` or ``encoding`` makes no sense.
            JournalError: While iterating: the journal is in use, or of another workflow, or
                a row's inputs are not those that it has under the row's key.
            NotFoundError: While iterating: there is no such workflow; nothing was submitted.
            FlowMaestroError: While iterating: the key is not good, or the backend is gone.

        Endpoint:
            ``POST /api/v1/workflows/{id}/execute``, ``GET /api/v1/executions``

        Example:
            Only what failed::

                async for outcome in batch.run("leads.csv", key="email"):
                    if outcome.status == "failed":
                        print(outcome.key, outcome.error)
        """
        if key is not None and not isinstance(key, str):
            raise TypeError(f"key must be the name of a column, not {key!r}")
        items = open_items(rows, key, FileFormat(delimiter, quotechar, encoding))
        self._run = AsyncRun(self._client, self._settings, items, RowReader(key), ordered, engine)
        return self._run.outcomes()

    def stop(self, *, leave: bool = False) -> None:
        """End the run early; threads and signal handlers may call this.

        Args:
            leave: Leave the executions that are under way to the next start, instead of
                waiting for their outcomes.
        """
        if self._run is not None:
            self._run.stop(leave=leave)

    @property
    def progress(self) -> Progress:
        """How far the run is; threads may look."""
        return Progress() if self._run is None else self._run.progress

    def summary(self) -> Summary:
        """Sum up the last run.

        Returns:
            Counts of rows and requests; ``print`` shows them in words.
        """
        return Summary.of(self.progress)
