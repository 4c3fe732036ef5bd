"""What a batch is told, and what it tells of itself."""

from __future__ import annotations

import inspect
import math

import pytest

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from flowmaestro_batch import AsyncBatch, Batch, DayLimitError, Progress, Summary, cli
from tests.conftest import KEY

CLIENTS = {Batch: FlowMaestroClient, AsyncBatch: AsyncFlowMaestroClient}


@pytest.fixture(params=[Batch, AsyncBatch])
def make(request, tmp_path):
    """Make a batch that nothing is run with."""

    def make(workflow_id="wf", **options):
        client = CLIENTS[request.param](KEY, "http://127.0.0.1:1")
        return request.param(client, workflow_id, journal=tmp_path / "b.sqlite", **options)

    return make


DEFAULTS = {
    "concurrency": 50,
    "poll_interval": 2.0,
    "settle": 10.0,
    "patience": 600.0,
    "row_timeout": 3600.0,
    "attempts": 5,
    "on_unknown": "report",
    "on_day_limit": "wait",
    "retry_failed": False,
    "stop_on_failures": None,
    "strict": False,
}


@pytest.mark.parametrize("kind", [Batch, AsyncBatch])
def test_what_is_left_out_is_what_both_halves_document(kind):
    parameters = inspect.signature(kind).parameters
    given = {name: one.default for name, one in parameters.items() if name in DEFAULTS}
    assert given == DEFAULTS
    of_run = inspect.signature(kind.run).parameters
    assert {name: one.default for name, one in of_run.items() if one.kind is one.KEYWORD_ONLY} == {
        "key": None,
        "ordered": False,
        "engine": None,
        "delimiter": None,
        "quotechar": '"',
        "encoding": None,
    }


def test_what_the_command_line_leaves_out_is_the_same():
    chosen = vars(cli._parser().parse_args(["run", "wf", "rows.csv", "--journal", "j.sqlite"]))
    for name, value in DEFAULTS.items():
        assert chosen.get(name, value) == value
    assert (chosen["key"], chosen["ordered"], chosen["output"]) == (None, False, None)
    assert (chosen["delimiter"], chosen["quotechar"], chosen["encoding"]) == (None, '"', None)
    assert chosen["base_url"] is None


def test_each_argument_of_the_command_line_says_what_it_is_for():
    (commands,) = [one for one in cli._parser()._actions if one.choices]
    for command in commands.choices.values():
        assert all(action.help for action in command._actions)


@pytest.mark.parametrize("name", ["concurrency", "attempts", "stop_on_failures"])
def test_counts_are_whole_numbers_from_one_on(make, name):
    assert make(**{name: 1})
    for value in (0, -1):
        with pytest.raises(ValueError, match=f"{name} must be 1 or more, not {value}"):
            make(**{name: value})
    for value in (1.0, "1", True):
        with pytest.raises(TypeError, match=f"{name} must be a whole number, not {value!r}"):
            make(**{name: value})


@pytest.mark.parametrize("name", ["poll_interval", "settle", "patience", "row_timeout"])
def test_seconds_are_numbers_above_zero(make, name):
    assert make(**{name: 0.001})
    assert make(**{name: 1})
    assert make(**{name: math.inf})
    for value in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"{name} must be more than 0 seconds, not {value}"):
            make(**{name: value})
    for value in (None, "1", True):
        with pytest.raises(TypeError, match=f"{name} must be a number of seconds, not {value!r}"):
            make(**{name: value})


@pytest.mark.parametrize(
    ("name", "known"),
    [("on_unknown", "'report' or 'retry'"), ("on_day_limit", "'wait' or 'stop'")],
)
def test_choices_are_those_that_there_are(make, name, known):
    with pytest.raises(ValueError, match=f"{name} must be {known}, not 'x'"):
        make(**{name: "x"})


def test_a_workflow_is_named(make):
    for workflow_id in ("", "  "):
        with pytest.raises(ValueError, match="workflow_id is empty"):
            make(workflow_id)
    with pytest.raises(TypeError, match="workflow_id must be a text, not 7"):
        make(7)


def test_no_bound_of_failures_is_what_is_usual(make):
    assert make(stop_on_failures=None)


def test_a_batch_that_has_not_begun_has_nothing_to_tell(make):
    batch = make()
    assert batch.progress == Progress()
    assert batch.summary().rows == 0
    batch.stop()


def test_progress_counts_what_is_done():
    progress = Progress(
        read=20, completed=4, failed=3, cancelled=2, unknown=1, resumed=5, seconds=2.0
    )
    assert progress.done == 10
    assert progress.rate == 2.5
    assert Progress(completed=4).rate == 0.0


def test_a_summary_is_what_a_progress_ends_as():
    progress = Progress(9, 1, 2, 3, 4, 5, 6, 7, 8, 1.5, "the next day", 60.0)
    summary = Summary.of(progress)
    assert summary == Summary(9, 1, 2, 3, 4, 5, left=6, requests=7, refused=8, seconds=1.5)


@pytest.mark.parametrize(
    ("summary", "text"),
    [
        (
            Summary(9, 1, 2, 3, 4, 5, 6, 7, 8, 1.25),
            "9 rows: 1 completed, 2 failed, 3 cancelled, 4 unknown, 6 left running "
            "(5 of them in earlier runs); 7 requests, 8 of them refused in 1.2 s",
        ),
        (
            Summary(9, 9, 0, 0, 0, 0, 0, 10, 0, 0.5),
            "9 rows: 9 completed, 0 failed; 10 requests in 0.5 s",
        ),
    ],
)
def test_a_summary_says_what_there_was(summary, text):
    assert str(summary) == text


def test_the_end_of_a_day_says_when_the_next_one_begins():
    error = DayLimitError("used up", code="day_limit", retry_after=60.0)
    assert error.retry_after == 60.0
    assert str(error) == "[day_limit] used up"
