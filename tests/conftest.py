"""What every test stands on: both event loops, the recordings, and no network."""

from __future__ import annotations

import gc
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

KEY = "fm_live_test"
WIRE = Path(__file__).parent / "data" / "wire"

pytest_plugins = ["pytester"]

# A shell lets its jobs in the background ignore Ctrl-C, and their children with them: the
# programs that the tests press it for have to hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that is busy is slow to make examples, which says nothing of what they test.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-calls", type=int, default=500, help="calls of the chaos suite")
    parser.addoption("--chaos-seed", type=int, default=7, help="seed of the chaos suite's faults")
    parser.addoption("--old-python", help="a Python with flowmaestro 0.1.0, for its programs")
    parser.addoption("--outage-seconds", type=float, default=3.0, help="how long the API is away")
    parser.addoption(
        "--property-examples",
        type=int,
        default=1,
        help="how many times as many examples as usual each property test tries",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let every property test try as many examples as were asked for."""
    times = config.getoption("--property-examples")
    usual = settings.get_profile("here")
    settings.register_profile("asked for", usual, max_examples=times * usual.max_examples)
    settings.load_profile("asked for")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests of the clock their tries, and begin with the longest tests."""
    times = config.getoption("--property-examples")
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.once)
            if times > 1:
                item.add_marker(pytest.mark.timeout(120 * times))
        if item.get_closest_marker("clock"):
            item.add_marker(pytest.mark.flaky(reruns=2))
    _longest_first(items)


def _longest_first(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that no worker is busy with one after all others.

    Those are the tests that have a time limit of their own. Each is put beside a short one, as
    workers take tests by twos.
    """

    def seconds(item: pytest.Item) -> float:
        marker = item.get_closest_marker("timeout")
        return float(marker.args[0]) if marker else 0.0

    longest = sorted((item for item in items if seconds(item)), key=seconds, reverse=True)
    others = [item for item in items if not seconds(item)]
    first = [item for pair in zip(longest, others) for item in pair]
    items[:] = first + longest[len(others) :] + others[len(longest) :]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def recording(name: str) -> Any:
    """Give a recorded case, as in ``recording("workflows/get")``."""
    return json.loads((WIRE / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLOWMAESTRO_API_KEY", "FLOWMAESTRO_BASE_URL", "FLOWMAESTRO_LOG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _garbage_stays_where_its_warnings_are_ignored(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what a test has left, before the filters of its warnings are gone.

    Otherwise the warnings come in the middle of another test, and fail it.
    """
    yield
    filters = [text for mark in request.node.iter_markers("filterwarnings") for text in mark.args]
    if any("ResourceWarning" in text or "UnraisableException" in text for text in filters):
        gc.collect()


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that would leave this machine."""
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert address[0] in ("127.0.0.1", "::1", "localhost"), f"a test connects to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)
