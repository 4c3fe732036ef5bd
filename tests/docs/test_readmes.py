"""Every Python block of every README runs."""

from __future__ import annotations

import ast
import gc
import re
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.contract.conftest import build_server

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
READMES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *ROOT.glob("packages/*/README.md")]
)


PAGES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))


@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_is_python(name):
    """It names clusters and libraries that are not here, so it does not run."""
    for block in re.findall(r"```python\n(.*?)```", (ROOT / name).read_text("utf-8"), re.S):
        ast.parse(block)


@pytest.fixture(params=["documented", "wire"])
def server(request):
    server: LocalServer = build_server(request.param)
    with server.start():
        yield server


@pytest.mark.parametrize("name", READMES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_code_of_a_readme_runs(name, server, monkeypatch, tmp_path):
    # The file that the README of batches has rows from.
    (tmp_path / "leads.csv").write_text("name\nAda\nGrace\n")
    monkeypatch.chdir(tmp_path)
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
