"""Serves a registered server to any language: ``python -m flowmaestro_local --app mod:server``."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Optional

from .server import LocalServer


def main(arguments: Optional[list[str]] = None) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m flowmaestro_local", description=__doc__)
    parser.add_argument("--app", required=True, help="module:name of a LocalServer")
    parser.add_argument("--port", type=int, default=8787, help="0 takes a free one (default 8787)")
    parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1")
    chosen = parser.parse_args(arguments)
    try:
        server = _find(chosen.app)
        running = server.start(chosen.port, chosen.host)
    except (ImportError, AttributeError, TypeError, ValueError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    print(f"FlowMaestro, local, at {running.url} (Ctrl-C stops it)", flush=True)
    try:
        running.wait()
    except KeyboardInterrupt:
        running.stop()
    return 0


def _find(app: str) -> LocalServer:
    module_name, colon, name = app.partition(":")
    if not colon or not name:
        raise ValueError(f"--app must be module:name, as in my_module:server, not {app!r}")
    sys.path.insert(0, "")
    server = getattr(import_module(module_name), name)
    if not isinstance(server, LocalServer):
        raise TypeError(f"{app} is no LocalServer but {type(server).__name__}")
    return server


if __name__ == "__main__":
    sys.exit(main())
