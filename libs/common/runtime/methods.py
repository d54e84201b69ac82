"""Methods that a path does not take: 405, with those that it takes in `Allow`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.runtime.permissions import routes_of
from libs.common.runtime.problems import problem


class FixedPaths:
    """Pure ASGI middleware: a path that is declared without parameters takes its own methods only.

    Without it `DELETE /orders/trades` would be the cancel of an order called `trades`.
    """

    def __init__(self, app: ASGIApp, *, owner: FastAPI) -> None:
        self._app = app
        self._owner = owner
        self._methods: Mapping[str, frozenset[str]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on, or answer that its method is not allowed."""
        if scope["type"] == "http":
            if self._methods is None:
                self._methods = _fixed(routes_of(self._owner))
            allowed = self._methods.get(scope["path"])
            if allowed is not None and scope["method"] not in allowed:
                await _refusal(scope["method"], scope["path"], allowed)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def on_method(request: Request, error: Exception) -> Response:
    """Answer a 405 of the router, which knows the methods of the first route only."""
    path = request.scope["path"]
    matching = (route for route in routes_of(request.app) if route.path_regex.match(path))
    return _refusal(request.method, path, _methods(matching))


def _fixed(routes: Iterable[APIRoute]) -> dict[str, frozenset[str]]:
    by_path: dict[str, list[APIRoute]] = {}
    for route in routes:
        if "{" not in route.path:
            by_path.setdefault(route.path, []).append(route)
    return {path: _methods(found) for path, found in by_path.items()}


def _methods(routes: Iterable[APIRoute]) -> frozenset[str]:
    return frozenset(method for route in routes for method in route.methods or ())


def _refusal(method: str, path: str, allowed: frozenset[str]) -> Response:
    headers = {"Allow": ", ".join(sorted(allowed))}
    return problem(405, f"{method} is not allowed here.", instance=path, headers=headers)
