"""Who sends: many small pools of connections, or the user's own client."""

from __future__ import annotations

import contextlib
import math
from itertools import count
from typing import TYPE_CHECKING, Callable, Optional, Union
from weakref import ref

import httpx

from ..clock import monotonic
from ..http import CALL_LIMITS, CONNECTIONS_EACH, IDLE_SECONDS, MAX_CALLS, STREAM_LIMITS
from .compat import Limiter

if TYPE_CHECKING:
    from ..network import AsyncNetwork

__all__ = ["AsyncOneSender", "AsyncPlace", "AsyncSender", "AsyncSenders"]

AsyncSender = Union[httpx.AsyncClient, httpx.AsyncHTTPTransport]

# Seconds between two looks for transports that nobody uses any more.
_TIDY_SECONDS = 5.0


class AsyncPlace:
    """One request that a sender may have under way.

    One that is lost comes back by itself: an exception that is set in a thread from outside
    may come at any step, also between taking a place and noting that it is taken.
    """

    __slots__ = ("_senders", "for_streams", "number", "pool", "sender")

    def __init__(
        self,
        senders: Union[AsyncSenders, AsyncOneSender],
        pool: AsyncPool,
        number: int,
        *,
        for_streams: bool,
    ) -> None:
        self._senders = ref(senders)
        self.pool = pool
        self.sender = pool.transport
        self.number = number
        self.for_streams = for_streams

    def __del__(self) -> None:
        senders = self._senders()
        if senders is not None:
            senders.lost(self)


class AsyncPool:
    """A transport, with what is known of its use."""

    def __init__(self, transport: AsyncSender) -> None:
        self.transport = transport
        # The numbers of its places that are taken.
        self.taken: set[int] = set()
        # Whether it was used since the last look, and when that saw it become idle.
        self.was_used = True
        self.idle_since = 0.0
        # Whether it is handed out no more, and closed when its places are all back.
        self.is_retired = False


class AsyncSenders:
    """Hands out a sender for a call or a stream, and takes it back.

    httpcore compares the connections of a pool with each other in every request: with a
    hundred of them that takes longer than the request. So each transport holds a few. What
    was given back last is handed out first, which finds a connection that is warm. A
    transport that is idle for longer than its connections may be is closed.

    A place in one of the lists stands for one request that its transport may have under
    way. Taking from a list and adding to it are atomic, so that threads need no lock.
    """

    is_ours = True

    def __init__(
        self,
        open_transport: Callable[[httpx.Limits], httpx.AsyncHTTPTransport],
        network: Optional[AsyncNetwork] = None,
    ) -> None:
        self.limiter = Limiter(MAX_CALLS)
        # When `tidy` has something to do, by the monotonic clock.
        self.tidy_at = monotonic() + _TIDY_SECONDS
        self._open_transport = open_transport
        self._network = network
        self._numbers = count()
        self._pools: list[AsyncPool] = []
        self._for_calls: list[AsyncPlace] = []
        self._for_streams: list[AsyncPlace] = []

    def take_for_call(self) -> AsyncPlace:
        """Give a place for a call; the limiter bounds how many are needed."""
        while True:
            place = self._take(self._for_calls)
            if place is not None:
                return place
            self._open(CALL_LIMITS, for_calls=True)

    def take_for_stream(self) -> AsyncPlace:
        """Give a place for a stream, of which there may be any number."""
        while True:
            place = self._take(self._for_streams)
            if place is not None:
                return place
            shared = len(self._pools) * CONNECTIONS_EACH < MAX_CALLS
            # Calls do not come to the others, so that idle connections would stay unused.
            self._open(CALL_LIMITS if shared else STREAM_LIMITS, for_calls=shared)

    def give_back(self, place: AsyncPlace) -> None:
        """Take back the place of a call or stream that is done."""
        pool = place.pool
        pool.taken.discard(place.number)
        if pool.is_retired:
            self.tidy_at = 0.0
        elif place.for_streams:
            self._for_streams.append(place)
        else:
            self._for_calls.append(place)

    def retire(self, place: AsyncPlace) -> None:
        """Use a transport no more: a request of it ended in a way that may leave traces."""
        place.pool.is_retired = True

    def lost(self, place: AsyncPlace) -> None:
        """Note that a place was dropped. The garbage collector may be here, from any thread."""
        pool = place.pool
        if place.number in pool.taken:
            pool.taken.discard(place.number)
            pool.is_retired = True
            self.tidy_at = 0.0

    async def tidy(self) -> None:
        """Close the transports that are retired, or were not used for long."""
        now = monotonic()
        self.tidy_at = now + _TIDY_SECONDS
        for pool in list(self._pools):
            if pool.was_used or pool.taken:
                pool.was_used = False
                pool.idle_since = now
            elif now - pool.idle_since >= IDLE_SECONDS:
                # First this and then the look at what is taken: whoever takes a place
                # meanwhile does it the other way round.
                pool.is_retired = True
            if pool.is_retired and not pool.taken:
                await _close(pool)
                with contextlib.suppress(ValueError):
                    self._pools.remove(pool)

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools:
            await _close(pool)

    def abandon(self) -> None:
        """Let go of all connections without using them: they belong to somebody else now."""
        if self._network is not None:
            self._network.abandon()

    def _take(self, free: list[AsyncPlace]) -> Optional[AsyncPlace]:
        while True:
            try:
                place = free.pop()
            except IndexError:
                return None
            pool = place.pool
            pool.taken.add(place.number)
            pool.was_used = True
            if not pool.is_retired:
                return place
            pool.taken.discard(place.number)

    def _open(self, limits: httpx.Limits, *, for_calls: bool) -> None:
        pool = AsyncPool(self._open_transport(limits))
        self._pools.append(pool)
        for _ in range(CONNECTIONS_EACH):
            if for_calls:
                self._for_calls.append(self._place(pool, for_streams=False))
            self._for_streams.append(self._place(pool, for_streams=True))

    def _place(self, pool: AsyncPool, *, for_streams: bool) -> AsyncPlace:
        return AsyncPlace(self, pool, next(self._numbers), for_streams=for_streams)


async def _close(pool: AsyncPool) -> None:
    # A connection that cannot be closed is broken, which is as good.
    with contextlib.suppress(Exception):
        await pool.transport.aclose()


class AsyncOneSender:
    """Hands out one httpx client for everything: the user's, or one that knows proxies."""

    # The client closes what is idle by itself.
    tidy_at = math.inf

    def __init__(
        self,
        client: httpx.AsyncClient,
        limiter: Limiter,
        *,
        is_ours: bool,
        network: Optional[AsyncNetwork] = None,
    ) -> None:
        self.limiter = limiter
        self._client = client
        self.is_ours = is_ours
        self._network = network
        self._place = AsyncPlace(self, AsyncPool(client), 0, for_streams=False)

    def take_for_call(self) -> AsyncPlace:
        """Give the client, whose own pool keeps count."""
        return self._place

    take_for_stream = take_for_call

    def give_back(self, place: AsyncPlace) -> None:
        """Stand in for the other class: nothing is taken away."""

    retire = give_back
    lost = give_back

    async def tidy(self) -> None:
        """Stand in for the other class: there is nothing to close before the end."""

    async def aclose(self) -> None:
        """Close the client, unless it is the user's."""
        if self.is_ours:
            await self._client.aclose()

    def abandon(self) -> None:
        """Let go of all connections without using them, unless they are the user's."""
        if self._network is not None:
            self._network.abandon()
