"""Every Python block of every README runs."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.contract.conftest import build_server

ROOT = Path(__file__).parents[2]
READMES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *ROOT.glob("packages/*/README.md")]
)


@pytest.fixture(scope="module", params=["documented", "wire"])
def server(request):
    server: LocalServer = build_server(request.param)
    with server.start():
        yield server


@pytest.mark.parametrize("name", READMES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_code_of_a_readme_runs(name, server, monkeypatch):
    monkeypatch.setenv("FLOWMAESTRO_API_KEY", KEY)
    monkeypatch.setenv("FLOWMAESTRO_BASE_URL", server.url)
    document = Sybil(parsers=[PythonCodeBlockParser()]).parse(ROOT / name)
    examples = list(document.examples())
    assert examples, "a README shows how its package is used"
    for example in examples:
        example.evaluate()
    # The clients that a README leaves open go here, and not in the middle of another test.
    document.namespace.clear()
    gc.collect()
