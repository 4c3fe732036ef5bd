"""Every code of an error is on the page that lists them."""

from __future__ import annotations

import ast
from pathlib import Path

from flowmaestro_core.codes import ALIASES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
# Batches have a page of their own, and the local server speaks for the API.
SOURCES = [
    path
    for path in (ROOT / "packages").glob("*/src/**/*.py")
    if "flowmaestro_batch" not in path.parts and "flowmaestro_local" not in path.parts
]


def codes():
    found = set(ALIASES)
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            is_code = isinstance(node, ast.keyword) and node.arg == "code"
            if is_code and isinstance(node.value, ast.Constant) and node.value.value:
                found.add(node.value.value)
    return sorted(found)


def test_every_code_is_listed_with_an_anchor():
    listed = [code for code in codes() if f'<a id="{code}"></a>`{code}`' in PAGE]
    assert listed == codes()
    assert len(listed) > 20


def test_every_old_name_of_a_code_is_listed():
    for old in set(ALIASES.values()):
        assert f"`{old}`" in PAGE
