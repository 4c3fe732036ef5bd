"""Rows out of files, frames and iterables, and fingerprints of their inputs."""

from __future__ import annotations

import codecs
import csv
import datetime
import decimal
import gzip
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowmaestro_batch import RowError, files
from flowmaestro_batch.files import FileFormat
from flowmaestro_batch.fingerprint import fingerprint
from flowmaestro_batch.keys import key_of, spellings
from flowmaestro_batch.rows import Item, RowReader, count_rows, items_of
from flowmaestro_batch.values import plain


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
    ("name", "content", "key", "code", "message"),
    [
        (
            "a.csv",
            b"a,b\n1,2\n",
            "email",
            "no_such_column",
            r"has no column 'email'; it has 'a', 'b'",
        ),
        ("a.csv", b"a;email\n1;2\n", "email", "no_such_column", r"it has 'a;email'"),
        ("a.csv", b"a;email\n", "email", "no_such_column", r"is the delimiter ';'\?"),
        ("a.csv", b"a\temail\n", "email", "no_such_column", r"is the delimiter '\\t'\?"),
        ("a.csv", b"a.email\n", "email", "no_such_column", r"it has 'a\.email'$"),
        ("a.csv", b"a;b,c\n", "email", "no_such_column", r"it has 'a;b', 'c'$"),
        ("a.csv", b"", "a", "no_header", "has no first line"),
        ("a.csv", b"\n\n", None, "no_header", "has no first line"),
        ("a.csv", b",\n1,2\n", None, "no_header", "has no first line"),
        ("a.csv", b"sep=;\na;b\n1;2\n", None, "no_header", r"'sep=;', as Excel .* it is not ','"),
        ("a.tsv", b"SEP=,\na,b\n", None, "no_header", r"as Excel writes it.* it is not '\\t'"),
        ("a.csv", b"sep=,\na,b\n", None, "no_header", "as Excel writes it"),
        ("a.csv", b"a,a\n", None, "duplicate_column", "two columns 'a'"),
        ("a.csv", b"a,,b\n", None, "unnamed_column", r"column 2 of .* has no name .*index=False"),
        ("a.csv", b",a\n", None, "unnamed_column", "column 1 of"),
        ("a.csv", b'"a\n', None, "bad_csv", "line 1 .* is never closed"),
        ("a.csv", b"a\xff,b\n", None, "not_utf_8", "the first line of .* is not UTF-8"),
        ("a.xlsx", b"", None, "unknown_kind", r"no kind that can be read \(\.csv, \.tsv, \.jsonl"),
        ("a", b"", None, "unknown_kind", "no kind that can be read"),
        ("a.gz", b"", None, "unknown_kind", "no kind that can be read"),
    ],
)
def test_a_file_that_is_no_good_is_an_error_at_once(tmp_path, name, content, key, code, message):
    with pytest.raises(RowError, match=message) as caught:
        items_of(file(tmp_path, name, content), key)
    assert caught.value.code == code
    assert str(tmp_path / name) in str(caught.value)


def test_columns_of_one_cell_that_begin_like_excels_line_are_columns(tmp_path):
    (item,) = items_of(file(tmp_path, "a.csv", b"sep=x,a,b\n1,2,3\n"), "a")
    assert item.value == {"sep=x": "1", "a": "2", "b": "3"}


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path):
    for path in (tmp_path / "missing.csv", tmp_path / "missing.jsonl"):
        with pytest.raises(RowError, match="cannot be read: No such file"):
            items_of(path, None)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(RowError, match="cannot be read: Is a directory"):
        items_of(tmp_path / "folder.csv", None)


def items_before_the_error(path, **form):
    """Read a file that cannot be read to its end: what came before, and the error."""
    items, read = items_of(path, None, FileFormat(**form)), []
    with pytest.raises(RowError) as caught:
        for item in items:
            read.append(item.value)
    return read, caught.value


@pytest.mark.parametrize("lines", [1, 7_000, 60_000])
def test_a_cell_of_any_number_of_lines_is_one_cell(tmp_path, lines):
    text = "\n".join(f"line {n}, it says" for n in range(lines))
    content = f'name,text\na@x,"{text}"\nb@x,short\n'.encode()
    rows = rows_of(file(tmp_path, "a.csv", content), "name")
    assert [(row.line, row.inputs["name"], row.problem) for row in rows] == [
        (2, "a@x", None),
        (lines + 2, "b@x", None),
    ]
    assert rows[0].inputs["text"] == text


def test_the_limit_of_other_readers_of_csv_stays_as_it_was(tmp_path):
    before = csv.field_size_limit()
    rows_of(file(tmp_path, "a.csv", b"a\n" + b"x" * 200_000 + b"\n"))
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        (b"a,b\n1,2\nb@x,\"5 o'clock\n3,4\n5,6\n", "lines 3 to 5", "is never closed"),
        (b'a,b\n1,2\n"5" o\'clock,3\n4,5\n', "line 3", "stands inside of a cell"),
        (b'a,b\n1,2\n"x\ny" z,3\n4,5\n', "lines 3 to 4", "stands inside of a cell"),
        (b'a,b\n1,2\n"x', "line 3", "is never closed"),
    ],
)
def test_after_a_record_that_cannot_be_read_no_text_is_taken_for_rows(
    tmp_path, content, where, what
):
    path = file(tmp_path, "a.csv", content)
    read, error = items_before_the_error(path)
    assert read == [{"a": "1", "b": "2"}]
    assert error.code == "bad_csv"
    assert where in str(error)
    assert what in str(error)


def test_a_quote_that_is_never_closed_is_found_before_all_of_a_large_file_is_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(files, "_LONGEST_CELL", 1_000)
    content = b'a\n1\n"' + b"x" * 300 + b"\n" + b"2\n" * 1_000
    read, error = items_before_the_error(file(tmp_path, "a.csv", content))
    assert read == [{"a": "1"}]
    assert "is never closed" in str(error)


TABLE = "email;note\r\né@x;'1;5'\r\n"


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        ("utf-8", {}),
        ("utf-8-sig", {}),
        ("utf-16", {}),
        ("utf-32", {}),
        ("cp1252", {"encoding": "cp1252"}),
        ("utf-16-be", {"encoding": "utf-16-be"}),
    ],
)
def test_a_table_is_read_in_its_encoding(tmp_path, encoding, form, packed):
    content = TABLE.encode(encoding)
    name = "a.csv.gz" if packed else "a.csv"
    path = file(tmp_path, name, gzip.compress(content) if packed else content)
    form = FileFormat(delimiter=";", quotechar="'", **form)
    (item,) = items_of(path, "email", form)
    assert item == Item({"email": "é@x", "note": "1;5"}, 2)
    assert count_rows(path, form) == 1


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_says_what_follows(tmp_path, mark, encoding):
    path = file(tmp_path, "a.csv", mark + "a,b\né,2\n".encode(encoding))
    assert list(items_of(path, "a")) == [Item({"a": "é", "b": "2"}, 2)]
    # Also where the encoding is named, which leaves the mark in the text.
    assert list(items_of(path, "a", FileFormat(encoding=encoding))) == [
        Item({"a": "é", "b": "2"}, 2)
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_lines_are_read_in_their_encoding(tmp_path, encoding):
    # A line separator of Unicode's is no end of a line.
    content = '{"a": "é\u2028x"}\n{"a": 2}\r\n'.encode(encoding)
    for name, packed in (("a.ndjson", content), ("a.jsonl.gz", gzip.compress(content))):
        items = list(items_of(file(tmp_path, name, packed), None))
        assert items == [Item({"a": "é\u2028x"}, 1), Item({"a": 2}, 2)]


def test_what_is_not_in_the_encoding_is_a_row_that_is_no_good(tmp_path):
    path = file(tmp_path, "a.csv", b"a\n\xff\n1\n")
    assert [row.problem for row in rows_of(path)] == ["it is not UTF-8", None]


def test_a_damaged_file_in_gzip_is_an_error(tmp_path):
    content = bytearray(gzip.compress(b"a\n" + bytes(range(48, 58)) * 100_000, 0))
    content[20:40] = b"\xff" * 20
    with pytest.raises(RowError) as caught:
        list(items_of(file(tmp_path, "a.csv.gz", bytes(content)), None))
    assert caught.value.code == "unreadable"


def test_half_a_file_in_gzip_is_an_error(tmp_path):
    content = gzip.compress(b"a\n" + b"1\n" * 100_000)
    path = file(tmp_path, "a.csv.gz", content[: len(content) // 2])
    read, error = items_before_the_error(path)
    assert error.code == "unreadable"
    assert read


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"delimiter": ";;"}, "delimiter must be one character, not ';;'"),
        ({"delimiter": ""}, "delimiter must be one character"),
        ({"delimiter": 5}, "delimiter must be one character"),
        ({"delimiter": "\n"}, "delimiter must be one character"),
        ({"quotechar": None}, "quotechar must be one character"),
        ({"delimiter": "'", "quotechar": "'"}, "are both"),
        ({"encoding": "utf-9"}, "there is no text encoding 'utf-9'"),
        ({"encoding": "hex"}, "there is no text encoding 'hex'"),
    ],
)
def test_a_format_that_makes_no_sense_is_refused(tmp_path, form, message):
    with pytest.raises(ValueError, match=message):
        items_of(file(tmp_path, "a.csv", b"a\n"), None, FileFormat(**form))


def test_a_format_is_of_files_only():
    with pytest.raises(TypeError, match="how a file is to be read"):
        items_of([{"a": 1}], None, FileFormat(delimiter=";"))


def test_names_that_collide_in_json_are_refused(tmp_path):
    content = b'{"a": 1, "b": {"c": 1, "c": 2}}\n{"a": NaN}\n{"a": 1}\n'
    problems = [row.problem for row in rows_of(file(tmp_path, "a.jsonl", content))]
    assert problems == [
        "it is no JSON: the name 'c' stands in it twice",
        "it is no JSON: NaN is no number",
        None,
    ]


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

    ndim = 0
    dtype = type("dtype", (), {"kind": "i"})

    def __init__(self, value):
        self.value = value

    def tolist(self):
        return self.value


def test_a_frame_gives_rows_that_json_can_carry():
    rows = rows_of(Frame(), "n")
    assert [row.inputs for row in rows] == [
        {"n": 1, "when": "2026-01-02", "x": None},
        {"n": 2, "when": None, "x": 1.5},
    ]
    with pytest.raises(RowError, match="the Frame has no column 'm'"):
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


# Keys


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ([1, 1.0, "1", "1.0", "1.00"], "1"),
        ([0, 0.0, -0.0, "0", "-0.0"], "0"),
        ([-5, -5.0, "-5.0"], "-5"),
        ([0.5, "0.5"], "0.5"),
        (["007"], "007"),
        (["1.50"], "1.50"),
        (["a@x"], "a@x"),
        ([" a"], " a"),
        ([2**53 - 1, float(2**53 - 1)], str(2**53 - 1)),
        (["9007199254740993"], "9007199254740993"),
    ],
)
def test_a_key_is_the_same_however_it_is_spelled(values, key):
    assert {key_of(value) for value in values} == {key}


@pytest.mark.parametrize("value", [2**53, -(2**53), 1e300, float("inf"), "9007199254740992.0"])
def test_a_number_that_may_have_been_rounded_is_no_key(value):
    with pytest.raises(ValueError, match="too large to be exact: read the column as text"):
        key_of(value)


@pytest.mark.parametrize("value", ["", "  ", None, True, [1], {}, float("nan")])
def test_what_names_nothing_is_no_key(value):
    with pytest.raises(ValueError, match="a key is a text or a number"):
        key_of(value)


def test_half_a_character_is_no_key():
    with pytest.raises(ValueError, match="half a character"):
        key_of("\ud83d")


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_a_text_that_python_would_take_for_a_number_is_a_text(text):
    assert key_of(text) == text
    assert spellings(text) == [text]


@given(st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9) | st.text(max_size=5))
def test_every_spelling_of_a_key_has_that_key(value):
    try:
        key = key_of(value)
    except ValueError:
        return
    assert {key_of(one) for one in spellings(key)} == {key}
    if isinstance(value, (int, float)):
        assert value in spellings(key)


def test_a_row_is_known_again_with_its_key_spelled_otherwise():
    reader = RowReader("id")
    first = reader.row_of(Item({"id": 7, "x": 1}))
    later = reader.row_of(Item({"id": 7.0, "x": 1}))
    as_text = reader.row_of(Item({"id": "7.0", "x": 1}))
    other = reader.row_of(Item({"id": "7.0", "x": 2}))
    assert first.fingerprint == later.fingerprint
    assert first.fingerprint in reader.spellings_of(as_text)
    assert as_text.fingerprint in reader.spellings_of(first)
    assert first.fingerprint not in reader.spellings_of(other)


# Values


class Array:
    """What numpy's arrays have of theirs."""

    def __init__(self, values, kind="i"):
        self.values = values
        self.ndim = 1
        self.dtype = type("dtype", (), {"kind": kind})

    def tolist(self):
        return self.values


class Arrow:
    """A scalar as pyarrow has them."""

    def as_py(self):
        return [1, {"a": datetime.date(2026, 1, 2)}]


class Column:
    def __init__(self, values):
        self.values = values

    def to_pylist(self):
        return self.values


class PolarsColumn:
    """What a column of polars has of its own; its types are none of numpy's."""

    dtype = "Int64"

    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)

    def to_list(self):
        return self.values


class Broken:
    """An object of a library that fails when it is asked."""

    def isoformat(self):
        raise AttributeError("no calendar")


class NAType:
    def __repr__(self):
        return "<NA>"


@pytest.mark.parametrize(
    ("value", "json_value"),
    [
        (Array([5]), [5]),
        (Array([[1.5, float("nan")]]), [[1.5, None]]),
        (Arrow(), [1, {"a": "2026-01-02"}]),
        (PolarsColumn([1, None]), [1, None]),
        (Column([1, None]), [1, None]),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        (decimal.Decimal("1"), 1),
        (decimal.Decimal("1.50"), 1.5),
        (decimal.Decimal("NaN"), None),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.datetime(2026, 1, 2, 3), "2026-01-02T03:00:00"),
        (NAType(), None),
        (float("nan"), None),
    ],
)
def test_values_become_json_of_the_same_meaning(value, json_value):
    became = plain(value, missing_is_none=True)
    assert became == json_value
    assert type(became) is type(json_value)
    json.dumps(became, allow_nan=False)


class Moment:
    """A moment, or a while, as numpy has them: its number is one of nanoseconds."""

    ndim = 0

    def __init__(self, text, kind="M"):
        self.text = text
        self.dtype = type("dtype", (), {"kind": kind})

    def __str__(self):
        return self.text

    def tolist(self):
        return 1_790_000_000_000_000_000


class Moments:
    """An array of them."""

    ndim = 1
    dtype = type("dtype", (), {"kind": "M"})

    def __init__(self, *texts):
        self.moments = [Moment(text) for text in texts]

    def __iter__(self):
        return iter(self.moments)


def test_moments_of_numpy_are_texts_and_no_bare_numbers():
    assert plain(Moment("2026-01-02T03:04:05.000000006")) == "2026-01-02T03:04:05.000000006"
    assert plain(Moments("2026-01-02", "NaT"), missing_is_none=True) == ["2026-01-02", None]
    for kind in "Mm":
        assert plain(Moment("NaT", kind), missing_is_none=True) is None
        with pytest.raises(ValueError, match="JSON cannot express"):
            plain(Moment("NaT", kind))
    for missing_is_none in (True, False):
        with pytest.raises(ValueError, match="JSON cannot express"):
            plain(Moment("5 days", "m"), missing_is_none=missing_is_none)


def test_an_array_of_what_python_has_not_is_refused():
    for inner in (Array([1]), None):
        # Of an array of objects, and of a type that numpy alone has.
        value = Array(inner)
        value.values = value if inner is None else inner
        with pytest.raises(ValueError, match="JSON cannot express Array"):
            plain(value)


@pytest.mark.parametrize(
    ("text", "number"),
    [("9007199254740992", 2**53), ("-3", -3), ("0.5", 0.5), ("1E+2", 100), ("0.10", 0.1)],
)
def test_a_decimal_becomes_the_number_that_it_is(text, number):
    became = plain(decimal.Decimal(text))
    assert became == number
    assert type(became) is type(number)


@pytest.mark.parametrize("text", ["9007199254740993", "0.12345678901234567890", "Infinity", "NaN"])
def test_a_decimal_that_no_number_of_json_keeps_is_refused(text):
    with pytest.raises(ValueError, match="has more digits than a number of JSON keeps"):
        plain(decimal.Decimal(text))


@pytest.mark.parametrize(
    "value",
    [b"x", {1, 2}, object(), {1: 2}, decimal.Decimal("0.12345678901234567890"), NAType()],
)
def test_what_json_has_nothing_for_is_refused(value):
    with pytest.raises(ValueError, match=r"JSON|digits"):
        plain(value)


def test_the_value_that_cannot_be_sent_is_named():
    for value in (b"x", Broken(), {"deep": {1: 2}}):
        (row,) = rows_of([{"ok": 1, "it": value}])
        assert row.problem.startswith("its 'it' cannot be sent: ")
    (row,) = rows_of([{1: "x"}])
    assert row.problem.startswith("its 1 cannot be sent: the name 1 in it is int")


class Doubled(Frame):
    columns = ("n", "score", "score")


class Table:
    """What pyarrow's tables have of theirs."""

    column_names = ("n", "tags")

    def to_batches(self, max_chunksize):
        assert max_chunksize > 0
        for numbers in ([1, 2], [3]):
            yield RecordBatch([Column(numbers), Column([["a", n] for n in numbers])])


class RecordBatch:
    """What pyarrow's batches have of theirs."""

    column_names = ("n", "tags")

    def __init__(self, columns):
        self.columns = columns

    def to_pylist(self):
        raise AssertionError("it has the names again in each row")


class Lazy:
    """A frame of which nothing was computed yet."""

    columns = ("n",)

    def collect(self):
        raise AssertionError("nobody asked for it")


def test_frames_of_other_kinds():
    assert [row.inputs for row in rows_of(Table(), "n")] == [
        {"n": number, "tags": ["a", number]} for number in (1, 2, 3)
    ]
    (batch,) = list(Table().to_batches(5))[1:]
    assert [row.inputs for row in rows_of(batch, "n")] == [{"n": 3, "tags": ["a", 3]}]
    for column in (Array([1, 2]), PolarsColumn([1, 2])):
        with pytest.raises(TypeError, match="rows must be a path, a DataFrame or an iterable"):
            items_of(column, None)
    with pytest.raises(
        TypeError, match=r"a Lazy has no rows yet: hand over what collect\(\) gives"
    ):
        items_of(Lazy(), None)


def test_a_frame_with_two_columns_of_a_name_is_refused():
    with pytest.raises(RowError, match="the Doubled has two columns 'score'"):
        items_of(Doubled(), None)
