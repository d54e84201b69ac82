"""Paths without parameters: one look-up tells their methods, and their route where it is plain.

A method that a path does not take is answered by 405, with those that it takes in `Allow`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.runtime.permissions import routes_of
from libs.common.runtime.plain import Errors, PlainRoute, plain_routes
from libs.common.runtime.problems import problem


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the paths without parameters."""

    allowed: Mapping[str, frozenset[str]]
    plain: Mapping[tuple[str, str], PlainRoute]
    errors: Errors


class FixedPaths:
    """Pure ASGI middleware: a path that is declared without parameters takes its own methods only,
    and where its route is plain it is answered here.

    Without it `DELETE /orders/trades` would be the cancel of an order called `trades`.
    """

    def __init__(self, app: ASGIApp, *, owner: FastAPI) -> None:
        self._app = app
        self._owner = owner
        self._known: _Known | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on, answer it, or answer that its method is not allowed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        known = self._known or self._look()
        path, method = scope["path"], scope["method"]
        found = known.plain.get((method, path))
        allowed = known.allowed.get(path)
        if found is not None:
            await _serve(found, known.errors, scope, receive, send)
        elif allowed is not None and method not in allowed:
            await _refusal(method, path, allowed)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _look(self) -> _Known:
        routes = routes_of(self._owner)
        self._known = _Known(_fixed(routes), plain_routes(routes), Errors(self._owner))
        return self._known


async def _serve(
    found: PlainRoute, errors: Errors, scope: Scope, receive: Receive, send: Send
) -> None:
    scope["route"], scope["endpoint"], scope["path_params"] = found.route, found.call, {}
    request = Request(scope, receive, send)
    try:
        answer = await found.answer(request)
    except Exception as error:  # noqa: BLE001 - raised again where it is not the app's to answer
        await errors.answer(error, scope, receive, send)
        return
    await answer(scope, receive, send)


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
