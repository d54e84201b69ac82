"""Performance from the executor's tables, and demotion by a strategy's own limits."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.support.bar_feed import daily_bars
from tests.support.engine_desk import Desk, opened
from tests.support.runtimes import eventually

BASE = "/api/v1/strategies"
MINE = {
    "id": "mine",
    "class_name": "sma_cross",
    "universe": ["AAPL"],
    "timeframe": "1d",
    "limits": {"drawdown_max": 150, "daily_loss_max": 1000},
}
OTHER = {**MINE, "id": "other", "limits": {}}
Open = Callable[..., Any]


@pytest.fixture
def desk(database_url: str, redis_url: str) -> Open:
    return partial(opened, database_url, redis_url, review_s=0.1)


class Executor:
    """Books executions as the executor's tables hold them."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)

    def book(self, strategy_id: str, side: str, quantity: int, price: float) -> uuid.UUID:
        order_id, trade_id = uuid.uuid4(), uuid.uuid4()
        self._connection.execute(
            "INSERT INTO orders (id, client_order_id, broker, account_id, symbol, side,"
            " order_type, order_class, time_in_force, status, correlation_id)"
            " VALUES (%s, %s, 'alpaca', 'main', 'AAPL', %s, 'market', 'simple', 'day', 'filled',"
            " %s)",
            (order_id, str(order_id), side, uuid.uuid4()),
        )
        self._connection.execute(
            "INSERT INTO trades (id, order_id, account_id, broker, execution_id, symbol, side,"
            " quantity, executed_price, commission, fees, executed_at, strategy_id, realized_pnl,"
            " correlation_id, entry) VALUES (%s, %s, 'main', 'alpaca', %s, 'AAPL', %s, %s, %s, 1,"
            " 0, now(), %s, 0, %s, 1)",
            (
                trade_id, order_id, str(trade_id), side, quantity, price, strategy_id,
                uuid.uuid4(),
            ),
        )  # fmt: skip
        return trade_id

    def take_back(self, trade_id: uuid.UUID) -> None:
        self._connection.execute(
            "INSERT INTO trade_reversals (broker, execution_id, id, trade_id, order_id,"
            " account_id, symbol, kind, reversed_at, realized_pnl, correlation_id)"
            " SELECT broker, execution_id, gen_random_uuid(), id, order_id, account_id, symbol,"
            " 'bust', now(), 0, correlation_id FROM trades WHERE id = %s",
            (trade_id,),
        )


async def stood(d: Desk, strategy_id: str) -> dict[str, Any]:
    items = (await d.client.get(f"{BASE}/performance")).json()["items"]
    return next((item for item in items if item["strategy_id"] == strategy_id), {})


async def shows(d: Desk, strategy_id: str, **wanted: object) -> None:
    async def as_wanted() -> bool:
        found = await stood(d, strategy_id)
        return all(str(found.get(name)) == str(value) for name, value in wanted.items())

    await eventually(as_wanted, within_s=60, what=f"{wanted} of {strategy_id}")


async def mode(d: Desk, strategy_id: str) -> str:
    return str((await d.client.get(f"{BASE}/{strategy_id}")).json()["mode"])


async def test_strategy_that_loses_too_much_is_demoted_and_people_hear_of_it(
    desk: Open, database_url: str
) -> None:
    bars = daily_bars("AAPL", 40)
    close = float(bars["close"][-1])
    executor = Executor(database_url)
    async with desk(MINE, OTHER) as d:
        d.feed.close("AAPL", bars)
        await d.seen("mine", "AAPL", bars[-1])
        # Bought 10 above what it is worth by 20 each, and 1 of commission: 201 down.
        await shows(d, "mine", executions=0)
        held = executor.book("mine", "buy", 10, close + 10)
        executor.book("other", "buy", 10, close + 10)
        await shows(d, "mine", executions=1, pnl="-101.0000", drawdown="101.0000", trips=0)
        assert await mode(d, "mine") == "live"
        executor.book("mine", "sell", 10, close - 10)
        await shows(d, "mine", executions=2, pnl="-202.0000", trips=1, hits=0, mode="shadow")
        assert (await mode(d, "mine"), await mode(d, "other")) == ("shadow", "live")
        told = d.rows(
            "SELECT convert_from(message, 'UTF8')::jsonb -> 'payload', stream FROM outbox"
            " WHERE stream IN ('log:notifications', 'log:audit.events') ORDER BY stream"
        )
        (event, _), (notice, _) = told
        assert (event["event_type"], event["resource"]) == ("strategy.demoted", "strategy:mine")
        assert event["details"]["reason"].startswith("drawdown 202.0000 above its limit of 150")
        assert (notice["level"], notice["fingerprint"]) == ("CRITICAL", "strategy_demoted:mine")
        # Made live again, it begins anew; an execution that is taken back no longer counts.
        answer = await d.client.post(f"{BASE}/mine/mode", json={"mode": "live"})
        assert answer.status_code == 200
        await shows(d, "mine", mode="live", drawdown="0.0000")
        executor.take_back(held)
        await shows(d, "mine", executions=1, trips=0)
        metrics = (await d.client.get("/metrics")).text
        assert 'strategy_demotions_total{strategy_id="mine"} 1.0' in metrics
    # The best P&L outlives the process.
    async with desk() as d:
        await shows(d, "other", executions=1, pnl="-101.0000", drawdown="101.0000")


async def test_own_limits_are_changed_and_bad_ones_refused(desk: Open) -> None:
    async with desk(MINE) as d:
        changed = {"limits": {"faults_max": 0}}
        answer = await d.client.patch(f"{BASE}/mine", json=changed)
        assert answer.json()["limits"] == {"faults_max": 0}
        cases: list[tuple[Any, str]] = [
            ({"limits": {"drawdown_max": 0}}, "drawdown_max"),
            ({"limits": {"daily_loss_max": "much"}}, "daily_loss_max"),
            ({"limits": {"draw_down": 1}}, "draw_down"),
        ]
        for body, word in cases:
            answer = await d.client.patch(f"{BASE}/mine", json=body)
            assert (answer.status_code, word in answer.text) == (422, True), answer.text
