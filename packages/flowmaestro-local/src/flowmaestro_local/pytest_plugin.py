"""Fixtures for testing code that uses FlowMaestro; pytest finds them by itself.

* ``flowmaestro_server``: a ``LocalServer`` that runs, fresh for each test.
* ``flowmaestro_client``: a client of it.
* ``async_flowmaestro_client``: an asynchronous one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .server import LocalServer

_KEY = "fm_live_test"


@pytest.fixture
def flowmaestro_server() -> Iterator[LocalServer]:
    """A local FlowMaestro that runs, with nothing registered; ``.url`` is its address."""
    # Imported here, so that pytest runs that do not use it start as fast as without it.
    from .server import LocalServer

    server = LocalServer()
    with server.start():
        yield server


@pytest.fixture
def flowmaestro_client(flowmaestro_server: LocalServer) -> Iterator[Any]:
    """A FlowMaestroClient of ``flowmaestro_server``."""
    flowmaestro = pytest.importorskip(
        "flowmaestro", reason="the fixture flowmaestro_client needs the package flowmaestro"
    )
    with flowmaestro.FlowMaestroClient(_KEY, flowmaestro_server.url) as client:
        yield client


@pytest.fixture
def async_flowmaestro_client(flowmaestro_server: LocalServer) -> Any:
    """An AsyncFlowMaestroClient of ``flowmaestro_server``.

    Close it where it was used, with ``async with async_flowmaestro_client as client``: its
    connections belong to the event loop of the test.
    """
    flowmaestro = pytest.importorskip(
        "flowmaestro", reason="the fixture async_flowmaestro_client needs the package flowmaestro"
    )
    return flowmaestro.AsyncFlowMaestroClient(_KEY, flowmaestro_server.url)
