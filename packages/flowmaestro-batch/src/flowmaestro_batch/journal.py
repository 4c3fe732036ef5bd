"""The journal: what is known of each row, in an SQLite file that survives everything.

A row is *queued* (not submitted), *submitting* (it may have been), *submitted* (its
execution is known), and then *completed*, *failed*, *cancelled* or *unknown*. It is
*submitting* on disk before its request leaves, so that no row can be run without a trace.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

from .errors import JournalError, JournalInUseError

__all__ = ["ENDED", "Entry", "Journal"]

ENDED = ("completed", "failed", "cancelled")

# "FMbj", so that `file` and we ourselves know a journal from other databases.
_APPLICATION_ID = 0x464D626A
_VERSION = 1

_TABLES = """
CREATE TABLE batch (workflow_id TEXT NOT NULL);
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
        JournalError: It is no journal, or one of another workflow.
    """

    def __init__(self, path: Union[str, os.PathLike[str]], workflow_id: Optional[str]) -> None:
        self.path = Path(path)
        if workflow_id is None and not self.path.exists():
            raise JournalError(f"there is no journal {self.path}", code="no_journal")
        try:
            self._open(workflow_id)
        except sqlite3.OperationalError as why:
            self.close()
            if "locked" in str(why):
                raise JournalInUseError(
                    f"the journal {self.path} is in use: a batch runs on it; wait for its end, "
                    "or take another journal",
                    code="journal_in_use",
                ) from why
            raise JournalError(
                f"the journal {self.path} cannot be opened: {why}", code="journal_unreadable"
            ) from why
        except sqlite3.DatabaseError as why:
            self.close()
            raise self._none_of_ours() from why
        except JournalError:
            self.close()
            raise

    def _open(self, workflow_id: Optional[str]) -> None:
        self._db = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False
        )
        # Held until the process ends, however it does: the system lets go of it then.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        # What was written survives a loss of power as well.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("BEGIN EXCLUSIVE")
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0 and workflow_id is not None:
            for statement in _TABLES.split(";")[:-1]:
                self._db.execute(statement)
            self._db.execute("INSERT INTO batch VALUES (?)", (workflow_id,))
            self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        elif application != _APPLICATION_ID:
            raise self._none_of_ours()
        elif version != _VERSION:
            raise JournalError(
                f"the journal {self.path} was written by another version of flowmaestro-batch "
                f"(its form is {version}, not {_VERSION})",
                code="journal_version",
            )
        self._db.execute("COMMIT")
        (known,) = self._db.execute("SELECT workflow_id FROM batch").fetchone()
        if workflow_id is not None and known != workflow_id:
            raise JournalError(
                f"the journal {self.path} is of workflow {known!r}, not of {workflow_id!r}: "
                "take another journal",
                code="journal_of_another_workflow",
            )
        # On disk as well, so that a million keys take no memory.
        self._db.execute("PRAGMA temp_store = FILE")
        self._db.execute(
            "CREATE TEMP TABLE seen (key TEXT PRIMARY KEY, place TEXT NOT NULL) WITHOUT ROWID"
        )

    def _none_of_ours(self) -> JournalError:
        return JournalError(
            f"{self.path} is no journal of flowmaestro-batch: take another file",
            code="no_journal",
        )

    def close(self) -> None:
        """Let go of the file."""
        if hasattr(self, "_db"):
            self._db.close()

    def see(self, key: str, place: str) -> Optional[str]:
        """Note that this run has read a key; gives the place where it did so before."""
        added = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, place))
        if added.rowcount:
            return None
        found: tuple[str] = self._db.execute(
            "SELECT place FROM seen WHERE key = ?", (key,)
        ).fetchone()
        return found[0]

    def get(self, key: str) -> Optional[Entry]:
        """Give what is known of a row, or None."""
        found = self._db.execute("SELECT * FROM rows WHERE key = ?", (key,)).fetchone()
        return None if found is None else _entry(found)

    def inputs_of(self, execution_id: str) -> Optional[str]:
        """Give the fingerprint of the row that an execution belongs to, or None."""
        query = "SELECT inputs FROM rows WHERE execution_id = ?"
        found = self._db.execute(query, (execution_id,)).fetchone()
        return None if found is None else str(found[0])

    def open_rows(self) -> Iterator[Entry]:
        """Give the rows that were under way when the last run ended."""
        query = "SELECT * FROM rows WHERE state IN ('submitting', 'submitted')"
        return map(_entry, self._db.execute(query).fetchall())

    def counts(self) -> dict[str, int]:
        """Count the rows by state."""
        return dict(self._db.execute("SELECT state, count(*) FROM rows GROUP BY state").fetchall())

    def write(self, entries: Iterable[Entry]) -> None:
        """Write rows as they stand now; all of them or none."""
        self._db.execute("BEGIN")
        try:
            self._db.executemany(
                "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(*entry[:6], _text(entry.outputs), entry.error) for entry in entries],
            )
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _text(outputs: Any) -> Optional[str]:
    return None if outputs is None else json.dumps(outputs)


def _entry(found: tuple[Any, ...]) -> Entry:
    entry = Entry._make(found)
    return entry if entry.outputs is None else entry._replace(outputs=json.loads(entry.outputs))
