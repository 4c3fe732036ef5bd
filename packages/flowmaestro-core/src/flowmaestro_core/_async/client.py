"""The client without resources: the base of the whole client, and all of a slim one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Optional, Union, cast

from ..config import (
    NOT_GIVEN,
    NotGiven,
    Options,
    Secret,
    resolve_api_key,
    resolve_base_url,
    warn_of_no_timeout,
)
from ..lazy import lazy_module

if TYPE_CHECKING:
    import httpx
    import httpx2
    import typing_extensions

    from .. import request as requests
    from .. import response as responses
    from . import compat, stream
else:
    # Who reads the annotations loads them; who makes calls may not need all of them.
    httpx = lazy_module("httpx")
    httpx2 = lazy_module("httpx2", is_optional=True)
    typing_extensions = lazy_module("typing_extensions")
    requests = lazy_module("..request", __package__)
    responses = lazy_module("..response", __package__)
    compat = lazy_module(".compat", __package__)
    stream = lazy_module(".stream", __package__)

__all__ = ["AsyncCoreClient"]


class AsyncCoreClient:
    """Holds the key, the connections and the options; resources are made on top of it.

    In a slim install, each resource takes it as its one argument::

        from flowmaestro_core import AsyncCoreClient
        from flowmaestro_workflows import AsyncWorkflows

        async with AsyncCoreClient() as client:
            await AsyncWorkflows(client).execute("wf_123", {"name": "Ada"})

    Args:
        api_key: Your key; where it is None, the variable ``FLOWMAESTRO_API_KEY``.
        base_url: The backend's address, with or without ``/api/v1``; where it is None,
            the variable ``FLOWMAESTRO_BASE_URL``, or else that of ``http_client``, or else
            the public backend.
        timeout: Seconds for each step of a request (connecting, sending, each wait for
            bytes), or an ``httpx.Timeout``, or None for **no bound** (in 0.1.0: 30 seconds),
            of which a warning tells.
        max_retries: How often a failed request is tried again, where that does no harm; 3
            where it is None.
        headers: Added to every request.
        retry_unsafe: Try calls again that may have been carried out (``execute``,
            ``send_message`` and the like): accept that it may happen twice.
        http_client: Your own client of httpx or httpx2, for proxies, client certificates,
            HTTP/2, hooks or tests. It is used as it is, and never closed.
        max_response_bytes: Answers that are longer are cut with an error.

    Raises:
        ValueError: There is no key, or an argument makes no sense. For a variable of the
            environment it is a ``ConfigurationError``, which is a ``ValueError`` as well.
        TypeError: An argument is of the wrong type.
    """

    def __init__(
        self,
        api_key: Optional[str] = None,
        base_url: Optional[str] = None,
        timeout: Union[float, httpx.Timeout, httpx2.Timeout, None] = 30.0,
        max_retries: Optional[int] = 3,
        *,
        headers: Optional[Mapping[str, str]] = None,
        retry_unsafe: bool = False,
        http_client: Union[httpx.AsyncClient, httpx2.AsyncClient, None] = None,
        max_response_bytes: int = 100_000_000,
    ) -> None:
        # An error here must not show the key in the locals of this frame.
        secret = Secret(api_key)
        del api_key
        secret = resolve_api_key(secret)
        options = Options().changed(
            timeout=timeout, max_retries=max_retries, headers=headers, retry_unsafe=retry_unsafe
        )
        if timeout is None:
            warn_of_no_timeout()
        if not base_url and not os.environ.get("FLOWMAESTRO_BASE_URL"):
            # The client's own, which is an empty one where it was not set.
            base_url = str(getattr(http_client, "base_url", "")) or None
        address = resolve_base_url(base_url)
        if isinstance(max_response_bytes, bool) or not isinstance(max_response_bytes, int):
            raise TypeError(f"max_response_bytes must be a whole number: {max_response_bytes!r}")
        if max_response_bytes < 1:
            raise ValueError(f"max_response_bytes must be 1 or more, not {max_response_bytes}")

        # httpx is imported with these, when the first client is made and not before.
        from ..environment import check_environment
        from ..logs import set_up_from
        from .connections import AsyncConnections
        from .transport import AsyncTransport

        set_up_from()
        if http_client is None:
            check_environment(address)
        self._transport = AsyncTransport(
            AsyncConnections(
                address,
                secret,
                # httpx2 is a fork of httpx with the same names.
                cast("Optional[httpx.AsyncClient]", http_client),
                max_response_bytes,
            )
        )
        self._options = options
        self._is_view = False

    def with_options(
        self,
        *,
        timeout: Union[float, httpx.Timeout, httpx2.Timeout, None, NotGiven] = NOT_GIVEN,
        deadline: Union[float, None, NotGiven] = NOT_GIVEN,
        max_retries: Union[int, None, NotGiven] = NOT_GIVEN,
        retry_unsafe: Union[bool, NotGiven] = NOT_GIVEN,
        headers: Union[Mapping[str, str], None, NotGiven] = NOT_GIVEN,
        on_response: Union[Callable[[responses.ResponseInfo], object], None, NotGiven] = NOT_GIVEN,
    ) -> typing_extensions.Self:
        """Give a view on the same connections with other options.

        Args:
            timeout: Seconds for each step of a request, or an ``httpx.Timeout``, or None.
            deadline: Seconds for a whole call, retries and pauses included, or None.
            max_retries: How often a failed request is tried again; None changes nothing.
            retry_unsafe: Try calls again that may have been carried out (``execute``,
                ``send_message`` and the like): accept that it may happen twice.
            headers: Added to the headers of every request.
            on_response: Called with a ``ResponseInfo`` for every response, also for one that is
                an error or is retried: status, headers, duration, attempt, request id. It may
                be a coroutine function. What it raises is logged, and changes nothing.

        Returns:
            A client that shares everything else. Closing it does nothing.

        Raises:
            ValueError: A number makes no sense.
            TypeError: An argument is of the wrong type.

        Example:
            Start a workflow, and take at most 5 seconds for it::

                await client.with_options(deadline=5).workflows.execute("wf_123")
        """
        options = self._options.changed(
            timeout=timeout,
            deadline=deadline,
            max_retries=max_retries,
            retry_unsafe=retry_unsafe,
            headers=headers,
            on_response=on_response,
        )
        if not isinstance(timeout, NotGiven):
            options = options._replace(timeout_is_exact=True)
        view = object.__new__(type(self))
        for name, value in self.__dict__.items():
            # Resources belong to one client: the view makes its own.
            if not isinstance(getattr(type(self), name, None), cached_property):
                view.__dict__[name] = value
        view._options = options
        view._is_view = True
        return view

    @property
    def rate_limit(self) -> Optional[responses.RateLimit]:
        """What the backend last said of the key's limits, or None before the first answer."""
        return self._transport.rate_limit

    @property
    def base_url(self) -> str:
        """The backend's address, without a version at its end."""
        return self._transport.base_url

    @property
    def options(self) -> Options:
        """The options of this client's calls."""
        return self._options

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Optional[Mapping[str, object]] = None,
        timeout: Union[float, httpx.Timeout, httpx2.Timeout, None, NotGiven] = NOT_GIVEN,
        idempotent: Optional[bool] = None,
    ) -> Any:
        """Send a request to any route of the API, also to one that the SDK does not know.

        It has the client's key, options, retries, limits and errors. ``GET``, ``HEAD``,
        ``OPTIONS``, ``PUT`` and ``DELETE`` are retried, other methods only where nothing was
        processed.

        Args:
            method: The HTTP method, such as ``"GET"``.
            path: The path below ``/api/v1``, such as ``"/workflows/wf_123"``. It may have a
                query. Escape ids that come from elsewhere with ``urllib.parse.quote``.
            json: The body: anything that JSON can carry; None for none.
            params: The query by name. None is left out, a list repeats its name.
            timeout: For this request, seconds for each step or an ``httpx.Timeout``.
            idempotent: Whether the request may be sent twice; None asks the method.

        Returns:
            The JSON of the response as the API sent it, most often a dictionary with ``data``;
            None for an empty one.

        Raises:
            TypeError: An argument is of the wrong type, or JSON cannot carry the body.
            ValueError: The method or the path cannot be sent.
            NotFoundError: There is no such route, or nothing with that id.
            FlowMaestroError: The API refused or failed; see ``flowmaestro_core.errors``.

        Endpoint:
            Any route below ``/api/v1``

        Example:
            Ask for what the SDK has no method for::

                page = await client.request("GET", "/workflows", params={"per_page": 5})
                print(page["data"])
        """
        from ..request import raw_request

        options = self._options.changed(timeout=timeout)
        if not isinstance(timeout, NotGiven):
            options = options._replace(timeout_is_exact=True)
        sent = raw_request(method, path, json, params, idempotent=idempotent)
        return await self._transport.call(sent, options)

    async def call(
        self, request: requests.Request, options: Optional[Options] = None
    ) -> dict[str, Any]:
        """Send a request of a resource and give the JSON object of its answer.

        Args:
            request: What to ask.
            options: In place of this client's.
        """
        content: dict[str, Any] = await self._transport.call(request, options or self._options)
        return content

    async def open(
        self, request: requests.Request, last_event_id: str = "", options: Optional[Options] = None
    ) -> Union[compat.AsyncPump, dict[str, Any]]:
        """Open the event stream of a resource.

        Args:
            request: What to ask.
            last_event_id: Where to go on.
            options: In place of this client's.
        """
        return await self._transport.open(request, options or self._options, last_event_id)

    def follow(self, source: stream.AsyncSource) -> stream.AsyncEventStream[Any]:
        """Make a stream that ends when the client is closed."""
        from .stream import AsyncEventStream, Follower

        follower = Follower(source)
        self._transport.add(follower)
        return AsyncEventStream(follower)

    async def close(self) -> None:
        """Close the connections; streams that are open end with an error."""
        if not self._is_view:
            await self._transport.aclose()

    aclose = close  # async only

    async def __aenter__(self) -> typing_extensions.Self:
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        # One whose constructor failed is shown in the traceback.
        transport = self.__dict__.get("_transport")
        address = "not made" if transport is None else f"base_url={transport.base_url!r}"
        return f"{type(self).__name__}({address})"
