"""The README's testing guide, run by a real pytest in a project of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import flowmaestro_local

README = Path(__file__).parents[2] / "packages" / "flowmaestro-local" / "README.md"


def test_the_testing_guide_works(pytester: pytest.Pytester):
    (guide,) = re.findall(r"```python\n# test_greeting.py\n(.*?)```", README.read_text(), re.S)
    pytester.makepyfile(test_greeting=guide)
    # In a process of its own: a project that has nothing but the installed packages.
    pytester.runpytest_subprocess("-q", timeout=110).assert_outcomes(passed=2)


def test_the_asynchronous_fixture_and_a_server_that_is_fresh(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import asyncio

        import pytest
        from flowmaestro import FlowMaestroError

        seen = []

        def test_async(flowmaestro_server, async_flowmaestro_client):
            seen.append(flowmaestro_server)
            flowmaestro_server.workflow("wf")(lambda inputs: inputs)

            async def main():
                async with async_flowmaestro_client as client:
                    return await client.run("wf", {"a": 1}, poll_interval=0.01)

            assert asyncio.run(main())["outputs"] == {"a": 1}

        def test_fresh(flowmaestro_server):
            assert flowmaestro_server.executions == []
            assert flowmaestro_server.requests == []
            with pytest.raises(RuntimeError, match="does not run"):
                seen[0].url

        def test_client(flowmaestro_server, flowmaestro_client):
            assert flowmaestro_client.workflows.list()["data"] == []
            headers = flowmaestro_server.requests[0].headers
            assert "fm_live_test" in (headers.get("x-api-key"), headers["authorization"][7:])
            seen.append(flowmaestro_client)

        def test_closed():
            with pytest.raises(FlowMaestroError, match="client is closed"):
                seen[1].workflows.list()
        """
    )
    pytester.runpytest_subprocess("-q", timeout=110).assert_outcomes(passed=4)


def python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plugin_costs_a_run_that_does_not_use_it_nothing():
    loaded = python(
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import flowmaestro_local.pytest_plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    assert loaded.split() == ["flowmaestro_local", "flowmaestro_local.pytest_plugin"]


def test_a_whole_run_loads_no_server(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import sys

        def test_nothing_of_it_is_here():
            assert "flowmaestro_local.pytest_plugin" in sys.modules
            for name in ("uvicorn", "starlette", "sqlite3", "flowmaestro_local.server"):
                assert name not in sys.modules
        """
    )
    pytester.runpytest_subprocess("-q", timeout=110).assert_outcomes(passed=1)


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
import pytest

import flowmaestro_local
sys.exit(pytest.main(["-q", "-rs", "-p", "no:cacheprovider", sys.argv[2]]))
"""


def test_a_python_without_sqlite_can_test(tmp_path: Path):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "from flowmaestro_local import LocalServer\n"
        "def test_server(flowmaestro_server, flowmaestro_client):\n"
        "    flowmaestro_server.workflow('wf')(lambda inputs: inputs)\n"
        "    done = flowmaestro_client.run('wf', {'a': 1}, poll_interval=0.01)\n"
        "    assert done['outputs'] == {'a': 1}\n"
        "def test_file(tmp_path):\n"
        "    with pytest.raises(ImportError, match='sqlite'):\n"
        "        LocalServer(path=tmp_path / 'db')\n"
    )
    assert "2 passed" in python(WITHOUT, "_sqlite3", str(tmp_path))


def test_a_project_without_the_client_has_the_server(tmp_path: Path):
    (tmp_path / "test_it.py").write_text(
        "def test_server(flowmaestro_server): assert flowmaestro_server.url\n"
        "def test_one(flowmaestro_client): ...\n"
        "def test_two(async_flowmaestro_client): ...\n"
    )
    said = python(WITHOUT, "flowmaestro", str(tmp_path))
    assert "1 passed, 2 skipped" in said
    for fixture in ("flowmaestro_client", "async_flowmaestro_client"):
        assert f": the fixture {fixture} needs the package flowmaestro" in said


def test_the_names_of_the_package_are_there():
    names = python(
        "import flowmaestro_local\n"
        "print(*dir(flowmaestro_local))\n"
        "for name in flowmaestro_local.__all__: getattr(flowmaestro_local, name)\n"
        "from flowmaestro_local import *\n"
        "print(LocalServer.__name__)\n"
        "try: flowmaestro_local.nope\n"
        "except AttributeError as error: print(error)"
    ).splitlines()
    assert names[0].split() == sorted(flowmaestro_local.__all__)
    assert names[1:] == ["LocalServer", "module 'flowmaestro_local' has no attribute 'nope'"]
