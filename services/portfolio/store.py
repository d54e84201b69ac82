"""The portfolio's own tables, and what it reads of the executor's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import RowMapping

from libs.common.contracts.channels import PORTFOLIO_UPDATES
from libs.common.contracts.messages import PortfolioUpdate
from libs.common.domain.ledger import CURRENCY, cash_account
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import AccountId, IdSource
from libs.common.kernel.money import ZERO, money
from libs.common.runtime.database import Database
from libs.common.runtime.outbox import Outbox
from libs.common.runtime.schema.execution import (
    ledger_accounts,
    ledger_transfers,
    portfolio_positions,
)
from libs.common.runtime.schema.snapshots import portfolio_equity, portfolio_snapshots
from services.portfolio.day import Opening, Snapshot
from services.portfolio.logic import Book, Holding, Mark, MarkSource
from services.portfolio.ports import AccountBalance, EquityPoint, StatementLine, Wanted
from services.portfolio.shares import Share

_MOVES: Final = ("direct", "post")
_LAST_PRICES: Final = text(
    """
    SELECT wanted.symbol, bar.close, bar.ts
    FROM unnest(CAST(:symbols AS text[])) AS wanted(symbol)
    CROSS JOIN LATERAL (
        SELECT close, ts FROM market_ohlcv
        WHERE market_ohlcv.symbol = wanted.symbol ORDER BY ts DESC LIMIT 1
    ) AS bar
    """
)
# Fees and taxes go to the fees account, and come back from it when an execution is taken back.
_PAID: Final = text(
    """
    SELECT coalesce(sum(moved) FILTER (WHERE code = 'fees'), 0) AS fees,
           coalesce(-sum(moved) FILTER (WHERE why IN ('dividend', 'interest')), 0) AS income
    FROM (
        SELECT other.code, l.code AS why, l.amount AS moved
        FROM ledger_transfers l JOIN ledger_accounts other ON other.id = l.credit_account
        WHERE l.debit_account = :cash AND l.kind IN ('direct', 'post')
        UNION ALL
        SELECT other.code, l.code, -l.amount
        FROM ledger_transfers l JOIN ledger_accounts other ON other.id = l.debit_account
        WHERE l.credit_account = :cash AND l.kind IN ('direct', 'post')
    ) lines
    """
)
# What strategies made of each symbol: money by the executions (reversed ones come to nothing) and
# by activities, which are nobody's; shares by what they hold.
_SHARES: Final = text(
    """
    WITH lines AS (
        SELECT trade_id, correlation_id, code,
               CASE WHEN credit_account = :cash THEN amount ELSE -amount END AS moved
        FROM ledger_transfers
        WHERE kind IN ('direct', 'post') AND :cash IN (credit_account, debit_account)
    ), made AS (
        SELECT t.strategy_id, t.symbol, sum(l.moved) AS cash
        FROM trades t JOIN lines l ON l.trade_id = t.id
        WHERE t.account_id = :account GROUP BY t.strategy_id, t.symbol
        UNION ALL
        SELECT NULL, a.symbol, sum(l.moved)
        FROM account_activities a JOIN lines l ON l.correlation_id = a.id
        WHERE a.account_id = :account
          AND a.code IN ('dividend', 'interest', 'fee', 'tax', 'cash_in_lieu')
        GROUP BY a.symbol
        UNION ALL
        SELECT strategy_id, symbol, 0 FROM strategy_positions
        WHERE account_id = :account AND NOT (strategy_id IS NULL AND quantity = 0)
    )
    SELECT m.strategy_id, m.symbol, sum(m.cash) AS cash,
           coalesce((SELECT p.quantity FROM strategy_positions p
                     WHERE p.account_id = :account AND p.symbol = m.symbol
                       AND p.strategy_id IS NOT DISTINCT FROM m.strategy_id), 0) AS quantity
    FROM made m GROUP BY m.strategy_id, m.symbol ORDER BY m.strategy_id, m.symbol
    """
)


class BookStore:
    """Reads the executor's tables."""

    def __init__(self, database: Database, account_id: str) -> None:
        self._database = database
        self._account = AccountId(account_id)
        self._cash = cash_account(self._account).id

    async def book(self) -> Book:
        """Return cash, holdings and fees as of one instant.

        Raises UnavailableError as long as the executor has not opened the account.
        """
        accounts = ledger_accounts.c
        async with self._database.read() as tx:
            cash = await tx.row(select(ledger_accounts).where(accounts.id == self._cash))
            if cash is None:
                raise UnavailableError(f"account {self._account} is not in the ledger yet")
            paid = await tx.row(_PAID, {"cash": self._cash})
            held = await tx.rows(
                select(portfolio_positions)
                .where(portfolio_positions.c.account_id == self._account)
                .order_by(portfolio_positions.c.symbol)
            )
        assert paid is not None
        return Book(
            cash=money(cash["credits_posted"] - cash["debits_posted"]),
            held=money(cash["debits_pending"]),
            fees=money(paid["fees"]),
            income=money(paid["income"]),
            holdings=tuple(
                Holding(row["symbol"], row["quantity"], row["avg_cost"], row["realized_pnl"])
                for row in held
            ),
        )

    async def last_prices(self, symbols: Collection[str]) -> dict[str, Mark]:
        """Return the close of the last stored bar of each symbol that has one."""
        async with self._database.read() as tx:
            rows = await tx.rows(_LAST_PRICES, {"symbols": sorted(symbols)})
        return {row["symbol"]: Mark(row["close"], MarkSource.STORED, row["ts"]) for row in rows}

    async def statement(
        self, wanted: Wanted, before: int | None, limit: int
    ) -> list[StatementLine]:
        """Return our ledger lines below `before`, newest first."""
        debited, credited = ledger_accounts.alias("debited"), ledger_accounts.alias("credited")
        lines = ledger_transfers.c
        query = (
            select(
                ledger_transfers,
                debited.c.owner.label("debit_owner"),
                debited.c.code.label("debit_code"),
                credited.c.owner.label("credit_owner"),
                credited.c.code.label("credit_code"),
            )
            .join(debited, debited.c.id == lines.debit_account)
            .join(credited, credited.c.id == lines.credit_account)
            .where(or_(debited.c.owner == self._account, credited.c.owner == self._account))
            .order_by(lines.seq.desc())
            .limit(limit)
        )
        for column, value in (
            (lines.ledger, wanted.ledger),
            (lines.order_id, wanted.order_id),
            (lines.trade_id, wanted.trade_id),
        ):
            if value is not None:
                query = query.where(column == value)
        if wanted.start is not None:
            query = query.where(lines.ts >= wanted.start)
        if wanted.end is not None:
            query = query.where(lines.ts < wanted.end)
        if before is not None:
            query = query.where(lines.seq < before)
        async with self._database.read() as tx:
            return [self._line(row) for row in await tx.rows(query)]

    async def balances(self) -> Sequence[AccountBalance]:
        """Return every ledger account's balance."""
        table = ledger_accounts.c
        query = select(ledger_accounts).order_by(table.ledger, table.owner, table.code)
        async with self._database.read() as tx:
            return [_balance(row) for row in await tx.rows(query)]

    async def shares(self, strategy_id: str | None) -> Sequence[Share]:
        """Return what each strategy, or this one, has made of each symbol it ever traded.

        All its executions are added up, with the money that the ledger moved for each; dividends,
        interest and fees of the account are nobody's.
        """
        parameters = {"account": self._account, "cash": self._cash}
        async with self._database.read() as tx:
            rows = await tx.rows(_SHARES, parameters)
        rows = [row for row in rows if strategy_id in (None, row["strategy_id"])]
        return [
            Share(row["strategy_id"], row["symbol"], row["quantity"], money(row["cash"]))
            for row in rows
        ]

    def _line(self, row: RowMapping) -> StatementLine:
        ours_is_debit = row["debit_owner"] == self._account
        debit = f"{row['debit_owner']}/{row['debit_code']}"
        credit = f"{row['credit_owner']}/{row['credit_code']}"
        moved = _amount(row["ledger"], row["amount"]) if row["kind"] in _MOVES else ZERO
        return StatementLine(
            seq=row["seq"],
            id=row["id"],
            ts=row["ts"],
            ledger=row["ledger"],
            kind=row["kind"],
            code=row["code"],
            amount=_amount(row["ledger"], row["amount"]),
            change=-moved if ours_is_debit else moved,
            account=debit if ours_is_debit else credit,
            counterparty=credit if ours_is_debit else debit,
            order_id=row["order_id"],
            trade_id=row["trade_id"],
            correlation_id=row["correlation_id"],
        )


class JournalStore:
    """The portfolio's own tables."""

    def __init__(self, database: Database, outbox: Outbox, ids: IdSource, account_id: str) -> None:
        self._database = database
        self._outbox = outbox
        self._ids = ids
        self._account = account_id

    async def today(self, date: dt.date) -> Snapshot | None:
        """Return the snapshot of `date`."""
        return await self._first(portfolio_snapshots.c.snapshot_date == date)

    async def before(self, date: dt.date) -> Snapshot | None:
        """Return the latest snapshot before `date`."""
        return await self._first(portfolio_snapshots.c.snapshot_date < date)

    async def last_date(self) -> dt.date | None:
        """Return the date of the latest snapshot."""
        latest = await self._first(text("true"))
        return None if latest is None else latest.date

    async def save(self, snapshot: Snapshot) -> None:
        """Insert or replace the snapshot of its date; only a final one replaces a final one."""
        values = {
            "account_id": snapshot.account_id,
            "snapshot_date": snapshot.date,
            "total_value": snapshot.total_value,
            "cash_balance": snapshot.cash_balance,
            "invested_value": snapshot.invested_value,
            "day_pnl": snapshot.day_pnl,
            "total_pnl": snapshot.total_pnl,
            "opening_value": snapshot.opening.equity,
            "performance_metrics": {
                **snapshot.metrics,
                "opening_total_pnl": str(snapshot.opening.total_pnl),
                "final": "true" if snapshot.final else "false",
            },
        }
        upsert = insert(portfolio_snapshots).values(values)
        changes: dict[str, Any] = {name: upsert.excluded[name] for name in values}
        stored_final = portfolio_snapshots.c.performance_metrics["final"].astext == "true"
        async with self._database.write() as tx:
            await tx.execute(
                upsert.on_conflict_do_update(
                    index_elements=["account_id", "snapshot_date"],
                    set_={**changes, "updated_at": func.now()},
                    where=None if snapshot.final else ~stored_final,
                )
            )

    async def publish(self, update: PortfolioUpdate, point: EquityPoint | None) -> None:
        """Publish the update and store the point, both or neither."""
        async with self._database.write() as tx:
            if point is not None:
                await tx.execute(
                    insert(portfolio_equity)
                    .values(
                        account_id=self._account,
                        ts=point.ts,
                        equity=point.equity,
                        cash=point.cash,
                    )
                    .on_conflict_do_nothing()
                )
            await self._outbox.add(tx, PORTFOLIO_UPDATES, update, correlation_id=self._ids.new())

    async def snapshots(self, before: dt.date | None, limit: int) -> list[Snapshot]:
        """Return snapshots older than `before`, newest first."""
        query = self._snapshots().limit(limit)
        if before is not None:
            query = query.where(portfolio_snapshots.c.snapshot_date < before)
        async with self._database.read() as tx:
            return [_snapshot(row) for row in await tx.rows(query)]

    async def equity(
        self, start: dt.datetime | None, end: dt.datetime | None, limit: int
    ) -> list[EquityPoint]:
        """Return the newest points in [start, end), oldest first."""
        table = portfolio_equity.c
        query = (
            select(portfolio_equity)
            .where(table.account_id == self._account)
            .order_by(table.ts.desc())
            .limit(limit)
        )
        if start is not None:
            query = query.where(table.ts >= start)
        if end is not None:
            query = query.where(table.ts < end)
        async with self._database.read() as tx:
            rows = await tx.rows(query)
        return [EquityPoint(row["ts"], row["equity"], row["cash"]) for row in reversed(rows)]

    async def _first(self, condition: Any) -> Snapshot | None:
        async with self._database.read() as tx:
            row = await tx.row(self._snapshots().where(condition).limit(1))
        return None if row is None else _snapshot(row)

    def _snapshots(self) -> Any:
        return (
            select(portfolio_snapshots)
            .where(portfolio_snapshots.c.account_id == self._account)
            .order_by(portfolio_snapshots.c.snapshot_date.desc())
        )


def _snapshot(row: RowMapping) -> Snapshot:
    metrics = dict(row["performance_metrics"])
    opening_total_pnl = Decimal(metrics.pop("opening_total_pnl"))
    final = metrics.pop("final") == "true"
    return Snapshot(
        account_id=row["account_id"],
        date=row["snapshot_date"],
        total_value=row["total_value"],
        cash_balance=row["cash_balance"],
        invested_value=row["invested_value"],
        day_pnl=row["day_pnl"],
        total_pnl=row["total_pnl"],
        opening=Opening(row["snapshot_date"], row["opening_value"], opening_total_pnl),
        metrics=metrics,
        final=final,
    )


def _balance(row: RowMapping) -> AccountBalance:
    posted = row["credits_posted"] - row["debits_posted"]
    ledger = row["ledger"]
    return AccountBalance(
        owner=row["owner"],
        ledger=ledger,
        code=row["code"],
        posted=_amount(ledger, posted),
        pending_debits=_amount(ledger, row["debits_pending"]),
        pending_credits=_amount(ledger, row["credits_pending"]),
        available=_amount(ledger, posted - row["debits_pending"]),
    )


def _amount(ledger: str, amount: Decimal) -> Decimal:
    """Money shows four places, a quantity eight."""
    return money(amount) if ledger == CURRENCY else amount
