"""The receivers of examples/webhooks, in their frameworks, get what flowmaestro-local sends."""

from __future__ import annotations

import hashlib
import hmac
import importlib
import json
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import uvicorn

from flowmaestro import FlowMaestroClient
from flowmaestro_local import LocalServer
from tests.conftest import KEY
from tests.receiver import until

EXAMPLES = Path(__file__).parents[2] / "examples" / "webhooks"


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def wsgi(app: object) -> Iterator[str]:
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join(60)


@contextmanager
def asgi(app: object) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hook"
    server.should_exit = True
    thread.join(60)


@pytest.fixture(scope="module", params=["fastapi", "flask", "django"])
def receiver(request):
    pytest.importorskip(request.param, reason="the dependency group webhooks is not installed")
    sys.path.insert(0, str(EXAMPLES))
    module = importlib.import_module(f"{request.param}_receiver")
    sys.path.remove(str(EXAMPLES))
    with (asgi if request.param == "fastapi" else wsgi)(module.app) as url:
        yield url


def post(url: str, body: bytes, secret: str, delivery: str, **headers: str) -> tuple[int, str]:
    signature = "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    sent = {"X-FlowMaestro-Signature": signature, "X-FlowMaestro-Delivery-ID": delivery, **headers}
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **sent})
    try:
        with urllib.request.urlopen(request, timeout=100) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def event(**data: object) -> bytes:
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return json.dumps(
        {"id": "1", "event": "execution.completed", "created_at": stamp, "data": data}
    ).encode()


def test_a_receiver_takes_what_is_right_and_refuses_the_rest(receiver, monkeypatch):
    monkeypatch.setenv("FLOWMAESTRO_WEBHOOK_SECRET", "whsec_new,whsec_old")
    body = event(outputs={"a": 1})
    old = body.replace(body[body.index(b"20") :][:4], b"2020")
    status, said = post(receiver, body, "whsec_new", "d1")
    assert (status, json.loads(said)) == (200, {"event": "execution.completed"})
    assert post(receiver, body, "whsec_old", "d2")[0] == 200, "a secret that is being replaced"
    assert "handled before" in post(receiver, body, "whsec_new", "d1")[1], "the same delivery"
    assert post(receiver, body, "whsec_wrong", "d3")[0] == 400
    assert post(receiver, body, "whsec_new", "d4", **{"X-FlowMaestro-Signature": "v1=00"})[0] == 400
    assert "tolerance" in post(receiver, old, "whsec_new", "d5")[1], "a replay"
    assert post(receiver, b"", "whsec_new", "d6")[0] == 400
    assert post(receiver, b"\xff\xfe", "whsec_new", "d7")[0] == 400
    large = event(outputs={"text": "x" * 10_000_000})
    assert post(receiver, large, "whsec_new", "d8")[0] == 200
    assert post(receiver, large[:-1] + b" ", "whsec_new", "d9")[0] == 400


def test_a_receiver_gets_the_deliveries_of_a_real_server(receiver, monkeypatch):
    server = LocalServer()
    server.workflow("wf_1")(lambda inputs: {"greeting": "Hello"})
    with server.start() as url, FlowMaestroClient(KEY, url) as client:
        created = client.webhooks.create(
            name="Ends", url=receiver, events=["execution.completed", "execution.started"]
        )["data"]
        monkeypatch.setenv("FLOWMAESTRO_WEBHOOK_SECRET", created["secret"])
        assert client.webhooks.test(created["id"])["data"]["success"] is True
        client.run("wf_1", poll_interval=0.02)
        until(
            lambda: (
                [one["status"] for one in client.webhooks.deliveries(created["id"])["data"]]
                == ["success", "success"]
            )
        )
        monkeypatch.setenv("FLOWMAESTRO_WEBHOOK_SECRET", "whsec_another")
        result = client.webhooks.test(created["id"])["data"]
        assert result["success"] is False
        assert result["status_code"] == 400
