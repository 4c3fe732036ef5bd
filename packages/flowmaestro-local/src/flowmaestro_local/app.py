"""The ASGI app: routes, the start page, unknown routes, and a record of every request.

From the outside in: ``RequestLog`` keeps requests, ``FaultyApp`` spoils them, ``_Gateway`` does
what the backend's web framework does to every request, and Starlette finds the route.
"""

from __future__ import annotations

from collections import deque
from email.utils import formatdate
from html import escape
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import framework_error, json_response
from .api import Api
from .clock import timestamp
from .faults import Faults, FaultyApp
from .http import MAX_HEAD_BYTES
from .records import RecordedRequest, new_id, now
from .registry import Registry
from .request_log import RequestLog, path_of, target_of
from .routes import ROUTES, Route

__all__ = ["make_app"]


def make_app(api: Api, faults: Faults, requests: deque[RecordedRequest]) -> ASGIApp:
    """Put the app together."""
    routes = [StarletteRoute("/", _start_page(api.registry)), StarletteRoute("/health", _health)]
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
    return RequestLog(FaultyApp(_Gateway(app), faults), requests)


def _endpoint(api: Api, route: Route):  # type: ignore[no-untyped-def]
    async def endpoint(request: Request) -> Response:
        for name, value in request.path_params.items():
            request.path_params[name] = unquote(value)
        return await api.handle(route.answer, route.scopes, request)

    return endpoint


async def _health(request: Request) -> Response:
    return json_response(200, {"status": "ok", "timestamp": now()})


async def _unknown(request: Request, problem: Exception) -> Response:
    return framework_error(
        404, "Not Found", f"Route {request.method}:{target_of(request.scope)} not found"
    )


class _Gateway:
    """What happens to every request before its route is looked for, and to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"date", formatdate(timestamp(), usegmt=True).encode()),
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", b"*"),
            # Another id than that in the body.
            (b"x-request-id", new_id().encode()),
            (b"x-trace-id", new_id().encode()),
        ]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        if _head_size(scope) > MAX_HEAD_BYTES:
            response = Response(status_code=431, headers={"connection": "close"})
            await response(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            allowed = {
                "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
                "access-control-allow-headers": "Content-Type, Authorization, X-API-Key",
            }
            await Response(status_code=204, headers=allowed)(scope, receive, send_with_headers)
        else:
            path = path_of(scope)
            if path.startswith("/api/") and path.endswith("/"):
                path = path[:-1]
            await self._app({**scope, "path": path}, receive, send_with_headers)


def _head_size(scope: Scope) -> int:
    target = len(target_of(scope))
    return target + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


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
