"""The gate of a service, through a whole app: who is let in, and what is read before."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import re
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, Request, WebSocket
from prometheus_client import REGISTRY
from pydantic import BaseModel

from libs.common.runtime.app import create_app
from libs.common.runtime.auth import errors
from libs.common.runtime.auth.principal import principal
from libs.common.runtime.permissions import requires
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.settings import ServiceSettings
from tests.support.tokens import gate, headers_for, operator_headers, service_headers

AN_HOUR_AGO = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)


class Body(BaseModel):
    quantity: int


def app() -> object:
    router = APIRouter()

    @router.get("/orders", dependencies=[requires("orders:read")])
    async def orders(request: Request) -> dict[str, str]:
        return {"actor": principal(request).actor}

    @router.post("/orders", dependencies=[requires("orders:write")])
    async def place(body: Body) -> int:
        return body.quantity

    @router.get("/market", dependencies=[requires("market:read")])
    async def market() -> str:
        return "open"

    @router.post("/resume", dependencies=[requires("risk:resume", step_up=True)])
    async def resume() -> str:
        return "resumed"

    @router.websocket("/ticks", dependencies=[requires("market:read")])
    async def ticks(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(principal(socket).name)
        await socket.close()

    settings = ServiceSettings.model_validate({"account_id": "main"})
    runtime = dataclasses.replace(Runtime.of("test", settings), gate=gate())
    return create_app(runtime, routers=[router])


@pytest.fixture
def client() -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app(), raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://test")


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_without_a_token_only_the_public_paths_answer(client: httpx.AsyncClient) -> None:
    for path in ("/health", "/metrics", "/openapi.json", "/docs"):
        assert (await client.get(path)).status_code == 200, path
    assert (await client.get("/ready")).status_code in (200, 503)
    for path in ("/orders", "/no/such/path", "/health/", "/healthx", "//health", "/HEALTH"):
        answer = await client.get(path)
        assert problem(answer) == (401, "no-token"), path
        assert answer.headers["www-authenticate"] == 'Bearer realm="tradewind"'
        assert answer.headers["x-correlation-id"]


async def test_nothing_of_a_strangers_body_is_read(client: httpx.AsyncClient) -> None:
    async def endless() -> object:
        yield b"{"
        await asyncio.sleep(3600)
        yield b"}"

    request = client.post("/orders", content=endless())  # type: ignore[arg-type]
    assert problem(await asyncio.wait_for(request, 10)) == (401, "no-token")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"Authorization": "Basic dTpw"}, "malformed-token"),
        ({"Authorization": "Bearer"}, "malformed-token"),
        ({"Authorization": "Bearer x.y.z"}, "malformed-token"),
        ({"Authorization": b"Bearer \xff"}, "malformed-token"),
        ({"Authorization": "Bearer " + "a" * 9000}, "malformed-token"),
        ({"X-API-Key": "tw_nobody_secret"}, "unknown-key"),
        (headers_for("admin", seed="33" * 32), "unknown-token-key"),
        (
            headers_for("admin", now=dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)),
            "expired-token",
        ),
    ],
)
async def test_a_bad_credential_is_told_apart(
    client: httpx.AsyncClient, header: dict[str, str], code: str
) -> None:
    assert problem(await client.get("/orders", headers=header)) == (401, code)


async def test_two_authorizations_are_refused(client: httpx.AsyncClient) -> None:
    twice = [*operator_headers().items(), *headers_for("viewer").items()]
    assert problem(await client.get("/orders", headers=twice)) == (401, "malformed-token")


async def test_a_role_opens_what_it_may_and_no_more(client: httpx.AsyncClient) -> None:
    viewer = headers_for("viewer")
    assert (await client.get("/orders", headers=viewer)).json() == {"actor": "user:ada"}
    refused = await client.post("/orders", headers=viewer, json={"quantity": 1})
    assert problem(refused) == (403, "permission-denied")
    trader = headers_for("trader")
    assert (await client.post("/orders", headers=trader, json={"quantity": 1})).status_code == 200
    executor = service_headers("trade_executor")
    assert problem(await client.get("/orders", headers=executor)) == (403, "permission-denied")


async def test_another_accounts_data_stay_closed(client: httpx.AsyncClient) -> None:
    other = headers_for("admin", accounts=["other"])
    assert problem(await client.get("/orders", headers=other)) == (403, "wrong-account")
    assert (await client.get("/market", headers=other)).status_code == 200
    assert problem(await client.get("/orders", headers=headers_for("admin", accounts=[]))) == (
        403,
        "wrong-account",
    )


async def test_dangerous_actions_want_a_fresh_proof(client: httpx.AsyncClient) -> None:
    assert problem(await client.post("/resume", headers=headers_for("risk"))) == (
        403,
        "step-up-required",
    )
    proven = headers_for("risk", stepped_up=True)
    assert (await client.post("/resume", headers=proven)).status_code == 200
    assert (await client.post("/resume", headers=operator_headers())).status_code == 200


async def opened(headers: dict[str, str]) -> list[dict[str, object]]:
    """Open the socket; return what the app sends."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "websocket",
        "path": "/ticks",
        "raw_path": b"/ticks",
        "query_string": b"",
        "headers": raw,
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await app()(scope, receive, send)  # type: ignore[operator]
    return sent


async def test_a_socket_opens_for_who_is_known_and_may() -> None:
    accepted, text, _ = await opened(headers_for("viewer"))
    assert (accepted["type"], text.get("text")) == ("websocket.accept", "ada")
    stranger = await opened({})
    assert (stranger[0]["type"], stranger[0]["status"]) == ("websocket.http.response.start", 401)
    denied = await opened(service_headers("audit"))
    assert (denied[0]["type"], denied[0]["code"]) == ("websocket.close", 1008)


def figure(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None, (name, labels)
    return found


async def test_who_came_in_and_who_did_not_is_counted(client: httpx.AsyncClient) -> None:
    def refused(code: str) -> float:
        return figure("access_refused_total", code=code)

    codes = ("no-token", "permission-denied", "step-up-required")
    before = [refused(code) for code in codes]
    came = figure("access_granted_total", kind="user")
    await client.get("/orders")
    await client.post("/orders", headers=headers_for("viewer"), json={"quantity": 1})
    await client.post("/resume", headers=headers_for("risk"))
    await client.get("/market", headers=headers_for("viewer"))
    assert [refused(code) for code in codes] == [was + 1 for was in before]
    assert figure("access_granted_total", kind="user") == came + 3


def test_every_reason_of_a_gate_is_counted_from_zero() -> None:
    """A rate or an increase does not see what a counter begins with."""
    folder = Path(errors.__file__).parent
    code = "".join(path.read_text() for path in folder.glob("*.py"))
    told = set(re.findall(r'(?:unauthenticated|denied)\(\s*"([a-z-]+)"', code)) | {"key-rate"}
    assert told == set(errors.GATE_CODES)
