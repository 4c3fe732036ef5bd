"""``python -m flowmaestro_local``: what it says of what is wrong."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import Any

import pytest

from flowmaestro_local import LocalServer
from flowmaestro_local.__main__ import main


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with modules of all kinds, none of which is left in ``sys.modules``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    asking = "from importlib import import_module as load\ntry:\n    load('a_bug')\nexcept AttributeError "
    modules = {
        "fine.py": "from flowmaestro_local import LocalServer\nserver = LocalServer()\n",
        "a_bug.py": "x = None\n\n\ndef broken():\n    return x.id\n\n\nbroken()\n",
        "a_typo.py": "def broken(:\n",
        "exits.py": "import sys\nsys.exit(3)\n",
        "needs_more.py": "import not_installed_here\n",
        "a_cause.py": f"{asking}as e:\n    raise RuntimeError('no') from e\n",
        "a_context.py": f"{asking}:\n    raise RuntimeError('no')\n",
        "package/__init__.py": "1 / 0\n",
    }
    for name, text in modules.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in modules:
        sys.modules.pop(name.partition(".")[0].partition("/")[0], None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--app", "fine"], "--app must be module:name, as in my_module:server, not 'fine'"),
        (["--app", "fine:"], "--app must be module:name, as in my_module:server, not 'fine:'"),
        (["--app", "nope:server"], "there is no module 'nope' here, or on sys.path"),
        (["--app", "nope.more:server"], "there is no module 'nope' here, or on sys.path"),
        (["--app", "json.nope:server"], "there is no module 'json.nope' here, or on sys.path"),
        (["--app", "fine:nope"], "the module fine has no 'nope'; --app names a LocalServer in it"),
        (["--app", "json:dumps"], "json:dumps must be a LocalServer, not function"),
        (["replay", "nope.jsonl"], "nope.jsonl: No such file or directory"),
        (
            ["replay", "fine.py"],
            "fine.py is not a cassette; record one with "
            "`python -m flowmaestro_local record --to URL`",
        ),
        (
            ["record", "--to", "ftp://x"],
            "to must be an address such as https://api.example.com, not 'ftp://x'",
        ),
        (
            ["record", "--to", "http://x", "--cassette", "no/folder", "--port", "0"],
            "no/folder: No such file or directory",
        ),
        (
            ["--app", "fine:server", "--port", "0", "--host", "256.0.0.1"],
            "cannot listen on port 0 of 256.0.0.1: ",
        ),
    ],
)
def test_a_mistake_is_one_line(arguments, says, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {says}")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("port", ["99999", "65536", "-1", "http", "1.5"])
@pytest.mark.parametrize(
    "command", [["--app", "fine:server"], ["record", "--to", "http://x"], ["replay", "x"]]
)
def test_a_port_that_is_none(command, port, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, f"--port={port}"])
    assert caught.value.code == 2
    says = f"argument --port: a port is a number from 0 to 65535, not {port!r}\n"
    assert capsys.readouterr().err.endswith(says)


def test_a_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--app", "fine:server", "--port", str(port)]) == 2
    assert f"error: port {port} on 127.0.0.1 is in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "last", "what"),
    [
        ("a_bug", "AttributeError: 'NoneType' object has no attribute 'id'", "failed"),
        ("a_typo", "SyntaxError: ", "failed"),
        ("exits", "SystemExit: 3", "exited"),
        ("needs_more", "ModuleNotFoundError: No module named 'not_installed_here'", "failed"),
        ("a_cause", "RuntimeError: no", "failed"),
        ("a_context", "RuntimeError: no", "failed"),
        ("package.sub", "ZeroDivisionError: division by zero", "failed"),
    ],
)
def test_a_bug_in_the_users_module_is_shown_with_its_line(module, last, what, capsys, project):
    assert main(["--app", f"{module}:server"]) == 2
    *traceback, problem = capsys.readouterr().err.splitlines()
    assert problem == f"error: the module {module!r} {what} while it was imported"
    assert traceback[-1].startswith(last)
    file = "package" if module == "package.sub" else module
    assert any(f"{file}" in line and ", line " in line for line in traceback)
    # Only lines of the user's.
    assert not any("importlib" in line or "flowmaestro_local" in line for line in traceback)
    # All of them: what it was caused by, too.
    bug = "AttributeError: 'NoneType' object has no attribute 'id'"
    assert (bug in traceback) == (module in ("a_bug", "a_cause", "a_context"))


@pytest.fixture
def cassette(project):
    """A cassette without an exchange."""
    with LocalServer.record(project / "some.jsonl", to="http://127.0.0.1:9").start():
        return "some.jsonl"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--app", "fine:server"], "FlowMaestro, local, at URL (Ctrl-C stops it)"),
        (
            ["record", "--to", "http://127.0.0.1:9/base/"],
            "recording http://127.0.0.1:9/base/ to cassette.jsonl, at URL (Ctrl-C stops it)",
        ),
        (
            ["record", "--to", "http://127.0.0.1:9", "--cassette", "{url}.jsonl"],
            "recording http://127.0.0.1:9 to {url}.jsonl, at URL (Ctrl-C stops it)",
        ),
        (["replay", "some.jsonl"], "replaying some.jsonl, at URL (Ctrl-C stops it)"),
    ],
)
@pytest.mark.parametrize("way", ["Ctrl-C", "a stop"])
def test_what_a_command_says_until_it_is_stopped(
    arguments, told, way, cassette, project, capsys, monkeypatch
):
    stopped = []

    def stop(running: Any) -> None:
        stopped.append(running)
        assert running.is_running
        if way == "Ctrl-C":
            raise KeyboardInterrupt

    monkeypatch.setattr("flowmaestro_local.running.Running.wait", stop)
    assert main([*arguments, "--port", "0"]) == 0
    (running,) = stopped
    assert capsys.readouterr() == (told.replace("URL", running.url) + "\n", "")
    assert running.url.startswith("http://127.0.0.1:")
    assert running.is_running == (way == "a stop")
    running.stop()
    if arguments[0] == "record":
        name = arguments[-1] if "--cassette" in arguments else "cassette.jsonl"
        assert json.loads((project / name).read_text())["recorded_from"] == arguments[2].rstrip("/")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["--app", "fine:server"], "server.LocalServer"),
        (["record", "--to", "http://x"], "recording.Recorder"),
        (["replay", "some.jsonl"], "replaying.Replay"),
    ],
)
@pytest.mark.parametrize(
    ("more", "address"),
    [
        ([], (8787, "127.0.0.1")),
        (["--port", "65535", "--host", "0.0.0.0"], (65535, "0.0.0.0")),
        (["--port=0"], (0, "127.0.0.1")),
    ],
)
def test_where_a_command_listens(command, name, more, address, cassette, monkeypatch):
    def start(_: object, *arguments: object) -> None:
        assert arguments == address
        raise OSError("it was asked to start")

    monkeypatch.setattr(f"flowmaestro_local.{name}.start", start)
    assert main([*command, *more]) == 2


@pytest.mark.parametrize("command", [[], ["record"], ["replay"]])
def test_the_help_says_what_each_argument_is(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    # It breaks lines where the terminal does.
    text = " ".join(capsys.readouterr().out.split())
    for says in {
        "": (
            "usage: python -m flowmaestro_local [-h] --app APP",
            "Serve a LocalServer of yours to programs in any language.",
            "--app APP module:name of a LocalServer",
            "More commands: `record --to URL` writes what a real API responds to a cassette, "
            "and `replay CASSETTE` responds as it did; each has --help.",
        ),
        "record": (
            "usage: python -m flowmaestro_local record [-h] --to URL",
            "Stand between a program and a FlowMaestro API, and write what passes to a cassette. "
            "API keys and secrets are masked in it; webhooks are left alone.",
            "--to URL the API's address",
            "the file to write, replaced where there is one (default cassette.jsonl)",
        ),
        "replay": (
            "usage: python -m flowmaestro_local replay [-h]",
            "Respond as recorded, without the API that a cassette was recorded from.",
            "cassette a file that `record` wrote",
        ),
    }["".join(command)]:
        assert says in text
    assert "--port PORT 0 takes a free one (default 8787)" in text
    assert "--host HOST default 127.0.0.1" in text


@pytest.mark.parametrize(
    ("arguments", "missing"), [(["record"], "--to"), (["replay"], "cassette"), ([], "--app")]
)
def test_what_a_command_needs(arguments, missing, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert f"the following arguments are required: {missing}\n" in capsys.readouterr().err


def test_help_names_the_commands():
    command = [sys.executable, "-m", "flowmaestro_local"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=110)
    assert "record --to URL" in done.stdout
    assert "replay CASSETTE" in done.stdout
    for name in ("record", "replay"):
        done = subprocess.run(
            [*command, name, "--help"], capture_output=True, text=True, timeout=110
        )
        assert f"usage: python -m flowmaestro_local {name}" in done.stdout


def test_the_arguments_are_those_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["flowmaestro_local", "--app", "fine"])
    assert main() == 2
    assert "--app must be module:name" in capsys.readouterr().err


def test_a_server_that_ends_by_itself_is_an_error(monkeypatch, capsys):
    def fail(_: object) -> None:
        raise RuntimeError("the server has ended by itself") from MemoryError("full")

    monkeypatch.setattr("flowmaestro_local.running.Running.wait", fail)
    assert main(["--app", "fine:server", "--port", "0"]) == 2
    assert "error: the server has ended by itself: MemoryError('full')" in capsys.readouterr().err
    sys.modules["fine"].server.stop()
