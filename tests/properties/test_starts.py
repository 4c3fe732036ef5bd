"""What starts something is sent once, whatever method it is."""

from __future__ import annotations

import httpx
import pytest

from flowmaestro import FlowMaestroError
from tests.core.mock import Script, error
from tests.properties.methods import METHODS, REPEATABLE_POSTS, STARTS, call, parameters_of

pytestmark = pytest.mark.once


def sent(method: str, kind: str, step: object) -> list[httpx.Request]:
    """Give the requests of a call that gets the same answer each time."""
    script = Script(step)
    with pytest.raises(FlowMaestroError) as caught:
        call(kind, script, method, _arguments(method), max_retries=2)
    if method in STARTS:
        assert caught.value.outcome_unknown is True
        assert "may have been" in str(caught.value)
    return script.requests


def _arguments(method: str) -> dict:
    needed, optional = parameters_of(method)
    return {**needed, **optional}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("method", METHODS)
def test_only_what_may_be_repeated_is_repeated(method, kind):
    for step in (error(500), httpx.ReadError("reset")):
        requests = sent(method, kind, step)
        if method in STARTS:
            assert [request.method for request in requests] == ["POST"]
            continue
        # A method that is in no table is one that starts nothing, or has to be put into one.
        is_post = requests[0].method == "POST"
        assert is_post == (method in REPEATABLE_POSTS), f"{method}: see STARTS"
        assert len(requests) >= 3, "a failure in passing is tried again"


def test_the_tables_name_methods_that_there_are():
    assert not (STARTS | REPEATABLE_POSTS).difference(METHODS)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("method", sorted(STARTS))
def test_a_start_that_was_not_processed_is_tried_again(method, kind):
    script = Script(error(429), error(503, retry_after="0"), error(400))
    with pytest.raises(FlowMaestroError) as caught:
        call(kind, script, method, _arguments(method), max_retries=2)
    assert caught.value.status_code == 400
    assert caught.value.outcome_unknown is False
    assert len(script.requests) == 3
