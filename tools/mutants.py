"""Tells how many small mistakes in a part of the packages its tests would notice.

    python tools/mutants.py [--part core] [--sample 100] [--seed 7] [--paths FOLDER ...]

Copies the repository, changes one line of a copy at a time (a comparison, a number, an argument,
a call that is left out), writes the synchronous twin of a changed file anew, and runs the tests
until one fails: first those that run the line, then all others, and last those that take long,
each only where the ones before notice nothing.
A change that no test notices is printed as a diff; a hang counts as noticed.

The lines are chosen by chance, and the same ones again with the same seed. What was tried is
kept in ``.mutants/``: a run that was stopped goes on where it was, and a change whose diff is
the same is not tried again. Delete the file after the tests have changed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Optional, Union

import coverage
import libcst as cst
import unasync
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

ROOT = Path(__file__).parent.parent
KEPT = ROOT / ".mutants"
# The least share of changes that has to be noticed.
GOAL = 0.95

RESOURCES = ("agents", "executions", "knowledge-bases", "threads", "triggers", "webhooks")
# Of each part the packages, and the folders whose tests see them, those that notice most in
# least time first.
PARTS = {
    "core": (
        [f"packages/flowmaestro-{name}" for name in ("core", *RESOURCES, "workflows")],
        ("core", "wire", "webhooks", "properties", "contract", "promises"),
    ),
    "batch": (["packages/flowmaestro-batch"], ("batch",)),
    "local": (["packages/flowmaestro-local"], ("local", "contract", "promises")),
}
PYTEST = ["-x", "-q", "-p", "no:cacheprovider"]
QUICK = ["-m", "not install and not soak and not slow and not long"]
LENGTHY = ["-m", "(slow or long) and not install and not soak"]
# A test that hangs is ended sooner than elsewhere; the longest one takes eight seconds.
PYTEST += ["--timeout", "80"]
PARALLEL = ["-n", "2", "--maxschedchunk", "1"]
# Notes for each line which tests run it.
MEASURE = ["--cov-context=test", "--cov-report="]
# So many tests are run sooner than the processes of a parallel run have started.
FEW = 50
# Exit codes of pytest that say nothing of the code, where single tests are asked for.
PASSED, NOT_FOUND, NONE_RUN = 0, 4, 5
# Seconds that the tests of one line may take; the slow ones among them take half a minute.
LONGEST_FEW = 150.0
# How often as long as the unchanged code the tests of a change may take before it is a hang.
PATIENCE = 3


class Site(NamedTuple):
    """One place in a file, and what could stand there."""

    line: int
    node: cst.CSTNode
    instead: cst.CSTNode


class Mutant(NamedTuple):
    """One file with one change."""

    path: str
    line: int
    code: str
    diff: str


class Result(NamedTuple):
    """What became of a change."""

    path: str
    line: int
    diff: str
    outcome: str
    seconds: float


# ---- Which changes there are


def _text(node: cst.SimpleString) -> Iterator[cst.CSTNode]:
    """Change a key, a code or a name; prose, which has blanks in it, is not behaviour."""
    text = node.raw_value
    if not any(character.isspace() for character in text):
        quoted = f"{node.prefix}{node.quote}XX{text}XX{node.quote}"
        yield node.with_changes(value=quoted)


def _left_out(node: cst.SimpleStatementLine) -> Iterator[cst.CSTNode]:
    """Leave out a call, an ``await`` or a ``raise``; return None for a value."""
    (first, *others) = node.body
    if isinstance(first, cst.Return) and first.value is not None:
        yield node.with_changes(body=[first.with_changes(value=cst.Name("None")), *others])
    called = isinstance(first, cst.Expr) and isinstance(first.value, (cst.Call, cst.Await))
    if called or isinstance(first, cst.Raise):
        yield node.with_changes(body=[cst.Pass(), *others])


def _negated(node: Union[cst.If, cst.While]) -> Iterator[cst.CSTNode]:
    """Turn a condition into its opposite."""
    bare = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(test=cst.UnaryOperation(cst.Not(), bare))


OPERATORS: mutators.OPERATORS_TYPE = [
    *(pair for pair in mutators.mutation_operators if pair[1] is not mutators.operator_string),
    (cst.SimpleString, _text),
    (cst.SimpleStatementLine, _left_out),
    (cst.If, _negated),
    (cst.While, _negated),
]


def _is_equal_code(node: cst.CSTNode) -> bool:
    """True for what only readers and type checkers see, and below which nothing is changed."""
    if isinstance(node, (cst.Annotation, cst.Decorator, cst.Assert)):
        return True
    if isinstance(node, cst.FunctionDef):
        return node.name.value == "__repr__"
    if isinstance(node, cst.If):
        return isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING"
    if isinstance(node, cst.Assign):
        target, value = node.targets[0].target, node.value
        if isinstance(target, cst.Name):
            is_alias = isinstance(value, cst.Subscript) and target.value[:1].isupper()
            return is_alias or target.value in ("__all__", "__slots__", "TYPE_CHECKING")
    if isinstance(node, cst.Call):
        called = cst.Module([]).code_for_node(node.func)
        return called in ("cast", "TypeVar") or called.startswith(("logger.", "log_request"))
    return False


class _Sites(cst.CSTVisitor):
    """Collects the places of one module."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Site] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_equal_code(node):
            return False
        for kind, operator in OPERATORS:
            if isinstance(node, kind):
                line: int = self.get_metadata(PositionProvider, node).start.line
                self.found += (Site(line, node, instead) for instead in operator(node))
        return True


def _sources(paths: list[str]) -> list[Path]:
    """The hand-written modules below some paths."""
    twins = {target for _, target in unasync.pairs()}
    found = {file for path in paths for file in (ROOT / path).glob("**/src/**/*.py")}
    found |= {ROOT / path for path in paths if path.endswith(".py")}
    return sorted(found - twins)


def _mutants(paths: list[str], chance: random.Random) -> Iterator[Mutant]:
    """Give one change of each line that has any, in a random order without end or repetition."""
    modules: dict[Path, cst.Module] = {}
    lines: dict[tuple[Path, int], list[Site]] = defaultdict(list)
    for path in _sources(paths):
        wrapper = MetadataWrapper(cst.parse_module(path.read_text(encoding="utf-8")))
        modules[path] = wrapper.module
        sites = _Sites()
        wrapper.visit(sites)
        for site in sites.found:
            lines[path, site.line].append(site)
    for path, line in chance.sample(list(lines), len(lines)):
        site = chance.choice(lines[path, line])
        before = modules[path].code
        changed = modules[path].deep_replace(site.node, site.instead)
        assert isinstance(changed, cst.Module)
        if _differs(before, changed.code):
            name = path.relative_to(ROOT).as_posix()
            diff = difflib.unified_diff(
                before.splitlines(), changed.code.splitlines(), name, name, lineterm="", n=1
            )
            yield Mutant(name, line, changed.code, "\n".join(diff))


def _differs(before: str, after: str) -> bool:
    """True where both halves are Python, and do not say the same."""
    try:
        ast.parse(unasync.translate(after, set()))
        return _meaning(before) != _meaning(after)
    except SyntaxError:
        return False


def _meaning(code: str) -> str:
    """Give the code without its form; False, None and an empty text are the same to an ``if``."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and (node.value is False or node.value == ""):
            node.value = None
    return ast.dump(tree)


# ---- Whether the tests notice them


class Copy:
    """A copy of the repository that one worker may break."""

    def __init__(self, folder: Path, tests: Sequence[str]) -> None:
        self._folder = folder
        self._tests = [f"tests/{name}" for name in tests]
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self._twins = {
            source.relative_to(ROOT).as_posix(): target.relative_to(ROOT).as_posix()
            for source, target in unasync.pairs()
        }
        packages = sorted(str(one) for one in folder.glob("packages/*/src"))
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(packages)}
        # The only one of coverage's ways that knows which test runs a line.
        self._environment["COVERAGE_CORE"] = "ctrace"

    def try_out(self, mutant: Mutant, tests: list[str], seconds: float) -> str:
        """Change a file and its twin, run some tests, then more, and change them back."""
        changed = {mutant.path: mutant.code}
        if mutant.path in self._twins:
            # Without ruff, which only makes it beautiful.
            changed[self._twins[mutant.path]] = unasync.translate(mutant.code, set())
        before = {name: (self._folder / name).read_text(encoding="utf-8") for name in changed}
        self._write(changed)
        try:
            code: Optional[int] = PASSED
            if tests:
                chosen = self._folder / "chosen.txt"
                chosen.write_text("\n".join(tests), encoding="utf-8")
                parallel = PARALLEL if len(tests) > FEW else []
                code = self._run_tests([*QUICK, *parallel, f"@{chosen}"], min(seconds, LONGEST_FEW))
            if code in (PASSED, NOT_FOUND, NONE_RUN):
                code = self._run_all_tests(seconds, *QUICK)
            if code == PASSED:
                code = self._run_all_tests(seconds, *LENGTHY)
            return "hang" if code is None else "noticed" if code else "unnoticed"
        finally:
            self._write(before)

    def measure(self, packages: Sequence[str]) -> Optional[dict[str, dict[int, list[str]]]]:
        """Give the tests that run each line of some packages, or None if the tests fail."""
        measured = [f"--cov={Path(package).name.replace('-', '_')}" for package in packages]
        if self._run_all_tests(None, *QUICK, *MEASURE, *measured) != PASSED:
            return None
        data = coverage.CoverageData(str(self._folder / ".coverage"))
        data.read()
        return {
            Path(file).relative_to(self._folder).as_posix(): {
                # A context is "tests/core/test_sse.py::test_ids|run"; that of an import is "".
                line: sorted({context.rpartition("|")[0] for context in contexts if context})
                for line, contexts in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }

    def _write(self, files: dict[str, str]) -> None:
        for name, code in files.items():
            path = self._folder / name
            path.write_text(code, encoding="utf-8")
            # Compiled code is told apart by its second and its size, which may both be the same.
            for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
                compiled.unlink()

    def _run_all_tests(self, seconds: Optional[float], *more: str) -> Optional[int]:
        return self._run_tests([*PARALLEL, *more, *self._tests], seconds)

    def _run_tests(self, arguments: list[str], seconds: Optional[float]) -> Optional[int]:
        """Give pytest's exit code, or None where it did not end in time."""
        command = [sys.executable, "-m", "pytest", *PYTEST, *arguments]
        with open(self._folder / "pytest.log", "wb") as log:
            tests = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                return tests.wait(seconds)
            except subprocess.TimeoutExpired:
                return None
            finally:
                # Also what the tests have left behind.
                with suppress(ProcessLookupError):
                    os.killpg(tests.pid, signal.SIGKILL)
                tests.wait()

    @property
    def log(self) -> str:
        """What pytest wrote last."""
        return (self._folder / "pytest.log").read_text(encoding="utf-8", errors="replace")


def _tried_before(path: Path) -> dict[str, Result]:
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    results = [Result(**json.loads(line)) for line in lines]
    return {result.diff: result for result in results}


def main(arguments: argparse.Namespace) -> int:
    seed = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    paths, tests = PARTS[arguments.part]
    mutants = _mutants(arguments.paths or paths, random.Random(seed))
    sample = [mutant for mutant, _ in zip(mutants, range(arguments.sample))]
    KEPT.mkdir(exist_ok=True)
    kept = KEPT / f"{arguments.part}-{seed}.jsonl"
    tried = _tried_before(kept)
    results = [tried[mutant.diff] for mutant in sample if mutant.diff in tried]
    copies: queue.Queue[Copy] = queue.Queue()
    writing = threading.Lock()

    def try_out(mutant: Mutant) -> None:
        assert run_by is not None
        copy = copies.get()
        began = time.monotonic()
        try:
            run_it = run_by.get(mutant.path, {}).get(mutant.line, [])
            outcome = copy.try_out(mutant, run_it, patience)
        finally:
            copies.put(copy)
        result = Result(*mutant[:2], mutant.diff, outcome, round(time.monotonic() - began, 1))
        with writing, open(kept, "a", encoding="utf-8") as file:
            results.append(result)
            file.write(json.dumps(result._asdict()) + "\n")
            place = f"{mutant.path}:{mutant.line}"
            print(f"{len(results)}/{len(sample)} {outcome}: {place}", flush=True)

    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        for number in range(arguments.workers):
            copies.put(first := Copy(Path(scratch, str(number)), tests))
        began = time.monotonic()
        run_by = first.measure(paths)
        if run_by is None:
            print(first.log, "the tests fail as they are", sep="\n")
            return 2
        patience = PATIENCE * (time.monotonic() - began) + 60
        with ThreadPoolExecutor(arguments.workers) as workers:
            left = [mutant for mutant in sample if mutant.diff not in tried]
            try:
                for done in [workers.submit(try_out, mutant) for mutant in left]:
                    done.result()
            finally:
                # After Ctrl-C, only what is being tried comes to its end.
                workers.shutdown(cancel_futures=True)

    for result in sorted(results):
        if result.outcome == "unnoticed":
            print(f"\n{result.path}:{result.line}\n{result.diff}")
    noticed = sum(result.outcome != "unnoticed" for result in results)
    print(f"\nnoticed {noticed} of {len(results)} (seed {seed})")
    return 0 if noticed >= GOAL * len(results) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=100, help="how many changes to try")
    parser.add_argument("--seed", type=int, help="chooses the changes; random where left out")
    parser.add_argument("--part", choices=PARTS, default="core", help="what is changed")
    parser.add_argument("--paths", nargs="+", help="of it these packages or files only")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    sys.exit(main(parser.parse_args()))
