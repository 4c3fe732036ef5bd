"""Runs all benchmarks and writes docs/performance.md.

    python -m benchmarks.run --old-python PYTHON --new-python PYTHON [--quick]

Subjects live in processes of their own and are measured in turns, round after round, so
that a busy machine is as busy for all of them. Every figure is a ratio within one round;
the tables have the median, the smallest and the largest of the rounds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Optional

import certifi
import trustme

from .reasons import REASONS
from .startup import FIRST_ANSWER, IMPORTS

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
CLEAN = (
    "In an environment with nothing else in it: httpx imports click, rich and Pygments where it "
    "finds them, which takes half as long again."
)
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)


class Ratio(NamedTuple):
    """A subject's figures over those of another one, round by round."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: list[float], others: list[float]) -> Ratio:
        ratios = [one / other for one, other in zip(figures, others)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


class Worker:
    """A subject in its process."""

    def __init__(self, subject: str, python: str, url: str) -> None:
        self.subject = subject
        script = str(HERE / "worker.py")
        self._process = subprocess.Popen(
            [python, script, subject, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.measures: list[str] = json.loads(self._read())

    def run(self, measure: str, count: int) -> dict[str, float]:
        assert self._process.stdin is not None
        print(measure, count, file=self._process.stdin, flush=True)
        took: dict[str, float] = json.loads(self._read())
        return took

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self.subject} ended with {self._process.wait()}")
        return line

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class Bench:
    """What all measures share: the servers, the Pythons, and the page that is written."""

    def __init__(
        self, old_python: str, new_python: str, plain: str, tls: str, *, quick: bool
    ) -> None:
        self.old_python = old_python
        self.new_python = new_python
        self.plain = plain
        self.tls = tls
        self.rounds = 3 if quick else 9
        self.goals: list[tuple[str, str, str, str, bool]] = []
        self.sections: list[str] = []

    def python_of(self, subject: str) -> str:
        return self.old_python if "0.1.0" in subject else sys.executable

    def clean_python_of(self, subject: str) -> str:
        """Give a Python without other packages, of which httpx imports some where they are."""
        return (
            self.python_of(subject)
            if "0.1.0" in subject or "openai" in subject
            else self.new_python
        )

    def turns(
        self, subjects: Iterable[str], measure: str, count: int, url: Optional[str] = None
    ) -> dict[str, list[dict[str, float]]]:
        """Measure subjects in turns; the first round only warms up."""
        with ExitStack() as stack:
            workers = [
                stack.enter_context(Worker(one, self.python_of(one), url or self.plain))
                for one in subjects
            ]
            took: dict[str, list[dict[str, float]]] = {worker.subject: [] for worker in workers}
            for turn in range(self.rounds + 1):
                for worker in workers:
                    result = worker.run(measure, count)
                    if turn:
                        took[worker.subject].append(result)
        return took

    def goal(self, key: str, measure: str, goal: str, measured: object, *, met: bool) -> None:
        self.goals.append((key, measure, goal, str(measured), met))
        print(f"  {measure}: {measured} (goal: {goal}) {'met' if met else 'NOT met'}", flush=True)

    def table(self, title: str, text: str, head: list[str], rows: list[list[str]]) -> None:
        lines = [f"## {title}", "", text, "", _row(head), _row(["---"] * len(head))]
        self.sections.append("\n".join([*lines, *(_row(row) for row in rows)]))
        print(self.sections[-1], flush=True)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def figures(took: list[dict[str, float]], what: str = "wall") -> list[float]:
    return [one[what] for one in took]


def calls(bench: Bench) -> None:
    """One call after the other."""
    for suffix, subjects in (
        ("", ["httpx", "flowmaestro", "flowmaestro[speed]", "flowmaestro 0.1.0", "openai"]),
        (
            ", async",
            [
                "httpx, async",
                "flowmaestro, async",
                "flowmaestro[speed], async",
                "flowmaestro 0.1.0, async",
                "flowmaestro over httpx-aiohttp, async",
                "aiohttp, async",
            ],
        ),
    ):
        columns = {}
        for measure in ("get", "list", "execute"):
            took = bench.turns(subjects, measure, 200)
            raw = figures(took[subjects[0]])
            columns[measure] = {one: Ratio.of(figures(took[one]), raw) for one in subjects}
            ours = columns[measure][f"flowmaestro{suffix}"]
            bench.goal(
                f"calls{suffix}",
                f"`workflows.{measure}`{suffix or ', sync'}, of raw httpx",
                "0.80 or less",
                ours,
                met=ours.median <= 0.80,
            )
        rows = [
            [subject, *(str(column[subject]) for column in columns.values())]
            for subject in subjects
        ]
        bench.table(
            "Calls, one after the other" + suffix,
            "Wall time over raw httpx with `.json()`; 200 calls a round.",
            ["", "get", "list", "execute"],
            rows,
        )


def timed(python: str, program: str, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([python, "-c", program], check=True, env=environment)
    return time.perf_counter() - started


def imports(bench: Bench) -> None:
    """What an import costs above a bare Python."""
    took: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for turn in range(2 * bench.rounds + 1):
        for name, program in IMPORTS.items():
            seconds = timed(bench.clean_python_of(name), program, dict(os.environ))
            if turn:
                took[name].append(seconds)
    bare = statistics.median(took["bare Python"])
    above = {name: [one - bare for one in seconds] for name, seconds in took.items()}
    share = 0.25 if sys.version_info >= (3, 11) else 0.35
    rows = []
    for name in list(IMPORTS)[1:]:
        ratio = Ratio.of(above[name], above["import httpx"])
        rows.append([f"`{name}`", f"{1000 * statistics.median(above[name]):.0f} ms", str(ratio)])
        if "flowmaestro" in name and "0.1.0" not in name:
            goal = f"{share} or less"
            bench.goal("imports", f"`{name}`, of httpx", goal, ratio, met=ratio.median <= share)
    bench.table(
        "Imports",
        f"Whole process, above a bare Python, and over `import httpx`; {2 * bench.rounds} rounds. "
        + CLEAN,
        ["", "above bare Python", "of `import httpx`"],
        rows,
    )


def first_answer(bench: Bench) -> None:
    """Import, client and first answer, as a command-line tool has them."""
    rows = []
    columns: list[dict[str, Ratio]] = []
    for url in (bench.plain, bench.tls):
        took: dict[str, list[float]] = {name: [] for name in FIRST_ANSWER}
        for turn in range(2 * bench.rounds + 1):
            for name, program in FIRST_ANSWER.items():
                python, whole = bench.clean_python_of(name), program.format(url=url)
                seconds = timed(python, whole, dict(os.environ))
                if turn:
                    took[name].append(seconds)
        columns.append({name: Ratio.of(took[name], took["httpx"]) for name in FIRST_ANSWER})
        ours, old = columns[-1]["flowmaestro"], columns[-1]["flowmaestro 0.1.0"]
        bench.goal(
            "first answer",
            f"first answer, {'TLS' if url == bench.tls else 'plain'}, of raw httpx",
            f"1.10 or less, and below 0.1.0 ({old.median:.2f})",
            ours,
            met=ours.median <= 1.10 and ours.median < old.median,
        )
    rows = [[name, *(str(column[name]) for column in columns)] for name in FIRST_ANSWER]
    bench.table(
        "Import, client and first answer",
        "Whole process, over raw httpx. " + CLEAN,
        ["", "plain", "TLS"],
        rows,
    )


def second_stream(bench: Bench) -> None:
    """The first event of a stream on a client that was used before, over TLS."""
    subjects = ["flowmaestro 0.1.0", "flowmaestro", "httpx"]
    took = bench.turns(subjects, "first_event", 10, bench.tls)
    old = figures(took["flowmaestro 0.1.0"])
    ratios = {one: Ratio.of(figures(took[one]), old) for one in subjects}
    bench.goal(
        "second stream",
        "first event of a second stream over TLS, of 0.1.0's",
        "0.20 or less",
        ratios["flowmaestro"],
        met=ratios["flowmaestro"].median <= 0.20,
    )
    bench.table(
        "The first event of a second stream, over TLS",
        "Wall time over 0.1.0, which makes a new client, and a new SSL context, for each "
        "stream; 10 streams a round, each read to its end.",
        ["", "of 0.1.0"],
        [[one, str(ratios[one])] for one in subjects],
    )


def events(bench: Bench) -> None:
    """What an event costs."""
    peers = ["flowmaestro 0.1.0", "langgraph-sdk"]
    for suffix, others in ((", sync", peers), (", async", ["flowmaestro 0.1.0, async"])):
        end = "" if suffix == ", sync" else suffix
        raw, ours, speed = f"httpx{end}", f"flowmaestro{end}", f"flowmaestro[speed]{end}"
        subjects = [raw, ours, speed, *others]
        ratios = {}
        costs = {}
        for kind, count in (("burst", 10_000), ("single", 500)):
            took = {
                one: figures(turns, "cpu")
                for one, turns in bench.turns(subjects, kind, count).items()
            }
            for one in subjects:
                ratios[one, kind] = Ratio.of(took[one], took[raw])
                costs[one, kind] = 1e6 * statistics.median(took[one]) / count
        for subject, goal in ((ours, 1.00), (speed, 0.50)):
            ratio = ratios[subject, "burst"]
            bench.goal(
                "events",
                f"CPU per event{suffix}, `{subject.partition(',')[0]}`, of httpx-sse with "
                "json.loads",
                f"{goal:.2f} or less",
                ratio,
                met=ratio.median <= goal,
            )
        if "langgraph-sdk" in subjects:
            mine, theirs = ratios[speed, "burst"].median, ratios["langgraph-sdk", "burst"].median
            bench.goal(
                "events",
                "CPU per event, `flowmaestro[speed]`, below langgraph-sdk",
                f"below {theirs:.2f}",
                f"{mine:.2f}",
                met=mine < theirs,
            )
        bench.table(
            f"Events of a stream{suffix}",
            "CPU time over raw httpx-sse with `json.loads`. Bursts: 100 events to a chunk, "
            "10,000 a round. Single: each event in a segment of its own, 500 a round, where "
            "reading the socket outweighs everything.",
            ["", "bursts", "µs an event", "single", "µs an event"],
            [
                [
                    one,
                    str(ratios[one, "burst"]),
                    f"{costs[one, 'burst']:.1f}",
                    str(ratios[one, "single"]),
                    f"{costs[one, 'single']:.0f}",
                ]
                for one in subjects
            ],
        )


STAGES = {
    "read": "the bytes come out of httpx's transport",
    "frames": "and become frames",
    "json": "and their data is read by orjson alone",
    "events": "as the SDK does: numbers that orjson would round, keys, types, statuses",
    "stream": "and are given by `executions.stream`, which reconnects, checks and ends",
}


def where_an_event_spends(bench: Bench) -> None:
    """What our own streams do, one thing more each time."""
    count = 50_000
    took: dict[str, list[float]] = {stage: [] for stage in STAGES}
    with Worker("stages", sys.executable, bench.plain) as worker:
        for turn in range(bench.rounds + 1):
            for stage in STAGES:
                cpu = worker.run(stage, count)["cpu"]
                if turn:
                    took[stage].append(1e6 * cpu / count)
    bench.table(
        "Where the time of an event goes",
        "CPU time of events in bursts, sync, with orjson; each line does what the one above does, "
        "and more.",
        ["", "µs an event"],
        [
            [said, str(Ratio.of(took[stage], [1.0] * bench.rounds))]
            for stage, said in STAGES.items()
        ],
    )


def many(bench: Bench) -> None:
    """A thousand at once; every round in fresh processes, for the peak of the memory."""
    subjects = ["httpx, async", "flowmaestro, async", "flowmaestro 0.1.0, async"]
    for measure in ("waits", "streams"):
        took: dict[str, list[dict[str, float]]] = {one: [] for one in subjects}
        for _ in range(3):
            for one in subjects:
                with Worker(one, bench.python_of(one), bench.plain) as worker:
                    took[one].append(worker.run(measure, 1_000))
        raw = figures(took["httpx, async"])
        rows = []
        for one in subjects:
            ratio = Ratio.of(figures(took[one]), raw)
            failed = int(max(figures(took[one], "failed")))
            peak = max(figures(took[one], "peak_mb"))
            wall = statistics.median(figures(took[one]))
            rows.append([one, str(ratio), f"{wall:.1f} s", str(failed), f"{peak:.0f} MB"])
            if one == "flowmaestro, async":
                bench.goal(
                    "many",
                    f"1,000 concurrent {measure}, of raw httpx",
                    "1.20 or less, no errors",
                    f"{ratio}, {failed} errors",
                    met=ratio.median <= 1.20 and not failed,
                )
        bench.table(
            f"1,000 concurrent {measure}",
            "Wall time over a raw httpx loop, for executions of 3 s; most errors of a round and "
            "the highest peak of the process's memory; 3 rounds.",
            ["", "of raw httpx", "wall time", "errors", "peak memory"],
            rows,
        )


def transports(bench: Bench) -> None:
    """Many calls at once, where another transport pays."""
    subjects = [
        "httpx, async",
        "flowmaestro, async",
        "flowmaestro over httpx-aiohttp, async",
        "aiohttp, async",
    ]
    took = bench.turns(subjects, "gets_at_once", 1_000)
    raw = figures(took["httpx, async"])
    bench.table(
        "1,000 calls at once",
        "Wall time of 1,000 `workflows.get` over raw httpx. For `httpx-aiohttp`, see the README's "
        "section on another transport.",
        ["", "of raw httpx", "errors"],
        [
            [
                one,
                str(Ratio.of(figures(took[one]), raw)),
                str(int(max(figures(took[one], "failed")))),
            ]
            for one in subjects
        ],
    )


def growth(bench: Bench) -> None:
    """How the cost of a call grows with its answer, and memory with a stream's length."""
    with ExitStack() as stack:
        workers = {
            one: stack.enter_context(Worker(one, sys.executable, bench.plain))
            for one in ("flowmaestro", "httpx", "json")
        }
        rows = []
        for size in SIZES:
            repeats = max(1, min(200, 2_000_000 // size))
            took: dict[str, list[float]] = {one: [] for one in workers}
            for turn in range(bench.rounds + 1):
                for one, worker in workers.items():
                    cpu = sum(worker.run("sized", size)["cpu"] for _ in range(repeats)) / repeats
                    if turn:
                        took[one].append(cpu)
            of_json = Ratio.of(took["flowmaestro"], took["json"])
            of_httpx = Ratio.of(took["flowmaestro"], took["httpx"])
            each = statistics.median(took["flowmaestro"]) * 1e9 / size
            rows.append([f"{size:,} bytes", f"{each:,.0f} ns", str(of_json), str(of_httpx)])
    bench.goal(
        "growth",
        "CPU of an answer of 10 MB, of reading it from a socket with json.loads",
        "1.15 or less",
        of_json,
        met=of_json.median <= 1.15,
    )
    bench.table(
        "Answers of any size",
        "CPU time of a `workflows.get`, for each byte, over a bare socket with `json.loads`, and "
        "over raw httpx.",
        ["", "a byte", "of a socket with json.loads", "of raw httpx"],
        rows,
    )
    peaks = []
    for count in (10_000, 100_000, 1_000_000):
        with Worker("flowmaestro", sys.executable, bench.plain) as worker:
            peaks.append((count, worker.run("burst", count)["peak_mb"]))
    grown = peaks[-1][1] - peaks[0][1]
    bench.goal(
        "growth",
        "memory of a stream of 1,000,000 events beside one of 10,000",
        "flat (5 MB or less)",
        f"{grown:+.1f} MB",
        met=grown <= 5,
    )
    bench.table(
        "Streams of any length",
        "Peak memory of a process that reads one stream to its end.",
        ["events", "peak memory"],
        [[f"{count:,}", f"{peak:.0f} MB"] for count, peak in peaks],
    )


FIXTURE_TESTS = """
import pytest


@pytest.mark.parametrize("number", range(100))
def test_a_run(flowmaestro_server, flowmaestro_client, number):
    flowmaestro_server.workflow("wf")(lambda inputs: inputs)
    result = flowmaestro_client.run("wf", {"number": number}, poll_interval=0.01)
    assert result["outputs"] == {"number": number}
"""


def local_server(bench: Bench) -> None:
    """What flowmaestro-local costs the tests that stand on it."""
    milliseconds: dict[str, list[float]] = {"get": [], "start_and_stop": []}
    with Worker("flowmaestro-local", sys.executable, bench.plain) as worker:
        for turn in range(bench.rounds + 1):
            for measure, count in (("get", 200), ("start_and_stop", 20)):
                wall = worker.run(measure, count)["wall"]
                if turn:
                    milliseconds[measure].append(1_000 * wall / count)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "test_runs.py")
        program.write_text(FIXTURE_TESTS)
        # The folder may be inside this project, whose own pytest settings are not meant.
        Path(folder, "pytest.ini").write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", program.name]
        for turn in range(4):
            started = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            if turn:
                seconds.append(time.perf_counter() - started)
    rows = []
    for measure, figures, limit, unit in (
        ("a call on a kept connection", milliseconds["get"], 1, "ms"),
        ("start and stop", milliseconds["start_and_stop"], 20, "ms"),
        ("100 pytest tests, each with a server, a client and one `run`", seconds, 5, "s"),
    ):
        median = statistics.median(figures)
        measured = f"{median:.2f} {unit} ({min(figures):.2f} to {max(figures):.2f})"
        bench.goal(
            "flowmaestro-local",
            f"flowmaestro-local: {measure}",
            f"under {limit} {unit}",
            measured,
            met=median < limit,
        )
        rows.append([measure, measured])
    bench.table(
        "The local server",
        "Wall time with flowmaestro-local in the process of its client. The tests are a whole "
        "pytest run, interpreter start included.",
        ["", "takes"],
        rows,
    )


def write(bench: Bench) -> None:
    lines = [
        "# Performance",
        "",
        "Written by `uv run nox -s bench`; do not edit. Every ratio compares what was measured in "
        "turns in one run: the median of the rounds, with the smallest and the largest.",
        "",
        _machine(),
        "",
        "## Goals",
        "",
        _row(["measure", "goal", "measured", ""]),
        _row(["---"] * 4),
    ]
    missed = []
    for key, measure, goal, measured, met in bench.goals:
        lines.append(_row([measure, goal, measured, "met" if met else f"missed: see *{key}*"]))
        if not met and key not in missed:
            missed.append(key)
    for key in missed:
        lines += ["", f"*{key}*: {REASONS.get(key, 'no reason is known yet.')}"]
    PAGE.write_text("\n".join(lines) + "\n\n" + "\n\n".join(bench.sections) + "\n", "utf-8")


def _machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(": ")[2] if names else cpu
    packages = ("flowmaestro", "httpx", "httpcore", "httpx-sse", "orjson", "openai")
    packages += ("langgraph-sdk", "aiohttp", "httpx-aiohttp")
    versions = ", ".join(f"{one} {importlib.metadata.version(one)}" for one in packages)
    return (
        f"Machine: {cpu}, {os.cpu_count()} cores, {platform.system()}; "
        f"CPython {platform.python_version()}; {versions}; flowmaestro 0.1.0 in an environment "
        f"of its own. {time.strftime('%Y-%m-%d', time.gmtime())}."
    )


MEASURES = (
    calls,
    imports,
    first_answer,
    second_stream,
    events,
    where_an_event_spends,
    many,
    transports,
    growth,
    local_server,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old-python", required=True, help="a Python that has flowmaestro==0.1.0")
    parser.add_argument("--new-python", required=True, help="one that has these packages only")
    parser.add_argument("--quick", action="store_true", help="3 rounds, and nothing is written")
    parser.add_argument("--only", choices=[one.__name__ for one in MEASURES], action="append")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        # As many trusted certificates as everywhere, and one more: loading them takes time.
        trusted = Path(certifi.where()).read_bytes() + authority.cert_pem.bytes()
        Path(f"{folder}/ca.pem").write_bytes(trusted)
        certificate.private_key_pem.write_to_path(f"{folder}/key.pem")
        certificate.cert_chain_pems[0].write_to_path(f"{folder}/cert.pem")
        os.environ["SSL_CERT_FILE"] = f"{folder}/ca.pem"
        # Bytecode of a first round is there for the others.
        os.environ["PYTHONPYCACHEPREFIX"] = f"{folder}/bytecode"
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        urls = []
        for arguments in ([], [f"{folder}/cert.pem", f"{folder}/key.pem"]):
            server = subprocess.Popen(
                [sys.executable, str(HERE / "server.py"), *arguments],
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(server.wait)
            stack.callback(server.terminate)
            assert server.stdout is not None
            urls.append(server.stdout.readline().strip())
            server.stdout.close()
        bench = Bench(chosen.old_python, chosen.new_python, *urls, quick=chosen.quick)
        for measure in MEASURES:
            if not chosen.only or measure.__name__ in chosen.only:
                measure(bench)
    if not chosen.quick and not chosen.only:
        write(bench)


if __name__ == "__main__":
    main()
