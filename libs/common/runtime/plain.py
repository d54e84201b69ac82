"""Routes that take nothing of a request are answered without the router.

FastAPI finds a route by trying one pattern after the other and solves what its function wants anew
for each request. A function that wants nothing, or the bare request, needs neither: where its path
has no parameters, one look-up finds it, its permissions are asked, and it answers.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_typed_return_annotation
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.runtime.permissions import Permission

_ERROR: Final = "tradewind.error"
_OF_REQUEST: Final = ("request_param_name", "http_connection_param_name")
# What says where a function is and how, not what it wants.
_FORM: Final = frozenset({"dependencies", "name", "call", "use_cache", "path", "scope"})


@dataclass(frozen=True, slots=True)
class PlainRoute:
    """A route of which everything is known but the request: `names` are the parameters that
    take it."""

    route: APIRoute
    permissions: tuple[Permission, ...]
    call: Callable[..., Awaitable[Response]]
    names: tuple[str, ...]

    async def answer(self, request: Request) -> Response:
        """Return the answer to who is admitted. Raises AccessError, and what the function does."""
        for permission in self.permissions:
            await permission(request)
        return await self.call(**dict.fromkeys(self.names, request))


def plain_routes(routes: Sequence[APIRoute]) -> dict[tuple[str, str], PlainRoute]:
    """Return the plain ones of `routes` by method and path, those that the router would choose."""
    found: dict[tuple[str, str], PlainRoute] = {}
    for route in routes:
        plain = _plain(route)
        if plain is not None:
            for method in route.methods or ():
                if _first(routes, method, route.path) is route:
                    found[method, route.path] = plain
    return found


def _first(routes: Iterable[APIRoute], method: str, path: str) -> APIRoute | None:
    matching = (one for one in routes if method in (one.methods or ()))
    return next((one for one in matching if one.path_regex.match(path)), None)


def _plain(route: APIRoute) -> PlainRoute | None:
    if "{" in route.path:
        return None
    wanted = route.dependant
    inner = [dependency.call for dependency in wanted.dependencies]
    permissions = tuple(call for call in inner if isinstance(call, Permission))
    call = wanted.call
    if len(permissions) != len(inner) or call is None or not _wants_the_request_only(wanted):
        return None
    answer = get_typed_return_annotation(call)
    is_answer = isinstance(answer, type) and issubclass(answer, Response)
    if not is_answer or not inspect.iscoroutinefunction(call):
        return None
    names = (getattr(wanted, field) for field in _OF_REQUEST)
    return PlainRoute(route, permissions, call, tuple(name for name in names if name))


def _wants_the_request_only(wanted: Dependant) -> bool:
    """Tell so; a kind of want that a later FastAPI adds counts as one."""
    known = _FORM | {*_OF_REQUEST}
    return not any(
        getattr(wanted, field.name) for field in fields(wanted) if field.name not in known
    )


class Errors:
    """Answers what a function raises as the app's router does."""

    def __init__(self, owner: FastAPI) -> None:
        handlers: Mapping[Any, Any] = {
            kind: handler
            for kind, handler in owner.exception_handlers.items()
            if kind not in (500, Exception)
        }
        self._app: ASGIApp = ExceptionMiddleware(_raise, handlers=handlers)

    async def answer(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `error`, or raise it where the app has no answer to it."""
        await self._app({**scope, _ERROR: error}, receive, send)


async def _raise(scope: Scope, receive: Receive, send: Send) -> None:
    raise scope[_ERROR]
