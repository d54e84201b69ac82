"""Every route declares who may call it; the app factory refuses a route that does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.queries import check_query

PUBLIC: Final = "public"
_SHAPE: Final = re.compile(r"[a-z_]+:[a-z_]+\Z")


class Permission:
    """A route's permission `area:action`, asked of each caller by the app's gate; and that the
    route knows each parameter of the query, unless it takes any."""

    def __init__(self, name: str, *, step_up: bool = False, any_query: bool = False) -> None:
        if name != PUBLIC and not _SHAPE.fullmatch(name):
            raise InvalidInputError(f"permission {name!r} is not of the form area:action")
        self.name = name
        self.step_up = step_up
        self.any_query = any_query

    async def __call__(self, connection: HTTPConnection) -> None:
        """Let the caller pass, or raise AccessError, InvalidInputError."""
        if self.name != PUBLIC:
            await connection.app.state.gate.admit(connection, self.name, step_up=self.step_up)
        if connection.scope["query_string"] and not self.any_query:
            check_query(connection)


def requires(name: str, *, step_up: bool = False, any_query: bool = False) -> Any:
    """Return the dependency that demands permission `name`, e.g. `orders:write`.

    With `step_up` the caller must have proven lately that it is really them. Parameters that the
    route does not know are refused, but with `any_query`.
    """
    return Depends(Permission(name, step_up=step_up, any_query=any_query))


def permission_of(route: APIRoute) -> str | None:
    """Return the permission that `route` declares, None if it declares none."""
    for dependency in route.dependant.dependencies:
        if isinstance(dependency.call, Permission):
            return dependency.call.name
    return None


def steps_up(route: APIRoute) -> bool:
    """Tell whether `route` demands a fresh proof of the caller."""
    found = (dependency.call for dependency in route.dependant.dependencies)
    return any(isinstance(call, Permission) and call.step_up for call in found)


def routes_of(app: FastAPI) -> list[APIRoute]:
    """Return the API routes of `app`, those of included routers too."""
    return list(_walk(app.routes))


def _walk(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        # FastAPI keeps an included router whole (since 0.160) instead of copying its routes.
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _walk(included.routes)


def public_paths(app: FastAPI) -> list[re.Pattern[str]]:
    """Return the patterns of the paths that everybody may reach."""
    return [route.path_regex for route in routes_of(app) if permission_of(route) == PUBLIC]


def check_permissions(app: FastAPI) -> None:
    """Raise InvalidInputError naming the routes of `app` that declare no permission."""
    bare = [route.path for route in routes_of(app) if permission_of(route) is None]
    if bare:
        raise InvalidInputError(f"routes without a declared permission: {', '.join(bare)}")
