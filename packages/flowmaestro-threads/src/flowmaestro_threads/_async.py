"""Threads: conversations with agents, their messages, and answers as they are made."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Optional, Union

import flowmaestro_types as types
from flowmaestro_core import AsyncCoreClient, errors
from flowmaestro_core._async.compat import AsyncPump, Stop, sleep
from flowmaestro_core._async.pagination import iterate
from flowmaestro_core._async.stream import AsyncEventStream, AsyncSource, Connect
from flowmaestro_core.clock import monotonic
from flowmaestro_core.config import check_seconds, reconnect_options
from flowmaestro_core.liveness import MAX_OUTAGE
from flowmaestro_core.logs import logger
from flowmaestro_core.request import (
    Request,
    check_text,
    identifier,
    page_query,
    path,
)
from flowmaestro_core.response import is_missing_route
from flowmaestro_core.retries import is_transient
from flowmaestro_core.shapes import an_object
from flowmaestro_core.sse import Frame
from flowmaestro_core.statuses import THREAD_STATUSES, with_status

from .wire import (
    answer_among,
    events_of_answer,
    events_of_failure,
    id_to_wait_for,
    is_end,
    messages_page,
    messages_problem,
    sent_result_of,
    sent_result_problem,
    thread_event_of,
)

__all__ = ["AsyncThreads"]

# Seconds that the API waits for an agent, unless it is asked to wait less.
_LONGEST_TIMEOUT = 120.0

# A little more, so that its word comes first.
_ANSWER_SECONDS = 130.0

# Where a thread has no stream, its messages are looked at every so many seconds.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 5.0

_THREAD = an_object(id=str, status=str)


class AsyncThreads:
    """The conversations of your account."""

    def __init__(self, client: AsyncCoreClient) -> None:
        self._client = client

    async def get(self, thread_id: str) -> types.Response[types.Thread]:
        """Get one thread.

        Args:
            thread_id: Its id.

        Returns:
            ``data``: the thread, with ``agent_id``, ``title``, ``status`` and its times.

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such thread.
            FlowMaestroError: The backend refused or failed; see ``flowmaestro_core.errors``.

        Endpoint:
            ``GET /api/v1/threads/{id}``

        Example:
            See when somebody last said something::

                thread = (await client.threads.get("thread_123"))["data"]
                print(thread["status"], thread["last_message_at"])
        """
        request = Request.get(path("/threads/{}", identifier("thread_id", thread_id)), _THREAD)
        answer: Any = await self._client.call(request)
        with_status(answer["data"], THREAD_STATUSES).setdefault("id", thread_id)
        return answer  # type: ignore[no-any-return]

    async def delete(self, thread_id: str) -> types.Response[types.Deleted]:
        """Delete a thread with its messages.

        Args:
            thread_id: Its id.

        Returns:
            ``data``: ``id`` and ``deleted`` (True).

        Raises:
            ValueError: The id is empty.
            NotFoundError: There is no such thread.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``DELETE /api/v1/threads/{id}``

        Example:
            Forget a conversation::

                await client.threads.delete("thread_123")
        """
        request = Request.delete("/threads/{}", identifier("thread_id", thread_id))
        answer: Any = await self._client.call(request)
        answer["data"].setdefault("id", thread_id)
        answer["data"].setdefault("deleted", True)
        return answer  # type: ignore[no-any-return]

    async def list_messages(
        self, thread_id: str, *, page: Optional[int] = None, per_page: Optional[int] = None
    ) -> types.MessagesPage:
        """Get the messages of a thread, the oldest first.

        Today's backend sends them all at once; ``page`` and ``per_page`` are then honoured
        by slicing, and without ``per_page`` the whole thread is the one page.

        Args:
            thread_id: The thread's id.
            page: Which page, from 1; the first where it is left out.
            per_page: How many; all of them where it is left out.

        Returns:
            ``data``: a list of messages with ``role``, ``content``, ``tool_calls``, which
            also answers ``["messages"]``, as 0.1.0 did, with a ``DeprecationWarning``;
            ``pagination``: ``page``, ``per_page``, ``total_count``, ``has_more``.

        Raises:
            ValueError: The id is empty, or a number is below 1.
            NotFoundError: There is no such thread.
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``GET /api/v1/threads/{id}/messages``

        Example:
            Print a conversation::

                messages = await client.threads.list_messages("thread_123")
                for message in messages["data"]:
                    print(f"{message['role']}: {message['content']}")
        """
        request = Request.get(
            path("/threads/{}/messages", identifier("thread_id", thread_id))
            + page_query(page, per_page),
            messages_problem,
        )
        answer: Any = messages_page(await self._client.call(request), page, per_page)
        return answer  # type: ignore[no-any-return]

    def iter_messages(
        self, thread_id: str, *, page: int = 1, per_page: Optional[int] = None
    ) -> AsyncIterator[types.ThreadMessage]:
        """Go over the messages of a thread, the oldest first.

        Args:
            thread_id: The thread's id.
            page: The page to begin with, from 1.
            per_page: How many to fetch at a time; all of them where it is left out.

        Returns:
            An iterator over messages.

        Raises:
            ValueError: The id is empty, or a number is below 1.
            FlowMaestroError: The backend refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/threads/{id}/messages``, once a page

        Example:
            Print what the agent said::

                async for message in client.threads.iter_messages("thread_123"):
                    if message["role"] == "assistant":
                        print(message["content"])
        """
        identifier("thread_id", thread_id)
        page_query(page, per_page)

        async def fetch(number: int) -> Any:
            return await self.list_messages(thread_id, page=number, per_page=per_page)

        return iterate(fetch, page)

    async def send_message(
        self,
        thread_id: str,
        content: str,
        *,
        timeout: Optional[float] = None,
        stream: bool = False,
    ) -> types.Response[types.SendMessageResult]:
        """Say something to the agent and wait for its answer.

        An answer may take two minutes: the client's default timeout does not apply here,
        a ``with_options(timeout=...)`` does. The message is never posted twice: where it is
        not known whether it arrived, the error's ``outcome_unknown`` is True and its
        ``details["thread_id"]`` tells where to look.

        Args:
            thread_id: The thread's id.
            content: What to say.
            timeout: Seconds that the API waits for the agent, at most 120; 120 where it is
                left out.
            stream: Only False, which 0.1.0 had: ``send_message_stream`` streams.

        Returns:
            ``data``: ``message`` (``role``, ``content``, ...), ``status``, ``thread_id``.

        Raises:
            ValueError: The id or the content is empty, ``timeout`` is not from 0 to 120 s, or
                ``stream`` is True.
            NotFoundError: There is no such thread.
            TimeoutError: The agent took too long; it may still answer, in ``list_messages``.
            ServerError: The agent failed (code ``execution_failed``).
            FlowMaestroError: The backend refused or failed.

        Endpoint:
            ``POST /api/v1/threads/{id}/messages``

        Example:
            Ask something::

                answer = await client.threads.send_message("thread_123", "Hello!")
                message = answer["data"]["message"]
                print(message and message["content"])
        """
        if stream:
            raise errors.InvalidArgumentError(
                "send_message gives the whole reply: use send_message_stream(thread_id, content) "
                "for a stream"
            )
        request = _post_message(thread_id, content, stream=False, timeout=timeout)
        deadline = self._client.options.deadline
        until = None if deadline is None else monotonic() + deadline
        try:
            answer: Any = await self._client.call(request)
        except errors.FlowMaestroError as error:
            _name_thread(error, thread_id)
            raise
        return await self._with_reply(answer, thread_id, until)  # type: ignore[no-any-return]

    def send_message_stream(
        self, thread_id: str, content: str
    ) -> AsyncEventStream[types.ThreadEvent]:
        """Say something to the agent and get its answer as it is made.

        Where the backend cannot stream (today's answers 501), the same events come from
        one blocking send: the answer is then one token. The message is posted once.

        Args:
            thread_id: The thread's id.
            content: What to say.

        Returns:
            An iterator over events, which is also a context manager: ``message:started``,
            ``message:token`` (``token``), ``message:completed`` (``content``) or
            ``message:failed`` (``error``).

        Raises:
            ValueError: The id or the content is empty.
            NotFoundError: There is no such thread, while iterating.
            StreamError: The stream broke, while iterating; the agent goes on.
            FlowMaestroError: The backend refused or failed, while iterating.

        Endpoint:
            ``POST /api/v1/threads/{id}/messages`` with ``stream``

        Example:
            Print the answer as it comes::

                async for event in client.threads.send_message_stream("thread_123", "Hello!"):
                    if event["type"] == "message:token":
                        print(event["token"], end="", flush=True)
        """
        streaming = _post_message(thread_id, content, stream=True)
        client = self._client

        async def connect(
            how: Connect,
        ) -> Union[AsyncPump, AsyncGenerator[dict[str, Any], None]]:
            until = None if how.remaining is None else monotonic() + how.remaining
            try:
                opened = await client.open(streaming)
            except errors.ServerError as error:
                if error.status_code != 501:
                    _name_thread(error, thread_id)
                    raise
            except errors.FlowMaestroError as error:
                _name_thread(error, thread_id)
                raise
            else:
                if isinstance(opened, AsyncPump):
                    return opened
                whole = await self._with_reply(opened, thread_id, until)
                return _events(_answered(whole, thread_id))
            # Nothing was posted: the same message, without the stream.
            try:
                answer = await self._within(until).send_message(thread_id, content)
            except errors.ServerError as error:
                if error.code != "execution_failed":
                    raise
                failure = events_of_failure(error, thread_id)
            else:
                return _events(_answered(answer, thread_id))
            return _events(failure)

        def decode(frame: Frame) -> dict[str, Any]:
            return thread_event_of(frame, thread_id)

        return client.follow(
            AsyncSource(
                name=f"thread {thread_id!r}",
                open=connect,
                decode=decode,
                ends=is_end,
                reconnects=False,
                started={"thread_id": thread_id},
                max_retries=client.options.max_retries,
                deadline=client.options.deadline,
            )
        )

    def stream(
        self, thread_id: str, *, heartbeat: Optional[float] = None
    ) -> AsyncEventStream[types.ThreadEvent]:
        """Follow what the agent of a thread says, whoever asks it.

        The stream has no end of its own: leave the loop when you have what you want. Today's
        API has no such stream; the thread's messages are then polled every few seconds, and
        each new reply comes as its events. The stream gets through an API that is away for
        30 s, and gives up after a minute without a response.

        Args:
            thread_id: The thread's id.
            heartbeat: Seconds. After so long without an event, one of type ``heartbeat`` is
                given, so that the loop can do other things, such as to notice that nobody
                listens any more. None for no such events.

        Returns:
            An iterator over events, which is also a context manager: ``message:started``,
            ``message:token`` (``token``), ``message:completed`` (``content``),
            ``message:failed`` (``error``). ``close()`` ends a loop that waits in another
            thread or task.

        Raises:
            ValueError: The id is empty, or ``heartbeat`` is no number of seconds.
            NotFoundError: There is no such thread, while iterating.
            StreamError: The stream cannot be had any more, while iterating.
            TimeoutError: The ``deadline`` of ``with_options`` has passed, while iterating.
            FlowMaestroError: The API refused or failed, while iterating.

        Endpoint:
            ``GET /api/v1/threads/{id}/events``, or ``GET /api/v1/threads/{id}/messages``

        Example:
            Wait for the next answer::

                async for event in client.threads.stream("thread_123"):
                    if event["type"] == "message:completed":
                        print(event["content"])
                        break
        """
        identifier("thread_id", thread_id)
        request = Request.get(path("/threads/{}/events", thread_id))
        client = self._client

        async def connect(
            how: Connect,
        ) -> Union[AsyncPump, AsyncGenerator[dict[str, Any], None]]:
            until = None if how.remaining is None else monotonic() + how.remaining
            options = None if how.first else reconnect_options(client.options, how.remaining)
            try:
                opened = await client.open(request, how.last_event_id, options)
            except errors.NotFoundError as error:
                if not is_missing_route(error):
                    raise
            else:
                if isinstance(opened, AsyncPump):
                    return opened
                raise errors.StreamError(
                    f"the answer for the events of thread {thread_id!r} is no event stream",
                    code="no_event_stream",
                )
            return self._new_answers(thread_id, until, how.stop)

        def decode(frame: Frame) -> dict[str, Any]:
            return thread_event_of(frame, thread_id)

        return client.follow(
            AsyncSource(
                name=f"thread {thread_id!r}",
                open=connect,
                decode=decode,
                may_just_close=True,
                max_retries=client.options.max_retries,
                deadline=client.options.deadline,
                heartbeat=None if heartbeat is None else check_seconds("heartbeat", heartbeat),
                heartbeat_event={"type": "heartbeat", "thread_id": thread_id},
            )
        )

    async def _with_reply(self, answer: Any, thread_id: str, until: Optional[float]) -> Any:
        """Read the response to a message, and wait for the reply where it is still to come."""
        message_id = id_to_wait_for(answer)
        sent_result_of(answer, thread_id)
        if message_id is not None:
            answer["data"]["message"] = await self._answer_to(thread_id, message_id, until)
        return answer

    async def _answer_to(self, thread_id: str, message_id: object, until: Optional[float]) -> Any:
        """Find the agent's reply where the API only acknowledged the message."""
        bound = self._client.options.deadline or _ANSWER_SECONDS
        if until is None:
            until = monotonic() + bound
        pause = _FIRST_PAUSE / 4
        while True:
            # The API may be away for a while: the message is posted, and the time is bounded.
            try:
                messages = await self._poll_messages(thread_id, until)
            except errors.FlowMaestroError as failure:
                failure.outcome_unknown = True
                _name_thread(failure, thread_id)
                raise
            answer = answer_among(messages, message_id)
            if answer is not None:
                return answer
            if monotonic() + pause > until:
                break
            await sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        error = errors.TimeoutError(
            f"the message was posted, but the agent has not answered within {bound:g} s; "
            f"look at threads.list_messages({thread_id!r})",
            code="answer_timeout",
            outcome_unknown=True,
        )
        _name_thread(error, thread_id)
        raise error

    async def _new_answers(
        self, thread_id: str, until: Optional[float], stop: Stop
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Poll a thread's messages again and again, and give the new replies as events."""
        known: Optional[set[str]] = None
        pause = _FIRST_PAUSE
        while not stop.is_set:
            gives_up = monotonic() + MAX_OUTAGE
            messages = await self._poll_messages(
                thread_id, gives_up if until is None else min(gives_up, until), stop
            )
            new = [] if known is None else [one for one in messages if one["id"] not in known]
            known = {one["id"] for one in messages}
            for message in new:
                if message["role"] == "assistant":
                    for event in events_of_answer(message, thread_id, message_id=message["id"]):
                        yield event
            pause = _FIRST_PAUSE if new else min(pause * 1.5, _LONGEST_PAUSE)
            if until is not None and monotonic() + pause > until:
                raise errors.TimeoutError(
                    f"the stream of thread {thread_id!r} reached its deadline of "
                    f"{self._client.options.deadline or 0:g} s",
                    code="deadline_exceeded",
                )
            await stop.sleep(pause)

    def _within(self, until: Optional[float]) -> AsyncThreads:
        """Give the same, with calls that end in time, by the monotonic clock."""
        if until is None:
            return self
        return AsyncThreads(self._client.with_options(deadline=max(until - monotonic(), 0.001)))

    async def _poll_messages(
        self, thread_id: str, until: float, stop: Optional[Stop] = None
    ) -> list[dict[str, Any]]:
        """Get a thread's messages, if need be from an API that comes back in time.

        Args:
            thread_id: Whose.
            until: When an error is raised that may pass, by the monotonic clock.
            stop: Set when nobody waits any more.
        """
        stop = stop or Stop()
        pause = _FIRST_PAUSE
        while True:
            threads = self._within(until)
            page: Any = None
            try:
                with stop.interruptible():
                    page = await threads.list_messages(thread_id)
            except errors.FlowMaestroError as error:
                pause = max(pause, getattr(error, "retry_after", None) or 0.0)
                if not is_transient(error) or monotonic() + pause > until:
                    raise
                logger.warning(
                    "polling the messages of thread %r failed (%s); polling again in %.1f s",
                    thread_id,
                    error,
                    pause,
                )
            else:
                # None where the stream was closed meanwhile.
                return page["data"] if page is not None else []
            await stop.sleep(pause)
            if stop.is_set:
                return []
            pause = min(pause * 1.5, _LONGEST_PAUSE)


def _post_message(
    thread_id: str, content: str, *, stream: bool, timeout: Optional[float] = None
) -> Request:
    body: dict[str, Any] = {"content": check_text("content", content), "stream": stream}
    if timeout is not None:
        seconds = check_seconds("timeout", timeout)
        if seconds is None or seconds > _LONGEST_TIMEOUT:
            raise errors.InvalidArgumentError(
                f"timeout must be at most {_LONGEST_TIMEOUT:g} seconds, not {timeout!r}"
            )
        # The API takes whole milliseconds.
        body["timeout"] = math.ceil(seconds * 1000)
    return Request.post(
        path("/threads/{}/messages", identifier("thread_id", thread_id)),
        body,
        repeatable=False,
        read_timeout=_ANSWER_SECONDS,
        check=f"look at threads.list_messages({thread_id!r}) before sending again",
        expects=sent_result_problem,
    )


def _name_thread(error: errors.FlowMaestroError, thread_id: str) -> None:
    """Tell in the error which thread to look at."""
    if error.outcome_unknown:
        error.details = {**(error.details or {}), "thread_id": thread_id}


def _answered(answer: Any, thread_id: str) -> Any:
    """Tell the answer of a blocking send as events."""
    data = answer["data"]
    if data["message"] is None:
        raise errors.StreamError(
            "the backend took the message without giving the agent's answer; "
            f"look at threads.list_messages({thread_id!r})",
            code="no_answer",
            outcome_unknown=True,
        )
    return events_of_answer(
        data["message"],
        thread_id,
        execution_id=data.get("execution_id"),
        message_id=data.get("message_id"),
    )


async def _events(events: Any) -> AsyncGenerator[dict[str, Any], None]:
    for event in events:
        yield event
