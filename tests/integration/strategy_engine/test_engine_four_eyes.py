"""Going live needs a second person where there is one."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest

from tests.support.engine_desk import Desk, opened
from tests.support.people import Person, enroll

STRATEGIES = "/api/v1/strategies"
ADA, BOB = (Person(name, ("trader",)) for name in ("ada", "bob"))
RITA = Person("rita", ("risk",))
QUIET: dict[str, object] = {
    "id": "quiet",
    "class_name": "sma_cross",
    "universe": ["AAPL"],
    "timeframe": "1d",
    "mode": "shadow",
}
pytestmark = pytest.mark.timeout(300)


async def ask(
    desk: Desk, method: str, path: str, who: Person, body: dict[str, Any] | None = None,
    *, proven: bool = True,
) -> httpx.Response:  # fmt: skip
    return await desk.client.request(
        method, STRATEGIES + path, json=body, headers=who.headers(stepped_up=proven)
    )


async def mode(desk: Desk) -> str:
    found: str = (await desk.client.get(f"{STRATEGIES}/quiet")).json()["mode"]
    return found


async def test_going_live_with_one_person_and_with_several(
    database_url: str, redis_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO instruments (symbol, exchange, asset_class, tick_size, lot_size,"
            " tradable, shortable, fractionable)"
            " VALUES ('AAPL', 'NASDAQ', 'us_equity', 0.01, 1, true, true, true)"
        )
    async with opened(database_url, redis_url, QUIET) as desk:
        enroll(database_url, ADA)
        # Alone, a fresh proof is enough.
        live = {"mode": "live"}
        alone = await ask(desk, "POST", "/quiet/mode", ADA, live, proven=False)
        assert (alone.status_code, alone.json()["code"]) == (403, "step-up-required")
        assert (await ask(desk, "POST", "/quiet/mode", ADA, live)).status_code == 200
        assert (await ask(desk, "POST", "/quiet/mode", ADA, {"mode": "shadow"})).status_code == 200
        # With somebody else, that one must agree: whichever way it goes live.
        enroll(database_url, BOB, RITA)
        wishes = [
            await ask(desk, "POST", "/quiet/mode", ADA, live),
            await ask(desk, "PATCH", "/quiet", ADA, live),
            await ask(desk, "POST", "", ADA, {**QUIET, "id": "loud", "mode": "live"}),
        ]
        assert [one.status_code for one in wishes] == [202, 202, 202]
        assert await mode(desk) == "shadow"
        proposal, same, added = [one.json() for one in wishes]
        assert same["id"] == proposal["id"]
        approve = f"/proposals/{proposal['id']}/approve"
        mine = await ask(desk, "POST", approve, ADA)
        assert (mine.status_code, mine.json()["code"]) == (403, "same-person")
        done = await ask(desk, "POST", approve, RITA)
        assert (done.status_code, done.json()["outcome"]) == (200, "done")
        assert await mode(desk) == "live"
        # What already trades is changed without a second person; stopping never needs one.
        changed = await ask(desk, "PATCH", "/quiet", ADA, {"weight": "0.5"}, proven=False)
        assert changed.status_code == 200
        assert (await ask(desk, "DELETE", "/quiet", ADA, proven=False)).status_code == 200
        again = await ask(desk, "PATCH", "/quiet", ADA, {"enabled": True})
        assert again.status_code == 202
        # It is changed meanwhile: what was agreed to would be something else.
        await ask(desk, "PATCH", "/quiet", BOB, {"weight": "0.9"})
        stale = await ask(desk, "POST", f"/proposals/{again.json()['id']}/approve", BOB)
        assert stale.status_code == 409
        assert "changed since" in stale.json()["detail"]
        loud = await ask(desk, "POST", f"/proposals/{added['id']}/approve", BOB)
        assert loud.json().get("outcome") == "done", loud.text
        assert (await desk.client.get(f"{STRATEGIES}/loud")).json()["mode"] == "live"
    with psycopg.connect(database_url) as connection:
        told = connection.execute(
            "SELECT decision, decided_by, proposed_by FROM proposals ORDER BY proposed_at"
        ).fetchall()
    assert told == [
        ("approved", "user:rita", "user:ada"),
        ("approved", "user:bob", "user:ada"),
        ("approved", "user:bob", "user:ada"),
    ]
