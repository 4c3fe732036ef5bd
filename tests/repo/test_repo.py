"""Rules that a repository can check of itself."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flowmaestro

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
NAMES = [path.name for path in PACKAGES]
# What has to be repeated in every package, and must not differ.
SHARED = ["requires-python", "license", "license-files", "authors", "keywords", "classifiers"]


def project(path: Path) -> dict:
    return tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PACKAGES, ids=NAMES)
def test_versions_are_in_lockstep(path):
    version = project(path)["project"]["version"]
    assert version == project(PACKAGES[0])["project"]["version"]
    module = importlib.import_module(path.name.replace("-", "_"))
    assert module.__version__ == version


@pytest.mark.parametrize("path", PACKAGES, ids=NAMES)
def test_pins_between_packages_are_exact_and_all_others_exclude_the_next_major(path):
    content = project(path)["project"]
    dependencies = [*content["dependencies"]]
    for extra in content.get("optional-dependencies", {}).values():
        dependencies += extra
    for dependency in dependencies:
        if dependency.startswith("flowmaestro"):
            assert re.fullmatch(
                rf"[a-z-]+(\[[a-z,]+\])?=={re.escape(content['version'])}", dependency
            )
        else:
            assert re.search(r">=[\d.]+,<\d+", dependency), dependency


@pytest.mark.parametrize("path", PACKAGES, ids=NAMES)
def test_metadata_is_complete_and_the_same_where_it_is_shared(path):
    content, first = project(path), project(PACKAGES[0])
    for field in SHARED:
        assert content["project"][field] == first["project"][field]
    assert content["build-system"] == first["build-system"]
    assert content["project"]["urls"] == first["project"]["urls"]
    assert content["project"]["description"].endswith(".")
    source = path / "src" / path.name.replace("-", "_")
    assert (source / "py.typed").exists()
    readme = (path / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# {path.name}\n")
    links = re.findall(r"\]\(([^)]*)\)", readme)
    assert all(link.startswith("https://") for link in links), "it is read away from its folder"
    assert (path / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_every_package_is_a_member_and_a_source_of_the_workspace():
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    assert sorted(workspace["sources"]) == NAMES


@pytest.mark.parametrize(
    "name",
    [name.replace("-", "_") for name in NAMES] + ["flowmaestro.types", "flowmaestro.webhooks"],
)
def test_exports_exist_and_are_what_dir_shows(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for export in module.__all__:
        assert getattr(module, export) is not None
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


def test_every_error_and_type_is_importable_from_the_front():
    errors = importlib.import_module("flowmaestro_core.errors")
    assert set(errors.__all__) <= set(flowmaestro.__all__)
    types = importlib.import_module("flowmaestro_types")
    assert importlib.import_module("flowmaestro.types").__all__ == types.__all__


def public_surface(cls: type) -> dict[str, object]:
    return {
        name: member
        for name, member in inspect.getmembers(cls)
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
    }


PAIRS = [
    ("flowmaestro", "FlowMaestroClient"),
    ("flowmaestro_core", "CoreClient"),
    ("flowmaestro_core", "EventStream"),
    ("flowmaestro_batch", "Batch"),
    ("flowmaestro_workflows", "Workflows"),
    ("flowmaestro_executions", "Executions"),
    ("flowmaestro_agents", "Agents"),
    ("flowmaestro_agents", "AgentMemory"),
    ("flowmaestro_threads", "Threads"),
    ("flowmaestro_triggers", "Triggers"),
    ("flowmaestro_knowledge_bases", "KnowledgeBases"),
    ("flowmaestro_webhooks", "Webhooks"),
]


@pytest.mark.parametrize(("module", "name"), PAIRS)
def test_both_halves_have_the_same_surface(module, name):
    package = importlib.import_module(module)
    sync = public_surface(getattr(package, name))
    asynchronous = public_surface(getattr(package, "Async" + name))
    asynchronous.pop("aclose", None)
    assert set(sync) == set(asynchronous)
    for member, theirs in asynchronous.items():
        ours = sync[member]
        if isinstance(theirs, property):
            assert isinstance(ours, property)
            continue
        assert list(inspect.signature(ours).parameters.items()) == [
            (key, value.replace(annotation=sync_annotation(value.annotation)))
            for key, value in inspect.signature(theirs).parameters.items()
        ]
        assert inspect.getdoc(ours), f"{name}.{member} has no docstring"


def sync_annotation(annotation: object) -> object:
    return annotation.replace("Async", "") if isinstance(annotation, str) else annotation


@pytest.mark.parametrize(("module", "name"), PAIRS[4:])
def test_docstrings_of_calls_say_everything(module, name):
    for prefix in ("", "Async"):
        cls = getattr(importlib.import_module(module), prefix + name)
        for member, call in public_surface(cls).items():
            doc = inspect.getdoc(call) or ""
            parts = ["Args:", "Returns:", "Raises:", "Endpoint:", "Example:"]
            missing = [part for part in parts if part not in doc]
            assert not missing, f"{prefix}{name}.{member} lacks {missing}"


def test_examples_in_docstrings_are_python():
    for path in ROOT.glob("packages/*/src/**/*.py"):
        for doc in docstrings(path):
            for example in re.findall(r"::\n\n((?:[ ]+.*\n|\n)+)", doc + "\n"):
                code = inspect.cleandoc("\n" + example)
                if "await" in code or "async" in code:
                    code = "async def main():\n" + "\n".join(
                        "    " + line for line in code.splitlines()
                    )
                ast.parse(code)


def docstrings(path: Path) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    return [doc for doc in found if doc]


def test_public_signatures_name_httpx_only_where_users_hand_it_in():
    for module, name in PAIRS:
        for member, call in public_surface(getattr(importlib.import_module(module), name)).items():
            if isinstance(call, property):
                continue
            for key, value in inspect.signature(call).parameters.items():
                if "httpx" in str(value.annotation):
                    assert key in ("timeout", "http_client"), f"{name}.{member}({key})"


def test_importing_the_front_loads_no_http_library():
    for statement in (
        "import flowmaestro",
        "from flowmaestro import FlowMaestroClient",
        "import flowmaestro.types",
        "from flowmaestro import NotFoundError",
    ):
        code = (
            f"import sys; {statement}; print([m for m in ('httpx', 'anyio') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=True
        )
        assert done.stdout.strip() == "[]", statement


def test_one_command_bumps_every_version(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("bump", ROOT / "tools" / "bump.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path in PACKAGES:
        copy = tmp_path / "packages" / path.name
        copy.mkdir(parents=True)
        (copy / "pyproject.toml").write_text((path / "pyproject.toml").read_text())
        package = copy / "src" / path.name.replace("-", "_")
        package.mkdir(parents=True)
        init = path / "src" / path.name.replace("-", "_") / "__init__.py"
        (package / "__init__.py").write_text(init.read_text())
    monkeypatch.setattr(module, "ROOT", tmp_path)
    assert len(module.bump("9.8.7")) == 2 * len(PACKAGES)
    for path in tmp_path.glob("packages/*/pyproject.toml"):
        text = path.read_text()
        assert 'version = "9.8.7"' in text
        assert "==1.0" not in text
