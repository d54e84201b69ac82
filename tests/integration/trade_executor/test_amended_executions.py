"""What the venue takes back, corrects, splits and pays, over real sockets: the books follow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import psycopg
import pytest

from infra.ledger_verify import verify
from tests.support.executor_orders import approval, spec
from tests.support.executor_world import World, compare_books, executor_world
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        for symbol in ("AAPL", "KO"):
            running.quote(symbol, "100.00", "100.02")
        yield running


@pytest.fixture
async def world(simulator: Simulator, database_url: str, redis_url: str) -> AsyncIterator[World]:
    async with executor_world(simulator, database_url, redis_url) as running:
        yield running


async def bought(world: World, quantity: str = "10") -> str:
    """Buy AAPL and return the execution's id."""
    order = approval(spec("buy", quantity), generation=1, reference_price="100")
    await world.send(order)
    await world.until(order.order_id, "filled")
    await world.books_equal()
    return str(world.simulator.ledger()["executions"][-1]["execution_id"])


def amended(world: World) -> list[tuple[str, str]]:
    with psycopg.connect(world.voice.database_url) as connection:
        return connection.execute(
            "SELECT kind, execution_id FROM trade_reversals ORDER BY booked_at"
        ).fetchall()


async def test_a_bust_told_by_the_stream_is_reversed(world: World) -> None:
    execution = await bought(world)
    world.simulator.control(f"executions/{execution}", {"kind": "bust"})
    await eventually(lambda: len(amended(world)) == 1, what="the reversal")
    await world.books_equal()
    assert amended(world) == [("bust", execution)]
    shown = await world.order(world.orders[0])
    assert (shown["status"], shown["filled_quantity"]) == ("filled", "0")
    assert shown["anomaly"] == "execution_reversed_after_end"
    assert "busted" in await world.events(world.orders[0])
    listed = (await world.client.get("/api/v1/orders/trades")).json()["items"]
    assert [(one["reversed_kind"], one["reversed_by"] is None) for one in listed] == [
        ("bust", False)
    ]
    dossier = (await world.client.get(f"/api/v1/orders/{world.orders[0]}/dossier")).json()
    assert [one["reversed_kind"] for one in dossier["executions"]] == ["bust"]
    assert (dossier["cost"]["quantity"], dossier["cost"]["total"]) == ("0", None)


async def test_a_correction_of_a_correction_stands_in_the_first_place(world: World) -> None:
    first = await bought(world)
    await bought(world, "4")
    second = world.simulator.control(
        f"executions/{first}", {"kind": "correct", "qty": "7", "price": "99.5"}
    )["id"].rpartition("::")[2]
    await eventually(lambda: len(amended(world)) == 1, what="the correction")
    world.simulator.control(f"executions/{second}", {"kind": "correct", "price": "98.75"})
    await eventually(lambda: len(amended(world)) == 2, what="the second correction")
    await world.books_equal()
    with psycopg.connect(world.voice.database_url) as connection:
        entries = connection.execute(
            "SELECT entry, quantity::text FROM trades ORDER BY entry, booked_at"
        ).fetchall()
    assert [entry for entry, _ in entries] == [1, 1, 1, 2]
    first_order = world.orders[0]
    listed = (await world.client.get(f"/api/v1/orders/trades?order_id={first_order}")).json()
    kinds = [one["reversed_kind"] for one in reversed(listed["items"])]
    assert kinds == ["correction", "correction", None]
    dossier = (await world.client.get(f"/api/v1/orders/{first_order}/dossier")).json()
    assert (dossier["cost"]["quantity"], dossier["cost"]["average_price"]) == ("7", "98.75")


async def test_a_correction_of_one_that_nobody_told_us_of_waits_for_the_list(world: World) -> None:
    first = await bought(world)
    world.simulator.fault("missing", stream="trading", event="trade_correct", count=1)
    unheard = world.simulator.control(f"executions/{first}", {"kind": "correct", "qty": "7"})
    second = unheard["id"].rpartition("::")[2]
    world.simulator.control(f"executions/{second}", {"kind": "correct", "qty": "6"})
    await eventually(lambda: len(amended(world)) == 2, what="both corrections, from the list")
    await world.books_equal()
    with psycopg.connect(world.voice.database_url) as connection:
        told = connection.execute(
            "SELECT (convert_from(message, 'UTF8')::jsonb #>> '{payload,filled_quantity}')::int"
            " FROM outbox WHERE channel = 'orders.events' ORDER BY seq"
        ).fetchall()
    # At no time more than was traded: the second is not booked beside what the first replaced.
    assert max(filled for (filled,) in told) == 10
    assert told[-1] == (6,)


async def test_what_was_amended_while_away_is_found_in_the_list(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    async with executor_world(simulator, database_url, redis_url) as world:
        busted, corrected = await bought(world), await bought(world, "3")
    simulator.control(f"executions/{busted}", {"kind": "bust"})
    simulator.control(f"executions/{corrected}", {"kind": "correct", "qty": "2"})
    assert compare_books(database_url, simulator.ledger()) != []
    async with executor_world(simulator, database_url, redis_url) as world:
        await world.books_equal()
        assert {kind for kind, _ in amended(world)} == {"bust", "correction"}


async def test_a_correction_is_not_taken_for_its_missed_neighbour_that_looks_the_same(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    async with executor_world(simulator, database_url, redis_url) as world:
        await bought(world)
    simulator.quote("AAPL", "100.00", "100.02", ask_size=2)
    simulator.submit("AAPL", "buy", "3", type="limit", limit_price="100.02")
    two = simulator.ledger()["executions"][-1]
    simulator.quote("AAPL", "100.00", "100.02", ask_size=1)
    one = simulator.ledger()["executions"][-1]
    assert [(each["qty"], each["price"]) for each in (two, one)] == [
        ("2", "100.02"),
        ("1", "100.02"),
    ]
    simulator.control(f"executions/{two['execution_id']}", {"kind": "correct", "qty": "1"})
    async with executor_world(simulator, database_url, redis_url) as world:
        await world.books_equal(within_s=60)
        assert amended(world) == [("correction", two["execution_id"])]
        with psycopg.connect(database_url) as connection:
            standing = connection.execute(
                "SELECT t.quantity::int FROM trades t WHERE t.quantity < 10 AND NOT EXISTS"
                " (SELECT FROM trade_reversals r WHERE r.trade_id = t.id)"
            ).fetchall()
        assert standing == [(1,), (1,)]


async def test_what_the_opening_balance_holds_is_followed_when_it_is_taken_back(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    def traded(symbol: str, side: str, quantity: str) -> str:
        simulator.submit(symbol, side, quantity)
        return str(simulator.ledger()["executions"][-1]["execution_id"])

    bought_first, bought_then = traded("AAPL", "buy", "10"), traded("AAPL", "buy", "6")
    sold, other = traded("AAPL", "sell", "4"), traded("KO", "buy", "5")
    async with executor_world(simulator, database_url, redis_url) as world:
        simulator.step(1)  # the market's clock stands still otherwise
        simulator.control(f"executions/{bought_first}", {"kind": "bust"})
        await eventually(lambda: len(amended(world)) == 1, what="the bust")
        await held_equal(world, "AAPL", "2")
        simulator.control(f"executions/{bought_then}", {"kind": "correct", "qty": "5"})
        await eventually(lambda: len(amended(world)) == 2, what="the correction")
        await held_equal(world, "AAPL", "1")
    simulator.control(f"executions/{other}", {"kind": "bust"})  # the whole position, while away
    simulator.control(f"executions/{sold}", {"kind": "bust"})  # a sale: shares come back
    async with executor_world(simulator, database_url, redis_url) as world:
        await held_equal(world, "AAPL", "5")
        await held_equal(world, "KO", "0")
        assert len(amended(world)) == 4
    with psycopg.connect(database_url) as connection:
        adopted = connection.execute(
            "SELECT symbol, side, filled_quantity::int FROM orders"
        ).fetchall()
        told = connection.execute(
            "SELECT count(*) FROM outbox WHERE channel = 'trades.reversed'"
        ).fetchone()
    assert sorted(adopted) == [
        ("AAPL", "buy", 0), ("AAPL", "buy", 5), ("AAPL", "sell", 0), ("KO", "buy", 0),
    ]  # fmt: skip
    assert told == (4,)
    assert [one.name for one in verify(database_url) if one.broken] == []


async def held_equal(world: World, symbol: str, quantity: str) -> None:
    """Wait until position and cash are the broker's, and nothing blocks the symbol."""
    truth = world.simulator.ledger()
    there = {one["symbol"]: one["qty"] for one in truth["positions"]}
    assert float(there.get(symbol, 0)) == float(quantity)

    def equal() -> bool:
        with psycopg.connect(world.voice.database_url) as connection:
            shares = connection.execute(
                "SELECT quantity FROM portfolio_positions WHERE symbol = %s", (symbol,)
            ).fetchone()
            cash = connection.execute(
                "SELECT credits_posted - debits_posted FROM ledger_accounts"
                " WHERE owner = 'main' AND code = 'cash'"
            ).fetchone()
            differs = connection.execute(
                "SELECT kind FROM discrepancies WHERE resolved_at IS NULL"
            ).fetchall()
        return (shares, cash, differs) == ((Decimal(quantity),), (Decimal(truth["cash"]),), [])

    await eventually(equal, what=f"{quantity} {symbol} and the broker's cash", within_s=60)


async def test_a_split_and_a_dividend_are_booked_and_a_resting_sell_is_restated(
    world: World,
) -> None:
    await bought(world)
    resting = approval(
        spec("sell", "10", limit="150"), generation=1, reference_price="100", reducing=True
    )
    await world.send(resting)
    await world.until(resting.order_id, "working", "accepted")
    world.simulator.control(
        "market", {"actions": [{"symbol": "AAPL", "kind": "dividend", "cash": "0.25"}]}
    )
    world.simulator.control(
        "market", {"actions": [{"symbol": "AAPL", "kind": "split", "ratio": "2"}]}
    )
    await world.books_equal(within_s=60)
    with psycopg.connect(world.voice.database_url) as connection:
        assert connection.execute(
            "SELECT kind, code, amount::text, quantity::text FROM account_activities ORDER BY kind"
        ).fetchall() == [
            ("DIV", "dividend", "2.5000", "10.00000000"),
            ("SPLIT", "split", "0.0000", "10.00000000"),
        ]
        assert connection.execute(
            "SELECT quantity::text, avg_cost::text FROM portfolio_positions"
        ).fetchall() == [("20.00000000", "50.01000000")]

        def restated() -> bool:
            row = connection.execute(
                "SELECT quantity, limit_price, hold_amount FROM orders WHERE id = %s",
                (resting.order_id,),
            ).fetchone()
            connection.rollback()
            return row is not None and tuple(map(float, row)) == (20.0, 75.0, 20.0)

        await eventually(restated, what="the restated order and its hold")
