"""Services with a spy for each handler: what a route demands is asked, nothing is done."""

from __future__ import annotations

import functools
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.responses import Response
from fastapi.routing import APIRoute

from libs.common.runtime.permissions import Permission, routes_of
from tests.support.simulator import Simulator
from tests.support.whole import SERVICES, apps_of


@dataclass(frozen=True)
class Way:
    """One method of a route, and what it demands."""

    service: str
    method: str
    path: str
    permission: str
    step_up: bool

    @property
    def url(self) -> str:
        """Return an address that the route matches."""
        names = {"symbol": "AAPL", "name": "report.html", "strategy_id": "quiet"}
        parts = []
        for part in self.path.split("/"):
            name = part.strip("{}").partition(":")[0]
            parts.append(names.get(name, str(uuid.UUID(int=1))) if part.startswith("{") else part)
        return "/".join(parts)


class SpiedHouse:
    """All apps with spies for handlers."""

    def __init__(self, apps: Mapping[str, FastAPI]) -> None:
        self.apps = apps
        self.reached: list[str] = []
        self.ways = [way for name, app in apps.items() for way in self._spied(name, app)]

    def _spied(self, name: str, app: FastAPI) -> Iterator[Way]:
        for route in routes_of(app):
            demanded = _permission(route)
            for method in route.methods or ():
                yield Way(name, method, route.path, demanded.name, demanded.step_up)
            self._spy(route)

    def _spy(self, route: APIRoute) -> None:
        @functools.wraps(route.endpoint)
        async def spy(**_: Any) -> Response:
            self.reached.append(route.path)
            return Response(status_code=299)

        # FastAPI reads the one where a router was included, the other elsewhere.
        route.endpoint = route.dependant.call = spy

    @asynccontextmanager
    async def client(self, service: str, address: str = "127.0.0.1") -> AsyncIterator[Any]:
        transport = httpx.ASGITransport(app=self.apps[service], client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            yield client

    async def ask(self, client: httpx.AsyncClient, way: Way, headers: Any) -> tuple[int, str, bool]:
        """Return status, code, and whether the handler was reached."""
        self.reached.clear()
        answer = await client.request(way.method, way.url, headers=headers)
        code = ""
        if answer.headers.get("content-type") == "application/problem+json":
            code = answer.json().get("code", "")
        return answer.status_code, code, bool(self.reached)


def _permission(route: APIRoute) -> Permission:
    found = [d.call for d in route.dependant.dependencies if isinstance(d.call, Permission)]
    assert len(found) == 1, f"{route.path} declares {len(found)} permissions"
    return found[0]


def spied_house(database_url: str, redis_url: str, folder: Path) -> SpiedHouse:
    """Return every service but the simulator; none is started, none reaches another."""
    simulator = Simulator(1)
    try:
        urls = dict.fromkeys(SERVICES, "http://127.0.0.1:1")
        return SpiedHouse(apps_of(database_url, redis_url, simulator, folder, urls))
    finally:
        simulator.close_client()
