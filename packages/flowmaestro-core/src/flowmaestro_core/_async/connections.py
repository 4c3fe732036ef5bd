"""Where requests become bytes, over connections that calls and streams share."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional, Union, cast

import httpx

from ..clock import monotonic
from ..config import API_PREFIX, Options, Secret, Timeouts
from ..http import (
    CLIENT_LIMITS,
    MAX_CALLS,
    answer_of,
    check_http_client,
    client_busy,
    headers_for,
    is_patched,
    is_unreadable,
    own_of,
    proxy_of,
    set_content,
    ssl_context_for,
    steps_of,
    too_large,
    transport_failures,
    transports_of,
    unanswered,
    warn_of_plain_http,
    with_first_hook,
)
from ..libraries import body_of
from ..response import Answer, Unanswered
from ..sockets import expire_if_left_over
from .compat import (
    INTERRUPTIONS,
    AsyncPump,
    Limiter,
    Scoped,
    chunks_of,
    discard,
    in_time,
    open_pump,
)
from .senders import AsyncOneSender, AsyncPlace, AsyncSender, AsyncSenders

if TYPE_CHECKING:
    from ..request import Request

__all__ = ["AsyncConnections"]

# Where there is no client of the user's: its user agent, and whether it has a key of its own.
_AGENT_AND_AUTH = (None, False)

# Methods whose requests have no body, and need no type of one.
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})

# Addresses and sets of headers that are kept ready.
_MOST_REMEMBERED = 1_000


class AsyncConnections:
    """Sends requests and reads answers; knows nothing of retries or of what they mean."""

    def __init__(
        self,
        base_url: str,
        secret: Secret,
        http_client: Optional[httpx.AsyncClient],
        max_response_bytes: int,
    ) -> None:
        # httpx, or httpx2 where the client is of that.
        self._library: Any = httpx
        if http_client is not None:
            self._library = check_http_client(http_client, "AsyncClient")
        warn_of_plain_http(base_url)
        self.base_url = base_url
        self._address = base_url.partition("://")[2]
        self._root = base_url + API_PREFIX
        self._secret = secret
        self._http_client = http_client
        self._max_response_bytes = max_response_bytes
        self._senders: Scoped[Union[AsyncSenders, AsyncOneSender]] = Scoped()
        self._headers: dict[tuple[object, ...], httpx.Headers] = {}
        self._urls: dict[str, httpx.URL] = {}

    async def exchange(
        self,
        request: Request,
        options: Options,
        timeouts: Timeouts,
        until: Optional[float],
    ) -> Union[Answer, Unanswered]:
        """Send a request and read its whole answer.

        Args:
            request: What to ask.
            options: Whose headers are sent.
            timeouts: For each step.
            until: When the answer must have been read, by the monotonic clock, or None.
        """
        senders = self._senders.get(self._open_senders)
        if senders.tidy_at <= monotonic():
            await senders.tidy()
        turn = await senders.limiter.enter(timeouts.pool)
        if turn is None:
            return client_busy()
        trace: Optional[AsyncTrace] = None
        place: Optional[AsyncPlace] = None
        try:
            place = senders.take_for_call()
            trace = _trace_for(place.sender)
            response = await self._send(place.sender, request, options, timeouts, until, trace)
            body = await self._read_and_close(response, until)
        except transport_failures() as failure:
            return self._unanswered(failure, timeouts, trace)
        except INTERRUPTIONS:
            if place is not None:
                senders.retire(place)
            raise
        finally:
            if place is not None:
                senders.give_back(place)
            senders.limiter.leave(turn)
        if body is None:
            return too_large(response, self._max_response_bytes)
        return answer_of(response, body)

    async def open(
        self,
        request: Request,
        options: Options,
        timeouts: Timeouts,
        until: Optional[float],
        last_event_id: str,
    ) -> Union[Answer, Unanswered, AsyncPump]:
        """Send a request whose answer is an event stream.

        Args:
            request: What to ask.
            options: Whose headers are sent.
            timeouts: For each step until the stream is open.
            until: When an answer that is no stream must have been read, or None.
            last_event_id: Where to go on.

        Returns:
            The pump of the stream, or the whole answer where it is something else.
        """
        extra = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        extra["Cache-Control"] = "no-store"
        if last_event_id:
            extra["Last-Event-ID"] = last_event_id
        senders = self._senders.get(self._open_senders)
        if senders.tidy_at <= monotonic():
            await senders.tidy()
        trace: Optional[AsyncTrace] = None
        place: Optional[AsyncPlace] = None
        pump: Optional[AsyncPump] = None
        response: Optional[httpx.Response] = None
        try:
            place = senders.take_for_stream()
            trace = _trace_for(place.sender)
            response = await self._send(
                place.sender, request, options, timeouts, until, trace, extra
            )
            kind = response.headers.get("content-type", "")
            if response.status_code == 200 and kind.lower().startswith("text/event-stream"):
                # It began within the request's timeout; how long it may then be silent is
                # another matter. The pool looks here when it begins to read the body.
                response.request.extensions["timeout"]["read"] = request.read_timeout
                pump = await open_pump(
                    response,
                    partial(self._unanswered, timeouts=timeouts),
                    partial(senders.give_back, place),
                )
                return pump
            body = await self._read_and_close(response, until)
        except transport_failures() as failure:
            return self._unanswered(failure, timeouts, trace)
        except INTERRUPTIONS:
            if place is not None:
                senders.retire(place)
            if response is not None and pump is None:
                await response.aclose()
            raise
        finally:
            if pump is None and place is not None:
                senders.give_back(place)
        if body is None:
            return too_large(response, self._max_response_bytes)
        return answer_of(response, body)

    async def aclose(self) -> None:
        """Close the connections; the user's client stays open."""
        await self._senders.aclose()

    def _open_senders(self) -> Union[AsyncSenders, AsyncOneSender]:
        """Choose who sends.

        httpx's transport alone takes two thirds of the time that its client takes; what
        the client does beyond (hooks, auth, mounts, redirects) is for the user's own
        client, and proxies are for it as well.
        """
        if self._http_client is not None:
            return AsyncOneSender(self._http_client, Limiter(None), is_ours=False)
        # It imports httpcore, which httpx does with its first transport and not before.
        from ..network import AsyncNetwork

        verify = ssl_context_for(self.base_url)
        network = AsyncNetwork()
        proxy = proxy_of(self.base_url)
        # What watches requests, such as an APM agent, has patched the client, and would not see
        # those of a transport.
        if proxy is not None or is_patched(httpx.AsyncClient):
            client = httpx.AsyncClient(
                verify=verify, limits=CLIENT_LIMITS, proxy=proxy, trust_env=False
            )
            for transport in transports_of(client):
                network.put_below(transport)
            return AsyncOneSender(client, Limiter(MAX_CALLS), is_ours=True, network=network)

        def open_transport(limits: httpx.Limits) -> httpx.AsyncHTTPTransport:
            transport = httpx.AsyncHTTPTransport(verify=verify, limits=limits)
            network.put_below(transport)
            return transport

        return AsyncSenders(open_transport, network)

    async def _send(
        self,
        sender: AsyncSender,
        request: Request,
        options: Options,
        timeouts: Timeouts,
        until: Optional[float],
        trace: Optional[AsyncTrace],
        extra: Optional[dict[str, str]] = None,
    ) -> httpx.Response:
        # Some transports of users, such as aiohttp's, name a type of their own where there is no
        # body, which the API refuses.
        typed = request.body is not None or (
            self._http_client is not None and request.method not in _WITHOUT_BODY
        )
        headers = self._headers_of(options, with_type=typed)
        if extra is not None:
            headers = headers.copy()
            headers.update(extra)
        url = self._url_of(request.path)
        if isinstance(sender, httpx.AsyncHTTPTransport):
            message = httpx.Request(
                request.method,
                url,
                content=request.body,
                headers=headers,
                extensions={"timeout": steps_of(timeouts)},
            )
            if request.body is not None:  # async only
                message.stream = body_of(httpx, request.body)  # async only
            response = await sender.handle_async_request(message)
            response.request = message
            return response
        message = sender.build_request(
            request.method,
            url,
            content=request.body,
            headers=headers,
            # httpx puts the client's own in the place of the address's.
            params=url.params if sender.params else None,
            extensions={"timeout": steps_of(timeouts)},
        )
        if trace is not None:
            trace.then = message.extensions.get("trace")
            message.extensions["trace"] = trace
        if request.body is not None:  # async only
            message.stream = body_of(self._library, request.body)  # async only
        return await self._send_through(sender, message, until)

    async def _send_through(
        self, client: httpx.AsyncClient, message: httpx.Request, until: Optional[float]
    ) -> httpx.Response:
        """Send through a client, whose event hooks may raise what the status says."""

        async def read_error(response: httpx.Response) -> None:
            # Where a hook raises, httpx closes the response unread.
            if response.is_error and not response.is_stream_consumed:
                body = await self._read(response, until)
                expire_if_left_over(response)
                await response.aclose()
                set_content(response, body)

        if client.event_hooks["response"]:
            client = with_first_hook(client, read_error)
        try:
            return await client.send(message, stream=True, follow_redirects=False)
        except self._library.HTTPStatusError as raised:
            # The status is ours to judge: it decides about retries and the class of the error.
            return cast("httpx.Response", raised.response)

    def _url_of(self, path: str) -> httpx.URL:
        """Parse an address once: polling asks for the same one again and again."""
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= _MOST_REMEMBERED:
                self._urls.clear()
            url = self._urls[path] = self._library.URL(self._root + path)
        return url

    def _headers_of(self, options: Options, *, with_type: bool) -> httpx.Headers:
        """Write the headers that a client sends again and again only once."""
        agent, taken = _AGENT_AND_AUTH if self._http_client is None else own_of(self._http_client)
        key = (options.headers, with_type, agent, taken)
        headers = self._headers.get(key)
        if headers is None:
            headers = headers_for(self._secret, options, key_header=taken, user_agent=agent)
            if with_type:
                headers["Content-Type"] = "application/json"
            if len(self._headers) < _MOST_REMEMBERED:
                self._headers[key] = headers
        return headers

    async def _read_and_close(
        self, response: httpx.Response, until: Optional[float]
    ) -> Optional[bytes]:
        """Read a whole body, or give None if it is longer than the limit."""
        try:
            return await self._read(response, until)
        except Exception as failure:
            # A refusal is one in any coding: its status says what happened.
            if response.is_success or not is_unreadable(failure):
                raise
            return b""
        finally:
            expire_if_left_over(response)
            await response.aclose()

    async def _read(self, response: httpx.Response, until: Optional[float]) -> Optional[bytes]:
        """Read a body, or give None if it is longer than the limit."""
        if response.is_stream_consumed:
            # An event hook of the user's client has read it.
            return response.content
        if response.is_closed:
            # A hook has raised for a status that is no error.
            return b""
        size = 0
        parts: list[bytes] = []
        chunks = chunks_of(response)
        async for chunk in in_time(response, chunks, until):
            size += len(chunk)
            if size > self._max_response_bytes:
                await discard(response, chunks)
                return None
            parts.append(chunk)
        return b"".join(parts)

    def _unanswered(
        self, failure: Exception, timeouts: Timeouts, trace: Optional[AsyncTrace] = None
    ) -> Unanswered:
        was_sent = trace is None or trace.may_have_sent
        return unanswered(failure, self._address, timeouts, was_sent=was_sent)


class AsyncTrace:
    """Notes how far a request got that a proxy may stand in the way of."""

    def __init__(self) -> None:
        # What the user traces with.
        self.then: Optional[Callable[[str, dict[str, Any]], Awaitable[object]]] = None
        self._is_told = False
        self._has_begun = False

    async def __call__(self, name: str, info: dict[str, Any]) -> None:
        self._is_told = True
        if name.endswith("send_request_headers.started"):
            # A tunnel through a proxy is asked for in the same way.
            self._has_begun = self._has_begun or info["request"].method != b"CONNECT"
        if self.then is not None:
            await self.then(name, info)

    @property
    def may_have_sent(self) -> bool:
        """False where it is known that not even the request's head was sent."""
        return self._has_begun or not self._is_told


def _trace_for(sender: AsyncSender) -> Optional[AsyncTrace]:
    """Trace where a proxy may be: through a client."""
    return None if isinstance(sender, httpx.AsyncHTTPTransport) else AsyncTrace()
