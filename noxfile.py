"""Every check of the project: ``uv run nox``, or one of them with ``-s NAME``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from glob import glob

import nox

if shutil.which("uv") is None:
    sys.exit("uv is missing: python -m pip install uv")

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", "tests", "tools", "install", "examples"]
nox.options.reuse_existing_virtualenvs = True
# A Python that is not installed is skipped, and not fetched.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

# The tests start hundreds of processes that import the same modules. Where an image forbids
# bytecode, as those of containers often do, each of them would compile everything anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

if shutil.which("pyenv"):
    # pyenv's shims answer for the active version only; uv and nox look for all of them.
    root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True).stdout
    os.environ["PATH"] = os.pathsep.join(
        [os.environ["PATH"], *glob(f"{root.strip()}/versions/*/bin")]
    )


def is_installed(version: str) -> bool:
    """Say whether there is such a Python."""
    find = ["uv", "python", "find", "--quiet", "--no-python-downloads", version]
    return subprocess.run(find, capture_output=True).returncode == 0


PYTHONS = ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]
OLDEST = "3.9"
# What is checked once, and the long tests, run on the newest of those that all tools know.
NEWEST = next(
    filter(is_installed, ["3.13", "3.12", "3.11", "3.10"]),
    f"{sys.version_info.major}.{sys.version_info.minor}",
)


def sync(session: nox.Session, *groups: str) -> None:
    """Install the workspace as uv.lock has it, with some dependency groups."""
    chosen = [argument for group in groups for argument in ("--group", group)]
    session.run_install(
        "uv",
        "sync",
        "--frozen",
        "--quiet",
        "--no-default-groups",
        *chosen,
        f"--python={session.virtualenv.location}",
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )


def older_release(session: nox.Session) -> str:
    """Install flowmaestro 0.1.0 in an environment of its own, and give its Python."""
    old = f"{session.create_tmp()}/old"
    session.run_install("uv", "venv", "--quiet", "--clear", "--python", NEWEST, old)
    python = f"{old}/bin/python"
    session.run_install("uv", "pip", "install", "--quiet", "-p", python, "flowmaestro==0.1.0")
    return python


def released(session: nox.Session) -> str:
    """Install the packages as their users do, with nothing beside them, and give the Python."""
    new = f"{session.create_tmp()}/new"
    session.run_install("uv", "venv", "--quiet", "--clear", "--python", NEWEST, new)
    python = f"{new}/bin/python"
    packages = sorted(glob("packages/*"))
    needed = [one for one in packages if not one.endswith(("-batch", "-local"))]
    session.run_install("uv", "pip", "install", "--quiet", "-p", python, "orjson", *needed)
    return python


@nox.session(python=NEWEST)
def lint(session: nox.Session) -> None:
    """Style, the direction of imports, and generated code that is fresh."""
    sync(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("python", "tools/unasync.py", "--check")
    if session.python == OLDEST:
        session.warn("lint-imports is left out: import-linter needs Python 3.10 or later")
    else:
        session.run("lint-imports")


@nox.session(python=NEWEST)
def types(session: nox.Session) -> None:
    """The packages, user code, and the README's, as strict type checkers see them."""
    if session.python == OLDEST:
        session.skip("the type checkers in uv.lock need Python 3.10 or later")
    sync(session, "types")
    readme = f"{session.create_tmp()}/readme.py"
    session.run("python", "tools/readme_code.py", readme)
    session.run("mypy", "packages", "tests/typing", "tests/upgrade/programs", "tools", readme)
    session.run("pyright", "packages", "tests/typing", readme)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests on the newest Python, with coverage; on the others what may differ there."""
    sync(session, "test", "webhooks")
    # Examples and tools have sessions of their own; what is slow runs at both ends.
    marks, cover = "not install and not soak and not slow and not long and not once", []
    chosen = ["--ignore=tests/examples", "--ignore=tests/tools"]
    environment = {}
    if session.python == NEWEST:
        marks = "not install and not soak"
        cover = ["--cov", "--cov-report=term", "--cov-fail-under=96"]
        if session.python in ("3.12", "3.13", "3.14"):
            environment["COVERAGE_CORE"] = "sysmon"
    else:
        # Trio does the same on all of them.
        chosen += ["-k", "not trio"]
    if session.python == OLDEST:
        marks = "not install and not soak and not long and not once"
    elif session.python != NEWEST:
        # What is right on the oldest and the newest is wrong on one between for the sake of
        # asyncio or the standard library, if at all.
        same = ("batch", "docs", "local", "repo", "core/_sync")
        chosen += [f"--ignore=tests/{name}" for name in same]
    # More workers than processors: most tests wait more than they compute.
    chosen += ["-m", marks, "-n", "6", "--maxschedchunk", "1"]
    arguments = session.posargs or [*chosen, *cover]
    session.run("pytest", *arguments, env=environment)


@nox.session(python=NEWEST)
def soak(session: nox.Session) -> None:
    """What the other tests try in small, in full: a thousand at once, a hundred kills (minutes)."""
    sync(session, "test", "webhooks")
    session.run("pytest", "-m", "soak", "-n", "2", "--maxschedchunk", "1", *session.posargs)


@nox.session(python=NEWEST)
def install(session: nox.Session) -> None:
    """The wheels in clean environments: whole, slim, and with the lowest dependencies."""
    sync(session, "test")
    session.run("pytest", "-m", "install", "tests/install")


@nox.session(python=NEWEST)
def examples(session: nox.Session) -> None:
    """Every example program, from beginning to end."""
    sync(session, "test")
    session.run("pytest", "tests/examples", "-n", "4")


@nox.session(python=NEWEST)
def tools(session: nox.Session) -> None:
    """What users' programs meet the SDK through: editors, FastAPI, LangChain, MCP, Sentry."""
    sync(session, "test", "editors", "fastapi", "langchain", "mcp", "sentry")
    session.run("pytest", "tests/tools")


@nox.session(python=NEWEST)
def upgrade(session: nox.Session) -> None:
    """Run the programs of tests/upgrade with 0.1.0, which must be on the package index."""
    sync(session, "test")
    session.run("pytest", "tests/upgrade", f"--old-python={older_release(session)}")


@nox.session(python=NEWEST)
def reliability(session: nox.Session) -> None:
    """Count faults survived, beside 0.1.0, and write docs/reliability.md (minutes)."""
    sync(session, "test")
    old = older_release(session)
    session.run("python", "-m", "tests.chaos.compare", "--old-python", old, *session.posargs)


@nox.session(python=NEWEST)
def bench(session: nox.Session) -> None:
    """Measure, beside raw httpx and others, and write docs/performance.md (ten minutes)."""
    sync(session, "bench")
    pythons = ["--old-python", older_release(session), "--new-python", released(session)]
    session.run("python", "-m", "benchmarks.run", *pythons, *session.posargs)


@nox.session(python=NEWEST)
def bench_batch(session: nox.Session) -> None:
    """Measure batches, and write the figures of docs/batches.md (a quarter of an hour)."""
    sync(session, "test")
    session.run("python", "-m", "benchmarks.batch", *session.posargs)


@nox.session(python=NEWEST)
def mutants(session: nox.Session) -> None:
    """Change core, or another ``--part``, at random, and count what is noticed (half an hour)."""
    sync(session, "mutants", "webhooks")
    session.run("python", "tools/mutants.py", *session.posargs)


@nox.session(name="sync", python=NEWEST)
def generate(session: nox.Session) -> None:
    """Write the synchronous half anew."""
    sync(session, "lint")
    session.run("python", "tools/unasync.py")


@nox.session(python=NEWEST)
def bump(session: nox.Session) -> None:
    """Set the version of all packages: ``nox -s bump -- 1.0.1``."""
    session.run("python", "tools/bump.py", *session.posargs)
    session.run_install("uv", "lock")
