"""One subject of the benchmarks in a process of its own.

    python benchmarks/worker.py SUBJECT URL

Reads lines ``MEASURE COUNT`` and answers each with the seconds and CPU seconds that it took,
as JSON. So that the subjects may live in different virtual environments, and be measured in
turns, this file imports nothing of the project's but what is measured.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Callable

KEY = "fm_live_benchmark"
WORKFLOW = "8d635123-5d33-4a06-989b-7fd45d593d25"
INPUTS = {"company": "Analytical Engines Ltd", "country": "GB"}
POLL_SECONDS = 1.0
AT_ONCE = 100

Measure = Callable[[int], Any]


def repeat(call: Callable[[], Any]) -> Measure:
    """Make a measure of one synchronous call."""

    def run(count: int) -> None:
        for _ in range(count):
            call()

    return run


def arepeat(call: Callable[[], Any]) -> Measure:
    """Make a measure of one asynchronous call, on the worker's loop."""

    async def run(count: int) -> None:
        for _ in range(count):
            await call()

    return lambda count: LOOP.run_until_complete(run(count))


def first_events(open_stream: Callable[[], Iterable[Any]]) -> Measure:
    """Make a measure of the time to a stream's first event; the stream is read to its end."""

    def run(count: int) -> float:
        seconds = 0.0
        for _ in range(count):
            started = time.perf_counter()
            events = iter(open_stream())
            next(events)
            seconds += time.perf_counter() - started
            assert len(list(events)) == 1
        return seconds

    return run


def gathered(one: Callable[[], Any]) -> Measure:
    """Make a measure of many tasks at once; gives the number that failed."""

    async def run(count: int) -> int:
        results = await asyncio.gather(*(one() for _ in range(count)), return_exceptions=True)
        return sum(isinstance(result, Exception) for result in results)

    return lambda count: LOOP.run_until_complete(run(count))


LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)


# Subjects: each gives the measures that it can take part in, by name


def flowmaestro_sync(url: str) -> dict[str, Measure]:
    """Ours, and 0.1.0, which is used in the same way."""
    from flowmaestro import FlowMaestroClient

    client = FlowMaestroClient(api_key=KEY, base_url=url)

    def stream(kind: str) -> Measure:
        def run(count: int) -> None:
            events = sum(1 for _ in client.executions.stream(f"{kind}_{count}"))
            assert events == count + 2, events

        return run

    return {
        "get": repeat(lambda: client.workflows.get(WORKFLOW)),
        "list": repeat(client.workflows.list),
        "execute": repeat(lambda: client.workflows.execute(WORKFLOW, inputs=INPUTS)),
        "burst": stream("burst"),
        "single": stream("single"),
        "first_event": first_events(lambda: client.executions.stream("burst_0")),
        "sized": lambda size: client.workflows.get(f"size_{size}"),
    }


def flowmaestro_async(url: str, **arguments: Any) -> dict[str, Measure]:
    """Ours, and 0.1.0."""
    from flowmaestro import AsyncFlowMaestroClient

    client = AsyncFlowMaestroClient(api_key=KEY, base_url=url, **arguments)

    async def wait() -> None:
        started = await client.workflows.execute(WORKFLOW, inputs=INPUTS)
        execution_id = started["data"]["execution_id"]
        await client.executions.wait_for_completion(
            execution_id, poll_interval=POLL_SECONDS, timeout=120
        )

    async def follow() -> None:
        started = await client.workflows.execute(WORKFLOW, inputs=INPUTS)
        last = None
        async for event in client.executions.stream(started["data"]["execution_id"]):
            last = event["type"]
        assert last == "execution:completed", last

    def stream(kind: str) -> Measure:
        async def run(count: int) -> None:
            events = 0
            async for _ in client.executions.stream(f"{kind}_{count}"):
                events += 1
            assert events == count + 2, events

        return lambda count: LOOP.run_until_complete(run(count))

    return {
        "get": arepeat(lambda: client.workflows.get(WORKFLOW)),
        "list": arepeat(client.workflows.list),
        "execute": arepeat(lambda: client.workflows.execute(WORKFLOW, inputs=INPUTS)),
        "burst": stream("burst"),
        "single": stream("single"),
        "waits": gathered(wait),
        "streams": gathered(follow),
        "gets_at_once": gathered(lambda: client.workflows.get(WORKFLOW)),
    }


def flowmaestro_aiohttp(url: str) -> dict[str, Measure]:
    """Ours, over aiohttp: a transport handed in."""
    import aiohttp
    import httpx_aiohttp

    async def open_session() -> Any:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE))

    session = LOOP.run_until_complete(open_session())
    atexit.register(lambda: LOOP.run_until_complete(session.close()))
    transport = httpx_aiohttp.AiohttpTransport(client=session)
    http_client = httpx_aiohttp.HttpxAiohttpClient(transport=transport)
    return flowmaestro_async(url, http_client=http_client)


def httpx_sync(url: str) -> dict[str, Measure]:
    """Raw httpx, with httpx-sse for streams."""
    import httpx
    from httpx_sse import connect_sse

    client = httpx.Client(headers={"Authorization": f"Bearer {KEY}"})
    root = f"{url}/api/v1"

    def stream(kind: str) -> Measure:
        def run(count: int) -> None:
            address = f"{root}/executions/{kind}_{count}/events"
            with connect_sse(client, "GET", address) as source:
                events = sum(1 for sse in source.iter_sse() if json.loads(sse.data))
            assert events == count + 2, events

        return run

    def short_stream() -> Iterator[Any]:
        with connect_sse(client, "GET", f"{root}/executions/burst_0/events") as source:
            for sse in source.iter_sse():
                yield json.loads(sse.data)

    body = {"inputs": INPUTS}
    return {
        "get": repeat(lambda: client.get(f"{root}/workflows/{WORKFLOW}").json()),
        "list": repeat(lambda: client.get(f"{root}/workflows").json()),
        "execute": repeat(
            lambda: client.post(f"{root}/workflows/{WORKFLOW}/execute", json=body).json()
        ),
        "burst": stream("burst"),
        "single": stream("single"),
        "first_event": first_events(short_stream),
        "sized": lambda size: client.get(f"{root}/workflows/size_{size}").json(),
    }


def httpx_async(url: str) -> dict[str, Measure]:
    """Raw httpx: the loops that a user would write, with a pool of the same size."""
    import httpx
    from httpx_sse import aconnect_sse

    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    headers = {"Authorization": f"Bearer {KEY}"}
    client = httpx.AsyncClient(headers=headers, limits=limits, timeout=120)
    unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
    streaming = httpx.AsyncClient(headers=headers, limits=unlimited, timeout=120)
    root = f"{url}/api/v1"
    body = {"inputs": INPUTS}

    async def get(path: str) -> Any:
        return (await client.get(f"{root}/{path}")).json()

    async def execute(sender: Any) -> Any:
        return (await sender.post(f"{root}/workflows/{WORKFLOW}/execute", json=body)).json()

    async def wait() -> None:
        started = await execute(client)
        path = f"executions/{started['data']['execution_id']}"
        while (await get(path))["data"]["status"] == "running":
            await asyncio.sleep(POLL_SECONDS)

    async def follow() -> None:
        started = await execute(streaming)
        address = f"{root}/executions/{started['data']['execution_id']}/events"
        async with aconnect_sse(streaming, "GET", address) as source:
            async for sse in source.aiter_sse():
                json.loads(sse.data)
        assert sse.event == "execution:completed", sse

    def stream(kind: str) -> Measure:
        async def run(count: int) -> None:
            events = 0
            address = f"{root}/executions/{kind}_{count}/events"
            async with aconnect_sse(streaming, "GET", address) as source:
                async for sse in source.aiter_sse():
                    json.loads(sse.data)
                    events += 1
            assert events == count + 2, events

        return lambda count: LOOP.run_until_complete(run(count))

    return {
        "get": arepeat(lambda: get(f"workflows/{WORKFLOW}")),
        "list": arepeat(lambda: get("workflows")),
        "execute": arepeat(lambda: execute(client)),
        "burst": stream("burst"),
        "single": stream("single"),
        "waits": gathered(wait),
        "streams": gathered(follow),
        "gets_at_once": gathered(lambda: get(f"workflows/{WORKFLOW}")),
    }


def aiohttp_async(url: str) -> dict[str, Measure]:
    """Raw aiohttp, for scale."""
    import aiohttp

    async def open_session() -> Any:
        return aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"})

    client = LOOP.run_until_complete(open_session())
    atexit.register(lambda: LOOP.run_until_complete(client.close()))
    root = f"{url}/api/v1"

    async def get(path: str) -> Any:
        async with client.get(f"{root}/{path}") as response:
            return await response.json()

    async def execute() -> Any:
        address = f"{root}/workflows/{WORKFLOW}/execute"
        async with client.post(address, json={"inputs": INPUTS}) as response:
            return await response.json()

    return {
        "get": arepeat(lambda: get(f"workflows/{WORKFLOW}")),
        "list": arepeat(lambda: get("workflows")),
        "execute": arepeat(execute),
        "gets_at_once": gathered(lambda: get(f"workflows/{WORKFLOW}")),
    }


def openai_sync(url: str) -> dict[str, Measure]:
    """The OpenAI SDK's own request path, on the same answers."""
    import openai

    client = openai.OpenAI(api_key=KEY, base_url=f"{url}/api/v1")
    body = {"inputs": INPUTS}
    return {
        "get": repeat(lambda: client.get(f"/workflows/{WORKFLOW}", cast_to=object)),
        "list": repeat(lambda: client.get("/workflows", cast_to=object)),
        "execute": repeat(
            lambda: client.post(f"/workflows/{WORKFLOW}/execute", cast_to=object, body=body)
        ),
    }


def langgraph_sync(url: str) -> dict[str, Measure]:
    """langgraph-sdk's stream reading, on the same events."""
    from langgraph_sdk import get_sync_client

    client = get_sync_client(url=url, api_key=KEY)

    def stream(kind: str) -> Measure:
        def run(count: int) -> None:
            path = f"/api/v1/executions/{kind}_{count}/events"
            events = sum(1 for _ in client.http.stream(path, "GET"))
            assert events >= count + 2, events

        return run

    return {"burst": stream("burst"), "single": stream("single")}


def json_alone(url: str) -> dict[str, Measure]:
    """The least that an answer can cost: a bare socket, and ``json.loads``."""
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port))

    def sized(size: int) -> None:
        request = f"GET /api/v1/workflows/size_{size} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
        connection.sendall(request.encode())
        head, _, rest = connection.recv(65_536).partition(b"\r\n\r\n")
        length = int(head.rpartition(b"content-length: ")[2])
        pieces, missing = [rest], length - len(rest)
        while missing:
            pieces.append(connection.recv(65_536))
            missing -= len(pieces[-1])
        json.loads(b"".join(pieces))

    return {"sized": sized}


def local_server(url: str) -> dict[str, Measure]:
    """flowmaestro-local in the process of its client, as tests have it."""
    from flowmaestro import FlowMaestroClient
    from flowmaestro_local import LocalServer

    server = LocalServer()
    server.workflow(WORKFLOW)(lambda inputs: inputs)
    client = FlowMaestroClient(api_key=KEY, base_url=server.start().url)

    def start_and_stop(count: int) -> None:
        for _ in range(count):
            LocalServer().start().stop()

    return {
        "get": repeat(lambda: client.workflows.get(WORKFLOW)),
        "start_and_stop": start_and_stop,
    }


def stages(url: str) -> dict[str, Measure]:
    """What our own streams do, one thing more each time; with orjson."""
    from functools import partial

    import httpx
    import orjson

    from flowmaestro import FlowMaestroClient
    from flowmaestro_core.sse import EventDecoder
    from flowmaestro_executions.wire import execution_event_of

    transport = httpx.HTTPTransport()
    client = FlowMaestroClient(api_key=KEY, base_url=url)
    event_of = partial(execution_event_of, {"execution_id": "burst"})

    def chunks(count: int) -> Iterator[bytes]:
        address = f"{url}/api/v1/executions/burst_{count}/events"
        response = transport.handle_request(httpx.Request("GET", address))
        yield from response.stream

    def read(count: int) -> None:
        for _ in chunks(count):
            pass

    def frames(count: int) -> None:
        decoder = EventDecoder()
        for chunk in chunks(count):
            decoder.feed(chunk)

    def with_json(count: int) -> None:
        decoder = EventDecoder()
        for chunk in chunks(count):
            for frame in decoder.feed(chunk):
                orjson.loads(frame.data)

    def events(count: int) -> None:
        decoder = EventDecoder()
        for chunk in chunks(count):
            for frame in decoder.feed(chunk):
                event_of(frame)

    def stream(count: int) -> None:
        for _ in client.executions.stream(f"burst_{count}"):
            pass

    return {"read": read, "frames": frames, "json": with_json, "events": events, "stream": stream}


def without_orjson(subject: Callable[[str], dict[str, Measure]]) -> Callable[..., Any]:
    """Make orjson fail to import, as where it is not installed."""

    def measures(url: str) -> dict[str, Measure]:
        sys.modules["orjson"] = None  # type: ignore[assignment]
        return subject(url)

    return measures


SUBJECTS: dict[str, Callable[..., dict[str, Measure]]] = {
    "flowmaestro": without_orjson(flowmaestro_sync),
    "flowmaestro, async": without_orjson(flowmaestro_async),
    "flowmaestro[speed]": flowmaestro_sync,
    "flowmaestro[speed], async": flowmaestro_async,
    "flowmaestro over httpx-aiohttp, async": without_orjson(flowmaestro_aiohttp),
    "flowmaestro 0.1.0": flowmaestro_sync,
    "flowmaestro 0.1.0, async": flowmaestro_async,
    "httpx": httpx_sync,
    "httpx, async": httpx_async,
    "aiohttp, async": aiohttp_async,
    "json": json_alone,
    "flowmaestro-local": local_server,
    "openai": openai_sync,
    "langgraph-sdk": langgraph_sync,
    "stages": stages,
}


def serve() -> None:
    """Measure what the lines of standard input ask for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    measures = SUBJECTS[sys.argv[1]](sys.argv[2])
    print(json.dumps(sorted(measures)), flush=True)
    for line in sys.stdin:
        measure, count = line.split()
        wall, cpu = time.perf_counter(), time.process_time()
        result = measures[measure](int(count))
        took = {
            "wall": result if isinstance(result, float) else time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "failed": result if isinstance(result, int) else 0,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    serve()
