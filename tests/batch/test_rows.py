"""Rows out of files, frames and iterables, and fingerprints of their inputs."""

from __future__ import annotations

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowmaestro_batch import RowError
from flowmaestro_batch.fingerprint import fingerprint
from flowmaestro_batch.rows import RowReader, count_rows, items_of


def rows_of(source, key=None):
    reader = RowReader(key)
    return [reader.row_of(item) for item in items_of(source, key)]


def file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_a_csv_file_is_read_with_the_lines_where_its_rows_begin(tmp_path):
    content = b'\xef\xbb\xbfemail,note\r\na@x,"two\nlines"\r\n\r\nb@x,"1,5"\r\n'
    rows = rows_of(file(tmp_path, "a.csv", content), "email")
    assert [(row.line, row.key, row.inputs) for row in rows] == [
        (2, "a@x", {"email": "a@x", "note": "two\nlines"}),
        (5, "b@x", {"email": "b@x", "note": "1,5"}),
    ]
    assert [row.number for row in rows] == [1, 2]


def test_tabs_and_json_lines_are_read_as_well(tmp_path):
    (row,) = rows_of(file(tmp_path, "a.tsv", b"a\tb\n1\t2\n"))
    assert row.inputs == {"a": "1", "b": "2"}
    content = b'\xef\xbb\xbf{"a": 1}\n\n{"a": "\xc3\xa9"}\n[1]\n{"a"\n"\xff"\n'
    rows = rows_of(str(file(tmp_path, "a.jsonl", content)), "a")
    assert [(row.line, row.key) for row in rows[:2]] == [(1, "1"), (3, "\u00e9")]
    assert [row.problem and row.problem[:20] for row in rows[2:]] == [
        "it is list, not a ma",
        "it is no JSON: Expec",
        "it is not UTF-8",
    ]


@pytest.mark.parametrize(
    ("name", "content", "key", "message"),
    [
        ("a.csv", b"a,b\n1,2\n", "email", r"has no column 'email'; it has 'a', 'b'"),
        ("a.csv", b"a;email\n1;2\n", "email", r"it has 'a;email'"),
        ("a.csv", b"", "a", "has no first line"),
        ("a.csv", b"a,a\n", None, "two columns 'a'"),
        ("a.csv", b"\xff\xfea\x00,\x00b\x00", None, r"not UTF-8|cannot be read"),
        ("a.xlsx", b"", None, r"no kind that can be read \(\.csv, \.tsv, \.jsonl"),
    ],
)
def test_a_file_that_is_no_good_is_an_error_at_once(tmp_path, name, content, key, message):
    with pytest.raises(RowError, match=message):
        items_of(file(tmp_path, name, content), key)


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path):
    for path in (tmp_path / "missing.csv", tmp_path / "missing.jsonl"):
        with pytest.raises(RowError, match="cannot be read: No such file"):
            items_of(path, None)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(RowError, match="cannot be read: Is a directory"):
        items_of(tmp_path / "folder.csv", None)


def test_a_field_that_is_too_long_fails_its_row_and_not_the_next(tmp_path):
    content = b"a\n" + b"x" * 200_000 + b"\n1\n"
    rows = rows_of(file(tmp_path, "a.csv", content))
    assert "field larger than field limit" in rows[0].problem
    assert rows[-1].inputs == {"a": "1"}


def test_rows_are_counted(tmp_path):
    assert count_rows(file(tmp_path, "a.csv", b"a\n1\n\n2\n3,4\n")) == 3


class Frame:
    """The part of a DataFrame that is used: pandas' and polars' are too large for tests."""

    columns = ("n", "when", "x")

    def itertuples(self, *, index, name):
        assert (index, name) == (False, None)
        return iter([(Scalar(1), datetime.date(2026, 1, 2), float("nan")), (Scalar(2), None, 1.5)])


class Scalar:
    """A number as numpy has them."""

    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


def test_a_frame_gives_rows_that_json_can_carry():
    rows = rows_of(Frame(), "n")
    assert [row.inputs for row in rows] == [
        {"n": 1, "when": "2026-01-02", "x": None},
        {"n": 2, "when": None, "x": 1.5},
    ]
    with pytest.raises(RowError, match="the DataFrame has no column 'm'"):
        items_of(Frame(), "m")


def test_mappings_of_any_kind_are_rows_and_are_read_one_by_one():
    read = []

    def endless():
        number = 0
        while True:
            read.append(number)
            yield {"n": number}
            number += 1

    items = items_of(endless(), "n")
    assert [next(items).value["n"] for _ in range(3)] == [0, 1, 2]
    assert read == [0, 1, 2]


TEXTS = st.text(max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
INPUTS = st.dictionaries(TEXTS, VALUES, max_size=3)


def as_javascript_tells_it(value):
    """Write a value as a backend does whose numbers are all 64-bit floats."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        number = float(value)
        return int(number) if number.is_integer() else number
    if isinstance(value, list):
        return [as_javascript_tells_it(one) for one in value]
    return {key: as_javascript_tells_it(value[key]) for key in sorted(value, reverse=True)}


@given(INPUTS)
def test_inputs_are_known_again_when_the_backend_tells_them(inputs):
    told = json.loads(json.dumps(as_javascript_tells_it(inputs)))
    assert fingerprint(told) == fingerprint(inputs)


@given(INPUTS, INPUTS)
def test_other_inputs_have_another_fingerprint(inputs, others):
    same = as_javascript_tells_it(inputs) == as_javascript_tells_it(others)
    if not same:
        assert fingerprint(inputs) != fingerprint(others)


def test_true_and_one_are_not_the_same():
    assert fingerprint({"a": True}) != fingerprint({"a": 1})
    assert fingerprint({"a": 1}) == fingerprint({"a": 1.0})
    assert fingerprint({"a": 10**400}) != fingerprint({"a": 10**401})
