"""What a protection's stop and quantity mean now: amended by people, changed by splits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Final
from uuid import UUID

from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import Symbol
from libs.common.kernel.money import PRICE_QUANTUM, ZERO, plain, round_to_step
from libs.common.runtime.logging import get_logger
from services.trade_executor.exits import is_stop
from services.trade_executor.model import BrokerPosition, Order
from services.trade_executor.ports import Books
from services.trade_executor.protection_book import ProtectionBook
from services.trade_executor.protection_exits import left_of, traded
from services.trade_executor.protection_store import Protection, SplitSince, of_present_terms

_log = get_logger(__name__)

# How far a venue may round a price; a split moves it by more.
_ALIKE: Final = Decimal("0.01")


class ProtectionTerms:
    """Keeps the terms of protections true."""

    def __init__(
        self,
        *,
        store: ProtectionBook,
        books: Books,
        positions_there: Callable[[], Awaitable[Sequence[BrokerPosition]]],
        book_activities: Callable[[], Awaitable[object]],
        quantity_step: Callable[[str], Awaitable[Decimal | None]],
        clock: Clock,
        patience_s: float,
    ) -> None:
        self._store = store
        self._books = books
        self._positions_there = positions_there
        self._book_activities = book_activities
        self._quantity_step = quantity_step
        self._clock = clock
        self._patience_s = patience_s
        self._split_seen: dict[UUID, float] = {}

    def forget(self, one: Protection) -> None:
        """It has ended."""
        self._split_seen.pop(one.id, None)

    async def follow(
        self, one: Protection, entry: Order | None, exits: Sequence[Order]
    ) -> Protection:
        """Return the protection with the terms that it has by now."""
        one = await self._follow_amendments(one, entry, exits)
        return await self._follow_split(one, entry, exits)

    async def _follow_amendments(
        self, one: Protection, entry: Order | None, exits: Sequence[Order]
    ) -> Protection:
        """Take over the price of a resting exit that was amended since the terms are what they
        are, or restated after a split, once that is booked. One that has the terms of before a
        split may not have heard of its end yet."""
        for order in exits:
            stop = order.spec.stop_price
            if not stop or stop == one.stop_price or not is_stop(order) or order.status.is_terminal:
                continue
            restated = await self._store.restated_since(one, order)
            amended = order.replaces_id is not None and order in of_present_terms(one, exits)
            if "quantity" in restated:
                split = await self.split(one)
                if split is not None:
                    return await self._mean(one, entry, exits, split, stop)
            elif amended or "stop_price" in restated:
                return await self._store.reprice(
                    one,
                    stop,
                    one.quantity,
                    one.take_profit_price,
                    terms_at=order.created_at if amended else one.terms_at,
                )
        return one

    async def _follow_split(
        self, one: Protection, entry: Order | None, exits: Sequence[Order]
    ) -> Protection:
        """Take over a split that neither ended nor restated what rests, after a while in which
        either could be told: an exit was sent between the split and its booking."""
        since, now_s = await self.booked_split(one), self._clock.monotonic_ns() / 1e9
        if since is None:
            self._split_seen.pop(one.id, None)
            return one
        if now_s - self._split_seen.setdefault(one.id, now_s) < self._patience_s:
            return one
        return await self.after_split(one, entry, exits, since)

    async def outdated(self, one: Protection, exits: Sequence[Order]) -> list[Order]:
        """Return the exits at work whose price is of before a split."""
        fresh, found = of_present_terms(one, exits), []
        for order in exits:
            stop = order.spec.stop_price
            if order in fresh or order.status.is_terminal or not stop or not is_stop(order):
                continue
            if abs(stop - one.stop_price) <= one.stop_price * _ALIKE:
                continue
            if "stop_price" not in await self._store.restated_since(one, order):
                found.append(order)
        return found

    async def split(self, one: Protection) -> SplitSince | None:
        """Return the split since the prices were set; asks the venue where none is booked."""
        found = await self.booked_split(one)
        if found is None:
            await self._book_activities()
            found = await self.booked_split(one)
        return found

    async def booked_split(self, one: Protection) -> SplitSince | None:
        """Return the split since the prices were set, None where none is booked, or where our
        position is not the venue's: what it was before the split is then not known either."""
        found = await self._store.split_since(one)
        if found is None:
            return None
        theirs = {held.symbol: held.quantity for held in await self._positions_there()}
        ours = await self._books.positions()
        symbol = Symbol(one.symbol)
        if ours.get(symbol, ZERO) != theirs.get(symbol, ZERO):
            _log.info("protection_split_waits", protection=str(one.id), symbol=one.symbol)
            return None
        return found

    async def after_split(
        self, one: Protection, entry: Order | None, exits: Sequence[Order], since: SplitSince
    ) -> Protection:
        """Take over a split: what was meant before it means something else now."""
        stop = since.split.stop(one.stop_price, one.side)
        now = await self._mean(one, entry, exits, since, stop)
        _log.warning(
            "protection_split",
            protection=str(one.id),
            symbol=one.symbol,
            stop=plain(now.stop_price),
            was=plain(one.stop_price),
        )
        return now

    async def _mean(
        self,
        one: Protection,
        entry: Order | None,
        exits: Sequence[Order],
        since: SplitSince,
        stop: Decimal,
    ) -> Protection:
        """Mean the same by other prices and shares. A split multiplies what is left to guard: 10
        bought, 4 sold, 2 for 1 -> 12 left; rounded up where the venue takes whole steps. Terms and
        their times are one write: it is done once."""
        left, profit = left_of(one, entry, exits), one.take_profit_price
        split, step = since.split, await self._quantity_step(one.symbol) or PRICE_QUANTUM
        shares = split.shares(left or ZERO)
        return await self._store.reprice(
            one,
            stop,
            None if left is None else round_to_step(shares, step, ROUND_CEILING) + traded(exits),
            None if profit is None else split.take_profit(profit, one.side),
            priced_at=since.effective_at,
        )
