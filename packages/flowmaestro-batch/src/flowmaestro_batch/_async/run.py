"""One run of a batch: rows in, outcomes out, and the journal in between.

There is one loop and nothing beside it. Each turn reads rows, submits what may go now,
looks at what runs, or sleeps until there is something to do.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Any, Optional

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroError
from flowmaestro_core.clock import monotonic

from ..clock import created_at
from ..errors import DayLimitError, JournalError, RowError, TooManyFailuresError
from ..journal import ENDED, Entry, Journal
from ..outcomes import Outcome, Progress
from ..reconcile import Candidate, Doubt, candidate_of, judge
from ..rows import Item, Row, RowReader
from ..sending import Engine, Sent, Ticket
from ..settings import Settings
from ..work import Work, fate_of
from .backend import LONGEST_NAP, AsyncBackend
from .compat import aside, next_item, sleep

__all__ = ["AsyncRun"]

logger = logging.getLogger("flowmaestro.batch")

_PER_PAGE = 100

# Submissions under way at a time, from here; an engine says its own number.
_AT_ONCE = 32

# Rows that ended and wait to be given, before more are read.
_READY = 100

# Rows by which an ordered run may be ahead of the oldest one that has not ended.
_AHEAD = 1_000

# Executions that are asked for one by one in a look, where the list does not show them.
_SINGLES = 20

# Of all requests, one in so many is a look, while there are rows to submit.
_LOOK_SHARE = 20

_LONGEST_INTERVAL = 60.0

# Seconds of waiting that are announced.
_WORTH_TELLING = 5.0


class AsyncRun:
    """The state of a run."""

    def __init__(
        self,
        client: AsyncFlowMaestroClient,
        settings: Settings,
        items: AsyncIterator[Item],
        reader: RowReader,
        ordered: bool,
        engine: Optional[Engine],
    ) -> None:
        self._backend = AsyncBackend(client, settings)
        self._settings = settings
        self._items = items
        self._reader = reader
        self._ordered = ordered
        self._engine = engine
        # Rows by where they stand; all that are not yet read to their end are in memory,
        # and no others.
        self._to_send: deque[Work] = deque()
        self._running: dict[str, Work] = {}
        self._doubtful: dict[str, Work] = {}
        self._ready: deque[Outcome] = deque()
        self._early: dict[int, Outcome] = {}
        self._next_number = 1
        self._all_read = False
        self._leaving = False
        self._stopping = False
        self._problem: Optional[FlowMaestroError] = None
        self._new_failures = 0
        self._accepted = 0
        self._look_at = 0.0
        self._started = monotonic()
        self._progress = Progress()

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        if self._progress.seconds:
            return self._progress
        return self._progress._replace(
            read=self._reader.count,
            running=len(self._running) + len(self._doubtful),
            requests=self._backend.requests,
            refused=self._backend.refused,
            seconds=monotonic() - self._started,
        )

    def stop(self, *, leave: bool) -> None:
        """End early."""
        self._stopping = True
        self._leaving = self._leaving or leave

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Give an outcome for each row."""
        # Not before: an iterator that is never begun is not closed either.
        self._journal = Journal(self._settings.journal, self._settings.workflow_id)
        try:
            await self._begin()
            while True:
                await self._read()
                while self._ready:
                    yield self._ready.popleft()
                if self._is_over():
                    break
                if self._running or self._doubtful or self._to_send:
                    await self._turn()
                else:
                    await sleep(0)
            if self._problem is not None:
                raise self._problem
        finally:
            self._progress = self.progress
            self._journal.close()

    # Beginning and ending

    async def _begin(self) -> None:
        """See that the workflow is there, and take up what an earlier run has left."""
        await self._backend.begin()
        now = self._backend.now()
        for entry in self._journal.open_rows():
            # Its request may have been on its way until this process began.
            work = Work.left(entry, now)
            if entry.state == "submitted" and entry.execution_id:
                self._running[entry.execution_id] = work
            else:
                self._doubtful[entry.key] = work

    def _is_over(self) -> bool:
        if self._leaving:
            return True
        under_way = bool(self._running or self._doubtful)
        if self._stopping:
            return not under_way
        return self._all_read and not self._to_send and not under_way

    # Reading rows

    async def _read(self) -> None:
        """Read as many rows as can be submitted soon."""
        while (
            not self._all_read
            and not self._stopping
            and len(self._to_send) < self._free()
            and len(self._ready) < _READY
            and not (self._ordered and self._reader.count - self._next_number >= _AHEAD)
        ):
            item = await next_item(self._items)
            if item is None:
                self._all_read = True
            else:
                self._take(self._reader.row_of(item))

    def _free(self) -> int:
        return self._settings.concurrency - len(self._running) - len(self._doubtful)

    def _take(self, row: Row) -> None:
        """Find out what is to be done with a row."""
        problem = row.problem
        if problem is None:
            place = self._journal.see(row.key, row.place)
            problem = None if place is None else f"its key {row.key!r} is that of {place}"
        if problem is not None:
            if self._settings.strict:
                raise RowError(f"{row.place}: {problem}", code="bad_row")
            self._give(Work(row), "failed", None, f"{row.place}: {problem}", None)
            return
        entry = self._journal.get(row.key)
        if entry is None:
            self._to_send.append(Work(row))
            return
        retried = entry.state in ("failed", "cancelled") and self._settings.retry_failed
        if entry.inputs != row.fingerprint and entry.state != "queued" and not retried:
            raise JournalError(
                f"{row.place}: the inputs of row {row.key!r} are not those that the journal "
                f"{self._settings.journal} has under this key; take another key or journal",
                code="inputs_changed",
            )
        retried = retried or (entry.state == "unknown" and self._settings.on_unknown == "retry")
        if entry.state == "submitted" and entry.execution_id in self._running:
            self._running[entry.execution_id].row = row
        elif entry.state == "submitting":
            self._doubtful[row.key].row = row
        elif entry.state == "queued" or retried:
            self._to_send.append(Work(row, attempts=0 if retried else entry.attempts))
        else:
            outcome = (entry.state, entry.outputs, entry.error, entry.execution_id)
            self._give(Work(row), *outcome, resumed=True)

    def _give(
        self,
        work: Work,
        status: str,
        outputs: Any,
        error: Optional[str],
        execution_id: Optional[str],
        *,
        resumed: bool = False,
    ) -> None:
        """Have an outcome given, of a row that this run has read."""
        row = work.row
        if row is None:
            return
        outcome = Outcome(
            row.key, status, outputs, error, execution_id, row.inputs, row.number, row.line, resumed
        )
        self._count(resumed=int(resumed), **{status: 1})
        if status == "failed" and not resumed:
            self._new_failures += 1
            bound = self._settings.stop_on_failures
            if bound is not None and self._new_failures >= bound and self._problem is None:
                self._stopping = True
                self._problem = TooManyFailuresError(
                    f"stopped after {self._new_failures} failed rows, the last one "
                    f"{row.key!r}: {error}",
                    code="too_many_failures",
                )
        if not self._ordered:
            self._ready.append(outcome)
            return
        self._early[row.number] = outcome
        while self._next_number in self._early:
            self._ready.append(self._early.pop(self._next_number))
            self._next_number += 1

    # One turn of the loop

    async def _turn(self) -> None:
        pace, now = self._backend.pace, self._backend.now()
        left_today = pace.rows_left_today(now)
        if left_today == 0 and await self._day_is_over(pace.tomorrow(now)):
            return
        closed_until = self._backend.closed_until
        allowed = 0 if closed_until > now else pace.allowed(now)
        may_send = bool(self._to_send) and not self._stopping and left_today != 0
        if (self._running or self._doubtful) and now >= self._look_at and allowed:
            await self._look()
            return
        count = min(allowed, self._free(), len(self._to_send), self._at_once())
        if left_today is not None:
            count = min(count, left_today)
        if may_send and count > 0:
            await self._send(count)
            return
        until: list[float] = []
        if self._running or self._doubtful:
            until.append(self._look_at)
        if may_send and self._free() > 0:
            until.append(now + pace.wait(now))
        wait = max(min(until, default=now) - now, closed_until - now, 0.001)
        if wait > _WORTH_TELLING and may_send and self._free() > 0:
            self._announce(f"requests of the next minute, for {wait:.0f} s")
        await sleep(min(wait, LONGEST_NAP))

    async def _day_is_over(self, seconds: float) -> bool:
        """Stop, or wait for tomorrow where not even a look may go; True after a wait."""
        used_up = self._backend.pace.day_is_used_up(self._backend.now())
        may_stop = self._settings.on_day_limit == "stop" and not self._stopping
        if may_stop and (self._to_send or used_up):
            self._stopping = True
            self._problem = DayLimitError(
                "the key's requests of this day are used up; everything is saved, start again in "
                f"{seconds:.0f} s",
                code="day_limit",
                retry_after=seconds,
            )
        if used_up and self._stopping:
            self._leaving = True
            return True
        if self._to_send and not self._stopping:
            self._announce(f"the requests of the next day, for {seconds:.0f} s")
        nothing_to_look_at = not self._running and not self._doubtful
        if used_up or nothing_to_look_at:
            await sleep(min(seconds, LONGEST_NAP))
        return used_up or nothing_to_look_at

    def _announce(self, what: str) -> None:
        if self._progress.waiting is None:
            logger.info("waiting for %s", what)
        self._progress = self._progress._replace(waiting=what)

    # Submitting

    async def _send(self, count: int) -> None:
        """Submit rows: on disk first, then to the backend, then what came of it to disk."""
        self._progress = self._progress._replace(waiting=None)
        works = [self._to_send.popleft() for _ in range(count)]
        now = self._backend.now()
        if not self._running and not self._doubtful:
            self._look_at = now + self._settings.poll_interval
        for work in works:
            work.submitted_at, work.accepted = now, self._accepted
            self._doubtful[work.key] = work
        await aside(lambda: self._journal.write(work.entry("submitting") for work in works))
        tickets = [Ticket(self._settings.workflow_id, work.inputs) for work in works]
        results: list[Optional[Sent]] = [None] * count
        try:
            await self._backend.send(self._engine, tickets, results)
        finally:
            self._accepted += sum(
                sent is not None and sent.execution_id is not None for sent in results
            )
            entries = [
                self._settle(work, sent) for work, sent in zip(works, results) if sent is not None
            ]
            await aside(lambda: self._journal.write(entries))
        for work in works:
            if work.failed is not None:
                self._give(work, "failed", None, work.failed, None)
        self._backend.take(results)

    def _settle(self, work: Work, sent: Sent) -> Entry:
        """Put a row where its submission has brought it."""
        if sent.execution_id is not None:
            del self._doubtful[work.key]
            self._running[sent.execution_id] = work
            return work.entry("submitted", execution_id=sent.execution_id)
        assert sent.error is not None
        fate = fate_of(sent.error)
        work.error = sent.error
        if fate == "doubt":
            work.doubtful_since = self._backend.now()
            return work.entry("submitting")
        del self._doubtful[work.key]
        work.attempts += work.is_to_blame(self._accepted)
        if fate == "failed" or work.attempts >= self._settings.attempts:
            work.failed = str(sent.error)
            return work.entry("failed", error=work.failed)
        self._to_send.appendleft(work)
        return work.entry("queued")

    def _at_once(self) -> int:
        return _AT_ONCE if self._engine is None else max(self._engine.size, 1)

    # Looking at what runs

    async def _look(self) -> None:
        """Look at the newest executions, as far back as needed, and take up what has ended."""
        unseen = dict(self._running)
        candidates: list[Candidate] = []
        since = min((work.submitted_at for work in self._doubtful.values()), default=None)
        oldest = None if since is None else since - self._backend.margin
        asked_at = self._backend.now()
        complete, told_as_sent = False, True
        pages = 1 + len(unseen) // _PER_PAGE
        page = 1
        ended: list[dict[str, Any]] = []
        while True:
            answer: Any = await self._backend.ask(partial(self._backend.page, page))
            if answer is None:
                break
            last = None
            for execution in answer["data"]:
                last = created_at(execution)
                # An execution comes twice where others were made between two pages.
                ours = unseen.pop(execution["id"], None) is not None
                if ours and execution["status"] in ENDED:
                    ended.append(execution)
                if oldest is not None:
                    known = self._inputs_of(execution["id"])
                    if known is None:
                        candidates.append(candidate_of(execution))
                    elif candidate_of(execution).fingerprint != known:
                        told_as_sent = False
            seen_all = not unseen or page >= pages
            complete = (
                not answer["pagination"]["has_more"]
                or not answer["data"]
                or (oldest is not None and last is not None and last < oldest)
            )
            if complete or (seen_all and oldest is None):
                break
            page += 1
        if answer is not None:
            for execution_id in list(unseen)[:_SINGLES]:
                single: Any = await self._backend.ask(partial(self._backend.single, execution_id))
                if single is None:
                    break
                if single["data"]["status"] in (*ENDED, "unknown"):
                    ended.append(single["data"])
        await self._end(ended)
        if complete and oldest is not None:
            if not told_as_sent:
                # The backend changes inputs: then they say nothing of whose they are.
                candidates = [one._replace(fingerprint=None) for one in candidates]
            await self._reconcile(candidates, asked_at)
        now = self._backend.now()
        interval = self._settings.poll_interval
        if self._to_send and self._free() > 0 and not self._stopping:
            interval = max(interval, _LOOK_SHARE * self._backend.pace.spacing(now))
        self._look_at = now + min(interval, _LONGEST_INTERVAL)

    def _inputs_of(self, execution_id: str) -> Optional[str]:
        """Give the fingerprint of the inputs of an execution that is a row's, else None."""
        if execution_id in self._running:
            return self._running[execution_id].fingerprint
        return self._journal.inputs_of(execution_id)

    async def _end(self, executions: list[dict[str, Any]]) -> None:
        """Write down executions that are over, and give their outcomes."""
        works = [
            (self._running[one["id"]], one) for one in executions if one["id"] in self._running
        ]
        if not works:
            return
        entries: list[Entry] = []
        for work, one in works:
            error = None if one["error"] is None else str(one["error"])
            status = str(one["status"])
            entries.append(work.entry(status, one["id"], one["outputs"], error))
        await aside(lambda: self._journal.write(entries))
        for (work, one), entry in zip(works, entries):
            del self._running[one["id"]]
            self._give(work, entry.state, entry.outputs, entry.error, entry.execution_id)

    # Rows of which nobody knows whether they were submitted

    async def _reconcile(self, candidates: list[Candidate], asked_at: float) -> None:
        """Find the executions of rows whose submission was cut."""
        doubts = [
            Doubt(
                key,
                work.fingerprint,
                work.submitted_at - self._backend.margin,
                asked_at >= work.doubtful_since + self._settings.settle,
            )
            for key, work in self._doubtful.items()
        ]
        entries: list[Entry] = []
        over: list[tuple[Work, Entry]] = []
        for key, verdict in judge(doubts, candidates).items():
            work = self._doubtful.pop(key)
            again = verdict.problem is None or self._settings.on_unknown == "retry"
            if verdict.execution_id is not None:
                logger.info("row %r was submitted as %s", key, verdict.execution_id)
                self._running[verdict.execution_id] = work
                entries.append(work.entry("submitted", verdict.execution_id))
                continue
            if not again:
                over.append((work, work.entry("unknown", error=verdict.problem)))
                continue
            work.attempts += work.is_to_blame(self._accepted)
            if work.attempts >= self._settings.attempts:
                over.append((work, work.entry("failed", error=str(work.error))))
            else:
                work.error = None
                entries.append(work.entry("queued"))
                if work.row is not None:
                    self._to_send.appendleft(work)
        entries += [entry for _, entry in over]
        if entries:
            await aside(lambda: self._journal.write(entries))
        for work, entry in over:
            self._give(work, entry.state, None, entry.error, None)

    def _count(self, **counts: int) -> None:
        progress = self._progress
        self._progress = progress._replace(
            **{name: getattr(progress, name) + more for name, more in counts.items()}
        )
