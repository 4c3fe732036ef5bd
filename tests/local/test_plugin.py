"""The README's testing guide, run by a real pytest in a project of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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

        def test_async(flowmaestro_server, async_flowmaestro_client):
            flowmaestro_server.workflow("wf")(lambda inputs: inputs)

            async def main():
                async with async_flowmaestro_client as client:
                    return await client.run("wf", {"a": 1}, poll_interval=0.01)

            assert asyncio.run(main())["outputs"] == {"a": 1}

        def test_fresh(flowmaestro_server):
            assert flowmaestro_server.executions == []
            assert flowmaestro_server.requests == []
        """
    )
    pytester.runpytest_subprocess("-q", timeout=110).assert_outcomes(passed=2)
