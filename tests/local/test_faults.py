"""Faults on demand do what they say, as often as they say, and the same for the same seed."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from flowmaestro_local import LocalServer

HEADERS = {"X-API-Key": "fm_live_test"}


@pytest.fixture
def server():
    server = LocalServer(dialect="documented")
    server.is_followed = threading.Event()

    @server.workflow("wf")
    def wf(inputs, run):
        while inputs.get("followed") and not server.is_followed.is_set():
            run.sleep(0.01)
        return {"a": "x" * 500}

    with server.start():
        yield server


def execute(server, **inputs):
    url = f"{server.url}/api/v1/workflows/wf/execute"
    return httpx.post(url, json={"inputs": inputs}, headers=HEADERS, timeout=60)


def test_a_status_is_given_without_any_work(server):
    server.faults.add(
        "status", "POST */execute", times=2, status=429, headers={"Retry-After": "3"}, body={"a": 1}
    )
    for _ in range(2):
        answer = execute(server)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
        assert answer.json() == {"a": 1}
    assert execute(server).status_code == 202
    assert len(server.executions) == 1
    assert server.faults.injected == {"status 429": 2}


def test_an_error_of_a_fault_has_the_shape_of_the_apis(server):
    server.faults.add("status")
    response = execute(server)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"error": {"code": "injected_fault", "message": "an injected 503"}}
    server.faults.add("status", status=418, body="text")
    assert execute(server).text == "text"
    server.faults.add("status", body=b"\xff")
    assert execute(server).content == b"\xff"


def test_latency_makes_an_answer_late(server):
    server.faults.add("latency", seconds=0.3)
    began = time.monotonic()
    assert execute(server).status_code == 202
    assert time.monotonic() - began >= 0.3


def test_resets_come_before_or_after_the_work(server):
    server.faults.add("reset_before")
    server.faults.add("reset_after")
    for done in (0, 1):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            execute(server)
        assert len(server.executions) == done


def test_an_answer_can_be_cut_in_half(server):
    server.faults.add("truncate")
    url = f"{server.url}/api/v1/workflows/wf/execute"
    received = b""
    with httpx.stream("POST", url, json={}, headers=HEADERS, timeout=60) as response:
        length = int(response.headers["content-length"])
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            for chunk in response.iter_raw():
                received += chunk
    assert len(received) == length // 2
    assert len(server.executions) == 1
    assert server.faults.injected == {"truncate": 1}


def test_the_first_fault_that_fits_a_request_happens(server):
    server.faults.add("status", "GET */agents", status=500)
    server.faults.add("status", "POST */execute", probability=0, status=501)
    server.faults.add("status", "POST */execute", times=2, status=502)
    server.faults.add("status", "*/execute", status=504)
    assert [execute(server).status_code for _ in range(4)] == [502, 502, 504, 202]
    assert server.faults.injected == {"status 502": 2, "status 504": 1}


def test_an_answer_can_drip(server):
    server.faults.add("drip", seconds=0.3)
    began = time.monotonic()
    assert execute(server).json()["data"]["status"] == "pending"
    assert time.monotonic() - began >= 0.25


def stream(server, timeout: float = 60) -> bytes:
    """Read the stream of an execution that ends once the stream has begun."""
    server.is_followed.clear()
    execution_id = execute(server, followed=True).json()["data"]["execution_id"]
    server_url = f"{server.url}/api/v1/executions/{execution_id}/events"
    body = b""
    with httpx.stream("GET", server_url, headers=HEADERS, timeout=timeout) as answer:
        for chunk in answer.iter_bytes():
            body += chunk
            server.is_followed.set()
    return body


def test_streams_can_be_spoiled(server):
    server.faults.add("duplicate_event", "GET */events", after=1)
    assert stream(server).count(b"event: connected") == 2
    server.faults.add("garbage_frame", "GET */events", after=1)
    assert b"\xff" in stream(server)
    server.faults.add("cut_stream", "GET */events", after=1)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        stream(server)
    server.faults.add("stall", "GET */events", after=1, seconds=float("inf"))
    with pytest.raises(httpx.ReadTimeout):
        stream(server, timeout=2)
    server.faults.add("stall", "GET */workflows", seconds=float("inf"))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{server.url}/api/v1/workflows", headers=HEADERS, timeout=1)
    server.faults.add("stall", "GET */workflows", seconds=0.2)
    began = time.monotonic()
    httpx.get(f"{server.url}/api/v1/workflows", headers=HEADERS, timeout=60)
    assert time.monotonic() - began >= 0.2


def test_a_stream_is_spoiled_after_so_many_events(server):
    events = [b"event: connected", b"event: execution:started", b"event: execution:completed"]
    for after, twice in enumerate(events, start=1):
        server.faults.add("duplicate_event", "GET */events", after=after)
        body = stream(server)
        # Those before it was followed are not sent.
        seen = [event for event in events if event in body]
        if after <= len(seen):
            assert [body.count(event) for event in seen] == [
                1 + (number == after) for number in range(1, len(seen) + 1)
            ], twice
    assert server.faults.injected == {"duplicate_event": 3}


def test_chance_is_the_same_for_the_same_seed():
    def outcomes(seed: int) -> list[int]:
        server = LocalServer(seed=seed)
        server.faults.add("status", probability=0.5, times=None)
        with server.start() as url, httpx.Client(headers=HEADERS, timeout=60) as http:
            return [http.get(f"{url}/api/v1/workflows").status_code for _ in range(20)]

    first = outcomes(1)
    assert outcomes(1) == first
    assert outcomes(2) != first
    assert set(first) == {200, 503}


def test_faults_can_be_taken_back(server):
    fault = server.faults.add("status", times=None)
    assert execute(server).status_code == 503
    server.faults.clear()
    assert execute(server).status_code == 202
    assert fault.used == 1
