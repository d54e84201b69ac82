"""An order's whole story in one document, read from the tables of the trading path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.engine import RowMapping

from libs.common.kernel.errors import NotFoundError
from libs.common.kernel.money import plain
from libs.common.runtime.database import Database, ReadSession
from libs.common.runtime.schema.execution import (
    ledger_accounts,
    ledger_transfers,
    order_events,
    orders,
    trades,
)
from libs.common.runtime.schema.market import market_ohlcv, market_quotes
from libs.common.runtime.schema.risk import risk_assessments
from libs.common.runtime.schema.strategies import signals
from services.trade_executor.dossier import Fill, Happened, cost, legs, milestones
from services.trade_executor.model import Order
from services.trade_executor.rows import order_from, shown, with_reversals
from services.trade_executor.wire_store import messages_of

WIRE_MAX = 1000

_DEBITED = ledger_accounts.alias("debited")
_CREDITED = ledger_accounts.alias("credited")


class DossierStore:
    """Reads dossiers; writes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def dossier(self, order_id: UUID) -> dict[str, Any]:
        """Return all that is on record of an order. Raises NotFoundError.

        `tick`, `bar`, `signal` and `judgement` are null where there is none: an order placed by
        hand has no signal, an exit that the broker made of a bracket no judgement of its own.
        Executions that were taken back have `reversed_by` and cost nothing.
        `wire` is what went to the broker and came back, at most `WIRE_MAX` messages.
        """
        async with self._database.read() as session:
            row = await session.row(select(orders).where(orders.c.id == order_id))
            if row is None:
                raise NotFoundError(f"there is no order {order_id}")
            order = order_from(row)
            signal = await _signal(session, order)
            bar = await _bar(session, signal)
            tick = await _tick(session, signal)
            judgement = await _judgement(session, order)
            events = await _events(session, order)
            executions = await _executions(session, order)
            ledger = await _ledger(session, order, [one["id"] for one in executions])
            wire = await messages_of(session, order.id, order.broker_order_id, limit=WIRE_MAX)
        fills = [_fill(one) for one in executions]
        stand = [_fill(one) for one in executions if one["reversed_by"] is None]
        way = milestones(
            signal=signal["created_at"] if signal else None,
            judged=judgement["ts"] if judgement else None,
            written=order.created_at,
            events=[Happened(one["event"], one["ts"]) for one in events],
            fills=fills,
        )
        arrival = judgement["reference_price"] if judgement else None
        return {
            "order": shown(order),
            "tick": _plain(tick),
            "bar": _plain(bar),
            "signal": _plain(signal),
            "judgement": _plain(judgement),
            "events": [_plain(one) for one in events],
            "wire": wire,
            "executions": [_plain(one) for one in executions],
            "ledger": [_plain(one) for one in ledger],
            "milestones": asdict(way),
            "latency": [asdict(leg) for leg in legs(way)],
            "cost": _plain(asdict(cost(order.spec.side, arrival, stand))),
        }


def _fill(row: RowMapping) -> Fill:
    return Fill(
        quantity=row["quantity"],
        price=row["executed_price"],
        fees=row["commission"] + row["fees"],
        booked_at=row["booked_at"],
    )


async def _signal(session: ReadSession, order: Order) -> RowMapping | None:
    if order.signal_id is None:
        return None
    return await session.row(select(signals).where(signals.c.id == order.signal_id))


async def _bar(session: ReadSession, signal: RowMapping | None) -> RowMapping | None:
    """The closed bar that the signal was decided on."""
    if signal is None:
        return None
    bar = market_ohlcv.c
    return await session.row(
        select(market_ohlcv).where(
            bar.symbol == signal["symbol"],
            bar.timeframe == signal["timeframe"],
            bar.ts == signal["bar_ts"],
        )
    )


async def _tick(session: ReadSession, signal: RowMapping | None) -> RowMapping | None:
    """The last quote or trade of the bar that the signal was decided on: the tick that made the
    strategy see what it saw. None where ticks were not stored, as with bars from a provider."""
    if signal is None:
        return None
    tick = market_quotes.c
    return await session.row(
        select(market_quotes)
        .where(
            tick.symbol == signal["symbol"],
            tick.ts >= signal["bar_ts"],
            tick.ts < signal["ts"],
        )
        .order_by(tick.ts.desc())
        .limit(1)
    )


async def _judgement(session: ReadSession, order: Order) -> RowMapping | None:
    """The assessment that the order names; of a denied one, that of its signal or request."""
    table = risk_assessments.c
    if order.risk_assessment_id is not None:
        named = table.id == order.risk_assessment_id
        return await session.row(select(risk_assessments).where(named))
    origins: list[ColumnElement[bool]] = [table.order_id == order.id]
    if order.signal_id is not None:
        origins.append(table.signal_id == order.signal_id)
    if order.request_id is not None:
        origins.append(table.request_id == order.request_id)
    return await session.row(
        select(risk_assessments).where(or_(*origins)).order_by(table.ts.desc()).limit(1)
    )


async def _events(session: ReadSession, order: Order) -> Sequence[RowMapping]:
    table = order_events.c
    return await session.rows(
        select(order_events).where(table.order_id == order.id).order_by(table.seq)
    )


async def _executions(session: ReadSession, order: Order) -> Sequence[RowMapping]:
    table = trades.c
    return await session.rows(
        with_reversals().where(table.order_id == order.id).order_by(table.booked_at, table.id)
    )


async def _ledger(
    session: ReadSession, order: Order, trade_ids: Sequence[UUID]
) -> Sequence[RowMapping]:
    """The ledger lines of the order and of its executions, with the names of their accounts."""
    table = ledger_transfers.c
    return await session.rows(
        select(
            ledger_transfers,
            _DEBITED.c.owner.label("debit_owner"),
            _DEBITED.c.code.label("debit_code"),
            _CREDITED.c.owner.label("credit_owner"),
            _CREDITED.c.code.label("credit_code"),
        )
        .join(_DEBITED, _DEBITED.c.id == table.debit_account)
        .join(_CREDITED, _CREDITED.c.id == table.credit_account)
        .where(or_(table.order_id == order.id, table.trade_id.in_(trade_ids)))
        .order_by(table.seq)
    )


def _plain(row: Mapping[Any, Any] | None) -> dict[str, Any] | None:
    """Return a row with its decimals as plain strings."""
    if row is None:
        return None
    return {
        str(name): plain(value) if isinstance(value, Decimal) else value
        for name, value in row.items()
    }
