"""The ASGI app: routes, the start page, unknown routes, and a record of every request."""

from __future__ import annotations

from collections import deque
from html import escape
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import framework_error
from .api import Api
from .faults import Faults, FaultyApp
from .records import RecordedRequest
from .registry import Registry
from .routes import ROUTES, Route

__all__ = ["make_app"]


def make_app(api: Api, faults: Faults, requests: deque[RecordedRequest]) -> ASGIApp:
    """Put the app together."""
    routes = [StarletteRoute("/", _start_page(api.registry))]
    for route in ROUTES:
        if api.documented or not route.documented_only:
            routes.append(
                StarletteRoute(
                    "/api/v1" + route.path, _endpoint(api, route), methods=[route.method]
                )
            )
    # Starlette answers a known path with another method by a 405; the backend by a 404.
    app = Starlette(routes=routes, exception_handlers={404: _unknown, 405: _unknown})
    app.router.redirect_slashes = False
    return _Recorder(FaultyApp(_RawPaths(app), faults), requests)


def _endpoint(api: Api, route: Route):  # type: ignore[no-untyped-def]
    async def endpoint(request: Request) -> Response:
        request.path_params["id"] = unquote(request.path_params.get("id", ""))
        return await api.handle(route.answer, route.scopes, request)

    return endpoint


async def _unknown(request: Request, problem: Exception) -> Response:
    return framework_error(
        404, "Not Found", f"Route {request.method}:{_target(request.scope)} not found"
    )


def _target(scope: Scope) -> str:
    """The path and query as they were sent."""
    query = scope.get("query_string", b"")
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return (raw + (b"?" + query if query else b"")).decode("latin-1")


class _RawPaths:
    """Routes by the path as it was sent, so that an escaped slash in an id stays in the id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._app(scope, receive, send)


class _Recorder:
    """Keeps what was asked, for tests to assert on."""

    def __init__(self, app: ASGIApp, requests: deque[RecordedRequest]) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Recorded before the answer, which a test may have before this line is done.
        record = RecordedRequest(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            b"",
        )
        self._requests.append(record)
        parts: list[bytes] = []

        async def keep() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    record.body = b"".join(parts)
            return message

        await self._app(scope, keep, send)


def _start_page(registry: Registry):  # type: ignore[no-untyped-def]
    async def page(request: Request) -> Response:
        sections: list[str] = []
        for title, things in (
            ("Workflows", registry.workflows),
            ("Agents", registry.agents),
            ("Knowledge bases", registry.knowledge_bases),
            ("Triggers", registry.triggers),
        ):
            rows = "".join(
                f"<li><code>{escape(one.id)}</code> {escape(one.name)}</li>"
                for one in things.values()
            )
            sections.append(f"<h2>{title}</h2><ul>{rows or '<li>none registered</li>'}</ul>")
        return HTMLResponse(
            "<!doctype html><html lang=en><meta charset=utf-8>"
            "<title>FlowMaestro, local</title>"
            "<style>body{font:16px/1.5 system-ui;max-width:46rem;margin:3rem auto;padding:0 1rem}"
            "code{background:#eee;padding:.1em .3em}</style>"
            "<h1>FlowMaestro, local</h1>"
            f"<p>An embedded server for tests and development. Set <code>FLOWMAESTRO_BASE_URL="
            f"{escape(str(request.base_url).rstrip('/'))}</code> and any key that begins with "
            f"<code>fm_live_</code>.</p>{''.join(sections)}</html>"
        )

    return page
