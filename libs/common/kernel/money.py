"""Exact decimals for prices, quantities and money.

Money has 4 decimal places, prices and quantities 8 (as stored: NUMERIC(20,4) and
NUMERIC(20,8)). Rounding happens once, at the edge, and is named.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

from libs.common.kernel.errors import InvalidInputError

MONEY_QUANTUM: Final = Decimal("0.0001")
PRICE_QUANTUM: Final = Decimal("0.00000001")
ZERO: Final = Decimal(0)
# NUMERIC(20,8) leaves 12 digits before the point, NUMERIC(20,4) leaves 16.
QUANTITY_LIMIT: Final = Decimal(10) ** 12
MONEY_LIMIT: Final = Decimal(10) ** 16


def decimal(value: str | int | Decimal, what: str = "value") -> Decimal:
    """Return `value` as a finite Decimal.

    Floats are refused by type: use `from_float` where a float is known to be a shortest
    round-trip figure. Raises InvalidInputError naming `what`.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidInputError(f"{what}: expected a decimal string, got {type(value).__name__}")
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        # Decimal() takes 1_000 and other scripts' digits; what was meant is not for us to guess.
        raise InvalidInputError(f"{what}: {value!r} is not a decimal number")
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise InvalidInputError(f"{what}: {value!r} is not a decimal number") from error
    if not number.is_finite():
        raise InvalidInputError(f"{what}: {value!r} is not finite")
    return number


def from_float(value: float, what: str = "value") -> Decimal:
    """Return the Decimal that `value` prints as (shortest round trip): 150.1 -> Decimal('150.1').

    Market data travels as floats; this is the only door from there to money.
    """
    number = Decimal(repr(float(value)))
    if not number.is_finite():
        raise InvalidInputError(f"{what}: {value!r} is not finite")
    return number


def money(value: Decimal) -> Decimal:
    """Round to money's 4 places, half to even: 1.00005 -> 1.0000, 1.00015 -> 1.0002."""
    return value.quantize(MONEY_QUANTUM, rounding=ROUND_HALF_EVEN)


def notional(quantity: Decimal, price: Decimal) -> Decimal:
    """Return quantity x price as money; sign follows `quantity`. 3 x 10.12345 -> 30.3704."""
    return money(quantity * price)


def round_to_step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """Return the multiple of `step` next to `value`; `rounding` is one of decimal's ROUND_* names.

    101.237 with step 0.01 and ROUND_FLOOR -> 101.23. Raises InvalidInputError if step <= 0.
    """
    if step <= 0:
        raise InvalidInputError(f"step must be positive, got {step}")
    return (value / step).quantize(Decimal(1), rounding=rounding) * step


def floor_to_step(value: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` not above `value`."""
    return round_to_step(value, step, ROUND_FLOOR)


def ceil_to_step(value: Decimal, step: Decimal) -> Decimal:
    """Return the smallest multiple of `step` not below `value`."""
    return round_to_step(value, step, ROUND_CEILING)


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Tell whether `value` lies on the grid of `step`."""
    return value % step == 0


def plain(value: Decimal) -> str:
    """Return the shortest plain notation: Decimal('1.5000') -> '1.5', Decimal('1E+2') -> '100'."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
