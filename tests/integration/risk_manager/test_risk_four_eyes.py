"""Raising a limit and releasing the kill switch, with one person and with several."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from services.risk_manager.main import build
from services.risk_manager.settings import RiskSettings
from tests.support.people import Person, enroll
from tests.support.risk_world import SimClock, seed, sim_clock
from tests.support.runtimes import eventually, ready, serving

RISK = "/api/v1/risk"
ADA, BOB, EVE = (Person(name, ("risk",)) for name in ("ada", "bob", "eve"))
TOM = Person("tom", ("trader",))
VERA = Person("vera", ("viewer",))
FAR = Person("far", ("risk",), ("other",))
RAISE = {"name": "notional_max", "value": "900000", "reason": "more room"}
LOWER = {"name": "notional_max", "value": "5", "reason": "less room"}


@pytest.fixture
def clock() -> Iterator[SimClock]:
    with sim_clock() as running:
        yield running


@pytest.fixture
async def service(
    database_url: str, redis_url: str, clock: SimClock
) -> AsyncIterator[httpx.AsyncClient]:
    seed(database_url)
    settings = RiskSettings.model_validate(
        {
            "port": 0,
            "database_url": database_url,
            "redis_url": redis_url,
            "clock_url": clock.url,
            "outbox_sweep_s": 0.1,
            "risk_refresh_s": 300.0,
        }
    )
    async with serving(build(settings)) as client:
        await ready(client)
        yield client


class Desk:
    """The service as people see it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def put(self, body: dict[str, Any], who: Person, *, proven: bool = False) -> Any:
        headers = who.headers(stepped_up=proven)
        return await self.client.put(f"{RISK}/limits", json=body, headers=headers)

    async def post(
        self, path: str, who: Person, body: dict[str, Any] | None = None, *, proven: bool = True
    ) -> httpx.Response:
        headers = who.headers(stepped_up=proven)
        return await self.client.post(f"{RISK}/{path}", json=body, headers=headers)

    async def limit(self, name: str = "notional_max") -> str:
        answer = await self.client.get(f"{RISK}/limits", params={"scope": "account"})
        return next(one["value"] for one in answer.json()["items"] if one["name"] == name)

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = (await self.client.get(f"{RISK}/state")).json()
        return state


def audited(database_url: str) -> list[tuple[str, str, str]]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT message FROM outbox WHERE stream = 'log:audit.events' ORDER BY id"
        ).fetchall()
    found = [json.loads(row[0])["payload"] for row in rows]
    return [
        (one["event_type"], one["action"], one["actor"])
        for one in found
        if one["event_type"] in ("four_eyes", "risk.limit_changed")
    ]


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


async def test_one_person_alone_proves_again_that_it_is_them(
    service: httpx.AsyncClient, database_url: str
) -> None:
    enroll(database_url, ADA, VERA, FAR)
    desk = Desk(service)
    assert code(await desk.put(RAISE, ADA)) == (403, "step-up-required")
    assert (await desk.put(RAISE, ADA, proven=True)).status_code == 200
    assert await desk.limit() == "900000"
    # Lowering is free, and so is halting.
    assert (await desk.put(LOWER, ADA)).status_code == 200
    assert (await desk.post("halt", TOM, {"reason": "!"}, proven=False)).status_code == 200
    assert code(await desk.post("resume", ADA, {"reason": "."}, proven=False)) == (
        403,
        "step-up-required",
    )
    assert (await desk.post("resume", ADA, {"reason": "."})).status_code == 200


async def test_two_people_raise_a_limit(service: httpx.AsyncClient, database_url: str) -> None:
    enroll(database_url, ADA, BOB, VERA, TOM)
    desk = Desk(service)
    before = await desk.limit()
    answer = await desk.put(RAISE, ADA, proven=True)
    assert answer.status_code == 202
    proposal = answer.json()
    assert proposal["summary"] == f"limit account:notional_max from {before} to 900000"
    assert (proposal["state"], proposal["proposed_by"]) == ("waiting", "user:ada")
    assert await desk.limit() == before
    path = f"proposals/{proposal['id']}/approve"
    # Ada in another session, those who may not, and Bob without a fresh proof.
    assert code(await desk.post(path, ADA)) == (403, "same-person")
    for who in (VERA, TOM):
        assert code(await desk.post(path, who)) == (403, "permission-denied")
    assert code(await desk.post(path, FAR)) == (403, "wrong-account")
    assert code(await desk.post(path, BOB, proven=False)) == (403, "step-up-required")
    assert code(await service.post(f"{RISK}/{path}")) == (403, "not-a-person")
    assert await desk.limit() == before
    done = (await desk.post(path, BOB)).json()
    assert (done["state"], done["outcome"], done["decided_by"]) == ("approved", "done", "user:bob")
    assert await desk.limit() == "900000"
    history = (await service.get(f"{RISK}/limits/history")).json()["items"][0]
    assert history["set_by"] == "user:ada, approved by user:bob"
    # Once is enough: neither again, nor by somebody else.
    assert (await desk.post(path, BOB)).status_code == 409
    assert (await desk.post(f"proposals/{proposal['id']}/reject", BOB)).status_code == 409


async def test_many_approve_at_once_and_it_is_done_once(
    service: httpx.AsyncClient, database_url: str
) -> None:
    crowd = [Person(f"risk{number}", ("risk",)) for number in range(6)]
    enroll(database_url, ADA, *crowd)
    desk = Desk(service)
    await desk.post("halt", ADA, {"reason": "look"})
    generation = (await desk.state())["generation"]
    proposal = (await desk.post("resume", ADA, {"reason": "all is well"})).json()
    answers = await asyncio.gather(
        *(desk.post(f"proposals/{proposal['id']}/approve", who) for who in crowd)
    )
    assert sorted(one.status_code for one in answers) == [200, 409, 409, 409, 409, 409]
    state = await desk.state()
    assert (state["state"], state["generation"]) == ("active", generation + 1)
    assert state["set_by"].startswith("user:ada, approved by user:risk")


async def test_what_was_proposed_before_a_change_is_stale(
    service: httpx.AsyncClient, database_url: str
) -> None:
    enroll(database_url, ADA, BOB)
    desk = Desk(service)
    raise_it = (await desk.put(RAISE, ADA)).json()["id"]
    await desk.put(LOWER, BOB)
    answer = await desk.post(f"proposals/{raise_it}/approve", BOB)
    assert answer.status_code == 409
    assert "changed since" in answer.json()["detail"]
    assert await desk.limit() == "5"
    await desk.post("halt", ADA, {"reason": "first"})
    resume = (await desk.post("resume", ADA, {"reason": "first is over"})).json()["id"]
    await desk.post("halt", BOB, {"reason": "second"})
    assert (await desk.post(f"proposals/{resume}/approve", BOB)).status_code == 409
    assert (await desk.state())["state"] == "halted"
    listed = (await service.get(f"{RISK}/proposals")).json()["items"]
    assert [one["id"] for one in listed] == [resume, raise_it]
    assert all(one["outcome"].startswith("not done: ") for one in listed)


async def test_a_trader_may_reduce_but_not_release_a_halt_by_it(
    service: httpx.AsyncClient, database_url: str
) -> None:
    enroll(database_url, ADA, BOB, TOM)
    desk = Desk(service)
    assert (await desk.post("reduce", TOM, {"reason": "careful"})).status_code == 200
    await desk.post("halt", TOM, {"reason": "stop"})
    assert code(await desk.post("reduce", TOM, {"reason": "go on"})) == (403, "permission-denied")
    assert (await desk.post("reduce", ADA, {"reason": "go on"})).status_code == 202
    assert (await desk.state())["state"] == "halted"


async def test_an_expired_proposal_a_disabled_approver_and_what_is_on_record(
    service: httpx.AsyncClient, database_url: str
) -> None:
    enroll(database_url, ADA, BOB)
    enroll(database_url, EVE, state="disabled")
    desk = Desk(service)
    proposal = (await desk.put(RAISE, ADA)).json()["id"]
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE proposals SET expires_at = now() - interval '1 second'")
    answer = await desk.post(f"proposals/{proposal}/approve", BOB)
    assert answer.status_code == 409
    assert "expired" in answer.json()["detail"]
    assert (await desk.post(f"proposals/{uuid.uuid4()}/approve", BOB)).status_code == 404
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET state = 'disabled' WHERE name = 'bob'")
    # Ada is alone now: her own proof is enough.
    assert (await desk.put(RAISE, ADA, proven=True)).status_code == 200
    await eventually(lambda: len(audited(database_url)) >= 2, what="the record")
    assert ("four_eyes", "propose", "user:ada") in audited(database_url)
    assert ("risk.limit_changed", "set", "user:ada") in audited(database_url)


async def test_the_actor_is_who_calls_and_no_body_says_otherwise(
    service: httpx.AsyncClient, database_url: str
) -> None:
    enroll(database_url, ADA)
    desk = Desk(service)
    forged = {"reason": "!", "actor": "bob"}
    answer = await desk.post("halt", ADA, forged)
    assert answer.status_code == 422
    await desk.post("halt", ADA, {"reason": "!"})
    assert (await desk.state())["set_by"] == "user:ada"
