"""``python -m flowmaestro_local``: what it says of what is wrong."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from flowmaestro_local.__main__ import main


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with modules of all kinds, none of which is left in ``sys.modules``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = {
        "fine.py": "from flowmaestro_local import LocalServer\nserver = LocalServer()\n",
        "a_bug.py": "x = None\n\n\ndef broken():\n    return x.id\n\n\nbroken()\n",
        "a_typo.py": "def broken(:\n",
        "exits.py": "import sys\nsys.exit(3)\n",
        "needs_more.py": "import not_installed_here\n",
        "a_cause.py": "try:\n    {}['key']\nexcept KeyError as e:\n    raise RuntimeError('no') from e\n",
        "package/__init__.py": "1 / 0\n",
    }
    for name, text in modules.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in ("fine", "a_bug", "a_typo", "exits", "needs_more", "a_cause", "package"):
        sys.modules.pop(name, None)


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
    assert ("KeyError: 'key'" in traceback) == (module == "a_cause")


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
    for arguments in ([], ["--port", "0"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "the following arguments are required: --app" in capsys.readouterr().err


def test_a_server_that_ends_by_itself_is_an_error(monkeypatch, capsys):
    def fail(_: object) -> None:
        raise RuntimeError("the server has ended by itself") from MemoryError("full")

    monkeypatch.setattr("flowmaestro_local.running.Running.wait", fail)
    assert main(["--app", "fine:server", "--port", "0"]) == 2
    assert "error: the server has ended by itself: MemoryError('full')" in capsys.readouterr().err
    sys.modules["fine"].server.stop()
