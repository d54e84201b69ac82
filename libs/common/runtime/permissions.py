"""Every route declares who may call it; the app factory refuses a route that does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from libs.common.kernel.errors import InvalidInputError

PUBLIC: Final = "public"
_SHAPE: Final = re.compile(r"[a-z_]+:[a-z_]+\Z")


class Permission:
    """The marker of a route's permission `area:action`.

    It is enforced when the security service exists; until then services listen on loopback only.
    """

    def __init__(self, name: str) -> None:
        if name != PUBLIC and not _SHAPE.fullmatch(name):
            raise InvalidInputError(f"permission {name!r} is not of the form area:action")
        self.name = name

    async def __call__(self) -> None:
        """Admit the caller."""


def requires(name: str) -> Any:
    """Return the dependency that declares permission `name`, e.g. `orders:write`."""
    return Depends(Permission(name))


def permission_of(route: APIRoute) -> str | None:
    """Return the permission that `route` declares, None if it declares none."""
    for dependency in route.dependant.dependencies:
        if isinstance(dependency.call, Permission):
            return dependency.call.name
    return None


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


def check_permissions(app: FastAPI) -> None:
    """Raise InvalidInputError naming the routes of `app` that declare no permission."""
    bare = [route.path for route in routes_of(app) if permission_of(route) is None]
    if bare:
        raise InvalidInputError(f"routes without a declared permission: {', '.join(bare)}")
