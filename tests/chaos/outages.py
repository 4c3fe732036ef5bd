"""Streams and waits that are open while the API is away, and what becomes of them."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient, FlowMaestroError
from flowmaestro_local import LocalServer, Run

from ._async import operations as asynchronous
from ._sync import operations as synchronous
from .gateway import Gateway

KEY = "fm_live_chaos"

# Half of them streams, half of them waits.
OPEN = 200

# Seconds after which whatever has not ended hangs.
LONGEST = 300.0


class Outage:
    """An API that is away once, while ``OPEN`` streams and waits are open.

    Its executions go on meanwhile, as where a worker of its own carries them out, and end a
    while after it has come back.
    """

    def __init__(self, way: str, seconds: float, dialect: str) -> None:
        self.way = way
        self.seconds = seconds
        self.is_over = threading.Event()
        self._followed = threading.Semaphore(0)
        self.server = LocalServer(dialect=dialect)

        @self.server.workflow("wf")
        async def wf(inputs: dict[str, Any], run: Run) -> dict[str, Any]:
            step = 0
            while not self.is_over.is_set():
                run.progress(step)
                step += 1
                await asyncio.sleep(0.5)
            return {"number": inputs["number"]}

    def run(
        self, drive: Callable[[str, list[str], Callable[[], None]], list[str]]
    ) -> dict[str, int]:
        """Let a client follow executions through the outage.

        Args:
            drive: Follows the executions with these ids, calls a function when one is seen to
                run, and says of each how it ended.

        Returns:
            How many ended in which way.
        """
        ended: list[str] = []
        noted = _Noted()
        log = logging.getLogger("flowmaestro")
        log.addHandler(noted)
        try:
            with self.server.start() as url, Gateway(int(url.rpartition(":")[2])) as gateway:
                with FlowMaestroClient(KEY, url) as client:
                    ids = [
                        client.workflows.execute("wf", {"number": n})["data"]["execution_id"]
                        for n in range(OPEN)
                    ]
                followers = threading.Thread(
                    target=lambda: ended.extend(drive(gateway.url, ids, self._followed.release))
                )
                followers.start()
                for number in range(OPEN):
                    if not self._followed.acquire(timeout=LONGEST):
                        raise AssertionError(f"only {number} of {OPEN} are followed")
                gateway.go(self.way)
                time.sleep(self.seconds)
                gateway.come_back()
                # Some reconnect in time to see the end come, and some find it there.
                time.sleep(min(self.seconds, 5.0))
                self.is_over.set()
                followers.join(LONGEST)
        finally:
            log.removeHandler(noted)
        counted = Counter(ended)
        return {
            "open as the API goes away": OPEN,
            "ended right": counted["right"],
            "**errors**": counted["error"],
            "**wrong**: results of others, events lost or given twice": counted["wrong"],
            "**hung**": OPEN - len(ended),
            "warnings in the log": noted.warnings,
        }


class _Noted(logging.Handler):
    """Counts the warnings of an outage."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.warnings += 1


def drive(url: str, ids: list[str], followed: Callable[[], None]) -> list[str]:
    """Follow executions in tasks of an asynchronous client."""

    async def follow(client: AsyncFlowMaestroClient, number: int) -> str:
        kind = ("follow", "await_end")[number % 2]
        try:
            right = await getattr(asynchronous, kind)(client, ids[number], number, followed)
        except FlowMaestroError as error:
            return _failed(error)
        return "right" if right else "wrong"

    async def main() -> list[str]:
        async with AsyncFlowMaestroClient(KEY, url) as client:
            return list(await asyncio.gather(*(follow(client, n) for n in range(len(ids)))))

    return asyncio.run(main())


def drive_in_threads(url: str, ids: list[str], followed: Callable[[], None]) -> list[str]:
    """Follow executions in threads on a synchronous client."""
    with FlowMaestroClient(KEY, url) as client, ThreadPoolExecutor(len(ids)) as threads:

        def follow(number: int) -> str:
            kind = ("follow", "await_end")[number % 2]
            try:
                right = getattr(synchronous, kind)(client, ids[number], number, followed)
            except FlowMaestroError as error:
                return _failed(error)
            return "right" if right else "wrong"

        return list(threads.map(follow, range(len(ids))))


def _failed(error: FlowMaestroError) -> str:
    print(repr(error))
    return "error"
