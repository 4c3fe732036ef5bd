"""The claim of one process on a journal: a file of its own beside it, locked by the system.

SQLite's own locks are the process's, and are gone as soon as anything in it, a backup for
example, closes the journal's file. This one is gone when the process ends, and no sooner.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Optional

from .errors import JournalError, JournalInUseError

__all__ = ["Claim"]

# Where Windows locks a byte: far behind what is written in the file, which others may read.
_BYTE = 1 << 30

_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class Claim:
    """Held until it is released, or the process ends, however it does.

    Args:
        journal: The journal, by its real path.

    Raises:
        JournalInUseError: Another process has it, or another batch of this one.
        JournalError: It cannot be claimed here.
    """

    def __init__(self, journal: Path) -> None:
        path = Path(f"{journal}-lock")
        file = _locked(journal, path)
        # Another process may have removed it between its opening and its locking.
        while not _is_still(file, path):
            os.close(file)
            file = _locked(journal, path)
        self._file: Optional[int] = file
        # Only for people to read: a disk may be full.
        with suppress(OSError):
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()} on {socket.gethostname()}\n".encode("utf-8", "replace"))
        _claims.add(self)

    def release(self) -> None:
        """Let others have the journal."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


_claims: weakref.WeakSet[Claim] = weakref.WeakSet()


def _release_in_child() -> None:
    """A child that goes on after its parent was killed does not have the journal."""
    for claim in list(_claims):
        claim.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, _BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _locked(journal: Path, path: Path) -> int:
    """Open a file and lock it, or raise what is to be said of the journal."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as why:
        raise JournalError(
            f"the journal {journal} cannot be claimed: {path} cannot be written "
            f"({why.strerror}); its folder has to be writable",
            code="journal_read_only",
        ) from why
    try:
        _lock(file)
    except OSError as why:
        owner = _owner(file)
        os.close(file)
        if why.errno in _TAKEN:
            raise JournalInUseError(
                f"the journal {journal} is in use{owner}: wait for the end of its batch, "
                "or take another journal",
                code="journal_in_use",
            ) from why
        raise JournalError(
            f"the journal {journal} cannot be claimed: {why.strerror}; keep it on a "
            "file system that has locks",
            code="journal_unreadable",
        ) from why
    return file


def _is_still(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _owner(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    text = os.read(file, 300).decode("utf-8", "replace").strip()
    return f" by process {text}" if text else ""
