"""The table of protections over the simulated database, and the exits that belong to them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from libs.common.domain.protection import Split
from libs.common.domain.replay import ChangeKind
from libs.common.kernel.ids import OrderId
from libs.common.kernel.money import ZERO
from services.trade_executor.model import Order
from services.trade_executor.protection_store import (
    BY_HAND,
    Protection,
    SplitSince,
    is_guarded_entry,
    of_present_terms,
)
from services.trade_executor.rows import order_from
from tests.simulation.tables import EventRow, Tables
from tests.simulation.vault import SimDatabase, Transaction

ACCOUNT = "main"


class SimProtectionStore:
    """What `ProtectionStore` does, with tables in the place of SQL."""

    def __init__(self, server: SimDatabase) -> None:
        self._server = server

    async def add(self, one: Protection) -> bool:
        """Write a protection; False if it is there."""

        def write(tx: Transaction) -> bool:
            table = tx.tables.protections
            known = one.id in table or any(
                one.entry_id is not None and other.entry_id == one.entry_id
                for other in table.values()
            )
            kept = replace(one, terms_at=one.terms_at or tx.now, priced_at=one.priced_at or tx.now)
            if not known:
                tx.put(table, one.id, kept)
                tx.note("protection", one.id, one.symbol, one.side, one.stop_price)
            return not known

        return await self._server.ask("protection_add", write)

    async def open(self) -> list[Protection]:
        """Return what is to be guarded, oldest first."""
        return await self._server.ask(
            "protections", lambda tx: [p for p in tx.tables.protections.values() if not p.ended]
        )

    async def lately_ended(self, span: dt.timedelta) -> list[Protection]:
        """Return what was ended within `span`."""
        return await self._server.ask(
            "protections_ended",
            lambda tx: [
                tx.tables.protections[identity]
                for identity, at in tx.tables.protections_ended.items()
                if at > tx.now - span
            ],
        )

    async def unguarded_entries(self, span: dt.timedelta) -> list[Order]:
        """Return entries with a stop that have traded within `span` and have no protection."""

        def look(tx: Transaction) -> list[Order]:
            known = {one.entry_id for one in tx.tables.protections.values()}
            found = [
                order_from(row)  # type: ignore[arg-type]
                for row in tx.tables.orders.values()
                if row["id"] not in known and row["filled_quantity"] > 0
                and row["updated_at"] > tx.now - span
            ]  # fmt: skip
            return [order for order in found if is_guarded_entry(order)]

        return await self._server.ask("entries_unguarded", look)

    async def exits(self, one: Protection) -> list[Order]:
        """Return every exit of a protection: its entry's legs, those placed for it, their legs,
        and what replaced them."""
        return await self._server.ask("exits", lambda tx: exits_of(tx.tables, one))

    async def withdrawn(self, exits: Sequence[Order]) -> bool:
        """Tell whether a person has cancelled one of these exits."""
        return await self._any(
            exits, lambda one: one.event == "ask_cancel" and one.reason in BY_HAND
        )

    async def corporate_end(self, one: Protection, exits: Sequence[Order]) -> bool:
        """Tell whether the venue ended one of those that have the present terms for a corporate
        action."""
        return await self._any(
            of_present_terms(one, exits),
            lambda event: (event.event, event.reason) == ("canceled", "CORPORATE_ACTION"),
        )

    async def restated_since(self, one: Protection, order: Order) -> frozenset[str]:
        """Return the terms of an exit that the venue has changed: it ends them instead."""
        del one, order
        return frozenset()

    async def _any(self, exits: Sequence[Order], fits: Callable[[EventRow], bool]) -> bool:
        ids = {order.id for order in exits}
        return await self._server.ask(
            "exit_events",
            lambda tx: any(
                fits(one) for (order_id, _), one in tx.tables.events.items() if order_id in ids
            ),
        )

    async def split_since(self, one: Protection) -> SplitSince | None:
        """Return what splits have made of the position since the protection's prices were set."""
        return await self._server.ask("split_since", lambda tx: split_of(tx.tables, one))

    async def advance(self, one: Protection) -> int:
        """Return the number of the next exit, durably counted."""

        def write(tx: Transaction) -> int:
            known = tx.tables.protections[one.id]
            if known.seq == one.seq:
                tx.put(tx.tables.protections, one.id, replace(known, seq=one.seq + 1))
            return one.seq + 1

        return await self._server.ask("protection_advance", write)

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
        """Write what is to be guarded from then on, and return it."""

        def write(tx: Transaction) -> Protection:
            known = tx.tables.protections[one.id]
            kept = replace(
                known, stop_price=stop_price, quantity=quantity,
                take_profit_price=take_profit_price, terms_at=terms_at or tx.now,
                priced_at=priced_at or tx.now,
            )  # fmt: skip
            tx.put(tx.tables.protections, one.id, kept)
            tx.note("protection.reprice", one.id, stop_price, quantity)
            return kept

        return await self._server.ask("protection_reprice", write)

    async def end(self, one: Protection, reason: str) -> None:
        """End a protection."""

        def write(tx: Transaction) -> None:
            known = tx.tables.protections[one.id]
            if not known.ended:
                tx.put(tx.tables.protections, one.id, replace(known, ended=True))
                tx.put(tx.tables.protections_ended, one.id, tx.now)
                tx.note("protection.end", one.id, reason)

        await self._server.ask("protection_end", write)


def exits_of(tables: Tables, one: Protection) -> list[Order]:
    """Return every exit of a protection, oldest first."""
    ids = {one.exit_id(ACCOUNT, seq) for seq in range(1, one.seq + 1)}
    roots = ids | ({one.entry_id} if one.entry_id else set())
    found: dict[OrderId, dict[str, Any]] = {}
    while True:
        fresh = {
            row["id"]: row
            for row in tables.orders.values()
            if row["id"] not in found
            and (row["id"] in ids or row["parent_id"] in roots or row["replaces_id"] in found)
        }
        if not fresh:
            break
        found |= fresh
        roots |= fresh.keys()
    rows = sorted(found.values(), key=lambda row: (row["created_at"], row["id"]))
    return [order_from(row) for row in rows]  # type: ignore[arg-type]


def split_of(tables: Tables, one: Protection) -> SplitSince | None:
    """Return what splits have made of the position since the protection's prices were set."""
    changes = [change for change in tables.changes.values() if change.symbol == one.symbol]
    splits: dict[int, list[int]] = {}
    last: list[dt.datetime] = []
    for seq, change in enumerate(changes):
        late = one.priced_at is None or change.effective_at > one.priced_at
        if change.change.kind is ChangeKind.SPLIT and late:
            last.append(change.effective_at)
            splits.setdefault(change.after_entry, []).append(seq)
    before, after = Decimal(1), Decimal(1)
    for after_entry, seqs in sorted(splits.items()):
        effective_at = max(changes[seq].effective_at for seq in seqs)
        held = sum(_traded(tables, one.symbol, effective_at), ZERO)
        held += sum(
            (
                change.change.quantity
                for seq, change in enumerate(changes)
                if (change.after_entry, seq) < (after_entry, seqs[0])
                and change.effective_at <= effective_at
            ),
            ZERO,
        )
        moved = sum((changes[seq].change.quantity for seq in seqs), ZERO)
        before, after = before * held, after * (held + moved)
    if not splits or before * after <= 0:
        return None
    return SplitSince(Split(before, after), max(last))


def _traded(tables: Tables, symbol: str, until: dt.datetime) -> list[Decimal]:
    """Return the signed quantities that had traded by then and were not taken back yet."""
    corrected_at = {gone.record_id: gone.reversed_at for gone in tables.reversals.values()}
    found = []
    for name, trade in tables.trades.items():
        fill, gone = trade.execution, tables.reversals.get(name)
        stood = gone is None or gone.reversed_at >= until
        there = corrected_at.get(name, fill.executed_at) < until and fill.executed_at < until
        if fill.symbol == symbol and stood and there:
            found.append(fill.side.sign * fill.quantity)
    return found
