"""The key is nowhere in a traceback, not in the locals of a frame either."""

from __future__ import annotations

import asyncio
import traceback

import httpx
import pytest

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from flowmaestro_core import AsyncCoreClient, CoreClient, errors
from flowmaestro_core.request import Request
from tests.core.mock import Script, error

pytestmark = pytest.mark.once

SECRET = "fm_live_hush"
URL = "http://127.0.0.1:1"
KINDS = [CoreClient, AsyncCoreClient, FlowMaestroClient, AsyncFlowMaestroClient]

of_each = pytest.mark.parametrize("kind", KINDS)


def shown_by(problem: BaseException) -> str:
    """Give all that a debugger or an error tracker shows of an error."""
    seen = [str(problem), repr(problem), repr(problem.__dict__)]
    for chained in (problem, problem.__cause__, problem.__context__):
        if chained is None:
            continue
        whole = traceback.TracebackException.from_exception(chained, capture_locals=True)
        # The first frame is the test's own, which holds the key.
        for frame in whole.stack:
            if "/flowmaestro" in frame.filename:
                seen.append(repr(frame.locals))
        step = chained.__traceback__
        while step is not None:
            if "/flowmaestro" in step.tb_frame.f_code.co_filename:
                seen += map(repr, step.tb_frame.f_locals.values())
                seen.append(repr(getattr(step.tb_frame.f_locals.get("self"), "__dict__", None)))
            step = step.tb_next
    return "\n".join(seen)


@of_each
@pytest.mark.parametrize(
    "key",
    [
        f"{SECRET}\n",
        f" {SECRET}",
        f"{SECRET} {SECRET}",
        f"{SECRET}\x00",
        f"{SECRET}é",
        SECRET.encode(),
        [SECRET],
        {"key": SECRET},
    ],
    ids=range(8),
)
def test_a_key_that_is_refused_is_not_shown(kind, key):
    with pytest.raises(ValueError, match="api_key") as caught:
        kind(key, URL)
    assert SECRET not in shown_by(caught.value)


@of_each
def test_a_key_of_the_environment_that_is_refused_is_not_shown(kind, monkeypatch):
    monkeypatch.setenv("FLOWMAESTRO_API_KEY", f"{SECRET}\n")
    with pytest.raises(errors.ConfigurationError, match="FLOWMAESTRO_API_KEY") as caught:
        kind()
    assert SECRET not in shown_by(caught.value)


WRONG = [
    {"base_url": "https://x?"},
    {"base_url": 5},
    {"timeout": -1},
    {"timeout": "5"},
    {"max_retries": -1},
    {"max_retries": "3"},
    {"headers": {"X Y": "a"}},
    {"headers": 5},
    {"http_client": object()},
    {"max_response_bytes": 0},
    {"max_response_bytes": "1"},
]


@of_each
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: repr(wrong)[:30])
@pytest.mark.parametrize("from_environment", [False, True])
def test_a_key_beside_an_argument_that_is_refused_is_not_shown(
    kind, wrong, from_environment, monkeypatch
):
    if from_environment:
        monkeypatch.setenv("FLOWMAESTRO_API_KEY", SECRET)
    else:
        wrong = {"api_key": SECRET, **wrong}
    with pytest.raises((ValueError, TypeError)) as caught:
        kind(**wrong)
    assert SECRET not in shown_by(caught.value)


@of_each
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLOWMAESTRO_LOG", "loud"),
        ("FLOWMAESTRO_BASE_URL", "https://x?"),
        ("ALL_PROXY", "socks://h"),
    ]
    + [("SSL_CERT_FILE", "/gone"), ("SSL_CERT_DIR", "/gone")],
)
def test_a_key_beside_a_variable_that_is_refused_is_not_shown(kind, name, value, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("FLOWMAESTRO_API_KEY", SECRET)
    monkeypatch.setenv(name, value)
    with pytest.raises(errors.ConfigurationError, match=name) as caught:
        kind()
    assert SECRET not in shown_by(caught.value)


@of_each
def test_a_client_that_is_half_made_can_be_shown(kind):
    half = kind.__new__(kind)
    assert repr(half) == f"{kind.__name__}(not made)"
    with pytest.raises(ValueError) as caught:
        kind(SECRET, "nope")
    step = caught.value.__traceback__.tb_next
    assert repr(step.tb_frame.f_locals["self"]) == f"{kind.__name__}(not made)"
    assert repr(kind(SECRET, URL)) == f"{kind.__name__}(base_url={URL!r})"


GET = Request.get("/workflows")


def fail_with(failure):
    def step(request):
        raise failure

    return step


@pytest.mark.parametrize("kind", [CoreClient, AsyncCoreClient])
@pytest.mark.parametrize("auth", [None, ("user", "password")])
@pytest.mark.parametrize(
    "step",
    [
        error(404),
        error(500),
        httpx.ReadError("reset"),
        httpx.ConnectError("no"),
        fail_with(RuntimeError("a hook of the user's")),
    ],
    ids=range(5),
)
def test_a_call_that_fails_shows_no_key_in_the_frames_of_the_sdk(kind, auth, step):
    """Also where the key is in ``X-API-Key``, because the user's client has its own auth."""
    script = Script(step)

    def call():
        if kind is CoreClient:
            with httpx.Client(transport=script, auth=auth) as http_client:
                with CoreClient(SECRET, URL, http_client=http_client, max_retries=0) as client:
                    client.call(GET)

        async def main():
            async with httpx.AsyncClient(transport=script, auth=auth) as http_client:
                async with AsyncCoreClient(
                    SECRET, URL, http_client=http_client, max_retries=0
                ) as client:
                    await client.call(GET)

        asyncio.run(main())

    with pytest.raises((errors.FlowMaestroError, RuntimeError)) as caught:
        call()
    assert len(script.requests) == 1
    assert SECRET in str(script.requests[0].headers.raw)
    assert SECRET not in shown_by(caught.value)
