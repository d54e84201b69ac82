"""Instruments: what can be traded, on which price grid and in which steps of quantity.

The grid is the venue's rule, not ours: SEC Rule 612 (17 CFR 242.612) allows no increment finer
than 0.01 USD at or above 1.00 USD and no finer than 0.0001 USD below it; Alpaca refuses what lies
off it (code 42210000). Quantities step by one lot, or, where the broker sells fractions, by the
finest step our tables hold (eight places; Alpaca takes nine).
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from enum import StrEnum

UNKNOWN_SECTOR = "unknown"
EQUITY_TICK = Decimal("0.01")
EQUITY_TICK_BELOW_ONE = Decimal("0.0001")
FRACTION_STEP = Decimal("0.00000001")
_ONE = Decimal(1)


class AssetClass(StrEnum):
    """Asset classes, in Alpaca's words."""

    US_EQUITY = "us_equity"
    CRYPTO = "crypto"
    US_OPTION = "us_option"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable thing as the broker describes it.

    `tick_size` is the price step at or above 1.00; for equities `tick_at` gives the finer step
    below it. `lot_size` is the smallest whole step of quantity; a `fractionable` instrument may
    be traded in steps of `FRACTION_STEP` as well.
    """

    symbol: str
    exchange: str = ""
    asset_class: AssetClass = AssetClass.US_EQUITY
    currency: str = "USD"
    sector: str = UNKNOWN_SECTOR
    tick_size: Decimal = EQUITY_TICK
    lot_size: Decimal = _ONE
    tradable: bool = True
    shortable: bool = False
    fractionable: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse an instrument without a symbol or with a step that cannot step."""
        if not self.symbol or self.symbol != self.symbol.strip().upper():
            raise ValueError(f"symbol {self.symbol!r}: must be non-empty, upper case, unpadded")
        for what, step in (("tick_size", self.tick_size), ("lot_size", self.lot_size)):
            if not step.is_finite() or step <= 0:
                raise ValueError(f"{self.symbol}: {what} {step} must be positive and finite")

    @property
    def quantity_step(self) -> Decimal:
        """The finest step of quantity that the venue takes."""
        return FRACTION_STEP if self.fractionable else self.lot_size

    def tick_at(self, price: Decimal) -> Decimal:
        """The price step that holds at `price`: 0.01 at 1.00 and above, 0.0001 below (equities)."""
        if self.asset_class is AssetClass.US_EQUITY and price < _ONE:
            return min(self.tick_size, EQUITY_TICK_BELOW_ONE)
        return self.tick_size

    def is_on_tick(self, price: Decimal) -> bool:
        """True where `price` is positive, finite and a whole number of ticks."""
        return price.is_finite() and price > 0 and price % self.tick_at(price) == 0

    def round_price(self, price: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
        """`price` on the grid: 10.004 → 10.00 (half even), 10.001 with ROUND_UP → 10.01."""
        tick = self.tick_at(price)
        return (price / tick).to_integral_value(rounding=rounding) * tick

    def is_on_lot(self, quantity: Decimal) -> bool:
        """True where `quantity` is positive, finite and a whole number of steps."""
        return quantity.is_finite() and quantity > 0 and quantity % self.quantity_step == 0

    def round_quantity(self, quantity: Decimal, rounding: str = ROUND_DOWN) -> Decimal:
        """`quantity` in whole steps, toward zero unless told: 12.7 → 12 (not fractionable)."""
        step = self.quantity_step
        return (quantity / step).to_integral_value(rounding=rounding) * step
