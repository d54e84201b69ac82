"""The app factory's edges: permissions, problems, correlation ids, sizes."""

from __future__ import annotations

import dataclasses
import uuid

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict

from libs.common.kernel.errors import InvalidInputError, NotFoundError
from libs.common.runtime.app import create_app
from libs.common.runtime.permissions import requires
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.settings import ServiceSettings
from tests.support.tokens import AS_OPERATOR, gate


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    quantity: int


def app_with(router: APIRouter) -> FastAPI:
    settings = ServiceSettings.model_validate({"body_bytes_max": 100})
    runtime = dataclasses.replace(Runtime.of("test", settings), gate=gate())
    return create_app(runtime, routers=[router])


@pytest.fixture
def client() -> httpx.AsyncClient:
    router = APIRouter()

    @router.post("/things", dependencies=[requires("market:write")])
    async def make(body: Body) -> dict[str, int]:
        return {"quantity": body.quantity}

    @router.get("/missing", dependencies=[requires("market:read")])
    async def missing() -> None:
        raise NotFoundError("thing 7 does not exist")

    @router.get("/bug", dependencies=[requires("market:read")])
    async def bug() -> None:
        raise RuntimeError("secret detail")

    @router.get("/list", dependencies=[requires("market:read")])
    async def listed(limit: int = 5, symbol: str = "") -> dict[str, int]:
        return {"limit": limit}

    @router.get("/long", dependencies=[requires("market:read")])
    async def long() -> None:
        raise InvalidInputError("9" * 1_000_000)

    transport = httpx.ASGITransport(app=app_with(router), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", auth=AS_OPERATOR)


def test_route_without_permission_is_refused_at_build_time() -> None:
    router = APIRouter()

    @router.get("/open")
    async def bare() -> None: ...

    with pytest.raises(InvalidInputError, match="/open"):
        app_with(router)


async def test_validation_lists_every_field(client: httpx.AsyncClient) -> None:
    answer = await client.post("/things", json={"quantity": "many", "colour": "red"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert {error["field"] for error in answer.json()["errors"]} == {
        "body.quantity",
        "body.colour",
    }


async def test_malformed_json_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/things", content=b"{", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid-input"


async def test_our_errors_become_their_status(client: httpx.AsyncClient) -> None:
    answer = await client.get("/missing")
    assert (answer.status_code, answer.json()["detail"]) == (404, "thing 7 does not exist")


async def test_a_bug_tells_nothing_but_its_correlation_id(client: httpx.AsyncClient) -> None:
    answer = await client.get("/bug")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert uuid.UUID(answer.json()["correlation_id"])


async def test_correlation_id_is_taken_and_returned(client: httpx.AsyncClient) -> None:
    mine = str(uuid.uuid4())
    answer = await client.get("/missing", headers={"X-Correlation-ID": mine})
    assert answer.headers["X-Correlation-ID"] == mine
    assert answer.json()["correlation_id"] == mine


async def test_a_wrong_correlation_id_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health", headers={"X-Correlation-ID": "rm -rf"})
    assert answer.status_code == 400


async def test_oversized_body_is_refused_by_length_and_by_content(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/things", content=b"x" * 101)
    assert answer.status_code == 413

    async def chunks():  # type: ignore[no-untyped-def]
        for _ in range(20):
            yield b" " * 10

    answer = await client.post("/things", content=chunks())
    assert answer.status_code == 413


async def test_unknown_path_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_parameter_is_named_with_those_there_are(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.get("/list?limit=3&symbol=A")).status_code == 200
    answer = await client.get("/list?symbl=A")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "query: unknown symbl; known here: limit, symbol"


async def test_a_nul_in_the_address_is_refused(client: httpx.AsyncClient) -> None:
    for address in ("/list?symbol=a%00b", "/li%00st"):
        answer = await client.get(address)
        assert (answer.status_code, answer.json()["detail"]) == (400, "The address holds a NUL.")


async def test_another_content_type_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/things", content=b'{"quantity": 1}', headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 415
    assert "text/plain" in answer.json()["detail"]
    assert "application/json" in answer.json()["detail"]


async def test_an_answer_does_not_repeat_a_million_digits(client: httpx.AsyncClient) -> None:
    answer = await client.get("/long")
    assert answer.status_code == 422
    assert len(answer.content) < 2000


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b"\xff", b"[" * 200_000, b'{"quantity": 1e999}',
     b'{"quantity": NaN}', b'{"quantity": null}', b'{"quantity": true, "\\ud800": 1}'],
)  # fmt: skip
async def test_no_body_makes_an_internal_error(body: bytes) -> None:
    router = APIRouter()

    @router.post("/things", dependencies=[requires("market:write")])
    async def make(body: Body) -> None: ...

    runtime = dataclasses.replace(Runtime.of("test", ServiceSettings()), gate=gate())
    app = create_app(runtime, routers=[router])
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", auth=AS_OPERATOR
    ) as client:
        answer = await client.post(
            "/things", content=body, headers={"content-type": "application/json"}
        )
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
