"""The journal's file."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from flowmaestro_batch import JournalError, JournalInUseError, claim
from flowmaestro_batch import journal as journal_module
from flowmaestro_batch.journal import Entry, Journal
from flowmaestro_batch.texts import storable


@pytest.fixture
def path(tmp_path):
    return tmp_path / "batch.sqlite"


def test_what_was_written_is_there_again(path):
    entries = [
        Entry("a", "f", "completed", "x", 1.5, 2, {"deep": [1, None, "\u00e9"]}, None),
        Entry("b", "g", "failed", None, 2.5, 0, None, "no such company"),
        Entry("c", "h", "submitting", None, 3.5),
        Entry("d", "i", "submitted", "y", 4.5),
    ]
    journal = Journal(path, "wf")
    journal.write(entries)
    journal.close()
    journal = Journal(path, "wf")
    assert [journal.get(entry.key) for entry in entries] == entries
    assert journal.get("e") is None
    assert sorted(entry.key for entry in journal.open_rows()) == ["c", "d"]
    assert journal.inputs_of("y") == "i"
    assert journal.inputs_of("z") is None
    assert journal.counts() == {"completed": 1, "failed": 1, "submitting": 1, "submitted": 1}
    journal.close()


def test_an_id_with_half_a_character_is_known_again(path):
    journal = Journal(path, "wf")
    journal.write([Entry("a", "f", "submitted", "e\ud83d")])
    assert journal.inputs_of("e\ud83d") == "f"
    assert journal.get("a").execution_id == "e\ufffd"
    journal.close()


def test_a_key_is_seen_once_in_a_run(path):
    journal = Journal(path, "wf")
    assert journal.see("a", "line 2") is None
    assert journal.see("a", "line 9") == "line 2"
    journal.close()
    journal = Journal(path, "wf")
    assert journal.see("a", "line 2") is None
    journal.close()


def test_a_write_is_whole_or_not_at_all(path):
    journal = Journal(path, "wf")
    with pytest.raises(TypeError):
        journal.write([Entry("a", "f", "completed"), Entry("b", "f", "completed", outputs={1, 2})])
    assert journal.get("a") is None
    journal.write([Entry("a", "f", "completed")])
    journal.close()


def test_an_open_journal_is_refused(path):
    journal = Journal(path, "wf")
    with pytest.raises(JournalInUseError, match="is in use"):
        Journal(path, "wf")
    journal.close()
    Journal(path, "wf").close()


@pytest.mark.parametrize(
    "content", [b"email,name\n" * 100, b"\x00" * 4096, b"x", b"x" * 68 + b"FMbj" * 8]
)
def test_another_file_is_refused_and_not_touched(path, content):
    path.write_bytes(content)
    with pytest.raises(JournalError, match="is no journal") as caught:
        Journal(path, "wf")
    assert caught.value.code == "no_journal"
    assert path.read_bytes() == content


def test_an_empty_file_is_refused(path):
    path.touch()
    with pytest.raises(JournalError, match="is empty, and a journal never is") as caught:
        Journal(path, "wf")
    assert caught.value.code == "journal_damaged"


@pytest.mark.parametrize("application_id", [0, 0x47504B47])
def test_another_database_is_refused_and_stays_as_it_is(path, application_id):
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA application_id = {application_id}")
    other.execute("CREATE TABLE rows (a)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="is no journal") as caught:
        Journal(path, "wf")
    assert caught.value.code == "no_journal"
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}-lock"]


def test_a_journal_of_another_form_is_refused(path):
    Journal(path, "wf").close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 3")
    later.close()
    with pytest.raises(JournalError, match="another version of flowmaestro-batch") as caught:
        Journal(path, "wf")
    assert caught.value.code == "journal_version"


def test_a_place_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(JournalError, match=r"cannot be claimed: .*No such file") as caught:
        Journal(tmp_path / "missing" / "batch.sqlite", "wf")
    assert caught.value.code == "journal_read_only"
    with pytest.raises(JournalError, match="there is no journal") as caught:
        Journal(tmp_path / "missing.sqlite", None)
    assert caught.value.code == "no_journal"
    assert not (tmp_path / "missing.sqlite-lock").exists()


def test_a_journal_of_another_workflow_is_refused(path):
    Journal(path, "wf_other").close()
    with pytest.raises(JournalError, match="is of workflow 'wf_other', not of 'wf'") as caught:
        Journal(path, "wf")
    assert caught.value.code == "journal_of_another_workflow"


# Copies


def copied(path, *ends):
    """Copy some files of a journal aside, as a backup does while it is in use."""
    folder = path.parent / "copy"
    folder.mkdir()
    for end in ends:
        shutil.copy(f"{path}{end}", folder / f"{path.name}{end}")
    return folder / path.name


def test_a_journal_in_use_that_is_copied_alone_is_not_taken_for_a_whole_one(path):
    journal = Journal(path, "wf")
    journal.write([Entry("a", "f", "submitting")])
    alone = copied(path, "")
    journal.close()
    before = alone.read_bytes()
    with pytest.raises(JournalError, match=r"is not whole: .* batch.sqlite-wal") as caught:
        Journal(alone, "wf")
    assert caught.value.code == "journal_incomplete"
    assert alone.read_bytes() == before


def test_a_journal_in_use_that_is_copied_with_its_changes_is_whole(path):
    journal = Journal(path, "wf")
    journal.write([Entry("a", "f", "submitting")])
    both = copied(path, "", "-wal")
    journal.close()
    again = Journal(both, "wf")
    assert again.counts() == {"submitting": 1}
    again.close()


def test_changes_without_their_journal_are_no_new_one(path):
    journal = Journal(path, "wf")
    journal.write([Entry("a", "f", "submitting")])
    changes = copied(path, "-wal")
    journal.close()
    with pytest.raises(JournalError, match="without the journal") as caught:
        Journal(changes, "wf")
    assert caught.value.code == "journal_incomplete"


def test_a_journal_at_its_end_is_whole_by_itself(path):
    journal = Journal(path, "wf")
    journal.write([Entry("a", "f", "completed")])
    journal.close()
    again = Journal(copied(path, ""), "wf")
    assert again.counts() == {"completed": 1}
    again.close()


@pytest.mark.parametrize("with_changes", [False, True])
def test_a_journal_of_the_first_version_is_read(path, with_changes):
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    tables = journal_module._TABLES.replace(", is_closed INTEGER NOT NULL DEFAULT 1", "")
    for statement in tables.split(";")[:-1]:
        old.execute(statement)
    old.execute("INSERT INTO batch VALUES ('wf')")
    old.execute("INSERT INTO rows (key, inputs, state) VALUES ('a', 'f', 'submitting')")
    old.execute("PRAGMA application_id = 0x464D626A")
    old.execute("PRAGMA user_version = 1")
    if with_changes:
        # As a process leaves it that was killed: all that there is is in the changes.
        left = copied(path, "", "-wal")
        old.close()
    else:
        old.close()
        left = path
    journal = Journal(left, "wf")
    assert journal.counts() == {"submitting": 1}
    assert journal.workflow_id == "wf"
    journal.close()


# The claim


def test_a_journal_stays_claimed_whatever_the_program_does_with_its_files(path):
    journal = Journal(path, "wf")
    for end in ("", "-wal", "-lock"):
        shutil.copy(f"{path}{end}", f"{path}-backup{end}")
        Path(f"{path}{end}").read_bytes()
    program = (
        "import sys; from flowmaestro_batch.journal import Journal; Journal(sys.argv[1], 'wf')"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60
    )
    assert "JournalInUseError" in other.stderr
    assert f"in use by process {os.getpid()} on " in other.stderr
    journal.close()
    Journal(path, "wf").close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows needs a privilege for links")
def test_a_journal_is_claimed_by_every_name_that_it_has(path):
    journal = Journal(path, "wf")
    link = path.with_name("link.sqlite")
    link.symlink_to(path)
    with pytest.raises(JournalInUseError) as caught:
        Journal(link, "wf")
    assert caught.value.code == "journal_in_use"
    journal.close()


def test_a_claim_whose_file_was_removed_meanwhile_is_made_again(path, monkeypatch):
    removed = []
    lock = claim._lock

    def lock_late(file):
        if not removed:
            # The one that had it ended, and somebody tidied up.
            removed.append(Path(f"{path}-lock").unlink())
        lock(file)

    monkeypatch.setattr(claim, "_lock", lock_late)
    journal = Journal(path, "wf")
    with pytest.raises(JournalInUseError):
        Journal(path, "wf")
    journal.close()


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_an_error(path, monkeypatch, error):
    def lock(file):
        raise OSError(error, "no locks")

    monkeypatch.setattr(claim, "_lock", lock)
    with pytest.raises(JournalError, match="keep it on a file system that has locks") as caught:
        Journal(path, "wf")
    assert caught.value.code == "journal_unreadable"
    monkeypatch.undo()
    Journal(path, "wf").close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_that_outlives_its_parent_does_not_keep_the_journal(path):
    program = (
        "import os, sys, time\n"
        "from flowmaestro_batch.journal import Journal\n"
        "journal = Journal(sys.argv[1], 'wf')\n"
        "if os.fork() == 0:\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout.readline() == b"ready\n"
    with pytest.raises(JournalInUseError):
        Journal(path, "wf")
    parent.kill()
    parent.wait(60)
    Journal(path, "wf").close()
    # That lets the child end.
    parent.stdin.close()
    parent.stdout.close()


# Disks


def test_a_full_disk_is_told_and_what_was_written_stays(path):
    journal = Journal(path, "wf")
    journal.write([Entry("a", "f", "submitted", "e1")])
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal._db.execute("PRAGMA max_page_count = 1")
    many = [Entry(f"{n}", "f", "completed", outputs="x" * 1_000) for n in range(1_000)]
    with pytest.raises(JournalError, match="make room on its disk and start again") as caught:
        journal.write(many)
    assert caught.value.code == "journal_full"
    journal.close()
    journal = Journal(path, "wf")
    assert journal.counts() == {"submitted": 1}
    journal.close()


def test_a_disk_that_is_full_at_the_end_leaves_a_whole_journal(path):
    class Full:
        """A database whose disk has no room for one page more."""

        def __init__(self, database):
            self.database = database

        def execute(self, statement, *more):
            if statement.startswith("UPDATE batch"):
                raise sqlite3.OperationalError("database or disk is full")
            return self.database.execute(statement, *more)

        def close(self):
            self.database.close()

    journal = Journal(path, "wf")
    journal.write([Entry("a", "f", "completed")])
    journal._db = Full(journal._db)
    journal.close()
    again = Journal(path, "wf")
    assert again.counts() == {"completed": 1}
    again.close()


def test_a_claim_needs_no_room_on_the_disk(path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(claim.os, "write", refuse)
    journal = Journal(path, "wf")
    with pytest.raises(JournalInUseError, match="is in use: wait"):
        Journal(path, "wf")
    journal.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE rows SET outputs = '{bad'",
        "DELETE FROM batch",
        "DROP TABLE rows",
        "UPDATE rows SET error = CAST(x'ff' AS TEXT)",
    ],
)
def test_a_journal_whose_content_is_damaged_is_told(path, change):
    journal = Journal(path, "wf")
    journal.write([Entry("a", "f", "completed", outputs={"n": 1})])
    journal.close()
    other = sqlite3.connect(path)
    other.execute(change)
    other.commit()
    other.close()
    with pytest.raises(JournalError, match="is damaged") as caught:
        journal = Journal(path, "wf")
        try:
            journal.get("a")
        finally:
            journal.close()
    assert caught.value.code == "journal_damaged"


def overwritten(content):
    return content[:4_096] + bytes(len(content) - 8_192) + content[-4_096:]


def cut_in_half(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("damage", "read"),
    [
        (overwritten, lambda journal: journal.get("00100")),
        (cut_in_half, lambda journal: list(journal.ended())),
    ],
)
def test_a_damaged_journal_is_told_and_not_taken_for_a_new_one(path, damage, read):
    journal = Journal(path, "wf")
    journal.write(Entry(f"{n:05}", "f", "completed", outputs="x" * 500) for n in range(200))
    journal.close()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(JournalError, match="bring back a copy of it") as caught:
        journal = Journal(path, "wf")
        try:
            read(journal)
        finally:
            journal.close()
    assert caught.value.code == "journal_damaged"


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_told(path, monkeypatch, error):
    def refuse(*arguments):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(claim.os, "open", refuse)
    with pytest.raises(JournalError, match="its folder has to be writable") as caught:
        Journal(path, "wf")
    assert caught.value.code == "journal_read_only"


@pytest.mark.parametrize(
    ("name", "message"),
    [("rename", "cannot be opened: Read-only file system"), ("open", "cannot be read: Read-only")],
)
def test_a_file_that_the_system_refuses_is_told(path, monkeypatch, name, message):
    if name == "open":
        Journal(path, "wf").close()

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(JournalError, match=message) as caught:
        Journal(path, "wf")
    assert caught.value.code == "journal_unreadable"
    monkeypatch.undo()
    # The claim was let go.
    Journal(path, "wf").close()


def test_what_is_left_of_a_new_journal_is_made_again(path):
    for end in ("-new", "-new-journal"):
        Path(f"{path}{end}").write_text("half of it")
    Journal(path, "wf").close()
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}-lock"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("attempt to write a readonly database", "journal_read_only"),
        ("database is locked", "journal_in_use"),
        ("disk I/O error", "journal_unreadable"),
        ("file is not a database", "journal_damaged"),
    ],
)
def test_what_sqlite_says_is_told_in_words_of_a_batch(path, text, code):
    journal = Journal(path, "wf")
    with pytest.raises(JournalError) as caught:
        with journal._told():
            raise sqlite3.OperationalError(text)
    assert caught.value.code == code
    assert (code == "journal_in_use") == isinstance(caught.value, JournalInUseError)
    journal.close()


def test_a_journal_that_another_program_has_open_is_in_use(path):
    Journal(path, "wf").close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalInUseError, match="is open in another program"):
        Journal(path, "wf")
    other.close()
    Journal(path, "wf").close()


def test_a_journal_that_was_replaced_is_written_no_longer(path):
    journal = Journal(path, "wf")
    shutil.copy(path, f"{path}-other")
    os.replace(f"{path}-other", path)
    with pytest.raises(JournalError, match="was moved, removed or replaced") as caught:
        journal.write([Entry("a", "f", "completed")])
    assert caught.value.code == "journal_gone"
    journal.close()


# What a person wants to know


def test_a_journal_is_summed_up(path):
    journal = Journal(path, "wf")
    assert journal.oldest_open() is None
    journal.write(
        [
            Entry("a", "f", "completed", "e1", 1.0, outputs={"n": 1}),
            Entry("b", "f", "failed", "e2", 2.0, error="[bad_row] it has no name (HTTP 400)"),
            Entry("c", "f", "failed", "e3", 2.0, error="[bad_row] it has no e-mail"),
            Entry("d", "f", "failed", "e4", 2.0, error="no such company\nat line 5"),
            Entry("e", "f", "submitted", "e5", 9.0),
            Entry("f", "f", "submitting", None, 8.0),
            Entry("g", "f", "unknown", None, 3.0, error="nobody knows"),
            Entry("h", "f", "queued"),
        ]
    )
    assert journal.oldest_open().key == "f"
    assert journal.errors() == {"bad_row": 2, "no such company": 1, "nobody knows": 1}
    assert [entry.key for entry in journal.ended()] == ["a", "b", "c", "d", "g"]
    journal.close()


def test_a_text_that_utf_8_cannot_carry_is_made_storable():
    assert storable("a\ud83db\udc00") == "a\ufffdb\ufffd"
    assert storable("\U0001f600") == "\U0001f600"
    assert storable(None) is None
