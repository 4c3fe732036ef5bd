"""One run of a batch: rows in, outcomes out, and the journal in between.

There is one loop and nothing beside it. Each turn reads rows, submits what may go now,
looks at what runs, or sleeps until there is something to do.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable
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

# Rows that were submitted in vain and wait for their next turn beside the rows that are new:
# a few of them hold up no others, and of an API that is away not all rows are read.
_RETRIES = 100

# The status of an execution that has not begun.
_NOT_BEGUN = "pending"

# Lists in a row that fail before executions are asked for one by one instead.
_MOST_UNLISTED = 3

# Seconds after its submission in which an execution may still begin that the API has refused
# to start, and left behind.
_LONGEST_REFUSED = 60.0

# Executions that are asked for one by one in a poll, where the list does not show them, and
# how many of them may fail in it.
_SINGLES, _MOST_FAILED_SINGLES = 20, 3

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
        # Of an earlier run, and given up before this one has read their rows.
        self._given_up: dict[str, Entry] = {}
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
        self._unlisted = 0
        # True once the time that the API says it is cannot be that of its executions.
        self._times_differ = False
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
            # Those that waited for a row before them that has not ended.
            for number in sorted(self._early):
                yield self._early.pop(number)
            if self._problem is not None:
                raise self._problem
        finally:
            self._progress = self.progress
            self._journal.close()

    # Beginning and ending

    async def _begin(self) -> None:
        """See that the workflow is there, and take up what an earlier run has left."""
        await self._backend.begin()
        now = monotonic()
        for entry in self._journal.open_rows():
            # Its request may have been on its way until this process began.
            work = Work.left(entry, now)
            execution_id = entry.execution_id
            if execution_id in self._running:
                problem = f"the journal gives its execution {execution_id} to another row as well"
                self._given_up[entry.key] = work.entry("unknown", execution_id, error=problem)
            elif entry.state == "submitted" and execution_id:
                self._running[execution_id] = work
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
            and self._new_rows() < self._free()
            and len(self._ready) < _READY
            and not (self._ordered and self._reader.count - self._next_number >= _AHEAD)
        ):
            try:
                item = await next_item(self._items)
            except RowError as problem:
                # The rows before it are run; of the file nothing more can be read.
                self._all_read, self._problem = True, problem
                return
            if item is None:
                self._all_read = True
            else:
                self._take(self._reader.row_of(item))

    def _free(self) -> int:
        return self._settings.concurrency - len(self._running) - len(self._doubtful)

    def _new_rows(self) -> int:
        """Count the rows to be submitted, without those that wait for their next turn."""
        retries = sum(work.first_sent_at is not None for work in self._to_send)
        return len(self._to_send) - min(retries, _RETRIES)

    def _take(self, row: Row) -> None:
        """Find out what is to be done with a row."""
        problem = row.problem
        if problem is None:
            place = self._journal.see(row.key, row.place)
            problem = None if place is None else f"its key {row.key!r} is that of {place}"
        if problem is not None:
            if self._settings.strict:
                raise RowError(f"{row.place}: {problem}", code="bad_row")
            refused = Work(row)
            self._give(refused, refused.entry("failed", error=f"{row.place}: {problem}"))
            return
        entry = self._journal.get(row.key)
        if entry is None:
            self._to_send.append(Work(row))
            return
        retried = entry.state in ("failed", "cancelled") and self._settings.retry_failed
        is_same = entry.inputs == row.fingerprint or entry.inputs in self._reader.spellings_of(row)
        if not is_same and entry.state != "queued" and not retried:
            raise JournalError(
                f"{row.place}: the inputs of row {row.key!r} are not those that the journal "
                f"{self._settings.journal} has under this key; take another key or journal",
                code="inputs_changed",
            )
        retried = retried or (entry.state == "unknown" and self._settings.on_unknown == "retry")
        if entry.state == "submitted" and entry.execution_id in self._running:
            self._running[entry.execution_id].row = row
        elif entry.state == "submitting" and row.key in self._doubtful:
            self._doubtful[row.key].row = row
        elif row.key in self._given_up:
            self._give(Work(row), self._given_up.pop(row.key))
        elif entry.state == "queued" or retried:
            self._to_send.append(Work(row, attempts=0 if retried else entry.attempts))
        else:
            self._give(Work(row), entry, resumed=True)

    def _give(self, work: Work, entry: Entry, *, resumed: bool = False) -> None:
        """Have an outcome given, of a row that this run has read."""
        row, error = work.row, entry.error
        if row is None:
            return
        outcome = Outcome(
            row.key,
            entry.state,
            entry.outputs,
            error,
            entry.execution_id,
            row.inputs,
            row.number,
            row.line,
            resumed,
        )
        self._count(resumed=int(resumed), **{entry.state: 1})
        if entry.state == "failed" and not resumed:
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
        pace, now = self._backend.pace, monotonic()
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
        # Nothing may go before that, a poll no more than a submission.
        may_go = now + pace.wait(now)
        until: list[float] = []
        if self._running or self._doubtful:
            until.append(max(self._look_at, may_go))
        if may_send and self._free() > 0:
            until.append(may_go)
        wait = max(min(until, default=now) - now, closed_until - now, 0.001)
        if closed_until > now:
            self._announce(f"the API: {self._backend.failure}", wait)
        elif wait <= may_go - now:
            throttled = pace.is_throttled(now)
            what = "the end of the API's 429" if throttled else "requests of the next minute"
            self._announce(what, wait)
        await sleep(min(wait, LONGEST_NAP))

    async def _day_is_over(self, seconds: float) -> bool:
        """Stop, or wait for tomorrow where not even a look may go; True after a wait."""
        used_up = self._backend.pace.day_is_used_up(monotonic())
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
            self._announce("the requests of the next day", seconds)
        nothing_to_look_at = not self._running and not self._doubtful
        if used_up or nothing_to_look_at:
            await sleep(min(seconds, LONGEST_NAP))
        return used_up or nothing_to_look_at

    def _announce(self, what: str, seconds: float) -> None:
        """Say what is waited for, where it takes long."""
        if seconds <= _WORTH_TELLING and self._progress.waiting != what:
            return
        if self._progress.waiting != what:
            logger.info("waiting for %s, for %.0f s", what, seconds)
        self._progress = self._progress._replace(waiting=what, wait_seconds=seconds)

    def _announce_nothing(self) -> None:
        self._progress = self._progress._replace(waiting=None, wait_seconds=0.0)

    # Submitting

    async def _send(self, count: int) -> None:
        """Submit rows: on disk first, then to the API, then what came of it to disk."""
        works = [self._to_send.popleft() for _ in range(count)]
        now, api_now = monotonic(), self._backend.clock.now()
        if not self._running and not self._doubtful:
            self._look_at = now + self._settings.poll_interval
        for work in works:
            work.submitted_at, work.sent_at, work.earlier = api_now, now, None
            if work.first_sent_at is None:
                work.first_sent_at, work.accepted = now, self._accepted
            self._doubtful[work.key] = work
        await aside(lambda: self._journal.write(work.entry("submitting") for work in works))
        tickets = [Ticket(self._settings.workflow_id, work.inputs) for work in works]
        results: list[Optional[Sent]] = [None] * count
        written: list[tuple[Work, Entry]] = []
        try:
            await self._backend.send(self._engine, tickets, results)
        finally:
            accepted = [sent.execution_id for sent in results if sent and sent.execution_id]
            self._accepted += len(accepted)
            contested = {one for one in accepted if accepted.count(one) > 1}
            for work, sent in zip(works, results):
                if sent is not None:
                    written += self._settle(work, sent, contested)
            await aside(lambda: self._journal.write(entry for _, entry in written))
        if accepted:
            self._announce_nothing()
        for work, entry in written:
            if entry.state in ("failed", "unknown"):
                self._give(work, entry)
        self._backend.take(results)

    def _settle(
        self, work: Work, sent: Sent, contested: Collection[str]
    ) -> list[tuple[Work, Entry]]:
        """Put a row where its submission has brought it.

        Args:
            work: The row.
            sent: What came of it.
            contested: The executions that several rows got just now.

        Returns:
            What the journal is to have of the rows that this concerns.
        """
        execution_id = sent.execution_id
        if execution_id is not None:
            del self._doubtful[work.key]
            if execution_id not in contested and self._inputs_of(execution_id) is None:
                self._running[execution_id] = work
                return [(work, work.entry("submitted", execution_id))]
            # Whose it is cannot be told, nor what became of the others.
            problem = f"the API gave it the execution {execution_id}, and another row as well"
            other = self._running.pop(execution_id, None)
            return [
                (one, one.entry("unknown", execution_id, error=problem))
                for one in (work, other)
                if one is not None
            ]
        assert sent.error is not None
        fate = fate_of(sent.error)
        work.error = sent.error
        if fate == "doubt":
            work.doubtful_since = monotonic()
            return [(work, work.entry("submitting", error=work.refusal()))]
        del self._doubtful[work.key]
        if fate == "failed" or self._has_failed(work):
            return [(work, work.entry("failed", error=str(sent.error)))]
        self._to_send.append(work)
        return [(work, work.entry("queued"))]

    def _has_failed(self, work: Work) -> bool:
        """Say whether a row that was not submitted is not to be tried again."""
        attempts, patience = self._settings.attempts, self._settings.patience
        return work.is_given_up(self._accepted, monotonic(), attempts, patience)

    def _at_once(self) -> int:
        return _AT_ONCE if self._engine is None else max(self._engine.size, 1)

    # Looking at what runs

    async def _look(self) -> None:
        """Poll the newest executions, as far back as needed, and take up what has ended."""
        unseen = dict(self._running)
        candidates: dict[str, Candidate] = {}
        oldest = min((self._since(work) for work in self._doubtful.values()), default=None)
        asked_at = monotonic()
        complete, told_as_sent = False, True
        pages = 1 + len(unseen) // _PER_PAGE
        page = 1
        ended: list[dict[str, Any]] = []
        ids: set[str] = set()
        while True:
            answer: Any = await self._backend.ask(partial(self._backend.page, page))
            if answer is None:
                break
            before, ids = ids, {str(one.get("id")) for one in answer["data"]}
            last = None
            for execution in answer["data"]:
                if not execution.get("id"):
                    continue
                last = created_at(execution)
                # An execution comes twice where others were made between two pages.
                work = unseen.pop(execution["id"], None)
                if work is not None:
                    self._compare_times(work, last)
                status = execution.get("status")
                if work is not None and status in ENDED:
                    ended.append(execution)
                elif work is not None and status not in (None, _NOT_BEGUN):
                    work.refused = None
                if oldest is not None:
                    known = self._inputs_of(execution["id"])
                    if known is None:
                        candidates[execution["id"]] = candidate_of(execution)
                    elif candidate_of(execution).fingerprint != known:
                        told_as_sent = False
            seen_all = not unseen or page >= pages
            complete = (
                not answer["pagination"]["has_more"]
                or not answer["data"]
                or (oldest is not None and last is not None and last < oldest)
            )
            # A page that has nothing new never ends.
            if complete or (seen_all and oldest is None) or ids <= before:
                break
            page += 1
        # A poll may go although the day has no more rows to submit.
        if answer is not None and self._backend.pace.rows_left_today(monotonic()) != 0:
            self._announce_nothing()
        self._unlisted = self._unlisted + 1 if answer is None else 0
        if answer is not None or self._unlisted >= _MOST_UNLISTED:
            ended += await self._look_singly(unseen)
        await self._end(ended)
        await self._give_up(answer is not None)
        if complete and oldest is not None:
            if not told_as_sent or self._times_differ:
                # Inputs that the API changes say nothing of whose they are, nor do those of
                # executions that may have been made long before.
                candidates = {
                    one: candidate._replace(fingerprint=None)
                    for one, candidate in candidates.items()
                }
            await self._reconcile(candidates.values(), asked_at)
        interval = self._settings.poll_interval
        if self._to_send and self._free() > 0 and not self._stopping:
            interval = max(interval, _LOOK_SHARE * self._backend.pace.spacing(monotonic()))
        self._look_at = monotonic() + min(interval, _LONGEST_INTERVAL)

    def _since(self, work: Work) -> float:
        """Give the least time that a row's execution can have been made at."""
        return -math.inf if self._times_differ else work.since(self._backend.clock)

    def _compare_times(self, work: Work, created: Optional[float]) -> None:
        """Notice an execution that was made, it seems, before it was submitted."""
        since = self._since(work)
        if created is not None and created < since:
            logger.warning(
                "the API tells two times: its executions are %.0f s behind its responses",
                since - created,
            )
            self._times_differ = True

    async def _look_singly(self, unseen: dict[str, Work]) -> list[dict[str, Any]]:
        """Ask for some executions that no list shows, in turns; give those that have ended."""
        ended: list[dict[str, Any]] = []
        failures = 0
        for execution_id in sorted(unseen, key=lambda one: unseen[one].asked_at)[:_SINGLES]:
            unseen[execution_id].asked_at = monotonic()
            response: Any = await self._backend.ask(partial(self._backend.single, execution_id))
            if response is None:
                failures += 1
                if failures == _MOST_FAILED_SINGLES:
                    break
                continue
            execution = {**response["data"], "id": execution_id}
            status = execution.get("status")
            if status not in (None, _NOT_BEGUN):
                unseen[execution_id].refused = None
            if status in (*ENDED, "unknown"):
                ended.append(execution)
        return ended

    async def _give_up(self, looked: bool) -> None:
        """Let go of rows that do not end, so that they hold up no others.

        Args:
            looked: True after a look that would have shown their ends.
        """
        now, clock, bound = monotonic(), self._backend.clock, self._settings.row_timeout
        entries: list[Entry] = []
        over: list[tuple[Work, Entry]] = []
        for execution_id, work in list(self._running.items()):
            age = work.age(clock, now)
            if work.refused is not None and looked and age > _LONGEST_REFUSED:
                error = f"{work.refused}; its execution {execution_id} never began"
                entry = work.entry("failed", execution_id, error=error)
                entries.append(entry)
            elif age > bound:
                # The journal keeps it as it is: the next start looks at it again.
                error = (
                    f"its execution {execution_id} had not ended {bound:g} s after its "
                    "submission; the next start looks at it again"
                )
                entry = work.entry("unknown", execution_id, error=error)
            else:
                continue
            del self._running[execution_id]
            over.append((work, entry))
        for key, work in list(self._doubtful.items()):
            if work.age(clock, now) > bound:
                error = (
                    "it may have been submitted, and the API did not tell its executions for "
                    f"{bound:g} s; the next start looks for it again"
                )
                del self._doubtful[key]
                over.append((work, work.entry("unknown", error=error)))
        if entries:
            await aside(lambda: self._journal.write(entries))
        for work, entry in over:
            if work.row is None and entry.state == "unknown":
                self._given_up[work.key] = entry
            self._give(work, entry)

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
            error = None if one.get("error") is None else str(one["error"])
            status = str(one["status"])
            entries.append(work.entry(status, one["id"], one.get("outputs"), error))
        await aside(lambda: self._journal.write(entries))
        for (work, one), entry in zip(works, entries):
            del self._running[one["id"]]
            self._give(work, entry)

    # Rows of which nobody knows whether they were submitted

    async def _reconcile(self, candidates: Iterable[Candidate], asked_at: float) -> None:
        """Find the executions of rows whose submission was cut."""
        doubts = [
            Doubt(
                key,
                work.fingerprint,
                self._since(work),
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
                work.refused = work.refusal()
                self._running[verdict.execution_id] = work
                entries.append(work.entry("submitted", verdict.execution_id, error=work.refused))
                continue
            if not again:
                over.append((work, work.entry("unknown", error=verdict.problem)))
                continue
            if self._has_failed(work):
                over.append((work, work.entry("failed", error=str(work.error))))
            else:
                work.error = work.refused = None
                entries.append(work.entry("queued"))
                if work.row is not None:
                    self._to_send.append(work)
        entries += [entry for _, entry in over]
        if entries:
            await aside(lambda: self._journal.write(entries))
        for work, entry in over:
            self._give(work, entry)

    def _count(self, **counts: int) -> None:
        progress = self._progress
        self._progress = progress._replace(
            **{name: getattr(progress, name) + more for name, more in counts.items()}
        )
