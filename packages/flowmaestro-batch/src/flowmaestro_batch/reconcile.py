"""Was a row submitted whose answer never came? What the list of executions says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple, Optional

from .clock import created_at
from .fingerprint import fingerprint

__all__ = ["Candidate", "Doubt", "Verdict", "candidate_of", "judge"]


class Doubt(NamedTuple):
    """A row that may have been submitted."""

    key: str
    fingerprint: str
    # When it was submitted, by the backend's clock and with a margin before it.
    since: float
    # True once it could no longer come: whatever is not in the list by now was never made.
    settled: bool


class Candidate(NamedTuple):
    """An execution that belongs to no row yet."""

    id: str
    created: Optional[float]
    # None where the inputs are not told.
    fingerprint: Optional[str]


class Verdict(NamedTuple):
    """What became of a row: one of the two, or never submitted."""

    execution_id: Optional[str] = None
    problem: Optional[str] = None


def candidate_of(execution: dict[str, Any]) -> Candidate:
    """Take what is looked at."""
    inputs: Any = execution.get("inputs")
    try:
        mark = None if inputs is None else fingerprint(inputs)
    except ValueError:
        mark = None
    return Candidate(execution["id"], created_at(execution), mark)


def judge(doubts: Iterable[Doubt], candidates: Iterable[Candidate]) -> dict[str, Verdict]:
    """Decide for each row, as far as it can be decided.

    An execution is a row's if it has the row's inputs and was created since the row was
    submitted. With as many as rows, each gets one. With fewer, the others were never
    submitted, once they can no longer come. With more, nobody can tell, and none is taken.

    Returns:
        Verdicts by key; a row without one has to wait.
    """
    found = sorted(candidates, key=lambda one: one.created or 0.0)
    groups: defaultdict[str, list[Doubt]] = defaultdict(list)
    for doubt in doubts:
        groups[doubt.fingerprint].append(doubt)
    verdicts: dict[str, Verdict] = {}
    for mark, rows in groups.items():
        since = min(row.since for row in rows)
        late = [one for one in found if one.created is None or one.created >= since]
        same = [one for one in late if one.fingerprint == mark]
        hidden = [one for one in late if one.fingerprint is None]
        if len(same) > len(rows):
            ids = ", ".join(one.id for one in same)
            problem = (
                f"it may have been submitted, and {len(same)} executions have its inputs: {ids}"
            )
            verdicts.update({row.key: Verdict(problem=problem) for row in rows})
            continue
        for row, one in zip(rows, same):
            verdicts[row.key] = Verdict(execution_id=one.id)
        for row in rows[len(same) :]:
            if row.settled and hidden:
                problem = (
                    "it may have been submitted, and the backend does not tell the inputs of "
                    f"the executions since, such as {hidden[0].id}"
                )
                verdicts[row.key] = Verdict(problem=problem)
            elif row.settled:
                verdicts[row.key] = Verdict()
    return verdicts
