"""Routes that take nothing of a request: answered without the router, as the router answers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from libs.common.kernel.errors import NotFoundError
from libs.common.runtime.app import create_app, json_response
from libs.common.runtime.auth.principal import principal
from libs.common.runtime.permissions import PUBLIC, requires, routes_of
from libs.common.runtime.plain import plain_routes
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.settings import ServiceSettings
from tests.support.tokens import AS_OPERATOR, gate, service_headers

READ = "market:read"


def routes() -> APIRouter:
    router = APIRouter(prefix="/things")

    @router.get("/plain", dependencies=[requires(READ)])
    async def plain() -> Response:
        return json_response({"of": "plain"})

    @router.post("/who", dependencies=[requires("market:write")])
    async def who(request: Request) -> Response:
        given = json.loads(await request.body() or b"null")
        return json_response({"who": principal(request).actor, "given": given})

    @router.get("/missing", dependencies=[requires(READ)])
    async def missing() -> Response:
        raise NotFoundError("thing 7 does not exist")

    @router.get("/bug", dependencies=[requires(READ)])
    async def bug() -> Response:
        raise RuntimeError("secret detail")

    @router.get("/open", dependencies=[requires(PUBLIC)])
    async def open_to_all() -> Response:
        return json_response({"of": "open"})

    @router.get("/{name}", dependencies=[requires(READ)])
    async def named(name: str) -> Response:
        return json_response({"name": name})

    @router.get("/late", dependencies=[requires(READ)])
    async def late() -> Response:
        return json_response({"of": "late"})

    @router.get("/page/first", dependencies=[requires(READ)])
    async def page(limit: int = 5) -> Response:
        return json_response({"limit": limit})

    @router.get("/page/model", dependencies=[requires(READ)])
    async def model() -> dict[str, int]:
        return {"a": 1}

    @router.get("/page/thread", dependencies=[requires(READ)])
    def thread() -> Response:
        return json_response({})

    return router


def app_of(router: APIRouter) -> FastAPI:
    settings = ServiceSettings.model_validate({"body_bytes_max": 100})
    runtime = dataclasses.replace(Runtime.of("test", settings), gate=gate())
    return create_app(runtime, routers=[router])


@pytest.fixture
def app() -> FastAPI:
    return app_of(routes())


@pytest.fixture
def client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", auth=AS_OPERATOR)


def test_plain_is_what_wants_the_bare_request_at_most_and_what_the_router_would_choose(
    app: FastAPI,
) -> None:
    own = {key for key in plain_routes(routes_of(app)) if key[1].startswith("/things")}
    assert own == {
        ("GET", "/things/plain"), ("POST", "/things/who"), ("GET", "/things/missing"),
        ("GET", "/things/bug"), ("GET", "/things/open"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/things/plain", {"of": "plain"}),
        ("/things/open", {"of": "open"}),
        ("/things/late", {"name": "late"}),
        ("/things/page/first?limit=3", {"limit": 3}),
        ("/things/page/model", {"a": 1}),
    ],
)
async def test_every_kind_is_answered(
    client: httpx.AsyncClient, path: str, told: dict[str, Any]
) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (200, told)
    assert answer.headers["X-Correlation-ID"]


async def test_the_request_tells_who_asks_and_brings_its_body(client: httpx.AsyncClient) -> None:
    answer = await client.post("/things/who", json=[1])
    assert answer.json() == {"who": "service:operator", "given": [1]}
    assert (await client.post("/things/who", content=b"x" * 101)).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "service", "status", "word"),
    [
        ("GET", "/things/plain", None, 401, "token"),
        ("POST", "/things/who", "audit", 403, "market:write"),
        ("POST", "/things/who?colour=blue", "audit", 403, "market:write"),
        ("GET", "/things/open?colour=blue", None, 422, "unknown colour; known here: none"),
        ("DELETE", "/things/plain", "operator", 405, "DELETE"),
        ("GET", "/things/plain?colour=blue", "operator", 422, "unknown colour"),
        ("GET", "/things/x?colour=blue", "operator", 422, "unknown colour"),
        ("GET", "/things/missing", "operator", 404, "thing 7"),
        ("GET", "/things/bug", "operator", 500, "correlation id"),
        ("GET", "/things/plain/", "operator", 307, ""),
    ],
)
async def test_every_refusal_is_as_the_routers(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    service: str | None,
    status: int,
    word: str,
) -> None:
    headers = service_headers(service) if service else {}
    answer = await client.request(method, path, headers=headers, auth=None)
    assert answer.status_code == status
    assert word in answer.text
    assert "secret" not in answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


async def test_operations_take_any_query(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health?probe=1")
    assert answer.status_code == 200


def test_the_route_is_told_to_who_counts(app: FastAPI) -> None:
    seen: Sequence[str] = [route.path for route in routes_of(app)]
    assert "/things/plain" in seen
    assert len(seen) == len(set(seen))


async def test_an_answer_that_streams_is_sent_as_it_comes() -> None:
    router = APIRouter()

    @router.get("/stream", dependencies=[requires(READ)])
    async def stream() -> Streamed:
        return Streamed()

    transport = httpx.ASGITransport(app=app_of(router))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", auth=AS_OPERATOR
    ) as client:
        assert (await client.get("/stream")).text == "onetwo"


class Streamed(Response):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})
