"""What the judge remembers beside the book: order rates, repetitions, losses, last bars."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict, deque
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from libs.common.domain.checks import OrderFacts
from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import ZERO

OrderKey = tuple[str | None, str, Side, Decimal, Decimal | None, Decimal | None]


@dataclass
class Rates:
    """When orders were approved, by strategy and (under None) for the account; wall seconds."""

    _times: defaultdict[str | None, deque[float]] = field(
        default_factory=lambda: defaultdict(deque)
    )

    def add(self, strategy_id: str | None, now: float) -> None:
        """Note one approval."""
        self._times[None].append(now)
        if strategy_id is not None:
            self._times[strategy_id].append(now)

    def drop_last(self, strategy_id: str | None) -> None:
        """Take the last approval back."""
        for key in {None, strategy_id}:
            if self._times[key]:
                self._times[key].pop()

    def count(self, strategy_id: str | None, now: float, window_s: float) -> int:
        """How many approvals lie within the last `window_s`; None counts the account's."""
        times = self._times.get(strategy_id)
        if times is None:
            return 0
        while times and times[0] <= now - window_s:
            times.popleft()
        return len(times)


@dataclass
class Repeats:
    """The last approval of each order as it was worded, until the other side was approved."""

    _last: dict[OrderKey, tuple[float, UUID]] = field(default_factory=dict)

    def add(self, order: OrderFacts, order_id: UUID, now: float, window_s: float) -> None:
        """Note one approval."""
        if window_s <= 0:
            return
        gone = [
            key
            for key, (at, _) in self._last.items()
            if at <= now - window_s or (key[1] == order.symbol and key[2] is not order.side)
        ]
        for key in gone:
            del self._last[key]
        self._last[_key(order)] = now, order_id

    def drop(self, order_id: UUID) -> None:
        """Take an approval back."""
        for key in [key for key, (_, known) in self._last.items() if known == order_id]:
            del self._last[key]

    def find(self, order: OrderFacts, now: float, window_s: float) -> str | None:
        """The id of the same order approved less than `window_s` ago."""
        at, order_id = self._last.get(_key(order), (-1e18, None))
        return str(order_id) if at > now - window_s else None


def _key(order: OrderFacts) -> OrderKey:
    return (
        order.strategy_id,
        order.symbol,
        order.side,
        order.quantity,
        order.limit_price,
        order.stop_price,
    )


@dataclass
class Losses:
    """Equity at the session's start and at its highest; None until the first valuation."""

    day: dt.date | None = None
    day_open: Decimal | None = None
    peak: Decimal | None = None

    def see(self, day: dt.date, equity: Decimal) -> None:
        """Take equity's value on `day` (the exchange's date); a new day starts from it."""
        if self.day is None or day > self.day or self.day_open is None:
            self.day, self.day_open = day, equity
        self.peak = equity if self.peak is None else max(self.peak, equity)

    def loss_today(self, equity: Decimal) -> Decimal | None:
        """What was lost since the session's start; negative for a gain."""
        return None if self.day_open is None else self.day_open - equity

    def drawdown(self, equity: Decimal) -> Decimal | None:
        """The fall from the highest equity as a share of it: 100 → 80 is 0.2."""
        if self.peak is None or self.peak <= 0:
            return None
        return max(ZERO, 1 - equity / self.peak)

    def moved(self, amount: Decimal) -> None:
        """Cash was paid in or out: neither gain nor loss."""
        if self.day_open is not None:
            self.day_open += amount
        if self.peak is not None:
            self.peak += amount
