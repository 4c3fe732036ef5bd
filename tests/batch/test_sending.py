"""Ctrl-C while rows are submitted: what has not begun does not begin, and no fate is made up."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest

from flowmaestro import ConnectionError, ServerError, ValidationError
from flowmaestro_batch import Sent, Ticket
from flowmaestro_batch._sync import compat
from flowmaestro_batch.sending import refused, sent_by, sent_of

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


# What came of it


@pytest.mark.parametrize(
    "data", [{}, {"execution_id": None}, {"execution_id": ""}, {"execution_id": 7}]
)
def test_a_response_without_an_id_leaves_a_doubt(data):
    sent = sent_of({"data": data}, None)
    assert sent.execution_id is None
    assert sent.error.outcome_unknown is True


def test_a_row_that_python_cannot_send_is_refused():
    sent = refused(TypeError("no such type"), None)
    assert isinstance(sent.error, ValidationError)
    assert (sent.error.code, str(sent.error)) == ("inputs_invalid", "no such type")


def test_limits_count_where_there_was_a_response():
    limit = object()
    assert refused(ServerError("m", status_code=503), limit).rate_limit is limit
    assert refused(ConnectionError("m"), limit).rate_limit is None


@pytest.mark.parametrize(
    ("error", "text"), [(RuntimeError("gone"), "submitted: gone"), (MemoryError(), "MemoryError")]
)
def test_an_engine_that_fails_leaves_a_doubt_with_its_cause(error, text):
    future = Future()
    future.set_exception(error)
    sent = sent_by(future)
    assert (sent.error.code, sent.error.outcome_unknown) == ("worker_lost", True)
    assert text in str(sent.error)


def test_what_was_cancelled_was_not_sent():
    future = Future()
    future.cancel()
    assert sent_by(future).error.outcome_unknown is False
