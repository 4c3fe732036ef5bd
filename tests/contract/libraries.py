"""The HTTP clients that users hand in, over which every documented use works as well."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest

# Each with the module and the class of its clients.
CLIENTS = {
    "httpx": {"Client": ("httpx", "Client"), "AsyncClient": ("httpx", "AsyncClient")},
    "httpx2": {"Client": ("httpx2", "Client"), "AsyncClient": ("httpx2", "AsyncClient")},
    "aiohttp": {"AsyncClient": ("httpx_aiohttp", "HttpxAiohttpClient")},
}


def libraries_of(kind: str) -> list[Any]:
    """Give the parameters of a fixture: our own connections, and each library with such clients."""
    found: list[Any] = ["own"]
    for library, classes in CLIENTS.items():
        if kind in classes:
            module = classes[kind][0]
            missing = importlib.util.find_spec(module) is None
            reason = f"{module} needs a newer Python"
            marks = [pytest.mark.once, pytest.mark.skipif(missing, reason=reason)]
            found.append(pytest.param(library, marks=marks))
    return found


def client_of(library: str, kind: str) -> Any:
    """Make a client to hand in; None for our own connections."""
    if library == "own":
        return None
    module, name = CLIENTS[library][kind]
    return getattr(importlib.import_module(module), name)()
