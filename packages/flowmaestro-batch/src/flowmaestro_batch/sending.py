"""Submitting one row, on this machine or another, and what came of it.

An engine runs ``send`` somewhere, once for each ticket. It is all that a batch asks of a
cluster: the journal, the pace and the looking at executions stay with the caller.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, NamedTuple, Optional, Protocol

from flowmaestro import FlowMaestroClient, FlowMaestroError, InvalidArgumentError, RateLimit

from .errors import WorkerLostError

__all__ = [
    "Engine",
    "Sent",
    "Ticket",
    "hand_over",
    "not_sent",
    "reason_of",
    "refused",
    "send",
    "sent_by",
    "sent_of",
]


class Ticket(NamedTuple):
    """One submission.

    Attributes:
        workflow_id: The workflow to run.
        inputs: Its inputs.
    """

    workflow_id: str
    inputs: dict[str, Any]


class Sent(NamedTuple):
    """What came of a submission: an execution, or an error.

    Attributes:
        execution_id: The execution's id, or None.
        error: What went wrong, or None.
        rate_limit: What the backend said of the key's limits.
    """

    execution_id: Optional[str]
    error: Optional[FlowMaestroError] = None
    rate_limit: Optional[RateLimit] = None


class Engine(Protocol):
    """Where submissions are made.

    A ticket is run at most once: an engine must not try again by itself when a worker is
    lost. It fails the future instead, and the batch finds out what became of the row.
    """

    @property
    def size(self) -> int:
        """How many tickets it works on at a time."""
        ...

    def submit(self, ticket: Ticket) -> Future[Sent]:
        """Have ``send`` called with a ticket, once, and tell what it gave."""
        ...


def send(client: FlowMaestroClient, ticket: Ticket) -> Sent:
    """Submit a row, once: an error is given back, not raised.

    Endpoint:
        ``POST /api/v1/workflows/{id}/execute``
    """
    once = client.with_options(max_retries=0)
    try:
        answer = once.workflows.execute(ticket.workflow_id, ticket.inputs)
    except (FlowMaestroError, TypeError, ValueError) as error:
        return refused(error, client.rate_limit)
    return sent_of(answer, client.rate_limit)


def sent_of(answer: Any, rate_limit: Optional[RateLimit]) -> Sent:
    """Take the execution's id out of the answer of ``execute``."""
    execution_id = answer["data"].get("execution_id")
    if isinstance(execution_id, str) and execution_id:
        return Sent(execution_id, None, rate_limit)
    lost = FlowMaestroError("the answer has no execution_id", outcome_unknown=True)
    return Sent(None, lost, rate_limit)


def refused(error: Exception, rate_limit: Optional[RateLimit]) -> Sent:
    """Take what ``execute`` raised."""
    if isinstance(error, InvalidArgumentError):
        error = InvalidArgumentError(error.message, code="inputs_invalid")
    elif not isinstance(error, FlowMaestroError):
        error = InvalidArgumentError(str(error), code="inputs_invalid")
    # Without an answer, what is known of the limits is old.
    return Sent(None, error, rate_limit if error.status_code is not None else None)


def not_sent() -> Sent:
    """Tell of a ticket that was not begun."""
    return Sent(None, FlowMaestroError("it was interrupted before it was sent"))


def hand_over(engine: Engine, ticket: Ticket) -> Future[Sent]:
    """Have an engine take a ticket; one that fails may have taken it all the same."""
    try:
        return engine.submit(ticket)
    except Exception as why:
        future: Future[Sent] = Future()
        future.set_exception(why)
        return future


def reason_of(error: BaseException) -> str:
    """Say why, also for an exception that has no message."""
    return str(error) or type(error).__name__


def sent_by(future: Future[Sent]) -> Sent:
    """Take what an engine's future gave.

    One that was cancelled had not begun; one that failed may have submitted its row.
    """
    if future.cancelled():
        return not_sent()
    error = future.exception()
    if error is None:
        return future.result()
    problem = f"nobody knows whether the row was submitted: {reason_of(error)}"
    return Sent(None, WorkerLostError(problem, code="worker_lost", outcome_unknown=True))
