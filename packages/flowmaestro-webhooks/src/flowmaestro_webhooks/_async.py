"""Webhooks: subscriptions to events, and how their deliveries went."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Optional, Union

import flowmaestro_types as types
from flowmaestro_core import AsyncCoreClient
from flowmaestro_core._async.pagination import iterate
from flowmaestro_core.clock import monotonic
from flowmaestro_core.config import NOT_GIVEN, NotGiven
from flowmaestro_core.errors import InvalidArgumentError
from flowmaestro_core.pages import page_of
from flowmaestro_core.request import (
    Request,
    check_text,
    identifier,
    page_query,
    path,
)
from flowmaestro_core.shapes import a_list, an_object

from .wire import delivery_of, events_body, test_result_of, test_result_problem, webhook_of

__all__ = ["AsyncWebhooks"]

# The backend gives a receiver ten seconds; a test lasts that long at most, and a little.
_TEST_SECONDS = 20.0

_WEBHOOK = an_object(id=str, url=str, events=list)
_WEBHOOKS = a_list(id=str, url=str, events=list)
# The secret is shown this once: a webhook without it is of no use.
_CREATED = an_object("id", "secret", events=list)
_DELIVERIES = a_list(status=str)


class AsyncWebhooks:
    """The webhooks of your account."""

    def __init__(self, client: AsyncCoreClient) -> None:
        self._client = client

    async def list(
        self, *, page: Optional[int] = None, per_page: Optional[int] = None
    ) -> types.Page[types.Webhook]:
        """Get one page of webhooks, the newest first.

        Args:
            page: Which page, from 1; the first where it is left out.
            per_page: How many, from 1 to 100; 20 where it is left out.

        Returns:
            ``data``: a list of webhooks, without secrets; ``pagination``: ``page``,
            ``per_page``, ``total_count``, ``has_more``.

        Raises:
            ValueError: A number is below 1.
            FlowMaestroError: The backend refused or failed; see ``flowmaestro_core.errors``.

        Endpoint:
            ``GET /api/v1/webhooks``

        Example:
            Print who is told what::

                page = await client.webhooks.list()
                for webhook in page["data"]:
                    print(webhook["url"], webhook["events"])
        """
        request = Request.get("/webhooks" + page_query(page, per_page), _WEBHOOKS)
        answer: Any = page_of(await self._client.call(request), page, per_page)
        for webhook in answer["data"]:
            webhook_of(webhook)
        return answer  # type: ignore[no-any-return]

    def iter(self, *, page: int = 1, per_page: int = 100) -> AsyncIterator[types.Webhook]:
        """Go over all webhooks, fetching a page only when it is needed.

        To delete webhooks, collect them first: each one that is deleted while iterating
        moves the later ones forward, past the page that is fetched next.

        Args:
            page: The page to begin with, from 1.
            per_page: How many to fetch at a time, from 1 to 100.

        Returns:
            An iterator over webhooks, without secrets.

        Raises:
            ValueError: A number is below 1.
            FlowMaestroError: The backend refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/webhooks``, once a page

        Example:
            Delete the webhooks that are off, collected first::

                webhooks = [webhook async for webhook in client.webhooks.iter()]
                for webhook in webhooks:
                    if not webhook["is_active"]:
                        await client.webhooks.delete(webhook["id"])
        """
        page_query(page, per_page)

        async def fetch(number: int) -> Any:
            return await self.list(page=number, per_page=per_page)

        return iterate(fetch, page)

    async def get(self, webhook_id: str) -> types.Response[types.Webhook]:
        """Get one webhook.

        Args:
            webhook_id: Its id.

        Returns:
            ``data``: the webhook with its ``headers``, without its secret.

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such webhook.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``GET /api/v1/webhooks/{id}``

        Example:
            See whether it is on::

                print((await client.webhooks.get("wh_123"))["data"]["is_active"])
        """
        request = Request.get(path("/webhooks/{}", identifier("webhook_id", webhook_id)), _WEBHOOK)
        answer: Any = await self._client.call(request)
        webhook_of(answer["data"]).setdefault("id", webhook_id)
        return answer  # type: ignore[no-any-return]

    async def create(
        self,
        name: str,
        url: str,
        events: Iterable[Union[types.WebhookEventType, str]],
        *,
        headers: Optional[Mapping[str, str]] = None,
    ) -> types.Response[types.WebhookCreated]:
        """Subscribe an address to events.

        A call that may have been carried out is never repeated: it raises an error whose
        ``outcome_unknown`` is True.

        Args:
            name: What to call it.
            url: Where to send the events.
            events: Which ones, as ``WebhookEventType`` or strings.
            headers: Sent along with each delivery.

        Returns:
            ``data``: the webhook with its ``secret``, which is shown this once only: it
            proves that a delivery is from FlowMaestro.

        Raises:
            TypeError: ``events`` is no list of event types.
            ValueError: A text or ``events`` is empty.
            ValidationError: The backend knows no such event, or the URL is none.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``POST /api/v1/webhooks``

        Example:
            Be told of every end::

                created = await client.webhooks.create(
                    name="Ends",
                    url="https://example.com/hooks/flowmaestro",
                    events=["execution.completed", "execution.failed"],
                )
                print("keep this:", created["data"]["secret"])
        """
        body: dict[str, Any] = {
            "name": check_text("name", name),
            "url": check_text("url", url),
            "events": events_body(events),
        }
        if headers is not None:
            body["headers"] = _headers_body(headers)
        request = Request.post(
            "/webhooks",
            body,
            repeatable=False,
            check="look at webhooks.list() before trying again",
            expects=_CREATED,
        )
        answer: Any = await self._client.call(request)
        webhook_of(answer["data"])
        return answer  # type: ignore[no-any-return]

    async def update(
        self,
        webhook_id: str,
        *,
        name: Union[str, NotGiven] = NOT_GIVEN,
        url: Union[str, NotGiven] = NOT_GIVEN,
        events: Union[Iterable[Union[types.WebhookEventType, str]], NotGiven] = NOT_GIVEN,
        headers: Union[Mapping[str, str], NotGiven, None] = NOT_GIVEN,
        is_active: Union[bool, NotGiven] = NOT_GIVEN,
    ) -> types.Response[types.Webhook]:
        """Change a webhook; what is left out stays as it is.

        Args:
            webhook_id: Its id.
            name: What to call it.
            url: Where to send the events.
            events: Which ones, as ``WebhookEventType`` or strings; these replace the old ones.
            headers: Sent along with each delivery; None for none.
            is_active: False stops the deliveries, True begins them again.

        Returns:
            ``data``: the webhook as it is now.

        Raises:
            TypeError: ``events`` is no list of event types.
            ValueError: The id or a text is empty, or there is nothing to change.
            NotFoundError: There is no such webhook.
            ValidationError: The backend knows no such event, or the URL is none.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``PATCH /api/v1/webhooks/{id}``

        Example:
            Pause the deliveries::

                await client.webhooks.update("wh_123", is_active=False)
        """
        identifier("webhook_id", webhook_id)
        body: dict[str, Any] = {}
        if not isinstance(name, NotGiven):
            body["name"] = check_text("name", name)
        if not isinstance(url, NotGiven):
            body["url"] = check_text("url", url)
        if not isinstance(events, NotGiven):
            body["events"] = events_body(events)
        if not isinstance(headers, NotGiven):
            body["headers"] = None if headers is None else _headers_body(headers)
        if not isinstance(is_active, NotGiven):
            body["is_active"] = bool(is_active)
        if not body:
            raise InvalidArgumentError("there is nothing to change: name at least one argument")
        posted = Request.post(path("/webhooks/{}", webhook_id), body, expects=_WEBHOOK)
        answer: Any = await self._client.call(posted._replace(method="PATCH"))
        webhook_of(answer["data"]).setdefault("id", webhook_id)
        return answer  # type: ignore[no-any-return]

    async def delete(self, webhook_id: str) -> types.Response[types.Deleted]:
        """Delete a webhook.

        Args:
            webhook_id: Its id.

        Returns:
            ``data``: ``id`` and ``deleted`` (True).

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such webhook.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``DELETE /api/v1/webhooks/{id}``

        Example:
            Be told nothing any more::

                await client.webhooks.delete("wh_123")
        """
        request = Request.delete("/webhooks/{}", identifier("webhook_id", webhook_id))
        answer: Any = await self._client.call(request)
        answer["data"].setdefault("id", webhook_id)
        answer["data"].setdefault("deleted", True)
        return answer  # type: ignore[no-any-return]

    async def test(self, webhook_id: str) -> types.Response[types.WebhookTestResult]:
        """Send a test delivery and see what the receiver says.

        Args:
            webhook_id: Its id.

        Returns:
            ``data``: ``success``, ``status_code`` (None where nobody answered), ``message``,
            and ``response_time_ms``: the backend's figure, or where it sends none, as
            today's does, the measured round trip of this call in whole milliseconds.

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such webhook.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``POST /api/v1/webhooks/{id}/test``

        Example:
            Try it out::

                result = (await client.webhooks.test("wh_123"))["data"]
                print(result["success"], result["message"])
        """
        request = Request.post(
            path("/webhooks/{}/test", identifier("webhook_id", webhook_id)),
            repeatable=False,
            read_timeout=_TEST_SECONDS,
            check="a second call sends a second test delivery",
            expects=test_result_problem,
        )
        began = monotonic()
        answer = await self._client.call(request)
        round_trip_ms = round((monotonic() - began) * 1000)
        return test_result_of(answer, round_trip_ms)  # type: ignore[return-value]

    async def deliveries(
        self, webhook_id: str, *, page: Optional[int] = None, per_page: Optional[int] = None
    ) -> types.Page[types.WebhookDelivery]:
        """Get one page of a webhook's deliveries, the newest first.

        Args:
            webhook_id: Its id.
            page: Which page, from 1; the first where it is left out.
            per_page: How many, from 1 to 100; 20 where it is left out.

        Returns:
            ``data``: a list of deliveries with ``event_type``, ``status``, ``attempts``,
            ``response_status`` and ``error_message``; ``pagination``.

        Raises:
            ValueError: The id is empty, or a number is below 1.
            NotFoundError: There is no such webhook.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``GET /api/v1/webhooks/{id}/deliveries``

        Example:
            See what did not arrive::

                page = await client.webhooks.deliveries("wh_123")
                print([one["id"] for one in page["data"] if one["status"] == "failed"])
        """
        request = Request.get(
            path("/webhooks/{}/deliveries", identifier("webhook_id", webhook_id))
            + page_query(page, per_page),
            _DELIVERIES,
        )
        answer: Any = page_of(await self._client.call(request), page, per_page)
        for delivery in answer["data"]:
            delivery_of(delivery)
        return answer  # type: ignore[no-any-return]

    def iter_deliveries(
        self, webhook_id: str, *, page: int = 1, per_page: int = 100
    ) -> AsyncIterator[types.WebhookDelivery]:
        """Go over all deliveries of a webhook, fetching a page only when it is needed.

        Args:
            webhook_id: Its id.
            page: The page to begin with, from 1.
            per_page: How many to fetch at a time, from 1 to 100.

        Returns:
            An iterator over deliveries.

        Raises:
            ValueError: The id is empty, or a number is below 1.
            FlowMaestroError: The backend refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/webhooks/{id}/deliveries``, once a page

        Example:
            Count the attempts::

                attempts = 0
                async for delivery in client.webhooks.iter_deliveries("wh_123"):
                    attempts += delivery["attempts"]
        """
        identifier("webhook_id", webhook_id)
        page_query(page, per_page)

        async def fetch(number: int) -> Any:
            return await self.deliveries(webhook_id, page=number, per_page=per_page)

        return iterate(fetch, page)


def _headers_body(headers: Any) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        # Not shown: it may hold a token.
        kind = type(headers).__name__
        raise TypeError(f"headers must be a mapping of names to values, not {kind}")
    copied: dict[str, str] = {**headers}
    return copied
