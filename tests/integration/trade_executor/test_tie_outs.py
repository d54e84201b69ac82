"""The daily tie-out over real sockets: a day that agrees, one that differs, and its end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.support.executor_orders import approval, spec
from tests.support.executor_world import World, executor_world
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator

PATH = "/api/v1/orders/tieouts"
DAY = "2019-03-04"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        for symbol in ("AAPL", "KO", "MSFT"):
            running.quote(symbol, "100.00", "100.02")
        yield running


@pytest.fixture
async def world(simulator: Simulator, database_url: str, redis_url: str) -> AsyncIterator[World]:
    async with executor_world(simulator, database_url, redis_url) as running:
        yield running


async def attempts(world: World, day: str = DAY) -> list[dict[str, Any]]:
    answer = await world.client.get(PATH, params={"day": day})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def until(world: World, *results: str) -> list[dict[str, Any]]:
    """Wait until the day's attempts, oldest first, begin with these results."""

    async def there() -> bool:
        found = [one["result"] for one in reversed(await attempts(world))]
        return found[: len(results)] == list(results)

    try:
        await eventually(there, within_s=60, what=f"attempts {results}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {await attempts(world)}") from error
    return list(reversed(await attempts(world)))


def told(world: World) -> list[tuple[str, str]]:
    """Return level and title of what people were told of tie-outs, oldest first."""
    with psycopg.connect(world.voice.database_url) as connection:
        rows = connection.execute("SELECT message FROM outbox ORDER BY id").fetchall()
    payloads = [json.loads(bytes(row[0]))["payload"] for row in rows]
    told = [one for one in payloads if one.get("title", "").startswith("Tie-out")]
    return [(one["level"], one["title"]) for one in told]


async def trade(world: World, side: str, quantity: str) -> None:
    order = approval(spec(side, quantity, symbol="KO"), generation=1)
    await world.send(order)
    await world.until(order.order_id, "filled")


async def test_a_day_with_trades_and_activities_agrees_at_its_close_and_at_its_end(
    world: World,
) -> None:
    assert (await world.client.post(PATH, json={})).status_code == 409  # before the books began
    await trade(world, "buy", "30")
    await trade(world, "sell", "10")
    fills = [one for one in world.simulator.ledger()["executions"] if one["counts"]]
    world.simulator.control(f"executions/{fills[-1]['execution_id']}", {"kind": "bust"})
    world.simulator.control(
        "market", {"actions": [{"kind": "dividend", "symbol": "KO", "cash": "0.40"}]}
    )
    world.simulator.control("activities", {"type": "FEE", "net_amount": "-0.07"})
    await world.books_equal()
    world.simulator.step_to("next_close")
    world.simulator.step(5)
    row = (await until(world, "agrees"))[0]
    assert (row["cause"], row["seq"], row["differences"]) == ("close", 1, [])
    assert row["ours"] == row["theirs"]
    assert row["ours"]["executions"] == {
        "KO buy": {"number": 1, "quantity": "30", "money": "3000.6"}
    }
    assert row["ours"]["positions"] == {"KO": "30"}
    assert row["ours"]["activities"] == {
        "DIV": {"number": 1, "amount": "12"}, "FEE": {"number": 1, "amount": "-0.07"}
    }  # fmt: skip
    moved = row["movement"]
    assert moved["closing"] == str(Decimal(world.simulator.ledger()["cash"]).normalize())
    assert Decimal(moved["opening"]) + sum(map(Decimal, moved["parts"].values())) == Decimal(
        moved["closing"]
    )
    world.simulator.step(4 * 3600)
    rows = await until(world, "agrees", "agrees")
    assert [one["cause"] for one in rows] == ["close", "end"]
    asked = await world.client.post(PATH, json={"day": DAY})
    assert (asked.status_code, asked.json()["seq"]) == (201, 3)
    for day, status in (("2019-03-03", 422), ("2019-03-05", 409)):
        refused = await world.client.post(PATH, json={"day": day})
        assert refused.status_code in {status, 400}, refused.text
    assert told(world) == []


async def test_money_that_no_list_explains_differs_and_alerts_once_until_it_is_explained(
    world: World,
) -> None:
    await trade(world, "buy", "10")
    world.simulator.fault("wrong_field", object="activity", event="JNLC", field="id", value="")
    world.simulator.control("activities", {"type": "JNLC", "net_amount": "-12.34"})
    world.simulator.step_to("next_close")
    world.simulator.step(5)
    row = (await until(world, "differs"))[0]
    assert [(one["what"], one["of"]) for one in row["differences"]] == [("cash", "")]
    assert Decimal(row["ours"]["cash"]) - Decimal(row["theirs"]["cash"]) == Decimal("12.34")
    asked = await world.client.post(PATH, json={})
    assert asked.json()["result"] == "differs"
    assert told(world) == [("CRITICAL", f"Tie-out of {DAY} differs")]
    world.simulator.clear_faults()
    rows = await until(world, "differs", "differs", "agrees")
    assert rows[-1]["ours"]["activities"] == {"JNLC": {"number": 1, "amount": "-12.34"}}
    assert told(world)[1:] == [("INFO", f"Tie-out of {DAY} agrees now")]


async def test_a_day_that_closed_while_we_were_down_is_tied_out_at_the_start(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    async with executor_world(simulator, database_url, redis_url) as world:
        await trade(world, "buy", "10")
    simulator.submit("KO", "buy", "5")
    simulator.step_to("next_close")
    simulator.step(3600)
    async with executor_world(simulator, database_url, redis_url) as world:
        row = (await until(world, "agrees"))[0]
        assert row["ours"]["executions"]["KO buy"]["quantity"] == "15"
