"""An account in the executor's tables, written the way the executor leaves it."""

from __future__ import annotations

import uuid
from decimal import Decimal

import psycopg

from libs.common.domain.ledger import (
    AccountKey,
    capital_account,
    cash_account,
    fees_account,
    market_account,
    position_account,
)
from libs.common.domain.positions import Position, apply_fill
from libs.common.domain.vocabulary import Side
from libs.common.kernel.ids import AccountId
from libs.common.kernel.money import notional

ACCOUNT = AccountId("main")


class MadeUpBooks:
    """Deposits and executions of account `main`, each in one transaction."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._positions: dict[str, Position] = {}

    def deposit(self, amount: str) -> None:
        """Pay money in."""
        with psycopg.connect(self._url) as tx:
            self._transfer(tx, capital_account(ACCOUNT), cash_account(ACCOUNT), Decimal(amount))

    def execute(
        self,
        side: Side,
        quantity: str,
        symbol: str,
        price: str,
        fee: str = "0",
        strategy_id: str | None = None,
    ) -> None:
        """Book one execution: order, trade, position, cash leg, instrument leg, fee leg."""
        size, value = Decimal(quantity), notional(Decimal(quantity), Decimal(price))
        after = apply_fill(
            self._positions.get(symbol, Position()), side, size, Decimal(price)
        ).position
        self._positions[symbol] = after
        cash, market = cash_account(ACCOUNT), market_account("USD")
        shares, venue = position_account(ACCOUNT, symbol), market_account(symbol)
        buys = side is Side.BUY
        with psycopg.connect(self._url) as tx:
            done = self._trade(tx, (symbol, side, size), price, fee, strategy_id)
            self._transfer(tx, *((cash, market) if buys else (market, cash)), value, trade=done)
            self._transfer(tx, *((venue, shares) if buys else (shares, venue)), size, trade=done)
            if Decimal(fee):
                self._transfer(tx, cash, fees_account(), Decimal(fee), code="fee", trade=done)
            tx.execute(
                "INSERT INTO portfolio_positions VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT (account_id, symbol) DO UPDATE SET quantity = excluded.quantity, "
                "avg_cost = excluded.avg_cost, realized_pnl = excluded.realized_pnl",
                (ACCOUNT, symbol, after.quantity, after.avg_cost, after.realized_pnl),
            )

    def hold(self, amount: str) -> None:
        """Reserve cash for an open order."""
        with psycopg.connect(self._url) as tx:
            self._transfer(
                tx,
                cash_account(ACCOUNT),
                market_account("USD"),
                Decimal(amount),
                kind="pending",
                code="hold",
            )

    def bar(self, symbol: str, close: str) -> None:
        """Store a closed bar."""
        with psycopg.connect(self._url) as tx:
            tx.execute("SELECT ensure_month_partition('market_ohlcv', date '2022-01-01')")
            price = Decimal(close)
            tx.execute(
                "INSERT INTO market_ohlcv (symbol, timeframe, ts, open, high, low, close, volume, "
                "provider) VALUES (%s, '1m', '2022-01-03T15:00Z', %s, %s, %s, %s, 1, 'test')",
                (symbol, price, price, price, price),
            )

    def _trade(
        self,
        tx: psycopg.Connection,
        what: tuple[str, Side, Decimal],
        price: str,
        fee: str,
        strategy_id: str | None,
    ) -> uuid.UUID:
        order, trade = uuid.uuid4(), uuid.uuid4()
        tx.execute(
            "INSERT INTO orders (id, client_order_id, broker, account_id, symbol, side, quantity, "
            "order_type, order_class, time_in_force, status, strategy_id, correlation_id) VALUES "
            "(%s, %s, 'test', %s, %s, %s, %s, 'market', 'simple', 'day', 'filled', %s, %s)",
            (order, str(order), ACCOUNT, *what, strategy_id, order),
        )
        tx.execute(
            "INSERT INTO trades (id, order_id, account_id, broker, execution_id, symbol, side, "
            "quantity, executed_price, commission, fees, executed_at, strategy_id, realized_pnl, "
            "correlation_id, entry) VALUES "
            "(%s, %s, %s, 'test', %s, %s, %s, %s, %s, 0, %s, now(), %s, 0, %s, 1)",
            (trade, order, ACCOUNT, str(trade), *what, price, fee, strategy_id, order),
        )
        return trade

    def _transfer(
        self,
        tx: psycopg.Connection,
        debit: AccountKey,
        credit: AccountKey,
        amount: Decimal,
        *,
        kind: str = "direct",
        code: str = "cash",
        trade: uuid.UUID | None = None,
    ) -> None:
        for key in (debit, credit):
            tx.execute(
                "INSERT INTO ledger_accounts (id, owner, ledger, code) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                (key.id, key.owner, key.ledger, key.code.value),
            )
        tx.execute(
            "INSERT INTO ledger_transfers (id, debit_account, credit_account, ledger, amount, "
            "kind, code, trade_id, correlation_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                uuid.uuid4(),
                debit.id,
                credit.id,
                debit.ledger,
                amount,
                kind,
                code,
                trade,
                uuid.uuid4(),
            ),
        )
