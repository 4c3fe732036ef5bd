"""The journal's file."""

from __future__ import annotations

import sqlite3

import pytest

from flowmaestro_batch import JournalError, JournalInUseError
from flowmaestro_batch.journal import Entry, Journal


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


@pytest.mark.parametrize("content", [b"email,name\n" * 100, b"\x00" * 4096])
def test_another_file_is_refused_and_not_touched(path, content):
    path.write_bytes(content)
    with pytest.raises(JournalError, match="is no journal"):
        Journal(path, "wf")
    assert path.read_bytes() == content


def test_another_database_is_refused(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE rows (a)")
    other.commit()
    other.close()
    with pytest.raises(JournalError, match="is no journal"):
        Journal(path, "wf")


def test_a_journal_of_another_form_is_refused(path):
    Journal(path, "wf").close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 2")
    later.close()
    with pytest.raises(JournalError, match="another version of flowmaestro-batch"):
        Journal(path, "wf")


def test_a_place_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "missing" / "batch.sqlite", "wf")
    with pytest.raises(JournalError, match="there is no journal"):
        Journal(tmp_path / "missing.sqlite", None)
