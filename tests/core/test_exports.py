"""What the packages export: every name is there, is what it says, and is listed."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

pytestmark = pytest.mark.once

PACKAGES = {
    "flowmaestro_core": "AsyncCoreClient",
    "flowmaestro_workflows": "AsyncWorkflows",
    "flowmaestro_executions": "AsyncExecutions",
    "flowmaestro_agents": "AsyncAgents",
    "flowmaestro_threads": "AsyncThreads",
    "flowmaestro_triggers": "AsyncTriggers",
    "flowmaestro_knowledge_bases": "AsyncKnowledgeBases",
    "flowmaestro_webhooks": "AsyncWebhooks",
    "flowmaestro": "AsyncFlowMaestroClient",
}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_what_it_says(package):
    module = import_module(package)
    name = PACKAGES[package]
    assert {name, name.replace("Async", "")} <= set(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type):
            assert value.__name__ == name
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_no_name_is_loaded_before_it_is_used(package):
    """In a process of its own, where nothing else has loaded them; httpx takes the longest."""
    program = f"""
import sys, {package} as package
assert 'httpx' not in sys.modules, 'httpx'
assert set(package.__all__) <= set(dir(package)), 'dir'
from {package} import {PACKAGES[package]}
assert {PACKAGES[package]}.__name__ == '{PACKAGES[package]}'
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
