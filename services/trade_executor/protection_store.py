"""Protections in the database, and the exits that belong to them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import RowMapping

from libs.common.domain.protection import Split
from libs.common.domain.vocabulary import Side
from libs.common.kernel.ids import OrderId, derived_id
from libs.common.kernel.money import plain
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.execution import order_events, orders, protections
from services.trade_executor.model import EXIT_CLASSES, Order
from services.trade_executor.rows import order_from
from services.trade_executor.rows import text as shown_text

# A cancel that a person asked for; any other leaves the wish for protection as it was.
BY_HAND = ("cancel by request", "cancel all by request")

# Splits that no execution parts are one: a reverse split is told as old shares away, new ones in.
# What was held then: what had traded by the market's time and was not taken back yet, whenever
# we heard of either.
_SPLITS = text("""
    SELECT s.moved, s.effective_at,
           coalesce((SELECT sum(CASE t.side WHEN 'buy' THEN t.quantity ELSE -t.quantity END)
                     FROM trades t
                     WHERE t.account_id = :account AND t.symbol = :symbol
                       AND t.executed_at < s.effective_at
                       AND NOT EXISTS (SELECT 1 FROM trade_reversals v
                                       WHERE v.trade_id = t.id AND v.reversed_at < s.effective_at)
                       AND NOT EXISTS (SELECT 1 FROM trade_reversals c
                                       WHERE c.order_id = t.order_id AND c.kind = 'correction'
                                         AND c.record_id = t.execution_id
                                         AND c.reversed_at >= s.effective_at)), 0)
           + coalesce((SELECT sum(c.quantity) FROM position_changes c
                       WHERE c.account_id = :account AND c.symbol = :symbol
                         AND c.effective_at <= s.effective_at
                         AND NOT EXISTS (SELECT 1 FROM trade_reversals v
                                         WHERE v.id = c.id AND v.reversed_at >= s.effective_at)
                         AND (c.after_entry, c.seq) < (s.after_entry, s.seq)), 0) AS held
    FROM (SELECT after_entry, min(seq) AS seq, sum(quantity) AS moved,
                 max(effective_at) AS effective_at
          FROM position_changes
          WHERE account_id = :account AND symbol = :symbol AND kind = 'split'
            AND effective_at > :since
          GROUP BY after_entry) s ORDER BY s.after_entry
""")


@dataclass(frozen=True, slots=True)
class Protection:
    """A row: what is to be guarded, and how. `side` is the exits' side."""

    id: UUID
    symbol: str
    side: Side
    quantity: Decimal | None
    stop_price: Decimal
    take_profit_price: Decimal | None
    entry_id: OrderId | None
    actor: str
    seq: int
    ended: bool = False
    # Since when its terms are meant as they are; by the market's time, its prices. None in what is
    # not written yet: from then on.
    terms_at: dt.datetime | None = None
    priced_at: dt.datetime | None = None

    def key(self, seq: int) -> str:
        """Return the idempotency key of the exit number `seq`."""
        return f"protection:{self.id}:{seq}"

    def exit_id(self, account_id: str, seq: int) -> OrderId:
        """Return the id of the exit number `seq`; the same as `Placing` derives."""
        return OrderId(derived_id("manual_order", account_id, self.key(seq)))

    def back_key(self, group: OrderId, number: int) -> str:
        """Return the key of an order that gives back what both exits of `group` traded."""
        first = f"protection:{self.id}:back:{derived_id('protection_back', str(group))}"
        return f"{first}:{number}" if number else first

    def back_id(self, account_id: str, group: OrderId, number: int) -> OrderId:
        """Return the id of that order."""
        return OrderId(derived_id("manual_order", account_id, self.back_key(group, number)))


def protection_of_entry(order: Order, traded_at: dt.datetime | None) -> Protection:
    """Return what a bracket's or OTO's stop asks to be protected; `traded_at`: market time."""
    assert order.spec.stop_loss_stop_price is not None
    return Protection(
        id=derived_id("protection", str(order.id)),
        symbol=order.symbol,
        side=order.spec.side.opposite,
        quantity=None,
        stop_price=order.spec.stop_loss_stop_price,
        take_profit_price=order.spec.take_profit_limit_price,
        entry_id=order.id,
        actor=order.strategy_id or "operator",
        seq=0,
        terms_at=order.created_at,
        priced_at=traded_at,
    )


@dataclass(frozen=True, slots=True)
class SplitSince:
    """Splits since a protection's prices were set; `effective_at` (market time) of the last."""

    split: Split
    effective_at: dt.datetime


def of_present_terms(one: Protection, exits: Sequence[Order]) -> list[Order]:
    """Return the exits that were made since the protection's terms are what they are."""
    return [order for order in exits if one.terms_at is None or order.created_at >= one.terms_at]


def is_guarded_entry(order: Order) -> bool:
    """Tell whether an order of ours asks for its position to be protected."""
    spec = order.spec
    return (
        spec.order_class in EXIT_CLASSES
        and order.parent_id is None
        and not order.external
        and order.filled_quantity > 0
        and spec.stop_loss_stop_price is not None
    )


class ProtectionStore:
    """Reads and writes `protections`."""

    def __init__(self, runtime: Runtime, account_id: str) -> None:
        self._database = runtime.database
        self._clock = runtime.clock
        self._market_clock = runtime.market_clock
        self._account_id = account_id

    async def add(self, one: Protection) -> bool:
        """Write a protection; False if it is there."""
        statement = (
            upsert(protections)
            .values(
                id=one.id,
                account_id=self._account_id,
                symbol=one.symbol,
                side=one.side,
                quantity=one.quantity,
                stop_price=one.stop_price,
                take_profit_price=one.take_profit_price,
                entry_id=one.entry_id,
                actor=one.actor,
                terms_at=one.terms_at or self._clock.now(),
                priced_at=one.priced_at or self._market_clock.now(),
            )
            .on_conflict_do_nothing()
            .returning(protections.c.id)
        )
        async with self._database.write() as tx:
            return await tx.row(statement) is not None

    async def open(self) -> list[Protection]:
        """Return what is to be guarded, oldest first."""
        query = (
            select(protections)
            .where(protections.c.account_id == self._account_id, protections.c.ended_at.is_(None))
            .order_by(protections.c.created_at, protections.c.id)
        )
        async with self._database.read() as session:
            return [_from(row) for row in await session.rows(query)]

    async def lately_ended(self, span: dt.timedelta) -> list[Protection]:
        """Return what was ended within `span`: a late execution may still be its exit's."""
        query = select(protections).where(
            protections.c.account_id == self._account_id,
            protections.c.ended_at > self._clock.now() - span,
        )
        async with self._database.read() as session:
            return [_from(row) for row in await session.rows(query)]

    async def one(self, identity: UUID) -> Protection | None:
        """Return a protection."""
        query = select(protections).where(
            protections.c.id == identity, protections.c.account_id == self._account_id
        )
        async with self._database.read() as session:
            row = await session.row(query)
        return _from(row) if row else None

    async def unguarded_entries(self, span: dt.timedelta) -> list[Order]:
        """Return entries with a stop that have traded within `span` and have no protection on
        record: what an earlier life of ours saw and did not write down."""
        known = select(protections.c.id).where(protections.c.entry_id == orders.c.id).exists()
        query = select(orders).where(
            orders.c.account_id == self._account_id,
            orders.c.order_class.in_(sorted(EXIT_CLASSES)),
            orders.c.filled_quantity > 0,
            orders.c.updated_at > self._clock.now() - span,
            ~known,
        )
        async with self._database.read() as session:
            found = [order_from(row) for row in await session.rows(query)]
        return [order for order in found if is_guarded_entry(order)]

    async def exits(self, one: Protection) -> list[Order]:
        """Return every exit of a protection: its entry's legs, those placed for it, their legs,
        and what replaced them."""
        ids: set[Any] = {one.exit_id(self._account_id, seq) for seq in range(1, one.seq + 1)}
        roots: set[Any] = set(ids) | ({one.entry_id} if one.entry_id else set())
        found: dict[OrderId, Order] = {}
        async with self._database.read() as session:
            while ids | roots:
                query = select(orders).where(
                    or_(
                        orders.c.id.in_(ids),
                        orders.c.parent_id.in_(roots),
                        orders.c.replaces_id.in_(found.keys()),
                    )
                )
                rows = [order_from(row) for row in await session.rows(query)]
                fresh = {row.id: row for row in rows if row.id not in found}
                if not fresh:
                    break
                found.update(fresh)
                roots |= fresh.keys()
        return sorted(found.values(), key=lambda order: (order.created_at, order.id))

    async def withdrawn(self, exits: Sequence[Order]) -> bool:
        """Tell whether a person has cancelled one of these exits."""
        query = select(func.count()).where(
            order_events.c.order_id.in_([order.id for order in exits]),
            order_events.c.event == "ask_cancel",
            order_events.c.reason.in_(BY_HAND),
        )
        async with self._database.read() as session:
            return bool((await session.execute(query)).scalar_one())

    async def corporate_end(self, one: Protection, exits: Sequence[Order]) -> bool:
        """Tell whether the venue ended one of the exits that have the present terms for a
        corporate action: prices that were meant before it mean something else now."""
        query = select(func.count()).where(
            order_events.c.order_id.in_([order.id for order in of_present_terms(one, exits)]),
            order_events.c.event == "canceled",
            order_events.c.reason == "CORPORATE_ACTION",
        )
        async with self._database.read() as session:
            return bool((await session.execute(query)).scalar_one())

    async def split_since(self, one: Protection) -> SplitSince | None:
        """Return what splits have made of the position since the protection's prices were set,
        None if none is booked."""
        where = {"account": self._account_id, "symbol": one.symbol, "since": one.priced_at}
        async with self._database.read() as session:
            rows = await session.rows(_SPLITS, where)
        before, after = Decimal(1), Decimal(1)
        for row in rows:
            before, after = before * row["held"], after * (row["held"] + row["moved"])
        if not rows or before * after <= 0:
            return None
        return SplitSince(Split(before, after), max(row["effective_at"] for row in rows))

    async def restated_since(self, one: Protection, order: Order) -> frozenset[str]:
        """Return the terms of an exit that the venue has changed since the protection's were
        set; a split changes how many shares it is for."""
        query = select(order_events.c.payload).where(
            order_events.c.order_id == order.id,
            order_events.c.event == "restated",
            order_events.c.ts > one.terms_at,
        )
        async with self._database.read() as session:
            rows = await session.rows(query)
        return frozenset(name for row in rows for name in row["payload"] or ())

    async def advance(self, one: Protection) -> int:
        """Return the number of the next exit, durably counted."""
        statement = (
            update(protections)
            .where(protections.c.id == one.id, protections.c.seq == one.seq)
            .values(seq=one.seq + 1)
        )
        async with self._database.write() as tx:
            await tx.execute(statement)
        return one.seq + 1

    async def reprice(
        self,
        one: Protection,
        stop_price: Decimal,
        quantity: Decimal | None,
        take_profit_price: Decimal | None,
        *,
        terms_at: dt.datetime | None = None,
        priced_at: dt.datetime | None = None,
    ) -> Protection:
        """Write what is to be guarded from then on, by the market's time `priced_at`; from now on
        where they are None. Return it."""
        values: dict[str, Any] = {
            "stop_price": stop_price,
            "quantity": quantity,
            "take_profit_price": take_profit_price,
            "terms_at": terms_at or self._clock.now(),
            "priced_at": priced_at or self._market_clock.now(),
        }
        async with self._database.write() as tx:
            await tx.execute(update(protections).where(protections.c.id == one.id).values(**values))
        return replace(one, **values)

    async def end(self, one: Protection, reason: str) -> None:
        """End a protection."""
        async with self._database.write() as tx:
            await tx.execute(
                update(protections)
                .where(protections.c.id == one.id, protections.c.ended_at.is_(None))
                .values(ended_at=self._clock.now(), end_reason=reason)
            )


def _from(row: RowMapping) -> Protection:
    return Protection(
        id=row["id"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        quantity=row["quantity"],
        stop_price=row["stop_price"],
        take_profit_price=row["take_profit_price"],
        entry_id=row["entry_id"] and OrderId(row["entry_id"]),
        actor=row["actor"],
        seq=row["seq"],
        ended=row["ended_at"] is not None,
        terms_at=row["terms_at"] or row["created_at"],
        priced_at=row["priced_at"] or row["terms_at"] or row["created_at"],
    )


def shown(one: Protection) -> dict[str, Any]:
    """Return a protection as the API shows it."""
    return {
        "id": one.id,
        "symbol": one.symbol,
        "side": one.side,
        "quantity": None if one.quantity is None else plain(one.quantity),
        "stop_price": plain(one.stop_price),
        "take_profit_price": shown_text(one.take_profit_price),
        "entry_id": one.entry_id,
        "actor": one.actor,
    }
