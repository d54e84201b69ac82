"""The steps of a story, gathered from the audit log and from the tables of the trading path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Table, or_, select
from sqlalchemy.engine import RowMapping

from libs.common.runtime.database import Database, ReadSession
from libs.common.runtime.schema.audit import audit_log
from libs.common.runtime.schema.execution import (
    ledger_accounts,
    ledger_transfers,
    order_events,
    orders,
    trades,
)
from libs.common.runtime.schema.market import market_ohlcv
from libs.common.runtime.schema.risk import risk_assessments
from libs.common.runtime.schema.strategies import signals
from services.audit import steps
from services.audit.entries import RESOURCE_KINDS
from services.audit.story import Step

ROWS_MAX: Final = 2_000
"""Most rows taken from one table: a story is read by a person."""

_DEBITED = ledger_accounts.alias("debited")
_CREDITED = ledger_accounts.alias("credited")


@dataclass
class _Thread:
    """The ids that hold a story together."""

    correlations: set[UUID] = field(default_factory=set)
    signals: set[UUID] = field(default_factory=set)
    orders: set[UUID] = field(default_factory=set)
    trades: set[UUID] = field(default_factory=set)


class StoryStore:
    """Reads stories; writes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def steps(self, story_id: UUID) -> list[Step]:
        """Return all steps that belong to a correlation, message, signal, order or trade.

        The id is first looked up wherever an id can stand; what it is found in names the
        correlation, and everything of that correlation is the story.
        """
        async with self._database.read() as tx:
            thread = await _thread(tx, story_id)
            found = [
                read(dict(row))
                for rows, read in (
                    (await _bars(tx, thread), steps.of_bar),
                    (await _signals(tx, thread), steps.of_signal),
                    (await _assessments(tx, thread), steps.of_assessment),
                    (await _order_events(tx, thread), steps.of_order_event),
                    (await _trades(tx, thread), steps.of_trade),
                    (await _transfers(tx, thread), steps.of_transfer),
                )
                for row in rows
            ]
            found += [steps.of_record(row) for row in await _records(tx, thread)]
        return found


async def _thread(tx: ReadSession, story_id: UUID) -> _Thread:
    """Find what `story_id` names, then everything of the same correlation."""
    thread = _Thread(correlations={story_id}, signals={story_id}, orders={story_id})
    named = [f"{kind}:{story_id}" for kind in RESOURCE_KINDS]
    log = audit_log.c
    for row in await tx.rows(
        select(log.correlation_id)
        .where(or_(log.message_id == story_id, log.resource.in_(named)))
        .distinct()
        .limit(ROWS_MAX)
    ):
        thread.correlations.add(row["correlation_id"])
    for table, columns in (
        (signals, ["id"]),
        (risk_assessments, ["id", "signal_id", "request_id", "order_id"]),
        (orders, ["id", "signal_id", "request_id"]),
        (trades, ["id", "order_id", "signal_id"]),
    ):
        for row in await tx.rows(
            select(table.c.correlation_id)
            .where(or_(*(table.c[name] == story_id for name in columns)))
            .limit(ROWS_MAX)
        ):
            thread.correlations.add(row["correlation_id"])
    for row in await tx.rows(_of(signals, thread, "id")):
        thread.signals.add(row["id"])
    for row in await tx.rows(_of(orders, thread, "id")):
        thread.orders.add(row["id"])
    for row in await tx.rows(_of(trades, thread, "id")):
        thread.trades.add(row["id"])
    return thread


def _of(table: Table, thread: _Thread, name: str) -> Any:
    related: list[ColumnElement[bool]] = [table.c.correlation_id.in_(thread.correlations)]
    if "signal_id" in table.c:
        related.append(table.c.signal_id.in_(thread.signals))
    if "order_id" in table.c:
        related.append(table.c.order_id.in_(thread.orders))
    return select(table.c[name]).where(or_(*related)).limit(ROWS_MAX)


async def _signals(tx: ReadSession, thread: _Thread) -> Sequence[RowMapping]:
    return await tx.rows(select(signals).where(signals.c.id.in_(thread.signals)).limit(ROWS_MAX))


async def _bars(tx: ReadSession, thread: _Thread) -> Sequence[RowMapping]:
    bar, signal = market_ohlcv.c, signals.c
    return await tx.rows(
        select(market_ohlcv)
        .join(
            signals,
            (bar.symbol == signal.symbol)
            & (bar.timeframe == signal.timeframe)
            & (bar.ts == signal.bar_ts),
        )
        .where(signal.id.in_(thread.signals))
        .limit(ROWS_MAX)
    )


async def _assessments(tx: ReadSession, thread: _Thread) -> Sequence[RowMapping]:
    table = risk_assessments.c
    return await tx.rows(
        select(risk_assessments)
        .where(
            or_(
                table.correlation_id.in_(thread.correlations),
                table.signal_id.in_(thread.signals),
                table.request_id.in_(thread.orders),
            )
        )
        .limit(ROWS_MAX)
    )


async def _order_events(tx: ReadSession, thread: _Thread) -> Sequence[RowMapping]:
    return await tx.rows(
        select(order_events, orders.c.symbol, orders.c.side)
        .join(orders, orders.c.id == order_events.c.order_id)
        .where(order_events.c.order_id.in_(thread.orders))
        .order_by(order_events.c.ts)
        .limit(ROWS_MAX)
    )


async def _trades(tx: ReadSession, thread: _Thread) -> Sequence[RowMapping]:
    return await tx.rows(
        select(trades)
        .where(or_(trades.c.order_id.in_(thread.orders), trades.c.id.in_(thread.trades)))
        .limit(ROWS_MAX)
    )


async def _transfers(tx: ReadSession, thread: _Thread) -> Sequence[RowMapping]:
    table = ledger_transfers.c
    return await tx.rows(
        select(
            ledger_transfers,
            _DEBITED.c.owner.label("debit_owner"),
            _DEBITED.c.code.label("debit_code"),
            _CREDITED.c.owner.label("credit_owner"),
            _CREDITED.c.code.label("credit_code"),
        )
        .join(_DEBITED, _DEBITED.c.id == table.debit_account)
        .join(_CREDITED, _CREDITED.c.id == table.credit_account)
        .where(or_(table.order_id.in_(thread.orders), table.trade_id.in_(thread.trades)))
        .order_by(table.seq)
        .limit(ROWS_MAX)
    )


async def _records(tx: ReadSession, thread: _Thread) -> Sequence[dict[str, Any]]:
    named = [
        f"{kind}:{one}"
        for kind, ids in (
            ("signal", thread.signals),
            ("order", thread.orders),
            ("trade", thread.trades),
        )
        for one in ids
    ]
    log = audit_log.c
    rows = await tx.rows(
        select(audit_log)
        .where(or_(log.correlation_id.in_(thread.correlations), log.resource.in_(named)))
        .order_by(log.seq)
        .limit(ROWS_MAX)
    )
    return [{**row, "details": msgspec.json.decode(row["details"])} for row in rows]
