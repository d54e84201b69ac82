"""One symbol's market as the engine sees it: the latest quote, what is left of it, our orders."""

from __future__ import annotations

from decimal import Decimal

from libs.common.domain.matching import Level, Match, depth
from libs.common.domain.vocabulary import Side
from services.broker_simulator.engine.model import ZERO, Order

# Tape prices are whole ten-thousandths of a dollar: exact, and quick to compare.
PRICE_SCALE = 10_000
_EXPONENT = -4
CENT = Decimal("0.01")
SUB_CENT = Decimal("0.0001")


def price_of(ticks: int) -> Decimal:
    """Return the decimal of a tape price: 1501000 → 150.10."""
    cents, rest = divmod(ticks, 100)
    if rest == 0:
        return Decimal(cents).scaleb(-2)
    return Decimal(ticks).scaleb(_EXPONENT)


def ticks_of(price: Decimal) -> int:
    """Return a price as whole ten-thousandths; raises ValueError when it has finer decimals."""
    scaled = price * PRICE_SCALE
    ticks = int(scaled)
    if ticks != scaled:
        raise ValueError(f"price {price} has more than four decimals")
    return ticks


class SymbolBook:
    """Quote, displayed size left, last print, halt flag and the open orders of one symbol."""

    def __init__(self, symbol: str, levels: int) -> None:
        self.symbol = symbol
        self.orders: dict[str, Order] = {}
        self.bid = 0
        self.ask = 0
        self.bid_size = 0
        self.ask_size = 0
        self.last = 0
        self.previous_close = 0
        self.quoted_at = 0
        self.halted = False
        self.opened_on: int = 0
        self._levels = levels
        self._taken: dict[Side, Decimal] = {Side.BUY: ZERO, Side.SELL: ZERO}

    def set_quote(self, ns: int, bid: int, ask: int, bid_size: int, ask_size: int) -> None:
        """Take a new quote: what was taken from the old one is displayed again."""
        self.quoted_at = ns
        self.bid, self.ask, self.bid_size, self.ask_size = bid, ask, bid_size, ask_size
        self._taken[Side.BUY] = self._taken[Side.SELL] = ZERO

    @property
    def has_quote(self) -> bool:
        """Tell whether both sides are quoted."""
        return self.bid > 0 and self.ask > 0

    @property
    def mark(self) -> Decimal:
        """Return the price at which positions are valued: last print, else the quote's middle."""
        if self.last:
            return price_of(self.last)
        if self.has_quote:
            return (price_of(self.bid) + price_of(self.ask)) / 2
        return price_of(self.previous_close)

    def best(self, side: Side) -> Level:
        """Return the best price that an order of `side` meets, with its displayed size."""
        if side is Side.BUY:
            return Level(price_of(self.ask), Decimal(self.ask_size))
        return Level(price_of(self.bid), Decimal(self.bid_size))

    def ladder(self, side: Side) -> list[Level]:
        """Return what is still displayed to an order of `side`, best first."""
        if not self.has_quote:
            return []
        best = self.best(side)
        tick = CENT if best.price >= 1 else SUB_CENT
        taken = self._taken[side]
        left: list[Level] = []
        for level in depth(best, side, tick, self._levels):
            size = max(level.size - taken, ZERO)
            taken = max(taken - level.size, ZERO)
            if size > 0:
                left.append(Level(level.price, size))
        return left

    def take(self, side: Side, matches: list[Match]) -> None:
        """Remember that `matches` used up displayed size until the next quote."""
        self._taken[side] += sum((match.quantity for match in matches), ZERO)

    def by_priority(self) -> list[Order]:
        """Return the open orders, best price first, then the oldest."""
        return sorted(self.orders.values(), key=_priority)


def _priority(order: Order) -> tuple[Decimal, int]:
    if order.limit_price is None or order.type != "limit":
        return (Decimal("-Infinity"), order.seq)
    return (-order.limit_price * order.side.sign, order.seq)
