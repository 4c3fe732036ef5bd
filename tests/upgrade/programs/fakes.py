"""Tests code of its own against fakes of the errors, as a test suite for 0.1.0 did."""

from __future__ import annotations

import os
from typing import Callable, Optional

from flowmaestro import FlowMaestroClient, errors
from flowmaestro.errors import (
    AuthenticationError,
    ConnectionError,
    FlowMaestroError,
    NotFoundError,
    RateLimitError,
    ServerError,
    StreamError,
    TimeoutError,
    ValidationError,
)


def advice(call: Callable[[], object]) -> str:
    """The program's own code: what it tells its users of an error."""
    try:
        call()
    except RateLimitError as error:
        return f"wait {error.retry_after} s"
    except NotFoundError as error:
        return f"{error.status_code} {error.code}"
    except FlowMaestroError as error:
        return f"{error.code}: {error.message}"
    return "fine"


def failing(error: Exception) -> Callable[[], object]:
    def call() -> Optional[object]:
        raise error

    return call


FAKES: list[Exception] = [
    FlowMaestroError("odd", "odd_code", 418, "req_1", {"pot": "tea"}),
    NotFoundError(),
    RateLimitError(retry_after=5),
    AuthenticationError("no key"),
    ValidationError("no name", "validation_error", "req_2", {"field": "name"}),
    ServerError("down", status_code=503),
    TimeoutError("late"),
    ConnectionError("nobody there"),
    StreamError("cut"),
]

if __name__ == "__main__":
    for fake in FAKES:
        print(advice(failing(fake)))
    with FlowMaestroClient(
        api_key=os.environ["FLOWMAESTRO_API_KEY"], base_url=os.environ["FLOWMAESTRO_BASE_URL"]
    ) as client:
        missing = "00000000-0000-4000-8000-000000000000"
        print(advice(lambda: client.executions.get(missing)))
        print(advice(lambda: client.workflows.list()))
    assert errors.NotFoundError is NotFoundError
