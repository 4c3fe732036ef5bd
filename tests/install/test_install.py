"""The wheels in clean environments: what arrives, what imports, what works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = sorted(path.name for path in (ROOT / "packages").iterdir())
HTTPX = {"anyio", "certifi", "h11", "httpcore", "httpx", "idna", "typing-extensions"}
# What httpx and anyio need on older Pythons only.
BACKPORTS = {"exceptiongroup", "sniffio"}

pytestmark = [pytest.mark.install, pytest.mark.timeout(900)]

TRY_IT = """
import asyncio
from flowmaestro_local import LocalServer
from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient

server = LocalServer()
server.workflow("wf")(lambda inputs: inputs)

async def main(url):
    async with AsyncFlowMaestroClient("fm_live_x", url) as client:
        # More at once than there are connections.
        calls = (client.workflows.get("wf") for _ in range(150))
        assert len(await asyncio.gather(*calls)) == 150
        result = await client.run("wf", {"a": 1}, poll_interval=0.05)
        assert result["outputs"] == {"a": 1}
        started = (await client.workflows.execute("wf"))["data"]["execution_id"]
        types = [event["type"] async for event in client.executions.stream(started)]
        assert types[-1] == "execution:completed"

with server.start() as url:
    with FlowMaestroClient("fm_live_x", url) as client:
        assert client.run("wf", {"a": 1}, poll_interval=0.05)["outputs"] == {"a": 1}
        started = client.workflows.execute("wf")["data"]["execution_id"]
        types = [event["type"] for event in client.executions.stream(started)]
        assert types[-1] == "execution:completed"
    asyncio.run(main(url))
print("works")
"""

TRY_A_BATCH = """
import os, tempfile
from flowmaestro_local import LocalServer
from flowmaestro_batch.cli import main

server = LocalServer()
server.workflow("wf")(lambda inputs: inputs)
with server.start() as url, tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    open("rows.csv", "w").write("n\\n1\\n2\\n")
    os.environ["FLOWMAESTRO_API_KEY"] = "fm_live_x"
    arguments = ["run", "wf", "rows.csv", "--journal", "j.sqlite", "--base-url", url]
    assert main([*arguments, "--poll-interval", "0.05"]) == 0
print("works")
"""


def uv(*arguments: str, **named: object) -> str:
    done = subprocess.run(["uv", *arguments], capture_output=True, text=True, timeout=800, **named)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory) -> Path:
    if shutil.which("uv") is None:
        pytest.fail("uv is missing: python -m pip install uv")
    folder = tmp_path_factory.mktemp("wheels")
    uv("build", "--all-packages", "--quiet", "--out-dir", str(folder), cwd=ROOT)
    return folder


class Environment:
    def __init__(self, folder: Path, wheels: Path) -> None:
        uv("venv", "--quiet", "--python", sys.executable, str(folder))
        self.python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
        self.wheels = wheels

    def install(self, *requirements: str, resolution: str = "highest") -> set[str]:
        uv(
            "pip", "install", "--quiet", "--python", self.python,
            "--find-links", str(self.wheels), "--resolution", resolution, *requirements,
        )  # fmt: skip
        listed = json.loads(uv("pip", "list", "--python", self.python, "--format", "json"))
        return {package["name"] for package in listed}

    def run(self, code: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.python, "-W", "error", "-c", code], capture_output=True, text=True, timeout=600
        )
        assert not check or done.returncode == 0, done.stderr
        return done


@pytest.fixture
def environment(tmp_path, wheels) -> Environment:
    return Environment(tmp_path / "venv", wheels)


def test_every_wheel_has_its_types_its_licence_and_nothing_else(wheels):
    assert len(list(wheels.glob("*.whl"))) == len(list(wheels.glob("*.tar.gz"))) == len(OURS)
    for wheel in wheels.glob("*.whl"):
        names = zipfile.ZipFile(wheel).namelist()
        package = wheel.name.split("-")[0]
        assert f"{package}/py.typed" in names
        assert any(name.endswith("LICENSE") for name in names)
        assert {name.split("/")[0].split("-")[0] for name in names} == {package}


def test_the_whole_of_it(environment):
    installed = environment.install("flowmaestro==1.0.0")
    whole = set(OURS) - {"flowmaestro-local", "flowmaestro-batch"}
    assert installed - BACKPORTS <= HTTPX | whole
    assert whole <= installed
    environment.install("flowmaestro[local]==1.0.0")
    assert environment.run(TRY_IT).stdout == "works\n"
    installed = environment.install("flowmaestro[speed]==1.0.0")
    assert "orjson" in installed
    assert environment.run(TRY_IT).stdout == "works\n"
    installed = environment.install("flowmaestro[batch]==1.0.0")
    assert {"flowmaestro-batch", "rich"} <= installed
    assert environment.run(TRY_A_BATCH).stdout == "works\n"


def test_a_slim_install_brings_nothing_else_and_works(environment):
    installed = environment.install("flowmaestro-workflows==1.0.0")
    ours = {name for name in installed if name.startswith("flowmaestro")}
    assert ours == {"flowmaestro-core", "flowmaestro-types", "flowmaestro-workflows"}
    assert installed - ours - BACKPORTS <= HTTPX
    environment.run(
        "from flowmaestro_core import CoreClient, AsyncCoreClient\n"
        "from flowmaestro_workflows import AsyncWorkflows, Workflows\n"
        "Workflows(CoreClient('fm_live_x')), AsyncWorkflows(AsyncCoreClient('fm_live_x'))\n"
    )
    assert (
        "No module named 'flowmaestro'" in environment.run("import flowmaestro", check=False).stderr
    )


@pytest.mark.parametrize(
    "name", [name for name in OURS if name not in ("flowmaestro", "flowmaestro-workflows")]
)
def test_every_package_imports_with_no_more_than_it_asks_for(environment, name):
    environment.install(f"{name}==1.0.0")
    module = name.replace("-", "_")
    environment.run(f"import {module}; [getattr({module}, n) for n in {module}.__all__]")


def test_the_types_need_nothing_on_a_new_python(environment):
    installed = environment.install("flowmaestro-types==1.0.0")
    expected = {"flowmaestro-types"}
    if sys.version_info < (3, 11):
        expected |= {"typing-extensions"}
    assert installed == expected


def test_the_lowest_allowed_versions_work(environment):
    # Named one by one: only what is asked for directly is taken at its lowest, and what
    # others ask for without a bound has releases that no Python 3 can read.
    asked = [path.read_text(encoding="utf-8") for path in ROOT.glob("packages/*/pyproject.toml")]
    bounds = {bound for text in asked for bound in re.findall(r'^  "(\w.*>=.*)"', text, re.M)}
    environment.install("flowmaestro[local]==1.0.0", *bounds, resolution="lowest-direct")
    assert environment.run(TRY_IT).stdout == "works\n"
