"""Where requests become bytes, over connections that calls and streams share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, Union
from weakref import WeakSet

import httpx

from ..config import API_PREFIX, Options, Secret, Timeouts
from ..http import (
    CLIENT_LIMITS,
    MAX_CALLS,
    TRANSPORT_FAILURES,
    answer_of,
    check_http_client,
    client_busy,
    headers_for,
    proxy_of,
    ssl_context_for,
    too_large,
    unanswered,
    warn_of_plain_http,
)
from ..response import Answer, Unanswered
from .compat import AsyncPump, Limiter, Scoped, chunks_of, discard, in_time, open_pump
from .senders import AsyncOneSender, AsyncSender, AsyncSenders

if TYPE_CHECKING:
    from ..request import Request

__all__ = ["AsyncConnections"]

# Calls through the user's own client are bounded by that client's pool alone.
_NO_BOUND = 1_000_000

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
        if http_client is not None:
            check_http_client(http_client, httpx.AsyncClient)
        warn_of_plain_http(base_url)
        self.base_url = base_url
        self._address = base_url.partition("://")[2]
        self._root = base_url + API_PREFIX
        self._secret = secret
        self._http_client = http_client
        self._max_response_bytes = max_response_bytes
        self._senders: Scoped[Union[AsyncSenders, AsyncOneSender]] = Scoped()
        self._pumps: WeakSet[AsyncPump] = WeakSet()
        self._headers: dict[tuple[tuple[tuple[str, str], ...], bool], httpx.Headers] = {}
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
        if not await senders.limiter.enter(timeouts.pool):
            return client_busy()
        sender = senders.take_for_call()
        try:
            response = await self._send(sender, request, options, timeouts)
            try:
                body = await self._read(response, until)
            finally:
                await response.aclose()
        except TRANSPORT_FAILURES as failure:
            return self._unanswered(failure, timeouts)
        finally:
            senders.give_back_for_call(sender)
            senders.limiter.leave()
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
        sender = senders.take_for_stream()
        pump: Optional[AsyncPump] = None
        try:
            response = await self._send(sender, request, options, timeouts, extra)
            kind = response.headers.get("content-type", "")
            if response.status_code == 200 and kind.lower().startswith("text/event-stream"):
                # It began within the request's timeout; how long it may then be silent is
                # another matter. The pool looks here when it begins to read the body.
                response.request.extensions["timeout"]["read"] = request.read_timeout
                pump = await open_pump(
                    response,
                    lambda failure: self._unanswered(failure, timeouts),
                    lambda: senders.give_back_for_stream(sender),
                )
                self._pumps.add(pump)
                return pump
            try:
                body = await self._read(response, until)
            finally:
                await response.aclose()
        except TRANSPORT_FAILURES as failure:
            return self._unanswered(failure, timeouts)
        finally:
            if pump is None:
                senders.give_back_for_stream(sender)
        if body is None:
            return too_large(response, self._max_response_bytes)
        return answer_of(response, body)

    async def aclose(self) -> None:
        """Close the connections, and the streams that are open; the user's client stays open."""
        for pump in list(self._pumps):
            await pump.interrupt()
        senders = self._senders.take()
        if senders is not None:
            await senders.aclose()

    def _open_senders(self) -> Union[AsyncSenders, AsyncOneSender]:
        """Choose who sends.

        httpx's transport alone takes two thirds of the time that its client takes; what
        the client does beyond (hooks, auth, mounts, redirects) is for the user's own
        client, and proxies are for it as well.
        """
        if self._http_client is not None:
            return AsyncOneSender(self._http_client, Limiter(_NO_BOUND), is_ours=False)
        verify = ssl_context_for(self.base_url)
        proxy = proxy_of(self.base_url)
        if proxy is not None:
            client = httpx.AsyncClient(
                verify=verify, limits=CLIENT_LIMITS, proxy=proxy, trust_env=False
            )
            return AsyncOneSender(client, Limiter(MAX_CALLS), is_ours=True)
        return AsyncSenders(lambda limits: httpx.AsyncHTTPTransport(verify=verify, limits=limits))

    async def _send(
        self,
        sender: AsyncSender,
        request: Request,
        options: Options,
        timeouts: Timeouts,
        extra: Optional[dict[str, str]] = None,
    ) -> httpx.Response:
        headers = self._headers_of(options, with_body=request.body is not None)
        if extra is not None:
            headers = headers.copy()
            headers.update(extra)
        url = self._url_of(request.path)
        if isinstance(sender, httpx.AsyncClient):
            message = sender.build_request(
                request.method,
                url,
                content=request.body,
                headers=headers,
                timeout=httpx.Timeout(
                    connect=timeouts.connect,
                    read=timeouts.read,
                    write=timeouts.write,
                    pool=timeouts.pool,
                ),
            )
            return await sender.send(message, stream=True, follow_redirects=False)
        message = httpx.Request(
            request.method,
            url,
            content=request.body,
            headers=headers,
            extensions={"timeout": timeouts._asdict()},
        )
        response = await sender.handle_async_request(message)
        response.request = message
        return response

    def _url_of(self, path: str) -> httpx.URL:
        """Parse an address once: polling asks for the same one again and again."""
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= _MOST_REMEMBERED:
                self._urls.clear()
            url = self._urls[path] = httpx.URL(self._root + path)
        return url

    def _headers_of(self, options: Options, *, with_body: bool) -> httpx.Headers:
        """Write the headers that a client sends again and again only once."""
        headers = self._headers.get((options.headers, with_body))
        if headers is None:
            taken = self._http_client is not None and self._http_client.auth is not None
            headers = headers_for(self._secret, options, key_header=taken)
            if with_body:
                headers["Content-Type"] = "application/json"
            if len(self._headers) < _MOST_REMEMBERED:
                self._headers[options.headers, with_body] = headers
        return headers

    async def _read(self, response: httpx.Response, until: Optional[float]) -> Optional[bytes]:
        """Read a body, or give None if it is longer than the limit."""
        if response.is_stream_consumed:
            # An event hook of the user's client has read it.
            return response.content
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

    def _unanswered(self, failure: Exception, timeouts: Timeouts) -> Unanswered:
        return unanswered(failure, self._address, timeouts)
