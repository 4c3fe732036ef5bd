"""Whatever the API, the clocks and the disk do: each row at most once, every row one outcome."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, Optional

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowmaestro import FlowMaestroError, ServerError
from flowmaestro_batch.errors import JournalError
from flowmaestro_batch.journal import Journal
from tests.batch.virtual import HALVES, Killed, VirtualApi

# Seconds after which an execution is not waited for any longer, and which most take.
ROW_TIMEOUT = 200.0

# What may become of a submission: of a row that was taken, of one that was not, and of one
# that nobody can be sure of.
TAKEN = ("ok", "lost", "late", "nameless", "left")
NOT_TAKEN = ("429", "500", "503", "400", "413", "unreachable", "cut")
CONTRADICTED = ("doubled", "doubled and lost", "another's")
CERTAIN = {"ok", "another's", "429", "400", "413"}


class Scenario(NamedTuple):
    """What is the matter with an API, the clocks and the process."""

    rows: list[int]
    plans: dict[int, list[str]]
    ends: dict[int, tuple[float, str]]
    lists: list[str]
    hidden: frozenset[int] = frozenset()
    has_list: bool = True
    kills: tuple[int, ...] = ()
    wall_jumps: tuple[tuple[int, float], ...] = ()
    api_jump: Optional[tuple[int, float]] = None
    concurrency: int = 3
    ordered: bool = False
    late: float = 5.0

    @property
    def can_tell(self) -> bool:
        """True where all that the API says is true, and it says all that is needed."""
        return self.has_list and not self.fates & set(CONTRADICTED)

    @property
    def fates(self) -> set[str]:
        """What may become of submissions."""
        return {fate for plan in self.plans.values() for fate in plan}

    @property
    def hides_a_swap(self) -> bool:
        """True where a row may get an execution of a row that never learns of its own."""
        has_doubts = bool(self.kills) or not self.has_list or not self.fates <= CERTAIN
        return has_doubts and "another's" in self.fates


NUMBERS = st.integers(0, 4)
MOMENTS = st.integers(1, 60)


@st.composite
def scenarios(draw: Any) -> Scenario:
    fates = TAKEN + NOT_TAKEN + (CONTRADICTED if draw(st.booleans()) else ())
    kills = draw(st.lists(MOMENTS, max_size=2))
    jump = st.tuples(MOMENTS, st.sampled_from([-3600.0, -3.0, 3.0, 3600.0]))
    return Scenario(
        rows=draw(st.lists(NUMBERS, min_size=1, max_size=7)),
        plans=draw(st.dictionaries(NUMBERS, st.lists(st.sampled_from(fates), max_size=3))),
        ends=draw(
            st.dictionaries(
                NUMBERS,
                st.tuples(
                    st.sampled_from([0.0, 3.0, 40.0, 10_000.0]),
                    st.sampled_from(["completed", "failed", "cancelled"]),
                ),
            )
        ),
        lists=draw(st.lists(st.sampled_from(["ok", "500", "reset", "429", "twice", "stale"]))),
        # Of what the list never shows, only the response of its submission tells.
        hidden=frozenset() if kills else draw(st.frozensets(NUMBERS, max_size=2)),
        has_list=draw(st.integers(0, 9)) > 0,
        kills=tuple(kills),
        wall_jumps=tuple(draw(st.lists(jump, max_size=2))),
        # After one within a process that is killed, nobody has seen it.
        api_jump=None if kills else draw(st.none() | jump),
        concurrency=draw(st.integers(1, 4)),
        ordered=draw(st.booleans()),
        late=draw(st.floats(0.0, 8.0)),
    )


def outcomes_of(half: str, scenario: Scenario, folder: Path) -> tuple[VirtualApi, list[Any]]:
    """Play a scenario to its end, through the lives of the processes that are killed in it."""
    api = VirtualApi(
        plans=scenario.plans,
        ends=scenario.ends,
        lists=scenario.lists,
        has_list=scenario.has_list,
        hidden=scenario.hidden,
        late=scenario.late,
        # Half an emoji, as a text has that was cut.
        error="no such company \ud83d",
    )
    for moment, seconds in scenario.wall_jumps:
        api.at[moment].append(lambda by=seconds: setattr(api, "wall_ahead", api.wall_ahead + by))
    if scenario.api_jump is not None:
        moment, seconds = scenario.api_jump
        api.at[moment].append(lambda: setattr(api, "api_ahead", api.api_ahead + seconds))
    rows = [{"n": n} for n in scenario.rows]
    options: Any = {"concurrency": scenario.concurrency, "ordered": scenario.ordered}
    journal = folder / "life-0" / "batch.sqlite"
    journal.parent.mkdir()
    for life, moment in enumerate(scenario.kills, 1):
        left = folder / f"life-{life}"
        api.at[api.events + moment].append(lambda at=journal, to=left: api.kill(at, to))
        try:
            api.run(half, rows, journal, row_timeout=ROW_TIMEOUT, **options)
        except (Killed, FlowMaestroError):
            assert api.is_dead
        if not api.is_dead:
            api.at.clear()
            break
        journal = left / journal.name
        refuse_a_lone_copy(journal, folder / f"alone-{life}.sqlite")
        api.start_again(20.0)
    given: list[Any] = []
    try:
        api.run(
            half,
            rows,
            journal,
            row_timeout=ROW_TIMEOUT,
            each=lambda batch, outcome: given.append(outcome),
            **options,
        )
    except ServerError:
        # Where nothing tells what became of rows, the batch gives up, with everything saved.
        assert not scenario.has_list
        given.append(None)
    return api, given


def refuse_a_lone_copy(journal: Path, copy: Path) -> None:
    """A journal that was copied without its changes is not taken for a whole one."""
    if not Path(f"{journal}-wal").exists():
        return
    shutil.copy(journal, copy)
    with pytest.raises(JournalError) as caught:
        Journal(copy, "wf")
    assert caught.value.code == "journal_incomplete"


def check(scenario: Scenario, api: VirtualApi, given: list[Any]) -> None:
    """See that nothing was lost, doubled or made up."""
    assert not api.made - Counter(scenario.rows), "a row runs at most once"
    if given[-1] is None:
        return
    places = [one.number for one in given]
    assert sorted(places) == list(range(1, len(scenario.rows) + 1)), "every row has one outcome"
    if scenario.ordered:
        assert places == sorted(places)
    ended = {one.id: one for one in api.executions}
    completed = [one.execution_id for one in given if one.status == "completed"]
    assert len(set(completed)) == len(completed), "no execution is that of two rows"
    if scenario.hides_a_swap:
        return
    for one in given:
        n = scenario.rows[one.number - 1]
        assert one.inputs == {"n": n}
        if one.status == "completed":
            assert one.outputs == {"n": n}
        if one.status in ("completed", "cancelled") or (
            one.status == "failed" and "no such company" in one.error
        ):
            execution = ended[one.execution_id]
            assert (execution.inputs, execution.status) == ({"n": n}, one.status)
        if not scenario.can_tell:
            continue
        seconds, status = scenario.ends.get(n, (1.0, "completed"))
        fates = {*scenario.plans.get(n, [])}
        if not fates & {"400", "413", "500", "left"} and seconds < ROW_TIMEOUT:
            assert one.status == status, "what can be found out is told"


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.timeout(300)
@settings(max_examples=40)
@given(scenario=scenarios())
@example(  # The clock is set forward while answers are lost.
    Scenario(
        [0, 1, 2, 3], {n: ["lost"] for n in range(3)}, {}, [], wall_jumps=((6, 3.0), (9, -3600.0))
    )
)
@example(Scenario([0, 1], {0: ["left"]}, {}, [], concurrency=1))
@example(Scenario([0, 0, 1], {0: ["lost", "cut"]}, {}, ["500"] * 4, kills=(5, 9)))
@example(Scenario([0, 1, 2], {1: ["another's"]}, {0: (40.0, "completed")}, []))
@example(Scenario([0, 1], {1: ["lost"]}, {0: (10_000.0, "completed")}, [], has_list=False))
@example(Scenario([0, 1, 2], {}, {1: (3.0, "failed")}, [], hidden=frozenset({1, 2})))
def test_each_row_runs_at_most_once_and_has_one_outcome(half, scenario):
    with tempfile.TemporaryDirectory() as folder:
        api, given = outcomes_of(half, scenario, Path(folder))
    check(scenario, api, given)
