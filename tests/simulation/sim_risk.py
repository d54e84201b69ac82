"""The risk manager's tables over the simulated database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from libs.common.domain.instruments import Instrument
from libs.common.domain.ledger import cash_account
from libs.common.domain.vocabulary import TERMINAL_STATUSES, OrderClass, SessionState, Verdict
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError
from libs.common.kernel.ids import AccountId
from services.risk_manager.desk import Moment, Switch
from services.risk_manager.limits import LimitKey
from services.risk_manager.pending import Fill, parts_of
from services.risk_manager.ports import (
    Assessment,
    Changes,
    LimitChange,
    Listing,
    OpenOrder,
    Outgoing,
    Quoted,
    Snapshot,
    Valuation,
)
from services.risk_manager.records import pending_of
from services.risk_manager.store import _fill, _pending
from tests.simulation.server_amends import strategy_positions
from tests.simulation.tables import BookedChange, BookedReversal, BookedTrade, Tables
from tests.simulation.vault import SimDatabase, Transaction

SOURCE = "risk_manager"
_LAG = dt.timedelta(seconds=60)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class SimRiskStore:
    """Implements the risk manager's `Store` and `Registry`."""

    def __init__(
        self,
        server: SimDatabase,
        account: str,
        symbols: Collection[str],
        quotes: Callable[[], Sequence[Quoted]],
        *,
        grace_s: float,
    ) -> None:
        self._server = server
        self._account = account
        self._symbols = symbols
        self._quotes = quotes
        self._grace = dt.timedelta(seconds=grace_s)

    async def snapshot(self) -> Snapshot:
        """Return everything that the book is made of, from one instant."""

        def look(tx: Transaction) -> Snapshot:
            tables = tx.tables
            by_strategy = {
                (name, symbol): quantity
                for (name, symbol), quantity in strategy_positions(tables).items()
                if name is not None
            }
            open_rows = [
                row
                for row in tables.orders.values()
                if row["status"] not in TERMINAL_STATUSES and not _is_leg(row)
            ]
            approved = [a for a in tables.assessments.values() if a.verdict is Verdict.APPROVED]
            waiting = [
                a
                for a in approved
                if a.expires_at is not None
                and a.expires_at > tx.now - self._grace
                and a.order_id not in tables.orders
            ]
            bars: dict[tuple[str, str], dt.datetime] = {}
            for a in tables.assessments.values():
                if a.bar_ts is not None and a.strategy_id is not None:
                    where = a.strategy_id, a.symbol
                    bars[where] = max(bars.get(where, a.bar_ts), a.bar_ts)
            return Snapshot(
                cash=self._cash(tx),
                positions=_positions(tx),
                by_strategy=by_strategy,
                executions=[trade.id for trade in tables.trades.values()]
                + [gone.id for gone in tables.reversals.values() if gone.trade]
                + [change.id for change in tables.changes.values()]
                + [part.trade_id for one in tables.changes.values() for part in _parts(one)],
                pending=[_pending(self._judged_row(tx, row)) for row in open_rows]
                + [pending_of(a) for a in waiting],
                last_bars=bars,
                approvals=[(a.strategy_id, a.ts.timestamp()) for a in approved],
                booked_until=_until(_booked(tables), _EPOCH),
            )

        return await self._server.ask("snapshot", look)

    async def changes(self, since: dt.datetime) -> Changes:
        """Return what was booked from shortly before `since` on, from one instant."""

        def look(tx: Transaction) -> Changes:
            start = max(since, _EPOCH + _LAG) - _LAG
            fresh = [one for one in _booked(tx.tables) if one.booked_at >= start]
            fills = [fill for one in fresh for fill in _fills(one)]
            return Changes(self._cash(tx), _positions(tx), fills, _until(fresh, since))

        return await self._server.ask("changes", look)

    async def open_order(self, order_id: UUID) -> OpenOrder | None:
        """Return the order row, None if there is none."""

        def look(tx: Transaction) -> OpenOrder | None:
            row = tx.tables.orders.get(order_id)
            if row is None:
                return None
            ended = row["status"] in TERMINAL_STATUSES
            traded = sum(
                t.execution.quantity for t in tx.tables.standing() if t.order_id == order_id
            )
            back = sum(
                gone.trade.execution.quantity
                for gone in tx.tables.reversals.values()
                if gone.id in tx.tables.changes and gone.trade and gone.trade.order_id == order_id
            )
            return OpenOrder(
                _pending(self._judged_row(tx, row)),
                ended=ended,
                leg=_is_leg(row),
                before_us=row["filled_quantity"] - traded + back,
            )

        return await self._server.ask("open_order", look)

    def _judged_row(self, tx: Transaction, row: dict[str, Any]) -> dict[str, Any]:
        judged = next(
            (
                a
                for a in tx.tables.assessments.values()
                if a.order_id == row["id"] and a.verdict is Verdict.APPROVED
            ),
            None,
        )
        return {
            **row,
            "hold": judged and judged.hold,
            "assessed_quantity": judged and judged.quantity,
        }

    def _cash(self, tx: Transaction) -> Decimal:
        return tx.tables.ledger.balance(cash_account(AccountId(self._account))).posted

    async def listing(self) -> Listing:
        """Return the instruments."""
        found = {symbol: Instrument(symbol, shortable=True) for symbol in self._symbols}
        return await self._server.ask("listing", lambda tx: Listing(found))

    async def quotes(self, symbols: Collection[str]) -> Sequence[Quoted]:
        """Return the last price of each symbol."""
        return await self._server.ask(
            "quotes", lambda tx: [one for one in self._quotes() if one.symbol in symbols]
        )

    async def volatilities(self, symbols: Collection[str]) -> Mapping[str, float]:
        """There is no history."""
        return await self._server.ask("volatilities", lambda tx: {})

    async def judged(self, origins: Collection[UUID]) -> Mapping[UUID, Assessment]:
        """Return the judgements of these signals or requests that exist already."""

        def look(tx: Transaction) -> Mapping[UUID, Assessment]:
            found = tx.tables.assessments
            return {origin: found[origin] for origin in origins if origin in found}

        return await self._server.ask("judged", look)

    async def record(self, assessments: Sequence[Assessment], messages: Sequence[Outgoing]) -> None:
        """Store judgements and their messages in one transaction."""

        def write(tx: Transaction) -> None:
            for one in assessments:
                origin = one.signal_id or one.request_id
                if origin in tx.tables.assessments:
                    raise AssertionError(f"{origin} is judged twice")
                tx.put(tx.tables.assessments, origin, one)
                tx.note("judged", one.order_id, one.verdict, one.code, one.quantity)
            _send(tx, messages)

        await self._server.ask("record", write)

    # Control ----------------------------------------------------------------------------------

    async def switch(self) -> Switch | None:
        """Return the kill switch, None before the first start."""
        return await self._server.ask("switch", lambda tx: tx.tables.switch.get(self._account))

    async def set_switch(self, switch: Switch, messages: Sequence[Outgoing]) -> None:
        """Store the kill switch if its generation is the next one. Raises ConflictError."""

        def write(tx: Transaction) -> None:
            before = tx.tables.switch.get(self._account)
            if before is not None and before.generation != switch.generation - 1:
                raise ConflictError(f"the kill switch is at {before.generation}")
            tx.put(tx.tables.switch, self._account, switch)
            _send(tx, messages)

        await self._server.ask("set_switch", write)

    async def limits(self) -> Mapping[LimitKey, Decimal]:
        """Return all limits of the account."""
        return await self._server.ask("limits", lambda tx: dict(tx.tables.limits))

    async def set_limits(self, changes: Sequence[LimitChange]) -> None:
        """Store changes of limits."""

        def write(tx: Transaction) -> None:
            for change in changes:
                tx.put(tx.tables.limits, change.key, change.new)

        await self._server.ask("set_limits", write)

    async def last_valuation(self) -> Valuation | None:
        """Return the newest valuation."""

        def look(tx: Transaction) -> Valuation | None:
            found = tx.tables.valuations
            return found[max(found)] if found else None

        return await self._server.ask("last_valuation", look)

    async def add_valuation(self, valuation: Valuation) -> None:
        """Store one valuation."""
        await self._server.ask(
            "add_valuation",
            lambda tx: tx.put(tx.tables.valuations, valuation.ts, replace(valuation)),
        )


class SimMarket:
    """Implements `Market`: a session that never ends, at wall time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def moment(self) -> Moment:
        """Return the present moment."""
        ns = self._clock.now_ns()
        return Moment(ns / 1e9, ns, 1.0, SessionState.REGULAR)

    def date(self) -> dt.date:
        """Return the exchange's date."""
        return self._clock.now().date()

    def date_of(self, moment: dt.datetime) -> dt.date:
        """Return the exchange's date at `moment`."""
        return moment.date()


def _send(tx: Transaction, messages: Sequence[Outgoing]) -> None:
    for m in messages:
        tx.tell(SOURCE, m.channel, m.payload, m.correlation_id, m.causation_id)


def _positions(tx: Transaction) -> dict[str, Decimal]:
    return {name: held.quantity for name, held in tx.tables.positions.items()}


def _is_leg(row: dict[str, Any]) -> bool:
    return row["parent_id"] is not None and row["order_class"] != OrderClass.SIMPLE


Happened = BookedTrade | BookedReversal | BookedChange


def _booked(tables: Tables) -> list[Happened]:
    reversals = list(tables.reversals.values())
    # What takes an execution out of the opening balance is told as a reversal.
    told = {one.id for one in reversals}
    changes = [one for one in tables.changes.values() if one.id not in told]
    return [*tables.trades.values(), *reversals, *changes]


def _until(booked: Collection[Happened], before: dt.datetime) -> dt.datetime:
    return max((one.booked_at for one in booked), default=before)


def _fills(one: Happened) -> list[Fill]:
    match one:
        case BookedTrade():
            return [_fill(_trade_row(one))]
        case BookedReversal():
            return [_fill(_reversal_row(one, one.trade))] if one.trade else []
        case BookedChange():
            return _parts(one)


def _parts(one: BookedChange) -> list[Fill]:
    return parts_of(one.id, one.symbol, one.change.amount, one.parts)


def _reversal_row(gone: BookedReversal, trade: BookedTrade) -> dict[str, Any]:
    fill = trade.execution
    return _trade_row(trade) | {
        "id": gone.id, "side": fill.side.opposite, "cost": -fill.fee, "reverses": True,
        "booked_at": gone.booked_at,
    }  # fmt: skip


def _trade_row(trade: BookedTrade) -> dict[str, Any]:
    fill = trade.execution
    return {
        "id": trade.id, "order_id": trade.order_id, "symbol": fill.symbol, "side": fill.side,
        "quantity": fill.quantity, "executed_price": fill.price, "cost": fill.fee,
        "reverses": False, "strategy_id": trade.strategy_id, "booked_at": trade.booked_at,
    }  # fmt: skip
