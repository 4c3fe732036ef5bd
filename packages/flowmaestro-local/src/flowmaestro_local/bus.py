"""Brings events to the streams that are open, without letting a slow one hold up memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Any, NamedTuple

__all__ = ["Bus", "Subscription", "Told"]

# Events that a slow reader may lag behind; one more, and its stream is cut. It can
# connect again and go on after the last id that it has.
_LAG = 10_000
# Events kept for such a reader, of one topic and of all; the quietest topics go first.
_KEPT_OF_ONE = 10_000
_KEPT_OF_ALL = 200_000


class Told(NamedTuple):
    """An event with its number in its topic."""

    number: int
    event: dict[str, Any]


class Subscription:
    """One open stream's share."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Told] = asyncio.Queue(_LAG)
        self.is_cut = False

    def put(self, told: Told) -> None:
        """Leave an event for the reader; one that lags too far behind gets no more."""
        if self.is_cut:
            return
        try:
            self.queue.put_nowait(told)
        except asyncio.QueueFull:
            self.is_cut = True


class Bus:
    """Topics, each an execution or a thread. Used in the server's own thread only."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._kept: OrderedDict[str, deque[Told]] = OrderedDict()
        self._kept_count = 0

    def publish(self, topic: str, event: dict[str, Any]) -> None:
        """Tell an event to every open stream of its topic."""
        kept = self._kept.get(topic)
        if kept is None:
            kept = self._kept[topic] = deque(maxlen=_KEPT_OF_ONE)
        told = Told(kept[-1].number + 1 if kept else 1, event)
        if len(kept) < _KEPT_OF_ONE:
            self._kept_count += 1
        kept.append(told)
        self._kept.move_to_end(topic)
        while self._kept_count > _KEPT_OF_ALL and len(self._kept) > 1:
            _, quietest = self._kept.popitem(last=False)
            self._kept_count -= len(quietest)
        for subscription in self._subscriptions.get(topic, ()):
            subscription.put(told)

    def since(self, topic: str, number: int) -> list[Told]:
        """Give the events of a topic after one that a reader has."""
        return [told for told in self._kept.get(topic, ()) if told.number > number]

    def subscribe(self, topic: str) -> Subscription:
        """Open a share of a topic."""
        subscription = Subscription()
        self._subscriptions.setdefault(topic, []).append(subscription)
        return subscription

    def has_readers(self, topic: str) -> bool:
        """True while a stream of a topic is open."""
        return topic in self._subscriptions

    def unsubscribe(self, topic: str, subscription: Subscription) -> None:
        """Give a share up."""
        subscriptions = self._subscriptions[topic]
        subscriptions.remove(subscription)
        if not subscriptions:
            del self._subscriptions[topic]
