"""Who sends: many small pools of connections, or the user's own client."""

from __future__ import annotations

from typing import Callable, Union

import httpx

from ..http import CALL_LIMITS, CONNECTIONS_EACH, MAX_CALLS, STREAM_LIMITS
from .compat import Limiter

__all__ = ["AsyncOneSender", "AsyncSender", "AsyncSenders"]

AsyncSender = Union[httpx.AsyncClient, httpx.AsyncHTTPTransport]


class AsyncSenders:
    """Hands out a sender for a call or a stream, and takes it back.

    httpcore compares the connections of a pool with each other in every request: with a
    hundred of them that takes longer than the request. So each transport holds a few. What
    was given back last is handed out first, which finds a connection that is warm.

    A place in one of the lists stands for one request that its transport may have under
    way. Taking from a list and adding to it are atomic, so that threads need no lock.
    """

    def __init__(self, open_transport: Callable[[httpx.Limits], httpx.AsyncHTTPTransport]) -> None:
        self.limiter = Limiter(MAX_CALLS)
        self._open_transport = open_transport
        self._transports: list[httpx.AsyncHTTPTransport] = []
        self._for_calls: list[AsyncSender] = []
        self._for_streams: list[AsyncSender] = []

    def take_for_call(self) -> AsyncSender:
        """Give a sender for a call; the limiter bounds how many are needed."""
        while True:
            try:
                return self._for_calls.pop()
            except IndexError:
                self._open_for_both()

    def take_for_stream(self) -> AsyncSender:
        """Give a sender for a stream, of which there may be any number."""
        while True:
            try:
                return self._for_streams.pop()
            except IndexError:
                if len(self._transports) * CONNECTIONS_EACH < MAX_CALLS:
                    self._open_for_both()
                else:
                    # Calls do not come here, so that idle connections would stay unused.
                    self._for_streams += self._open(STREAM_LIMITS)

    def give_back_for_call(self, sender: AsyncSender) -> None:
        """Take back the sender of a call that is done."""
        self._for_calls.append(sender)

    def give_back_for_stream(self, sender: AsyncSender) -> None:
        """Take back the sender of a stream that is closed."""
        self._for_streams.append(sender)

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._transports:
            await transport.aclose()

    def _open_for_both(self) -> None:
        places = self._open(CALL_LIMITS)
        self._for_calls += places
        self._for_streams += places

    def _open(self, limits: httpx.Limits) -> list[AsyncSender]:
        transport = self._open_transport(limits)
        self._transports.append(transport)
        return [transport] * CONNECTIONS_EACH


class AsyncOneSender:
    """Hands out one httpx client for everything: the user's, or one that knows proxies."""

    def __init__(self, client: httpx.AsyncClient, limiter: Limiter, *, is_ours: bool) -> None:
        self.limiter = limiter
        self._client = client
        self._is_ours = is_ours

    def take_for_call(self) -> AsyncSender:
        """Give the client."""
        return self._client

    def give_back_for_call(self, sender: AsyncSender) -> None:
        """Stand in for the other class: the client's own pool keeps count."""

    take_for_stream = take_for_call
    give_back_for_stream = give_back_for_call

    async def aclose(self) -> None:
        """Close the client, unless it is the user's."""
        if self._is_ours:
            await self._client.aclose()
