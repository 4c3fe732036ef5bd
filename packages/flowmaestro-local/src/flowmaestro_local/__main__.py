"""Serves a registered server to any language: ``python -m flowmaestro_local --app mod:server``.

``record`` and ``replay`` stand in for a real API: see ``LocalServer.record``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from pathlib import Path
from typing import Any, Callable, Optional

from .running import Running
from .server import LocalServer

_PORT = 8787
_FAILED = 2


class _Problem(Exception):
    """Something to tell without a traceback."""


def main(arguments: Optional[list[str]] = None) -> int:
    """Serve until Ctrl-C."""
    given = sys.argv[1:] if arguments is None else arguments
    command = given[0] if given else ""
    try:
        if command == "record":
            return _record(given[1:])
        if command == "replay":
            return _replay(given[1:])
        return _serve(given)
    except (_Problem, OSError, ValueError) as exc:
        text = str(exc)
        if isinstance(exc, OSError) and exc.strerror:
            # Without the number that str() has.
            text = f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
        print(f"error: {text}", file=sys.stderr)
        return _FAILED


def _serve(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m flowmaestro_local",
        description="Serve a LocalServer of yours to programs in any language.",
        epilog="More commands: `record --to URL` writes what a real API responds to a cassette, "
        "and `replay CASSETTE` responds as it did; each has --help.",
    )
    parser.add_argument("--app", required=True, help="module:name of a LocalServer")
    _add_address(parser)
    chosen = parser.parse_args(arguments)
    server = _find(chosen.app)
    return _until_stopped(server.start, chosen, "FlowMaestro, local")


def _record(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m flowmaestro_local record",
        description="Stand between a program and a FlowMaestro API, and write what passes to a "
        "cassette. API keys and secrets are masked in it; webhooks are left alone.",
    )
    parser.add_argument("--to", required=True, metavar="URL", help="the API's address")
    parser.add_argument(
        "--cassette",
        type=Path,
        default=Path("cassette.jsonl"),
        help="the file to write, replaced where there is one (default cassette.jsonl)",
    )
    _add_address(parser)
    chosen = parser.parse_args(arguments)
    recorder = LocalServer.record(chosen.cassette, to=chosen.to)
    return _until_stopped(recorder.start, chosen, f"recording {chosen.to} to {chosen.cassette}")


def _replay(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m flowmaestro_local replay",
        description="Respond as recorded, without the API that a cassette was recorded from.",
    )
    parser.add_argument("cassette", type=Path, help="a file that `record` wrote")
    _add_address(parser)
    chosen = parser.parse_args(arguments)
    replay = LocalServer.replay(chosen.cassette)
    return _until_stopped(replay.start, chosen, f"replaying {chosen.cassette}")


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=_port, default=_PORT, help=f"0 takes a free one (default {_PORT})"
    )
    parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1")


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _until_stopped(
    start: Callable[[int, str], Running], chosen: argparse.Namespace, what: str
) -> int:
    running = start(chosen.port, chosen.host)
    print(f"{what}, at {running.url} (Ctrl-C stops it)", flush=True)
    try:
        running.wait()
    except KeyboardInterrupt:
        running.stop()
    except RuntimeError as exc:
        raise _Problem(f"{exc}: {exc.__cause__!r}") from None
    return 0


def _find(app: str) -> LocalServer:
    module_name, colon, name = app.partition(":")
    if not colon or not name:
        raise _Problem(f"--app must be module:name, as in my_module:server, not {app!r}")
    sys.path.insert(0, "")
    module = _import(module_name)
    server = getattr(module, name, None)
    if server is None:
        raise _Problem(f"the module {module_name} has no {name!r}; --app names a LocalServer in it")
    if not isinstance(server, LocalServer):
        raise _Problem(f"{app} must be a LocalServer, not {type(server).__name__}")
    return server


def _import(module_name: str) -> Any:
    """Import the user's module; what goes wrong in it is shown with its own lines."""
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as exc:
        if isinstance(exc, ModuleNotFoundError) and f"{module_name}.".startswith(f"{exc.name}."):
            raise _Problem(f"there is no module {exc.name!r} here, or on sys.path") from None
        print(_traceback_of(exc), file=sys.stderr, end="")
        what = "exited" if isinstance(exc, SystemExit) else "failed"
        raise _Problem(f"the module {module_name!r} {what} while it was imported") from None


def _traceback_of(error: BaseException) -> str:
    """Write a traceback, with all its causes, that begins in the user's module."""
    told = traceback.TracebackException.from_exception(error)
    link: Optional[traceback.TracebackException] = told
    while link is not None:
        own = [frame for frame in link.stack if not _is_of_import(frame.filename)]
        link.stack[:] = own
        link = link.__cause__ or link.__context__
    return "".join(told.format())


def _is_of_import(filename: str) -> bool:
    """True for what imports the user's module."""
    ours = filename in (__file__, importlib.__file__)
    return ours or filename.startswith("<frozen importlib")


if __name__ == "__main__":
    sys.exit(main())
