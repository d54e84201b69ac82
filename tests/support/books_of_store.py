"""The executor's store as a random session tells it, and what its tables say then."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import msgspec
import psycopg

from libs.common.domain.activities import Activity
from libs.common.domain.booking import hold
from libs.common.domain.executions import Execution, Reversal
from libs.common.domain.ledger import cash_account, corporate_account, fees_account
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderStatus, Side
from libs.common.kernel.ids import AccountId, BrokerOrderId, ExecutionId, Symbol
from libs.common.kernel.money import ZERO
from services.trade_executor.model import Order, order_of
from services.trade_executor.ports import Move, Recorded
from services.trade_executor.store import ExecutorStore
from tests.support.executor_orders import NOON, approval, spec

MAIN = AccountId("main")
CREATED = Recorded("created", None, OrderStatus.CREATED)


@dataclass
class TaughtStore:
    """Implements `Taught` over PostgreSQL; reversals and activities are told twice."""

    store: ExecutorStore
    orders: dict[str, Order] = field(default_factory=dict)
    strategies: tuple[str | None, ...] = ("sma", "rsi", None)

    async def place(
        self, name: str, symbol: str, side: Side, quantity: Decimal, held: Decimal
    ) -> None:
        """An order with its hold, working at the venue."""
        strategy = self.strategies[len(self.orders) % len(self.strategies)]
        approved = approval(spec(side, str(quantity), symbol=symbol), strategy_id=strategy)
        order = order_of(approved, broker="alpaca", correlation_id=uuid.uuid4(), now=NOON)
        pending = hold(order.id, MAIN, Symbol(symbol), side, held) if held else None
        order = (await self.store.create(order, [CREATED], pending)).order
        move = Move(OrderEvent.WORKING, OrderStatus.WORKING, broker_order_id=BrokerOrderId(name))
        self.orders[name] = (await self.store.move(order, move)).order

    async def end(self, name: str) -> None:
        """The venue cancels it."""
        move = Move(OrderEvent.CANCELED, OrderStatus.CANCELED)
        self.orders[name] = (await self.store.move(self.orders[name], move)).order

    async def fill(self, name: str, one: Execution) -> None:
        """It trades."""
        written = await self.store.book(self.orders[name], one, source="stream")
        self.orders[name] = written.order

    async def take_back(
        self, name: str, original: str, replacement: Execution | None, at: dt.datetime
    ) -> None:
        """A trade is taken back, told twice."""
        reversal = Reversal(
            broker="alpaca",
            original=ExecutionId(original),
            broker_order_id=BrokerOrderId(name),
            symbol=self.orders[name].symbol,
            reversed_at=at,
            replacement=replacement,
        )
        self.orders[name] = (await self.store.reverse(self.orders[name], reversal)).order
        again = await self.store.reverse(self.orders[name], reversal)
        assert again.outcome == "duplicate"

    async def activity(self, one: Activity) -> None:
        """Money or shares move without a trade, told twice."""
        assert await self.store.book_activities([one, one]) == 1

    async def restate(self, name: str, quantity: Decimal) -> None:
        """An order asks for another quantity."""
        order = self.orders[name]
        terms = msgspec.structs.replace(order.spec, quantity=quantity)
        written = await self.store.restate(order, terms)
        assert written.outcome == "moved"
        self.orders[name] = replace(written.order, spec=terms)


@dataclass(frozen=True)
class Kept:
    """What the tables say."""

    cash: Decimal
    cash_held: Decimal
    fees: Decimal
    corporate: Decimal
    positions: dict[str, tuple[Decimal, Decimal, Decimal]]
    shares: dict[str, tuple[Decimal, Decimal]]
    orders: dict[uuid.UUID, tuple[Decimal, Decimal, Decimal]]
    strategies: dict[str, Decimal]
    realized: dict[str, Decimal]
    uneven: list[Any]


def kept(connection: psycopg.Connection) -> Kept:
    """Read all that the oracle answers for."""

    def rows(query: str) -> list[Any]:
        return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    balances = {
        row[0]: (row[1], row[2])
        for row in rows(
            "SELECT id, credits_posted - debits_posted, debits_pending FROM ledger_accounts"
        )
    }
    nothing = (ZERO, ZERO)
    cash, held = balances.get(cash_account(MAIN).id, nothing)
    answer = Kept(
        cash=cash,
        cash_held=held,
        fees=balances.get(fees_account().id, nothing)[0],
        corporate=balances.get(corporate_account().id, nothing)[0],
        positions={
            row[0]: row[1:]
            for row in rows(
                "SELECT symbol, quantity, avg_cost, realized_pnl FROM portfolio_positions"
            )
        },
        shares={
            row[0]: row[1:]
            for row in rows(
                "SELECT ledger, credits_posted - debits_posted, debits_pending"
                " FROM ledger_accounts WHERE code = 'position'"
            )
        },
        orders={
            row[0]: row[1:]
            for row in rows(
                "SELECT id, coalesce(hold_amount, 0), filled_quantity, filled_value FROM orders"
            )
        },
        strategies=dict(
            rows("SELECT symbol, sum(quantity) FROM strategy_positions GROUP BY symbol")
        ),
        realized=dict(
            rows(
                "SELECT symbol, sum(realized_pnl) FROM ("
                " SELECT symbol, realized_pnl FROM trades"
                " UNION ALL SELECT symbol, realized_pnl FROM trade_reversals"
                " UNION ALL SELECT symbol, realized_pnl FROM position_changes) x GROUP BY symbol"
            )
        ),
        uneven=rows(
            "SELECT ledger, sum(credits_posted - debits_posted),"
            " sum(credits_pending - debits_pending) FROM ledger_accounts GROUP BY ledger"
            " HAVING sum(credits_posted - debits_posted) <> 0"
            " OR sum(credits_pending - debits_pending) <> 0"
        ),
    )
    connection.commit()
    return answer
