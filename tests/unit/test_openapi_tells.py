"""OpenAPI of an app: answers, problems, permissions; and the methods that a path takes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TypedDict

import httpx
import msgspec
import pytest
from fastapi import APIRouter, Body
from sqlalchemy import Column, MetaData, Table

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.openapi import ServiceApp, answers, page_of, row_of
from libs.common.runtime.permissions import PUBLIC, requires
from libs.common.runtime.schema.base import Id, Instant, Json, Money


class Fill(TypedDict):
    """One execution."""

    price: Decimal
    at: dt.datetime | None


class Named(msgspec.Struct):
    number: int


def app() -> ServiceApp:
    router = APIRouter(prefix="/fills")

    @router.get("", dependencies=[requires("fills:read")], responses=answers(page_of(Fill)))
    async def listed() -> None:
        """List."""

    @router.post(
        "",
        dependencies=[requires("fills:write")],
        responses=answers(Fill, 409, status=201),
        status_code=201,
    )
    async def add(number: int = Body()) -> None:
        """Add."""

    @router.get("/last", dependencies=[requires(PUBLIC)], responses=answers(Fill))
    async def last() -> None:
        """Show the last one."""

    @router.delete(
        "/{fill_id}",
        dependencies=[requires("fills:write")],
        responses=answers(None, status=204),
        status_code=204,
    )
    async def remove(fill_id: str) -> None:
        """Remove."""

    made = ServiceApp(title="fills")
    made.include_router(router)
    return made


def codes(path: str, method: str) -> set[str]:
    return set(app().openapi()["paths"][path][method]["responses"])


def test_every_problem_is_told() -> None:
    any_request = {"400", "413", "422"}
    with_permission = any_request | {"401", "403", "429", "503"}
    assert codes("/fills", "get") == {"200"} | with_permission
    assert codes("/fills", "post") == {"201", "409", "415"} | with_permission
    assert codes("/fills/last", "get") == {"200"} | any_request
    assert codes("/fills/{fill_id}", "delete") == {"204", "404"} | with_permission


def test_answers_have_the_schema_of_what_is_written() -> None:
    document = app().openapi()
    page = document["paths"]["/fills"]["get"]["responses"]["200"]["content"]["application/json"]
    assert page["schema"]["properties"]["items"]["items"] == {"$ref": "#/components/schemas/Fill"}
    fill = document["components"]["schemas"]["Fill"]
    assert sorted(fill["required"]) == ["at", "price"]
    assert fill["properties"]["price"] == {"type": "string", "format": "decimal"}
    assert "$defs" not in str(document)
    assert "HTTPValidationError" not in str(document)


def test_permission_and_ways_to_sign_in_are_told() -> None:
    document = app().openapi()
    listed = document["paths"]["/fills"]["get"]
    assert listed["x-permission"] == "fills:read"
    assert listed["security"] == [{"token": []}, {"api_key": []}]
    assert "security" not in document["paths"]["/fills/last"]["get"]
    assert set(document["components"]["securitySchemes"]) == {"token", "api_key"}


def test_two_schemas_of_one_name_are_refused() -> None:
    one, other = (
        type("Same", (msgspec.Struct,), {"__annotations__": {"a": int}}),
        type("Same", (msgspec.Struct,), {"__annotations__": {"b": str}}),
    )
    router = APIRouter(dependencies=[requires(PUBLIC)])
    router.add_api_route("/one", lambda: None, responses=answers(one))
    router.add_api_route("/other", lambda: None, responses=answers(other))
    made = ServiceApp(title="two")
    made.include_router(router)
    with pytest.raises(InvalidInputError, match="two schemas are called Same"):
        made.openapi()


def test_row_of_a_table_has_its_columns_and_more() -> None:
    table = Table(
        "fills", MetaData(), Column("id", Id, primary_key=True), Column("fee", Money),
        Column("at", Instant, nullable=False), Column("raw", Json),
    )  # fmt: skip
    schema = row_of(table, side=str)
    assert schema["required"] == ["id", "fee", "at", "raw", "side"]
    assert schema["properties"]["id"] == {"type": "string", "format": "uuid"}
    assert schema["properties"]["fee"]["anyOf"][1] == {"type": "null"}
    assert schema["properties"]["at"]["type"] == "string"
    assert schema["properties"]["raw"] == {}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/fills", "GET, POST"),
        ("DELETE", "/fills/last", "GET"),
        ("GET", "/fills/one", "DELETE"),
    ],
)
async def test_method_that_is_not_taken_is_answered_with_those_that_are(
    method: str, path: str, allowed: str
) -> None:
    transport = httpx.ASGITransport(app=app())
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answer = await client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == allowed
    assert answer.headers["content-type"] == "application/problem+json"
