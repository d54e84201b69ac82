"""Every service answers what its OpenAPI says, whatever it is sent; `make fuzz` tries for longer.

The services run once, together, on real servers.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from fastapi import APIRouter, FastAPI

from infra.migrate import migrate
from libs.common.runtime.openapi import ServiceApp, answers
from libs.common.runtime.permissions import PUBLIC, requires
from tests.conftest import Server
from tests.fuzz.findings import Tally
from tests.fuzz.login import Login
from tests.fuzz.service import Effort, Target, control, fuzz, target_as, target_of
from tests.support.tokens import make_known
from tests.support.whole import SERVICES, Whole, running_whole, served

BOUNDED = Effort(planned=3, random=1, odd=3, pool=60)
LEAST = Effort(planned=1, random=0, odd=1, pool=30)
EVERY = (*SERVICES, "broker_simulator")
WHO = {"actor", "by", "who", "user", "operator", "requested_by", "proposed_by", "decided_by"}
pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


@pytest.fixture(scope="module")
def whole(
    pg_server: Server, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Whole]:
    database = pg_server.url.rsplit("/", 1)[0] + "/fuzz"
    with psycopg.connect(pg_server.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS fuzz")
        connection.execute("CREATE DATABASE fuzz")
    migrate(database)
    make_known(database)
    with running_whole(database, redis_server.url, tmp_path_factory.mktemp("whole")) as running:
        yield running


@pytest.fixture(scope="module")
def urls(whole: Whole) -> Iterator[dict[str, str]]:
    with served(control()) as simulator:
        yield {**whole.urls, "broker_simulator": simulator}


@pytest.mark.parametrize("name", EVERY)
def test_service_answers_as_its_openapi_says(name: str, urls: dict[str, str], seed: int) -> None:
    tally = Tally()
    fuzz(target_of(name, urls[name]), seed, BOUNDED, tally)
    assert not tally.found, "\n".join(tally.lines())
    assert tally.requests > 20


def test_security_answers_users_as_its_openapi_says(urls: dict[str, str], seed: int) -> None:
    """Half of it is for who has logged in, which the operator has not."""
    tally = Tally()
    login = Login(urls["security"])
    fuzz(target_as(login, "security", urls["security"]), seed, LEAST, tally)
    assert not tally.found, "\n".join(tally.lines())
    assert tally.requests > 20


@pytest.mark.parametrize("name", EVERY)
def test_every_operation_says_what_it_answers(name: str, urls: dict[str, str]) -> None:
    document = target_of(name, urls[name]).document
    silent = [
        f"{method.upper()} {path} {status}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        for status, answer in operation["responses"].items()
        if status.startswith("2") and status != "204"
        if not answer.get("content") or answer["content"].get("application/json") == {"schema": {}}
    ]
    assert silent == []


@pytest.mark.parametrize("name", EVERY)
def test_no_request_says_who_makes_it(name: str, urls: dict[str, str]) -> None:
    """The actor of a record is who was identified; the audit log's search filters by one."""
    document = target_of(name, urls[name]).document
    schemas = document.get("components", {}).get("schemas", {})
    named = set()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            asked = {one["name"] for one in operation.get("parameters", [])}
            for media in operation.get("requestBody", {}).get("content", {}).values():
                body = media["schema"]
                for one in (body, *body.get("anyOf", ())):
                    shape = schemas.get(one.get("$ref", "").rsplit("/", 1)[-1], one)
                    asked |= shape.get("properties", {}).keys()
            named |= {f"{method} {path} {word}" for word in asked & WHO}
    searches = ("/api/v1/audit/events", "/api/v1/audit/events/sensitive")
    assert named <= {f"get {path} actor" for path in searches}


def test_fuzzing_finds_answers_that_are_not_promised(seed: int) -> None:
    """A service with three faults: a crash, an answer unlike its schema, an unknown status."""
    router = APIRouter(dependencies=[requires(PUBLIC)])

    @router.get("/crash/{number}", responses=answers(int))
    async def crash(number: str) -> None:
        raise RuntimeError(number)

    @router.get("/unlike", responses=answers(int), response_model=None)
    async def unlike() -> str:
        return "not a number"

    @router.get("/unknown", responses=answers(int), status_code=418, response_model=None)
    async def unknown() -> int:
        return 1

    app: FastAPI = ServiceApp(title="faulty")
    app.include_router(router)

    @app.get("/ready", include_in_schema=False)
    async def ready() -> None:
        """Tell that it runs."""

    tally = Tally()
    with served(app) as url:
        fuzz(Target("faulty", url), seed, BOUNDED, tally)
    assert {(one.operation, one.title) for one in tally.found.values()} >= {
        ("GET /crash/{number}", "Server error"),
        ("GET /unlike", "Response violates schema"),
    }
    assert any(one.operation == "GET /unknown" for one in tally.found.values())
