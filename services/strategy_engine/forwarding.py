"""Requests about a strategy that another replica runs are answered by that one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import httpx
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from libs.common.kernel.errors import UnavailableError
from services.strategy_engine.engine import Engine
from services.strategy_engine.ports import Leases

# A request that was forwarded is not forwarded again.
HOP: Final = "x-tradewind-forwarded"
_TIMEOUT_S: Final = 30.0
_PASSED_ON: Final = (
    "content-type",
    "authorization",
    "x-api-key",
    "x-correlation-id",
    "cookie",
    "accept",
)

Serve = Callable[[Request], Coroutine[Any, Any, Response]]


Named = Callable[[Request], Coroutine[Any, Any, str | None]]


async def in_path(request: Request) -> str | None:
    """Return the strategy that a request's path names."""
    strategy_id: str | None = request.path_params.get("strategy_id")
    return strategy_id


def forwarding_route(engine: Engine, leases: Leases, named: Named = in_path) -> type[APIRoute]:
    """Return the class of routes that look first who runs the strategy that a request is about."""

    class Route(APIRoute):
        """Serves here what runs here, and asks the others for the rest."""

        def get_route_handler(self) -> Serve:
            """Return the handler with the question before it."""
            serve = super().get_route_handler()

            async def handle(request: Request) -> Response:
                strategy_id = None if HOP in request.headers else await named(request)
                if strategy_id is None:
                    return await serve(request)
                url = await _holder(engine, leases, strategy_id)
                return await (forward(request, url) if url else serve(request))

            return handle

    return Route


async def forward(request: Request, url: str) -> Response:
    """Return the answer of the replica at `url`. Raises UnavailableError."""
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    query = f"?{request.url.query}" if request.url.query else ""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S) as client:
            answer = await client.request(
                request.method,
                f"{url}{request.url.path}{query}",
                content=await request.body(),
                headers={**headers, HOP: "1"},
            )
    except httpx.HTTPError as error:
        raise UnavailableError(f"the replica at {url} did not answer: {error}") from error
    kind = answer.headers.get("content-type")
    return Response(answer.content, answer.status_code, media_type=kind)


async def _holder(engine: Engine, leases: Leases, strategy_id: str) -> str | None:
    """Return the address of the other replica that runs the strategy, None if it is to be
    answered here. Raises UnavailableError while nobody runs it."""
    if strategy_id in engine.roster.members:
        return None
    lease = (await leases.leases()).get(strategy_id)
    if lease is None:
        return None
    if lease.holder is None or lease.holder == engine.replica:
        raise UnavailableError(f"strategy {strategy_id} is being taken over; ask again")
    return lease.url
