"""Each route of each service × each state of an API key; and the simulator's own keys.

Who may what stands in the matrix of roles; here a key of an administrator carries one permission,
or all but one, or is not good (any more).
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest

from infra.embedded.ports import free_port
from libs.common.runtime.auth.key_text import new_api_key
from libs.common.runtime.auth.roles import ROLES
from libs.common.runtime.permissions import PUBLIC
from services.broker_simulator.main import build
from services.broker_simulator.settings import SimulatorSettings
from tests.conftest import Server
from tests.support.api_keys import add_key
from tests.support.people import Person, enroll
from tests.support.spied_house import SpiedHouse, Way, spied_house
from tests.support.tokens import bearer, headers_for, operator_headers

OF_AN_ACCOUNT: Final = ("orders:", "portfolio:", "risk:", "strategies:")
HERE: Final = "203.0.113.9"
BOSS, VIEWER = Person("boss", ("admin",)), Person("lea", ("viewer",))
GONE, NEWCOMER = Person("gone", ("admin",)), Person("new", ("admin",))
ALL: Final = sorted(ROLES["admin"])
pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


@pytest.fixture
def house(database_url: str, redis_server: Server, tmp_path: Path) -> SpiedHouse:
    enroll(database_url, BOSS, VIEWER, NEWCOMER)
    enroll(database_url, GONE, state="disabled")
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE users SET must_change_password = true WHERE id = %s", (NEWCOMER.id,)
        )
    return spied_house(database_url, redis_server.url, tmp_path)


def _ways(house: SpiedHouse, service: str) -> list[Way]:
    return [way for way in house.ways if way.service == service and way.permission != PUBLIC]


async def _wrong(house: SpiedHouse, address: str, cases: Any) -> list[Any]:
    """Return what was answered otherwise than `cases` says of each route: pairs of headers and
    an expectation, None for being let in."""
    wrong = []
    for service in house.apps:
        async with house.client(service, address) as client:
            for way in _ways(house, service):
                for what, headers, expected in cases(way):
                    status, code, reached = await house.ask(client, way, headers)
                    if expected is None:
                        good = status not in (401, 403, 429) or code == "users-only"
                    else:
                        good = (status, code, reached) == (*expected, False)
                    if not good:
                        wrong.append((way.service, way.method, way.path, what, status, code))
    return wrong


async def test_each_route_takes_a_key_with_its_permission_and_no_other(
    house: SpiedHouse, database_url: str
) -> None:
    near = ["203.0.113.0/28", "2001:db8::/32"]
    only = {one: add_key(database_url, BOSS, [one], networks=near) for one in ALL}
    but = {one: add_key(database_url, BOSS, sorted({*ALL} - {one})) for one in ALL}
    beyond = add_key(database_url, VIEWER, ALL)
    foreign = add_key(database_url, BOSS, ALL, accounts=["other"])
    unproven = add_key(database_url, BOSS, ALL, may_step_up=False)
    lacks = (403, "permission-denied")

    def cases(way: Way) -> Iterator[tuple[str, Mapping[str, str], tuple[int, str] | None]]:
        if way.permission not in only:  # nobody's but a service's
            yield "all", bearer(unproven), lacks
            return
        yield "its own", bearer(only[way.permission]), None
        yield "all but its own", {"X-API-Key": but[way.permission]}, lacks
        may = way.permission in ROLES["viewer"]
        yield "more than its owner", bearer(beyond), None if may else lacks
        of_account = way.permission.startswith(OF_AN_ACCOUNT)
        yield "other account", bearer(foreign), (403, "wrong-account") if of_account else None
        if way.step_up:
            yield "no proof", bearer(unproven), (403, "step-up-required")

    assert await _wrong(house, HERE, cases) == []


async def test_each_route_turns_away_each_bad_key(house: SpiedHouse, database_url: str) -> None:
    good = add_key(database_url, BOSS, ALL)
    other = new_api_key().text.split("_", 2)[2]
    ago = -dt.timedelta(minutes=1)
    bad = {
        "expired": (add_key(database_url, BOSS, ALL, expires_in=ago), (401, "expired-key")),
        "revoked": (add_key(database_url, BOSS, ALL, revoked=True), (401, "revoked")),
        "of one who is disabled": (add_key(database_url, GONE, ALL), (401, "revoked")),
        "of a newcomer": (add_key(database_url, NEWCOMER, ALL), (403, "permission-denied")),
        "wrong secret": ("_".join(good.split("_", 2)[:2]) + f"_{other}", (401, "unknown-key")),
        "another network": (
            add_key(database_url, BOSS, ALL, networks=["198.51.100.0/24", "127.0.0.1"]),
            (403, "key-network"),
        ),
        "cut": (good[:-1], (401, "unknown-key")),
    }

    def cases(_: Way) -> Iterator[tuple[str, Mapping[str, str], tuple[int, str]]]:
        for what, (text, expected) in bad.items():
            yield what, bearer(text), expected

    assert await _wrong(house, HERE, cases) == []


async def test_invented_keys_wait_for_one_look_together(house: SpiedHouse) -> None:
    """One after the other they would wait for a second each, and that for all routes."""
    invented = {"unknown": bearer(new_api_key().text)}

    async def ask(client: httpx.AsyncClient, way: Way) -> tuple[int, str]:
        answer = await client.request(way.method, way.url, headers=invented["unknown"])
        return answer.status_code, answer.json()["code"]

    async def ask_all(service: str) -> set[tuple[int, str]]:
        async with house.client(service) as client:
            return {*await asyncio.gather(*(ask(client, w) for w in _ways(house, service)))}

    answers = await asyncio.gather(*(ask_all(service) for service in house.apps))
    assert [*answers] == [{(401, "unknown-key")}] * len(house.apps)
    assert house.reached == []


async def test_each_route_counts_against_a_keys_rate(house: SpiedHouse, database_url: str) -> None:
    """One rate for all services together; a route that did not count would answer every time."""
    key = bearer(add_key(database_url, BOSS, ALL, rate_per_minute=1))
    free = []
    for service in house.apps:
        async with house.client(service) as client:
            for way in _ways(house, service):
                # More than once for the case that a minute ends in between.
                for _ in range(3):
                    status, code, reached = await house.ask(client, way, key)
                    if status == 429:
                        break
                if (status, code, reached) != (429, "key-rate", False):
                    free.append((way.service, way.method, way.path, status, code))
    assert free == []


async def test_keys_are_answered_and_counted_without_redis(
    database_url: str, tmp_path: Path
) -> None:
    enroll(database_url, BOSS)
    house = spied_house(database_url, f"redis://127.0.0.1:{free_port()}/0", tmp_path)
    key = bearer(add_key(database_url, BOSS, ALL, rate_per_minute=2))
    for service in ("portfolio", "security"):
        async with house.client(service) as client, asyncio.timeout(60):
            way = _ways(house, service)[0]
            answers = [await house.ask(client, way, key) for _ in range(4)]
        assert [code for _, code, _ in answers].count("key-rate") in (1, 2), service
        assert answers[-1][:2] == (429, "key-rate"), service


async def test_the_simulators_routes_take_its_own_keys_only(
    database_url: str, redis_server: Server
) -> None:
    """It stands for a venue of somebody else's: no token or key of ours opens it."""
    del redis_server
    enroll(database_url, BOSS)
    app = build(
        SimulatorSettings.model_validate({
            "broker_key": "venue", "broker_secret": "venue-secret",
            "simulator_accounts": ("second:second-secret",), "simulator_market": "scripted",
            "simulator_symbols": ("AAPL",), "simulator_factor": 0,
            "simulator_start": "2019-03-04T15:00:00Z",
        })
    )  # fmt: skip
    house = SpiedHouse({"broker_simulator": app})
    declared = app.state.simulator.router.declared
    bad = {
        "none": {},
        "wrong secret": _pair("venue", "second-secret"),
        "no secret": {"APCA-API-KEY-ID": "venue"},
        "unknown key": _pair("nobody", "venue-secret"),
        "other letters": _pair("VENUE", "venue-secret"),
        "no name": _pair("", ""),
        "an administrator": headers_for("admin", stepped_up=True),
        "the operator": operator_headers(),
        "an API key": bearer(add_key(database_url, BOSS, ALL)),
    }
    wrong = []
    async with house.client("broker_simulator") as client:
        ways = [way for way in house.ways if way.permission != PUBLIC]
        assert {way.permission for way in ways} == {"simulator:control", "simulator:read"}
        for way in ways:
            for what, headers in bad.items():
                answer = await house.ask(client, way, headers)
                if answer != (401, "unknown-key", False):
                    wrong.append((way.method, way.path, what, answer))
            for pair in (_pair("venue", "venue-secret"), _pair("second", "second-secret")):
                status, _, _ = await house.ask(client, way, pair)
                if status in (401, 403):
                    wrong.append((way.method, way.path, "right", status))
        for method, path, _ in declared:
            for what, headers in bad.items():
                answer = await client.request(method, path, headers=headers)
                if (answer.status_code, answer.json()["code"]) != (401, 40110000):
                    wrong.append((method, path, what, answer.status_code))
    assert wrong == []
    assert len(declared) > 20


def _pair(key: str, secret: str) -> dict[str, str]:
    return {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
