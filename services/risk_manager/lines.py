"""One symbol of the book: its last quote, and what it adds to the sums."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from libs.common.domain.checks import SymbolExposure
from libs.common.kernel.money import ZERO, from_float, money

_HALF = Decimal("0.5")


@dataclass(slots=True)
class RawMark:
    """The last quote as it came: floats and nanoseconds of market time, and its decimals once
    somebody asked."""

    bid: float
    ask: float
    ts_ns: int
    decimals: tuple[Decimal, Decimal, Decimal] | None = None

    def prices(self) -> tuple[Decimal, Decimal, Decimal]:
        """Bid, ask and their middle."""
        if self.decimals is None:
            bid, ask = from_float(self.bid, "bid"), from_float(self.ask, "ask")
            self.decimals = bid, ask, (bid + ask) * _HALF
        return self.decimals


@dataclass(frozen=True, slots=True)
class Line:
    """One symbol of the book and what it adds to the sums, at its last price."""

    exposure: SymbolExposure
    priced: bool = True
    value: Decimal = ZERO
    worst: Decimal = ZERO
    high: Decimal = ZERO
    low: Decimal = ZERO

    def at(self, price: Decimal | None) -> Line:
        """The line valued at `price`; without one it is worth nothing and says so."""
        e = self.exposure
        still = not (e.buys or e.sells)
        flat = still and not e.position
        if price is None or flat:
            return Line(e, priced=flat)
        if still:
            value = money(e.position * price)
            return Line(e, True, value, abs(value), value, value)
        return Line(
            e,
            True,
            money(e.position * price),
            money(e.worst * price),
            money((e.position + e.buys) * price),
            money((e.position - e.sells) * price),
        )


NOTHING: Final = Line(SymbolExposure())
