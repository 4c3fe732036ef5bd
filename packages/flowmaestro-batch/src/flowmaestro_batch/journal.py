"""The journal: what is known of each row, in an SQLite file that survives everything.

A row is *queued* (not submitted), *submitting* (it may have been), *submitted* (its
execution is known), and then *completed*, *failed*, *cancelled* or *unknown*. It is
*submitting* on disk before its request leaves, so that no row can be run without a trace.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

from .claim import Claim
from .errors import JournalError, JournalInUseError
from .texts import storable

__all__ = ["ENDED", "Entry", "Journal"]

ENDED = ("completed", "failed", "cancelled")

# "FMbj", so that `file` and we ourselves know a journal from other databases.
_APPLICATION_ID = 0x464D626A
_VERSION = 2

# Of a database's first bytes: what they begin with, and where its application's id stands.
_MAGIC = b"SQLite format 3\x00"
_HEADER = 100
_ID_AT = slice(68, 72)
# The same of a file of changes: its own header, and that of each page in it.
_WAL_HEADER, _FRAME_HEADER = 32, 24

_TABLES = """
CREATE TABLE batch (workflow_id TEXT NOT NULL, is_closed INTEGER NOT NULL DEFAULT 1);
CREATE TABLE rows (
    key TEXT PRIMARY KEY,
    inputs TEXT NOT NULL,
    state TEXT NOT NULL,
    execution_id TEXT,
    submitted_at REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    outputs TEXT,
    error TEXT
) WITHOUT ROWID;
CREATE INDEX open_rows ON rows (state) WHERE state IN ('submitting', 'submitted');
CREATE INDEX executions ON rows (execution_id) WHERE execution_id IS NOT NULL;
"""

# What SQLite says of a file that is not what was written.
_DAMAGES = ("malformed", "not a database", "Could not decode", "no such table", "no such column")

# The code that our own errors begin with.
_CODE = re.compile(r"\[(\w+)\]")


class Entry(NamedTuple):
    """What the journal has of a row.

    Attributes:
        key: The row's key.
        inputs: The fingerprint of its inputs.
        state: See above.
        execution_id: Its execution, once known.
        submitted_at: When its last request left, by the backend's clock.
        attempts: How often it was tried and refused for no fault of its own.
        outputs: What it gave.
        error: Why it failed or is unknown.
    """

    key: str
    inputs: str
    state: str
    execution_id: Optional[str] = None
    submitted_at: Optional[float] = None
    attempts: int = 0
    outputs: Any = None
    error: Optional[str] = None


class Journal:
    """An open journal; nobody else can open it meanwhile.

    Args:
        path: The file; it is made where it is missing.
        workflow_id: The workflow that the journal must be of; None for one of any workflow,
            that is there already.

    Raises:
        JournalInUseError: It is open elsewhere.
        JournalError: It is no journal, one of another workflow, or cannot be used; ``code``
            tells which.
    """

    def __init__(self, path: Union[str, os.PathLike[str]], workflow_id: Optional[str]) -> None:
        self._is_open = False
        self.path = Path(path)
        # Where it is behind links: a claim by another name is the same claim.
        self._real = Path(os.path.realpath(path))
        if workflow_id is None and not self._real.exists():
            raise JournalError(f"there is no journal {self.path}", code="no_journal")
        self._claim = Claim(self._real)
        try:
            if self._is_missing():
                assert workflow_id is not None
                with self._told():
                    self._make(workflow_id)
            self._check_file()
            with self._told():
                self._open(workflow_id)
        except BaseException:
            self.close()
            raise

    def _is_missing(self) -> bool:
        if self._real.exists():
            return False
        if self._changes.exists():
            raise JournalError(
                f"there is {self._changes.name} without the journal {self.path} that it belongs "
                "to: put the journal back, or remove what is left of it to begin a new one",
                code="journal_incomplete",
            )
        return True

    @property
    def _changes(self) -> Path:
        """Where SQLite keeps what is not yet in the file itself."""
        return Path(f"{self._real}-wal")

    def _make(self, workflow_id: str) -> None:
        """Write a new journal beside, so that there is a whole one or none."""
        new = Path(f"{self._real}-new")
        for left_over in (new, Path(f"{new}-journal")):
            with suppress(FileNotFoundError):
                left_over.unlink()
        database = sqlite3.connect(new, isolation_level=None)
        try:
            for statement in _TABLES.split(";")[:-1]:
                database.execute(statement)
            database.execute("INSERT INTO batch (workflow_id) VALUES (?)", (workflow_id,))
            database.execute(f"PRAGMA user_version = {_VERSION}")
            database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        finally:
            database.close()
        new.rename(self._real)

    def _check_file(self) -> None:
        """See that it is a journal, by its bytes: to open a database may change it."""
        try:
            with self._real.open("rb") as file:
                header = file.read(_HEADER)
        except OSError as why:
            raise JournalError(
                f"the journal {self.path} cannot be read: {why.strerror}",
                code="journal_unreadable",
            ) from why
        if not header and not self._changes.exists():
            raise JournalError(
                f"{self.path} is empty, and a journal never is: if it was not one, remove it to "
                "begin a new journal",
                code="journal_damaged",
            )
        known = int.from_bytes(header[_ID_AT], "big") if header.startswith(_MAGIC) else 0
        if known != _APPLICATION_ID and self._id_in_changes() != _APPLICATION_ID:
            raise JournalError(
                f"{self.path} is no journal of flowmaestro-batch: take another file",
                code="no_journal",
            )

    def _id_in_changes(self) -> int:
        """Read the application's id where only the changes have it, as version 1 left them."""
        found = 0
        with suppress(FileNotFoundError), self._changes.open("rb") as file:
            size = int.from_bytes(file.read(_WAL_HEADER)[8:12], "big")
            while frame := file.read(_FRAME_HEADER + size):
                if int.from_bytes(frame[:4], "big") == 1:
                    page = frame[_FRAME_HEADER:]
                    found = int.from_bytes(page[_ID_AT], "big")
        return found

    def _open(self, workflow_id: Optional[str]) -> None:
        has_changes = self._changes.exists()
        self._db = sqlite3.connect(
            self._real, timeout=0, isolation_level=None, check_same_thread=False
        )
        # Held until the process ends, against programs that are none of ours.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        # What was written survives a loss of power as well.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("BEGIN EXCLUSIVE")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 1:
            self._db.execute("ALTER TABLE batch ADD COLUMN is_closed INTEGER NOT NULL DEFAULT 1")
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise JournalError(
                f"the journal {self.path} was written by another version of flowmaestro-batch "
                f"(its form is {version}, not {_VERSION})",
                code="journal_version",
            )
        found = self._db.execute("SELECT workflow_id, is_closed FROM batch").fetchone()
        if found is None:
            raise self._damaged("it does not say of which workflow it is")
        known, is_closed = found
        if not is_closed and not has_changes:
            raise JournalError(
                f"the journal {self.path} is not whole: the batch on it was not at its end when "
                f"it was copied or moved, and {self._changes.name}, which has the latest rows, "
                "is missing; put it beside the journal",
                code="journal_incomplete",
            )
        if workflow_id is not None and known != workflow_id:
            raise JournalError(
                f"the journal {self.path} is of workflow {known!r}, not of {workflow_id!r}: "
                "take another journal",
                code="journal_of_another_workflow",
            )
        self.workflow_id = str(known)
        self._db.execute("UPDATE batch SET is_closed = 0")
        self._db.execute("COMMIT")
        # In the file itself: alone, without its changes, it is known not to be whole.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._is_open = True
        self._stat = os.stat(self._real)
        # On disk as well, so that a million keys take no memory.
        self._db.execute("PRAGMA temp_store = FILE")
        self._db.execute(
            "CREATE TEMP TABLE seen (key TEXT PRIMARY KEY, place TEXT NOT NULL) WITHOUT ROWID"
        )

    @contextmanager
    def _told(self) -> Generator[None, None, None]:
        """Say what SQLite's errors mean for a batch, and what is to be done."""
        try:
            yield
        except sqlite3.Error as why:
            raise self._error_of(why) from why
        except OSError as why:
            raise JournalError(
                f"the journal {self.path} cannot be opened: {why.strerror}",
                code="journal_unreadable",
            ) from why

    def _error_of(self, why: sqlite3.Error) -> JournalError:
        text = str(why)
        if "locked" in text:
            return JournalInUseError(
                f"the journal {self.path} is open in another program: close it there",
                code="journal_in_use",
            )
        if "readonly" in text:
            code, advice = "journal_read_only", "make it and its folder writable"
        elif "full" in text:
            code = "journal_full"
            advice = "make room on its disk and start again; nothing is lost"
        elif any(one in text for one in _DAMAGES):
            return self._damaged(text)
        else:
            code, advice = "journal_unreadable", "look at its disk and its folder"
        return JournalError(f"the journal {self.path} cannot be used ({text}): {advice}", code=code)

    def _damaged(self, text: str) -> JournalError:
        return JournalError(
            f"the journal {self.path} is damaged ({text}): bring back a copy of it, or let "
            "`sqlite3 OLD .recover | sqlite3 NEW` save what is left; with a new journal every "
            "row is run again",
            code="journal_damaged",
        )

    def _entry(self, found: tuple[Any, ...]) -> Entry:
        entry = Entry._make(found)
        if entry.outputs is None:
            return entry
        try:
            return entry._replace(outputs=json.loads(entry.outputs))
        except ValueError as why:
            raise self._damaged(f"the outputs of row {entry.key!r} are no JSON") from why

    def close(self) -> None:
        """Let go of the file."""
        is_marked = not self._is_open
        try:
            if self._is_open:
                self._is_open = False
                with suppress(sqlite3.Error):
                    # First into the file itself: on a full disk, that makes room for the mark.
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    self._db.execute("UPDATE batch SET is_closed = 1")
                    is_marked = True
            if hasattr(self, "_db"):
                self._db.close()
            if not is_marked and not self._changes.exists():
                # All of them are in the file, which does not say so: an empty one is as good.
                with suppress(OSError):
                    self._changes.touch()
        finally:
            self._claim.release()

    def see(self, key: str, place: str) -> Optional[str]:
        """Note that this run has read a key; gives the place where it did so before."""
        with self._told():
            added = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, place))
            if added.rowcount:
                return None
            found: tuple[str] = self._db.execute(
                "SELECT place FROM seen WHERE key = ?", (key,)
            ).fetchone()
            return found[0]

    def get(self, key: str) -> Optional[Entry]:
        """Give what is known of a row, or None."""
        with self._told():
            found = self._db.execute("SELECT * FROM rows WHERE key = ?", (key,)).fetchone()
        return None if found is None else self._entry(found)

    def inputs_of(self, execution_id: str) -> Optional[str]:
        """Give the fingerprint of the row that an execution belongs to, or None."""
        query = "SELECT inputs FROM rows WHERE execution_id = ?"
        with self._told():
            found = self._db.execute(query, (storable(execution_id),)).fetchone()
        return None if found is None else str(found[0])

    def open_rows(self) -> Iterator[Entry]:
        """Give the rows that were under way when the last run ended."""
        query = "SELECT * FROM rows WHERE state IN ('submitting', 'submitted')"
        with self._told():
            return map(self._entry, self._db.execute(query).fetchall())

    def counts(self) -> dict[str, int]:
        """Count the rows by state."""
        with self._told():
            query = "SELECT state, count(*) FROM rows GROUP BY state ORDER BY state"
            return dict(self._db.execute(query).fetchall())

    def oldest_open(self) -> Optional[Entry]:
        """Give the row that is under way for the longest time, or None."""
        return min(self.open_rows(), key=lambda entry: entry.submitted_at or 0.0, default=None)

    def errors(self) -> Counter[str]:
        """Count the errors of rows by their code, or else by their text."""
        counted: Counter[str] = Counter()
        with self._told():
            for (text,) in self._db.execute("SELECT error FROM rows WHERE error IS NOT NULL"):
                code = _CODE.match(text)
                counted[code[1] if code else text.partition("\n")[0][:80]] += 1
        return counted

    def ended(self) -> Iterator[Entry]:
        """Give the rows that have an outcome, by their keys."""
        states = ", ".join(f"'{state}'" for state in (*ENDED, "unknown"))
        with self._told():
            query = f"SELECT * FROM rows WHERE state IN ({states}) ORDER BY key"
            yield from map(self._entry, self._db.execute(query))

    def write(self, entries: Iterable[Entry]) -> None:
        """Write rows as they stand now; all of them or none.

        Raises:
            JournalError: They cannot be written.
        """
        written = [_written(entry) for entry in entries]
        self._see_that_it_is_there()
        with self._told():
            self._db.execute("BEGIN")
            try:
                self._db.executemany(
                    "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", written
                )
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _see_that_it_is_there(self) -> None:
        """What is written to a file that was removed is written nowhere."""
        try:
            is_there = os.path.samestat(os.stat(self._real), self._stat)
        except OSError:
            is_there = False
        if not is_there:
            raise JournalError(
                f"the journal {self.path} was moved, removed or replaced while the batch ran; "
                "put it back where it was",
                code="journal_gone",
            )


def _written(entry: Entry) -> tuple[Any, ...]:
    outputs = None if entry.outputs is None else json.dumps(entry.outputs)
    execution_id = storable(entry.execution_id)
    return (*entry._replace(execution_id=execution_id)[:6], outputs, entry.error)
