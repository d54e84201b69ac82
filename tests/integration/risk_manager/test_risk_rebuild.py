"""The book from PostgreSQL: at start, by the refresh, and for orders that we did not approve."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from libs.common.contracts.channels import ORDERS_EVENTS
from libs.common.contracts.messages import OrderEvent
from libs.common.domain.vocabulary import OrderStatus, Side
from services.risk_manager.main import build
from services.risk_manager.settings import RiskSettings
from tests.support.risk_world import MARKET_OPEN, SimClock, World, seed, sim_clock
from tests.support.runtimes import eventually, ready, serving


@pytest.fixture
def clock() -> Iterator[SimClock]:
    with sim_clock() as running:
        yield running


@pytest.fixture
async def world(database_url: str, redis_url: str, clock: SimClock) -> AsyncIterator[World]:
    seed(database_url)
    world = World(database_url, redis_url, clock)
    yield world
    await world.close()


def settings_for(world: World, redis_url: str, **more: object) -> RiskSettings:
    return RiskSettings.model_validate(
        {
            "port": 0,
            "database_url": world.database_url,
            "redis_url": redis_url,
            "clock_url": world.clock.url,
            "outbox_sweep_s": 0.1,
            "risk_refresh_s": 0.1,
            **more,
        }
    )


class Books:
    """Writes what the executor would write."""

    def __init__(self, url: str) -> None:
        self._url = url

    def _do(self, statement: str, *parameters: object) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement, parameters)  # type: ignore[arg-type]

    def order(self, symbol: str, quantity: int, **columns: Any) -> uuid.UUID:
        """A working buy order with a limit of 50."""
        row = {
            "id": uuid.uuid4(),
            "broker": "sim",
            "account_id": "main",
            "symbol": symbol,
            "side": "buy",
            "order_type": "limit",
            "order_class": "simple",
            "quantity": quantity,
            "limit_price": 50,
            "time_in_force": "day",
            "status": "working",
            "strategy_id": "sma",
            "correlation_id": uuid.uuid4(),
            **columns,
        }
        row["client_order_id"] = f"tw-{row['id']}-1"
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        self._do(f"INSERT INTO orders ({names}) VALUES ({marks})", *row.values())
        return row["id"]  # type: ignore[no-any-return]

    def trade(self, order_id: uuid.UUID, symbol: str, quantity: int, price: int) -> None:
        """A booked buy: trade, filled quantity, position, cash."""
        self._do(
            """INSERT INTO trades (id, order_id, account_id, broker, execution_id, symbol, side,
                   quantity, executed_price, commission, fees, executed_at, strategy_id,
                   realized_pnl, correlation_id, entry)
               VALUES (%s, %s, 'main', 'sim', %s, %s, 'buy', %s, %s, 0, 0, %s, 'sma', 0, %s, 1)""",
            uuid.uuid4(), order_id, uuid.uuid4().hex, symbol, quantity, price, MARKET_OPEN,
            uuid.uuid4(),
        )  # fmt: skip
        self._do(
            "UPDATE orders SET filled_quantity = filled_quantity + %s WHERE id = %s",
            quantity, order_id,
        )  # fmt: skip
        self._do(
            """INSERT INTO portfolio_positions
                   (account_id, symbol, quantity, avg_cost, realized_pnl)
               VALUES ('main', %s, %s, %s, 0)
               ON CONFLICT (account_id, symbol)
               DO UPDATE SET quantity = portfolio_positions.quantity + excluded.quantity""",
            symbol, quantity, price,
        )  # fmt: skip
        self._do(
            "UPDATE ledger_accounts SET debits_posted = debits_posted + %s WHERE code = 'cash'",
            quantity * price,
        )


async def exposure(service: httpx.AsyncClient) -> dict[str, Any]:
    answer: dict[str, Any] = (await service.get("/api/v1/risk/exposure")).json()
    return answer


async def test_partly_filled_order_is_rebuilt(world: World, redis_url: str) -> None:
    books = Books(world.database_url)
    order_id = books.order("KO", 100)
    books.trade(order_id, "KO", 40, 49)
    books.order("KO", 70, status="canceled")
    async with serving(build(settings_for(world, redis_url))) as service:
        await ready(service)
        book = await exposure(service)
    assert book["cash"] == "998040"
    assert book["positions"] == [{"symbol": "KO", "quantity": "40"}]
    assert [(p["order_id"], p["remaining"]) for p in book["pending"]] == [(str(order_id), "60")]


async def test_exit_legs_of_a_group_are_not_counted(world: World, redis_url: str) -> None:
    books = Books(world.database_url)
    entry = books.order("KO", 100, order_class="bracket")
    books.order("KO", 100, side="sell", order_class="bracket", parent_id=entry)
    async with serving(build(settings_for(world, redis_url))) as service:
        await ready(service)
        book = await exposure(service)
    assert [p["order_id"] for p in book["pending"]] == [str(entry)]


async def test_execution_never_told_is_found(world: World, redis_url: str) -> None:
    books = Books(world.database_url)
    order_id = books.order("KO", 100)
    async with serving(build(settings_for(world, redis_url))) as service:
        await ready(service)
        books.trade(order_id, "KO", 100, 49)

        async def found() -> bool:
            book = await exposure(service)
            return bool(book["positions"] == [{"symbol": "KO", "quantity": "100"}])

        await eventually(found, what="the position")
        book = await exposure(service)
        assert (book["cash"], book["held"]) == ("995100", "0")
        # A deposit is no gain: nothing was won or lost today.
        assert world.rows("UPDATE ledger_accounts SET credits_posted = 2000000 RETURNING 1")

        async def paid() -> bool:
            return bool((await exposure(service))["cash"] == "1995100")

        await eventually(paid, what="the deposit")


async def test_order_that_we_did_not_approve_is_taken_up(world: World, redis_url: str) -> None:
    async with serving(build(settings_for(world, redis_url))) as service:
        await ready(service)
        order_id = Books(world.database_url).order("KO", 100, external=True, strategy_id=None)
        event = OrderEvent(
            order_id=order_id,
            client_order_id="foreign",
            account_id="main",
            symbol="KO",
            side=Side.BUY,
            seq=1,
            event="accepted",
            from_status=None,
            to_status=OrderStatus.WORKING,
            quantity=Decimal(100),
            filled_quantity=Decimal(0),
            ts=MARKET_OPEN,
        )
        await world.tell(ORDERS_EVENTS, event)

        async def taken() -> bool:
            return [p["order_id"] for p in (await exposure(service))["pending"]] == [str(order_id)]

        await eventually(taken, what="the order")


# kind, code, amount: as `executor_activity` writes them.
MOVED = (
    ("JNLC", "journal", Decimal("500")),
    ("DIV", "dividend", Decimal("30")),
    ("DIVNRA", "tax", Decimal("-4.50")),
    ("FEE", "fee", Decimal("-7")),
    ("INT", "interest", Decimal("1.25")),
)


def book_activities(url: str) -> None:
    """Book every activity with its money, as the executor does, in one transaction."""
    with psycopg.connect(url) as connection:
        for number, (kind, code, amount) in enumerate(MOVED):
            connection.execute(
                "INSERT INTO account_activities (id, account_id, broker, activity_id, kind, code,"
                " amount, quantity, executed_at)"
                " VALUES (gen_random_uuid(), 'main', 'sim', %s, %s, %s, %s, 0, now())",
                (str(number), kind, code, amount),
            )
        connection.execute(
            "UPDATE ledger_accounts SET credits_posted = credits_posted + %s WHERE code = 'cash'",
            (sum(amount for _, _, amount in MOVED),),
        )


async def test_income_is_profit_and_a_deposit_is_not(world: World, redis_url: str) -> None:
    quick = settings_for(world, redis_url, risk_watch_s=0.05, risk_metrics_s=0.05)
    async with serving(build(quick)) as service:
        await ready(service)

        async def valued() -> bool:
            return bool(world.rows("SELECT 1 FROM risk_metrics WHERE equity = 1000000"))

        await eventually(valued, within_s=60, what="a valuation")
        book_activities(world.database_url)

        async def counted() -> bool:
            last = world.rows("SELECT equity, day_pnl FROM risk_metrics ORDER BY ts DESC LIMIT 1")
            return (last[0]["equity"], last[0]["day_pnl"]) == (
                Decimal("1000519.75"), Decimal("19.75"),
            )  # fmt: skip

        await eventually(counted, within_s=60, what="30 - 4.50 - 7 + 1.25 of the 519.75 as profit")
