"""Ctrl-C while rows are submitted: what has not begun does not begin, and no fate is made up."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest

from flowmaestro_batch import Sent, Ticket
from flowmaestro_batch._sync import compat

TICKETS = [Ticket("wf", {"n": number}) for number in range(3)]


def test_ctrl_c_between_two_threads_does_not_wait_for_the_one_that_never_began(monkeypatch):
    begun = []

    def interrupted(client, ticket, future):
        if begun:
            raise KeyboardInterrupt
        begun.append(ticket)
        future.set_running_or_notify_cancel()
        threading.Timer(0.3, future.set_result, [Sent("e0")]).start()

    monkeypatch.setattr(compat, "_send_in_a_thread", interrupted)
    results = [None] * 3
    with pytest.raises(KeyboardInterrupt):
        compat.send_all(None, None, TICKETS, results)
    assert results[0] == Sent("e0")
    assert [sent.execution_id for sent in results[1:]] == [None, None]
    assert not any(sent.error.outcome_unknown for sent in results[1:])


class Elsewhere:
    """An engine whose futures do not tell that they have begun, as a cluster's do not."""

    size = 3

    def __init__(self):
        self.futures = []

    def submit(self, ticket):
        if len(self.futures) == 2:
            raise KeyboardInterrupt
        self.futures.append(Future())
        return self.futures[-1]


def test_ctrl_c_waits_for_what_an_engine_may_have_begun():
    engine, results = Elsewhere(), [None] * 3

    def answer():
        time.sleep(0.3)
        for number, future in enumerate(engine.futures):
            future.set_result(Sent(f"e{number}"))

    threading.Thread(target=answer).start()
    with pytest.raises(KeyboardInterrupt):
        compat.send_all(None, engine, TICKETS, results)
    assert results == [Sent("e0"), Sent("e1"), None]


def test_a_second_ctrl_c_leaves_what_an_engine_may_have_begun_in_doubt(monkeypatch):
    def interrupted(futures):
        raise KeyboardInterrupt

    monkeypatch.setattr(compat, "_wait", interrupted)
    results = [None] * 3
    with pytest.raises(KeyboardInterrupt):
        compat.send_all(None, Elsewhere(), TICKETS, results)
    assert results == [None, None, None], "None is what the next start looks for"
