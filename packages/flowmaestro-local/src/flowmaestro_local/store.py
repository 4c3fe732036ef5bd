"""Where the records are: in memory, and in an SQLite file where one was asked for.

All methods are called in the server's own thread. With a file, a record is committed
before the answer that acknowledges it is sent.
"""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union

from .records import ExecutionRecord, MemoryRecord, MessageRecord, ThreadRecord

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Store"]

Record = Union[ExecutionRecord, ThreadRecord, MessageRecord, MemoryRecord]
RecordT = TypeVar("RecordT", ExecutionRecord, ThreadRecord, MessageRecord, MemoryRecord)

_KINDS: dict[str, type[Record]] = {
    "execution": ExecutionRecord,
    "thread": ThreadRecord,
    "message": MessageRecord,
    "memory": MemoryRecord,
}

_UPSERT = (
    "INSERT INTO records (kind, id, content) VALUES (?, ?, ?) "
    "ON CONFLICT (kind, id) DO UPDATE SET content = excluded.content"
)
_REPLACE = "REPLACE INTO records (kind, id, content) VALUES (?, ?, ?)"


class Store:
    """Executions, threads, messages and memories."""

    def __init__(self, path: Optional[Path]) -> None:
        self.is_closed = False
        self.executions: dict[str, ExecutionRecord] = {}
        self.threads: dict[str, ThreadRecord] = {}
        self.messages: dict[str, list[MessageRecord]] = {}
        # By ``MemoryRecord.key``, the last changed last.
        self.memories: dict[tuple[str, str, str], MemoryRecord] = {}
        self._database = None if path is None else _open(path)
        if self._database is not None:
            # For a server that was made and never started.
            weakref.finalize(self, self._database.close)
            self._load(self._database)

    def save(self, record: Record) -> None:
        """Keep a record, new or changed."""
        if isinstance(record, ExecutionRecord):
            self.executions[record.id] = record
        elif isinstance(record, ThreadRecord):
            self.threads[record.id] = record
            self.messages.setdefault(record.id, [])
        elif isinstance(record, MemoryRecord):
            self.memories.pop(record.key, None)
            self.memories[record.key] = record
        else:
            self.messages[record.thread_id].append(record)
        if self._database is not None:
            kind = next(name for name, cls in _KINDS.items() if isinstance(record, cls))
            # A memory moves to the end, in the file too.
            statement = _REPLACE if isinstance(record, MemoryRecord) else _UPSERT
            with self._database:
                self._database.execute(statement, (kind, record.id, json.dumps(vars(record))))

    def delete_thread(self, thread_id: str) -> None:
        """Forget a thread with its messages."""
        del self.threads[thread_id]
        messages = self.messages.pop(thread_id)
        if self._database is not None:
            gone = [("thread", thread_id), *(("message", message.id) for message in messages)]
            with self._database:
                self._database.executemany("DELETE FROM records WHERE kind = ? AND id = ?", gone)

    def delete_memory(self, record: MemoryRecord) -> None:
        """Forget a memory."""
        del self.memories[record.key]
        if self._database is not None:
            with self._database:
                self._database.execute(
                    "DELETE FROM records WHERE kind = ? AND id = ?", ("memory", record.id)
                )

    def fail_interrupted(self) -> None:
        """Mark executions as failed whose handlers went down with the server that ran them."""
        for execution in list(self.executions.values()):
            if not execution.is_over:
                execution.status = "failed"
                execution.error = "the server was stopped while this execution ran"
                self.save(execution)

    def close(self) -> None:
        """Close the file, if there is one; what is in memory can still be read."""
        if self._database is not None:
            self._database.close()
            self._database = None
            self.is_closed = True

    def _load(self, database: sqlite3.Connection) -> None:
        rows: list[tuple[str, str]] = database.execute(
            "SELECT kind, content FROM records ORDER BY number"
        ).fetchall()
        for kind, content in rows:
            record: Any = _KINDS[kind](**json.loads(content))
            if isinstance(record, ExecutionRecord):
                self.executions[record.id] = record
            elif isinstance(record, ThreadRecord):
                self.threads[record.id] = record
                self.messages.setdefault(record.id, [])
            elif isinstance(record, MemoryRecord):
                self.memories[record.key] = record
            else:
                self.messages.setdefault(record.thread_id, []).append(record)
        self.fail_interrupted()


def _open(path: Path) -> sqlite3.Connection:
    # Imported here, as some Pythons are built without it.
    import sqlite3

    database = sqlite3.connect(str(path), check_same_thread=False)
    database.execute("PRAGMA journal_mode=WAL")
    # A commit survives the end of the process, however it comes.
    database.execute("PRAGMA synchronous=NORMAL")
    with database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS records ("
            "number INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, "
            "content TEXT NOT NULL, UNIQUE (kind, id))"
        )
    return database
