"""Looking after protections: every protected position has its exits, or somebody is told.

Looked at every few seconds. What is missing is placed as an exit of our own (judged like every
order, spared by the kill switch), what guards too much is cancelled, and where both exits of a
group have traded, the excess is bought or sold back. Ids are derived from the protection and a
number that is counted durably, so a look that is cut down sends nothing twice.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from libs.common.domain.orders import OrderEvent, statuses_allowing
from libs.common.domain.protection import Coverage, Wanted, covers
from libs.common.domain.vocabulary import OrderStatus
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, UnavailableError
from libs.common.kernel.ids import OrderId, Symbol
from libs.common.kernel.money import ZERO, plain
from libs.common.runtime.logging import get_logger
from services.trade_executor.balance_comparison import NAKED
from services.trade_executor.cancels import Cancels
from services.trade_executor.claims import Claims
from services.trade_executor.desk import Desk
from services.trade_executor.exits import by_group, groups_of, widowed
from services.trade_executor.gate import Blocks
from services.trade_executor.giving_back import GivingBack
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.model import BrokerPosition, Order
from services.trade_executor.placing import Placing
from services.trade_executor.ports import Books, Discrepancy
from services.trade_executor.protection_book import ProtectionBook
from services.trade_executor.protection_exits import exit_fields, is_exit, left_of
from services.trade_executor.protection_store import (
    Protection,
    is_guarded_entry,
    protection_of_entry,
)
from services.trade_executor.protection_terms import ProtectionTerms
from services.trade_executor.resolutions import Resolutions

_log = get_logger(__name__)

_CLAIM = "protection"
_CANCELLABLE = statuses_allowing(OrderEvent.ASK_CANCEL)
_TRIES_S_MAX = 60.0
_BACK = dt.timedelta(days=1)
_LATE = dt.timedelta(hours=1)


class ProtectionDesk:
    """Guards what was asked to be guarded."""

    def __init__(
        self,
        *,
        store: ProtectionBook,
        books: Books,
        desk: Desk,
        lifecycle: Lifecycle,
        placing: Placing,
        cancels: Cancels,
        blocks: Blocks,
        claims: Claims,
        positions_there: Callable[[], Awaitable[Sequence[BrokerPosition]]],
        book_activities: Callable[[], Awaitable[object]],
        quantity_step: Callable[[str], Awaitable[Decimal | None]],
        clock: Clock,
        account_id: str,
        look_s: float,
        entry_patience_s: float,
        naked_s: float,
    ) -> None:
        self._store = store
        self._books = books
        self._desk = desk
        self._lifecycle = lifecycle
        self._placing = placing
        self._cancels = cancels
        self._resolutions = Resolutions(books, blocks)
        self._claims = claims
        self._terms = ProtectionTerms(
            store=store,
            books=books,
            positions_there=positions_there,
            book_activities=book_activities,
            quantity_step=quantity_step,
            clock=clock,
            patience_s=entry_patience_s,
        )
        self._giving_back = GivingBack(
            books, lifecycle, placing, clock, account_id=account_id, pause_s=look_s
        )
        self._clock = clock
        self._account_id = account_id
        self._look_s = look_s
        self._patience_s = entry_patience_s
        self._naked_s = naked_s
        self._since: dict[UUID, float] = {}
        self._retry: dict[UUID, tuple[float, float]] = {}
        self._looked_back = False
        self._soon = asyncio.Event()
        self.coverage: dict[UUID, Coverage] = {}

    def look_soon(self) -> None:
        """Something traded or ended: look now."""
        self._soon.set()

    async def run(self) -> None:
        """Look after protections until cancelled."""
        while True:
            try:
                await self.look()
            except UnavailableError as error:
                _log.warning("protection_waits", error=str(error))
            try:
                async with asyncio.timeout(self._look_s):
                    await self._soon.wait()
            except TimeoutError:
                pass
            self._soon.clear()

    async def look(self) -> None:
        """Compare what is protected with what was asked for, and mend it. Raises
        UnavailableError."""
        await self._record_entries()
        by_symbol: dict[str, list[Protection]] = defaultdict(list)
        for one in await self._store.open():
            by_symbol[one.symbol].append(one)
        for symbol, wanted in by_symbol.items():
            if self._claims.holder(symbol) is None:
                async with self._claims.hold(symbol, _CLAIM):
                    await self._guard(symbol, wanted)
        await self._look_after_ended()
        await self._tell_repaired()

    async def _record_entries(self) -> None:
        """Put on record what brackets and OTOs ask for as soon as they have traded."""
        entries = [order for order in self._desk.known() if is_guarded_entry(order)]
        if not self._looked_back:
            entries = await self._store.unguarded_entries(_BACK)
            self._looked_back = True
        for order in entries:
            if order.id not in self._since:  # asked once: it is on record then
                executed = await self._books.executions(order.id)
                traded_at = min((one.executed_at for one in executed), default=None)
                await self._store.add(protection_of_entry(order, traded_at))
                self._since[order.id] = self._now_s()

    async def _look_after_ended(self) -> None:
        """The second exit of a group may trade after the first has closed the position."""
        positions = await self._books.positions()
        for one in await self._store.lately_ended(_LATE):
            position = positions.get(Symbol(one.symbol), ZERO)
            if position * one.side.sign > 0 and self._claims.holder(one.symbol) is None:
                async with self._claims.hold(one.symbol, _CLAIM):
                    entry = await self._books.order(one.entry_id) if one.entry_id else None
                    await self._giving_back.give_back(
                        one, entry, await self._store.exits(one), position
                    )

    async def _guard(self, symbol: str, wanted: Sequence[Protection]) -> None:
        position = (await self._books.positions()).get(Symbol(symbol), ZERO)
        asked: list[tuple[Protection, Order | None, list[Order], Wanted]] = []
        owned: set[OrderId] = set()
        groups = []
        for one in wanted:
            entry = await self._books.order(one.entry_id) if one.entry_id else None
            exits = await self._store.exits(one)
            owned |= {order.id for order in exits}
            if await self._ended(one, entry, exits, position):
                continue
            one = await self._terms.follow(one, entry, exits)
            wish = Wanted(one.id, one.side, left_of(one, entry, exits))
            asked.append((one, entry, exits, wish))
            groups += groups_of(exits, entry=entry, owner=one.id, ours=True)
        others = [
            order
            for order in self._desk.open_orders()
            if order.symbol == symbol and order.id not in owned and is_exit(order)
        ]
        groups += groups_of(others, entry=None, owner=None, ours=False)
        found = covers(position, [wish for *_, wish in asked], groups)
        for one, entry, exits, _ in asked:
            coverage = self.coverage[one.id] = found[one.id]
            await self._giving_back.give_back(one, entry, exits, position)
            await self._mend(one, entry, exits, coverage)

    async def _ended(
        self, one: Protection, entry: Order | None, exits: Sequence[Order], position: Decimal
    ) -> bool:
        """End a protection whose position is closed, or that a person has withdrawn."""
        reason = None
        if exits and await self._store.withdrawn(exits):
            reason = "withdrawn: a person cancelled an exit"
        elif entry is not None and not entry.status.is_terminal:
            reason = None
        elif position * one.side.sign >= 0:  # flat, or on the other side
            await self._giving_back.give_back(one, entry, exits, position)
            reason = "the position is closed"
        elif left_of(one, entry, exits) == 0 and all(order.status.is_terminal for order in exits):
            reason = "its exits have traded"
        if reason is None:
            return False
        await self._end(one, exits, reason)
        return True

    async def give_up(self, one: Protection, reason: str) -> None:
        """End a protection and cancel the exits that were placed for it."""
        async with self._claims.hold(one.symbol, _CLAIM):
            await self._end(one, await self._store.exits(one), reason)

    async def _end(self, one: Protection, exits: Sequence[Order], reason: str) -> None:
        _log.info("protection_ended", protection=str(one.id), symbol=one.symbol, reason=reason)
        await self._store.end(one, reason)
        self.coverage.pop(one.id, None)
        self._since.pop(one.id, None)
        self._terms.forget(one)
        for order in exits:
            if one.entry_id is None or order.parent_id != one.entry_id:
                await self._cancel(order, f"protection: {reason}")

    async def _mend(
        self, one: Protection, entry: Order | None, exits: Sequence[Order], coverage: Coverage
    ) -> None:
        for order in widowed(exits):
            await self._cancel(order, "protection: its stop is gone")
        for order in await self._terms.outdated(one, exits):
            await self._cancel(order, "protection: its price is of before a split")
        members = by_group(exits)
        for group in coverage.excess:
            for order in members.get(OrderId(group), ()):
                await self._cancel(order, "protection: guards more than there is")
        if not coverage.missing:
            self._since.pop(one.id, None)
            self._retry.pop(one.id, None)
            return
        naked_for_s = self._now_s() - self._since.setdefault(one.id, self._now_s())
        if naked_for_s >= self._naked_s:
            await self._tell_naked(one, coverage)
        if coverage.moving or coverage.excess:
            return
        if entry is not None and not entry.status.is_terminal:
            # Its exits wait until it is complete, and the venue takes no exit of ours beside it.
            if naked_for_s >= self._patience_s:
                await self._cancel(entry, "protection: partly filled, the part is guarded")
            return
        if any(order.status is OrderStatus.HELD for order in exits):
            return  # the venue is about to release or end the entry's own exits
        await self._place(one, entry, exits, coverage.missing)

    async def _place(
        self, one: Protection, entry: Order | None, exits: Sequence[Order], quantity: Decimal
    ) -> None:
        """Send an exit of our own, the same one again where the last look was cut down."""
        now_s = self._now_s()
        not_before, pause_s = self._retry.get(one.id, (0.0, self._look_s))
        if now_s < not_before:
            return
        ended = await self._store.corporate_end(one, exits)
        booked = await self._store.split_since(one)
        split = None
        if ended or booked is not None:
            split = await self._terms.split(one)
        if split is not None:
            await self._terms.after_split(one, entry, exits, split)  # the next look places it
            self._retry.pop(one.id, None)
            self._soon.set()
            return
        if ended or booked is not None:
            # The split is not told yet, or our position is not the venue's, so that nobody knows
            # what it has done; or it was another corporate action.
            self._retry[one.id] = (now_s + pause_s, min(2 * pause_s, _TRIES_S_MAX))
            return
        sent = {order.id for order in exits}
        seq = one.seq
        if seq == 0 or one.exit_id(self._account_id, seq) in sent:
            seq = await self._store.advance(one)
        fields = exit_fields(one, quantity)
        try:
            order = await self._placing.place(fields, one.key(seq), one.id)
        except ConflictError as error:
            # Judged before the last look was cut down, for another quantity: the next number.
            _log.info("protection_counts_on", protection=str(one.id), why=str(error))
            await self._store.advance(replace(one, seq=seq))
            return
        self._retry[one.id] = (now_s + pause_s, min(2 * pause_s, _TRIES_S_MAX))
        _log.warning(
            "protection_placed",
            protection=str(one.id),
            symbol=one.symbol,
            quantity=plain(quantity),
            order=str(order.id),
            status=order.status,
            why=order.reject_reason,
        )
        self._soon.set()

    async def _cancel(self, order: Order, reason: str) -> None:
        known = self._desk.get(order.id) or order
        if known.status not in _CANCELLABLE or known.status is OrderStatus.PENDING_CANCEL:
            return
        try:
            await self._cancels.cancel(order.id, reason)
        except ConflictError as error:
            _log.info("cancel_not_needed", order=str(order.id), error=str(error))

    async def _tell_naked(self, one: Protection, coverage: Coverage) -> None:
        await self._lifecycle.differs(
            Discrepancy(
                one.symbol,
                NAKED,
                plain(coverage.active),
                plain(coverage.needed),
                f"{plain(coverage.missing)} {one.symbol} have no exit at the broker "
                f"(protection {one.id}, stop {plain(one.stop_price)}).",
            )
        )

    async def _tell_repaired(self) -> None:
        """Close what was told as naked, once every protection of the symbol is whole again."""
        lacking = {
            one.symbol
            for one in await self._store.open()
            if (coverage := self.coverage.get(one.id)) is None or coverage.missing
        }
        for one in await self._resolutions.open():
            if one.found.kind == NAKED and one.found.symbol not in lacking:
                await self._resolutions.resolve(one, "every protected share has its exit")

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9
