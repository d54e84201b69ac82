"""Our side of a day's tie-out, and the record of every attempt."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import func, insert, select, text

from libs.common.contracts.channels import NOTIFICATIONS
from libs.common.contracts.messages import Notification
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution
from libs.common.domain.ledger import cash_account
from libs.common.domain.vocabulary import Level
from libs.common.kernel.ids import AccountId
from libs.common.kernel.money import ZERO, plain
from libs.common.runtime.database import ReadSession
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.execution import (
    account_activities,
    ledger_accounts,
    orders,
    portfolio_positions,
    trade_reversals,
    trades,
)
from libs.common.runtime.schema.tieouts import ledger_tieouts
from services.trade_executor.lists_store import cursor, page
from services.trade_executor.ports import Page
from services.trade_executor.rows import execution_from
from services.trade_executor.tie_out import Difference, Figures, Movement, Tried

# What each code has moved of our cash since the books began.
_MOVED: Final = text(
    """
    SELECT code, sum(CASE WHEN credit_account = :cash THEN amount ELSE -amount END) AS moved
    FROM ledger_transfers
    WHERE kind IN ('direct', 'post') AND :cash IN (credit_account, debit_account)
    GROUP BY code
    """
)


@dataclass(frozen=True, slots=True)
class OurDay:
    """Our books in one snapshot: the executions that stand and the activities of a stretch of
    market time, positions, cash, and what each code has moved of it since the books began."""

    cash: Decimal
    moved: dict[str, Decimal]
    positions: dict[str, Decimal]
    executions: list[Execution]
    activities: list[Activity]


@dataclass(frozen=True, slots=True)
class Closing:
    """Cash at an earlier tie-out, and what had moved it until then."""

    cash: Decimal = ZERO
    moved: tuple[tuple[str, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class TieOut:
    """One attempt to tie out a day. `looked_at` is market time."""

    day: dt.date
    cause: str
    looked_at: dt.datetime
    ours: Figures
    theirs: Figures
    movement: Movement
    moved: dict[str, Decimal]
    differences: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


class TieOutStore:
    """Reads our side and keeps the attempts; none is ever changed."""

    def __init__(self, runtime: Runtime, account_id: str) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._account = AccountId(account_id)

    async def our_day(self, since: dt.datetime, until: dt.datetime) -> OurDay:
        """Read our books; executions and activities with `since <= time <= until`."""
        cash = cash_account(self._account).id
        balance = select(
            (ledger_accounts.c.credits_posted - ledger_accounts.c.debits_posted).label("cash")
        ).where(ledger_accounts.c.id == cash)
        held = select(portfolio_positions.c.symbol, portfolio_positions.c.quantity).where(
            portfolio_positions.c.account_id == self._account, portfolio_positions.c.quantity != 0
        )
        async with self._database.read() as tx:
            row = await tx.row(balance)
            return OurDay(
                cash=row["cash"] if row else ZERO,
                moved={one["code"]: one["moved"] for one in await tx.rows(_MOVED, {"cash": cash})},
                positions={one["symbol"]: one["quantity"] for one in await tx.rows(held)},
                executions=await self._executions(tx, since, until),
                activities=await self._activities(tx, since, until),
            )

    async def last_attempts(self, first: dt.date) -> dict[dt.date, Tried]:
        """Return the newest attempt of every day from `first` on."""
        table = ledger_tieouts.c
        query = (
            select(ledger_tieouts)
            .where(table.account_id == self._account, table.day >= first)
            .order_by(table.day, table.seq)
        )
        async with self._database.read() as tx:
            return {row["day"]: _tried(row) for row in await tx.rows(query)}

    async def closing_before(self, day: dt.date) -> Closing:
        """Return our cash at the newest attempt of the last day before `day` that has one; all
        zero where there is none: then the books began that day."""
        table = ledger_tieouts.c
        query = (
            select(table.movement, table.moved)
            .where(table.account_id == self._account, table.day < day)
            .order_by(table.day.desc(), table.seq.desc())
            .limit(1)
        )
        async with self._database.read() as tx:
            row = await tx.row(query)
        if row is None:
            return Closing()
        moved = tuple((code, Decimal(amount)) for code, amount in row["moved"].items())
        return Closing(Decimal(row["movement"]["closing"]), moved)

    async def add(self, one: TieOut) -> dict[str, Any]:
        """Keep an attempt. The first of a day that differs alerts, the first that agrees after
        one that differed says so."""
        table = ledger_tieouts.c
        newest = (
            select(ledger_tieouts)
            .where(table.account_id == self._account, table.day == one.day)
            .order_by(table.seq.desc())
            .limit(1)
        )
        number = select(func.coalesce(func.max(table.seq), 0) + 1).where(
            table.account_id == self._account, table.day == one.day
        )
        async with self._database.write() as tx:
            before = await tx.row(newest)
            row = await tx.row(
                insert(ledger_tieouts)
                .values(
                    id=self._runtime.ids.new(),
                    account_id=self._account,
                    day=one.day,
                    seq=number.scalar_subquery(),
                    result="agrees" if one.agrees else "differs",
                    cause=one.cause,
                    looked_at=one.looked_at,
                    ours=one.ours.shown(),
                    theirs=one.theirs.shown(),
                    movement=one.movement.shown(),
                    moved={code: plain(amount) for code, amount in one.moved.items()},
                    differences=[found._asdict() for found in one.differences],
                )
                .returning(*ledger_tieouts.c)
            )
            assert row is not None
            notification = self._told(one, differed=bool(before and before["result"] == "differs"))
            if notification is not None:
                await self._runtime.outbox.add(
                    tx,
                    NOTIFICATIONS,
                    notification,
                    correlation_id=self._runtime.ids.new(),
                    key="execution",
                )
        return dict(row)

    async def page(self, *, limit: int, after: str | None, day: dt.date | None) -> Page:
        """Return one page of attempts, newest first."""
        table = ledger_tieouts.c
        query = select(ledger_tieouts).where(table.account_id == self._account)
        if day is not None:
            query = query.where(table.day == day)
        async with self._database.read() as tx:
            rows = await tx.rows(page(query, table.created_at, table.id, limit, after))
        following = cursor(rows[-1]["created_at"], rows[-1]["id"]) if len(rows) == limit else None
        return Page([dict(row) for row in rows], following)

    def _told(self, one: TieOut, *, differed: bool) -> Notification | None:
        """Return what people are told of an attempt, None if it is nothing new."""
        if one.agrees is not differed:
            return None
        day = one.day.isoformat()
        if one.agrees:
            level, title = Level.INFO, f"Tie-out of {day} agrees now"
            message, name = "the ledger agrees with the broker's figures of the day", "end"
        else:
            level, title = Level.CRITICAL, f"Tie-out of {day} differs"
            message, name = "; ".join(_line(found) for found in one.differences[:10]), "differs"
        return Notification(
            level=level,
            title=title,
            message=message,
            fingerprint=f"tie_out:{self._account}:{day}:{name}",
            ts=self._runtime.clock.now(),
            context={"day": day, "differences": str(len(one.differences))},
        )

    async def _executions(
        self, tx: ReadSession, since: dt.datetime, until: dt.datetime
    ) -> list[Execution]:
        table = trades.c
        gone = select(trade_reversals.c.trade_id).where(trade_reversals.c.trade_id == table.id)
        query = (
            select(trades, orders.c.broker_order_id)
            .join(orders, orders.c.id == table.order_id)
            .where(
                table.account_id == self._account,
                table.executed_at.between(since, until),
                ~gone.exists(),
            )
        )
        return [execution_from(row) for row in await tx.rows(query)]

    async def _activities(
        self, tx: ReadSession, since: dt.datetime, until: dt.datetime
    ) -> list[Activity]:
        table = account_activities.c
        query = select(account_activities).where(
            table.account_id == self._account, table.executed_at.between(since, until)
        )
        return [
            Activity(
                id=row["activity_id"],
                kind=row["kind"],
                amount=row["amount"],
                executed_at=row["executed_at"],
                symbol=row["symbol"],
                quantity=row["quantity"],
                broker=row["broker"],
            )
            for row in await tx.rows(query)
        ]


def _tried(row: Any) -> Tried:
    differences = tuple(Difference(**one) for one in row["differences"])
    return Tried(row["seq"], row["result"] == "agrees", row["looked_at"], differences)


def _line(found: Difference) -> str:
    return f"{found.what} {found.of}".strip() + f": ours {found.ours}, theirs {found.theirs}"
