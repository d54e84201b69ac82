"""The risk manager's tables, and what it reads of the others'."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import select, text

from libs.common.contracts.messages import CheckResult, OrderSpec
from libs.common.domain.activities import COST_CODES, INCOME_CODES
from libs.common.domain.vocabulary import OrderStatus, OrderType, Side, Verdict
from libs.common.kernel.clock import to_ns
from libs.common.kernel.money import notional
from libs.common.runtime.database import Database, ReadSession
from libs.common.runtime.outbox import Outbox
from libs.common.runtime.schema import risk
from libs.common.runtime.schema.market import instrument_of
from services.risk_manager import sql
from services.risk_manager.pending import Fill, Pending, parts_of
from services.risk_manager.ports import (
    Assessment,
    Changes,
    Listing,
    OpenOrder,
    Outgoing,
    Quoted,
    Snapshot,
)
from services.risk_manager.post import Post
from services.risk_manager.records import pending_of

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# A transaction that books a trade may commit this long after the time it carries.
_BOOKING_LAG: Final = dt.timedelta(seconds=60)
_EXECUTIONS_KEPT: Final = 100_000


class RiskStore:
    """Everything that the risk manager keeps and reads, for one account."""

    def __init__(
        self, database: Database, outbox: Outbox, account_id: str, *, grace_s: float
    ) -> None:
        self._database = database
        self._post = Post(outbox)
        self._account = account_id
        self._grace_s = grace_s

    # The book -------------------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        """Return everything that the book is made of, from one instant."""
        account = {"account": self._account}
        async with self._database.read() as tx:
            executions = await tx.rows(text(sql.EXECUTIONS), {**account, "kept": _EXECUTIONS_KEPT})
            changes = await tx.rows(text(sql.CHANGES_SINCE), {**account, "since": _EPOCH})
            strategies = await tx.rows(text(sql.STRATEGY_POSITIONS), account)
            orders = await tx.rows(text(sql.OPEN_ORDERS), account)
            waiting = await tx.rows(text(sql.RESERVATIONS), {**account, "grace": self._grace_s})
            bars = await tx.rows(text(sql.LAST_BARS), account)
            approvals = await tx.rows(text(sql.APPROVALS), account)
            cash, positions = await self._cash_and_positions(tx)
            earned = await self._earned(tx)
        return Snapshot(
            earned=earned,
            cash=cash,
            positions=positions,
            by_strategy={(r["strategy_id"], r["symbol"]): r["quantity"] for r in strategies},
            executions=[r["id"] for r in reversed(executions)]
            + [part.trade_id for r in changes for part in _parts(r)],
            pending=[_pending(r) for r in orders] + [pending_of(_assessment(r)) for r in waiting],
            last_bars={(r["strategy_id"], r["symbol"]): r["bar_ts"] for r in bars},
            approvals=[(r["strategy_id"], r["ts"].timestamp()) for r in approvals],
            booked_until=max((r["booked_at"] for r in executions), default=_EPOCH),
        )

    async def changes(self, since: dt.datetime) -> Changes:
        """Return what was booked from shortly before `since` on, from one instant."""
        start = max(since, _EPOCH + _BOOKING_LAG) - _BOOKING_LAG
        parameters = {"account": self._account, "since": start}
        async with self._database.read() as tx:
            trades = await tx.rows(text(sql.TRADES_SINCE), parameters)
            changes = await tx.rows(text(sql.CHANGES_SINCE), parameters)
            cash, positions = await self._cash_and_positions(tx)
            earned = await self._earned(tx)
        until = max((r["booked_at"] for r in [*trades, *changes]), default=since)
        fills = [_fill(r) for r in trades] + [part for r in changes for part in _parts(r)]
        return Changes(cash, positions, fills, until, earned)

    async def _earned(self, tx: ReadSession) -> Decimal:
        codes = sorted(INCOME_CODES | COST_CODES)
        row = await tx.row(text(sql.EARNED), {"account": self._account, "codes": codes})
        return Decimal(0) if row is None else row["earned"]

    async def _cash_and_positions(self, tx: ReadSession) -> tuple[Decimal, dict[str, Decimal]]:
        cash = await tx.row(text(sql.CASH), {"account": self._account})
        positions = await tx.rows(text(sql.POSITIONS), {"account": self._account})
        return (
            Decimal(0) if cash is None else cash["cash"],
            {r["symbol"]: r["quantity"] for r in positions},
        )

    async def open_order(self, order_id: UUID) -> OpenOrder | None:
        """Return the order row, None if there is none."""
        async with self._database.read() as tx:
            row = await tx.row(
                text(sql.ONE_ORDER), {"account": self._account, "order_id": order_id}
            )
        if row is None:
            return None
        ended = OrderStatus(row["status"]).is_terminal
        return OpenOrder(_pending(row), ended=ended, leg=row["leg"], before_us=row["before_us"])

    # The market -----------------------------------------------------------------------------

    async def listing(self) -> Listing:
        """Return the instruments."""
        async with self._database.read() as tx:
            found = await tx.rows(text(sql.INSTRUMENTS))
        return Listing(
            {r["symbol"]: instrument_of(r) for r in found},
            frozenset(r["symbol"] for r in found if r["restricted"]),
        )

    async def quotes(self, symbols: Collection[str]) -> Sequence[Quoted]:
        """Return the last stored quote of each symbol, else the close of its last bar."""
        if not symbols:
            return []
        async with self._database.read() as tx:
            found = await tx.rows(text(sql.LAST_PRICES), {"symbols": sorted(symbols)})
        return [
            Quoted(r["symbol"], float(r["bid"]), float(r["ask"]), to_ns(r["ts"])) for r in found
        ]

    async def volatilities(self, symbols: Collection[str]) -> Mapping[str, float]:
        """Return the annualised volatility of each symbol with at least 20 daily returns, else
        with at least 100 returns of one minute."""
        if not symbols:
            return {}
        async with self._database.read() as tx:
            found = await tx.rows(text(sql.VOLATILITIES), {"symbols": sorted(symbols)})
        return {r["symbol"]: float(r["volatility"]) for r in found if r["volatility"]}

    # Judgements -----------------------------------------------------------------------------

    async def judged(self, origins: Collection[UUID]) -> Mapping[UUID, Assessment]:
        """Return the judgements of these signals or requests that exist already."""
        async with self._database.single() as tx:
            rows = await tx.rows(text(sql.JUDGED), {"ids": list(origins)})
        found = [_assessment(r) for r in rows]
        return {a.signal_id or a.request_id or a.id: a for a in found}

    async def record(self, assessments: Sequence[Assessment], messages: Sequence[Outgoing]) -> None:
        """Store judgements and their messages in one transaction."""
        encoded = msgspec.json.encode(assessments).decode()
        async with self._database.single() as tx:
            await self._post.send_with(
                tx, text(sql.RECORD), {"rows": encoded, **self._database.fence}, messages
            )

    async def assessments(
        self, *, limit: int, after: UUID | None, verdict: Verdict | None, symbol: str | None
    ) -> list[Assessment]:
        """Return a page of judgements, newest first, older than `after`."""
        t = risk.risk_assessments
        query = select(t).where(t.c.account_id == self._account)
        if after is not None:
            query = query.where(t.c.id < after)
        if verdict is not None:
            query = query.where(t.c.verdict == verdict.value)
        if symbol is not None:
            query = query.where(t.c.symbol == symbol)
        async with self._database.read() as tx:
            found = await tx.rows(query.order_by(t.c.id.desc()).limit(limit))
        return [_assessment(r) for r in found]


def _pending(row: Mapping[Any, Any]) -> Pending:
    side = Side(row["side"])
    executed = row["filled_quantity"]
    quantity = row["quantity"] if row["quantity"] is not None else row["assessed_quantity"]
    ended = OrderStatus(row["status"]).is_terminal
    return Pending(
        order_id=row["id"],
        symbol=row["symbol"],
        side=side,
        quantity=quantity if quantity is not None else executed,
        hold=_hold_of(row, side),
        strategy_id=row["strategy_id"],
        order_type=OrderType(row["order_type"]),
        limit_price=row["limit_price"],
        replaces=row["replaces_id"],
        executed=executed,
        ended_with=executed if ended else None,
    )


def _hold_of(row: Mapping[Any, Any], side: Side) -> Decimal:
    """What the approval set aside; for an order without one, what a buy at its limit may cost."""
    if row["hold"] is not None:
        return Decimal(row["hold"])
    if side is Side.SELL or row["limit_price"] is None or row["quantity"] is None:
        return Decimal(0)
    return notional(row["quantity"], row["limit_price"])


def _assessment(row: Mapping[Any, Any]) -> Assessment:
    values = {name: row[name] for name in Assessment.__struct_fields__}
    values["checks"] = msgspec.convert(values["checks"], tuple[CheckResult, ...])
    if values["order_spec"] is not None:
        values["order_spec"] = msgspec.convert(values["order_spec"], OrderSpec)
    values["side"], values["verdict"] = Side(row["side"]), Verdict(row["verdict"])
    return Assessment(**values)


def _fill(row: Mapping[Any, Any]) -> Fill:
    """The execution that a row of `trades` records."""
    side = Side(row["side"])
    value = notional(row["quantity"], row["executed_price"])
    return Fill(
        trade_id=row["id"],
        order_id=row["order_id"],
        symbol=row["symbol"],
        side=side,
        quantity=row["quantity"],
        cash=-side.sign * value - row["cost"],
        strategy_id=row["strategy_id"],
        reverses=row["reverses"],
    )


def _parts(row: Mapping[Any, Any]) -> list[Fill]:
    """The strategies' parts of a change that a row of `position_changes` records."""
    parts = [(one["strategy_id"], Decimal(str(one["quantity"]))) for one in row["shares"]]
    return parts_of(row["id"], row["symbol"], row["amount"], parts)
