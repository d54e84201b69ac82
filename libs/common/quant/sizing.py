"""How many shares a target means: float formulas, one definition for risk and simulation.

Plain functions of floats that Numba can compile where a kernel needs them. `target` in [-1, 1]
is the wished share of the capital, its sign is the side. The result is a signed, unrounded
number of shares; rounding to lot and tick, toward less risk, is the caller's, who also turns
it into a Decimal. NaN means that the size is undefined (price or volatility not positive).
"""

from __future__ import annotations

import math
from typing import Final

# One share, counted in units of 1e-8.
_SHARE: Final = 100_000_000


def fixed_notional(target: float, notional: float, price: float) -> float:
    """Return the shares that cost `target` x `notional`.

    `notional` and `price` in the same currency. 1.0 x 10 000 at 250 -> 40 shares.
    """
    if not price > 0.0:
        return math.nan
    return target * notional / price


def percent_of_equity(target: float, fraction: float, equity: float, price: float) -> float:
    """Return the shares worth `target` x `fraction` of `equity` (fixed fractional sizing).

    `fraction` as a plain number: 0.05 is 5 %. Source: R. Vince, The Mathematics of Money
    Management (1992), ch. 1. 1.0 x 0.05 of 1 000 000 at 250 -> 200 shares.
    """
    if not price > 0.0:
        return math.nan
    return target * fraction * equity / price


def volatility_target(
    target: float,
    volatility_wanted: float,
    volatility: float,
    equity: float,
    price: float,
    leverage_max: float,
) -> float:
    """Return the shares whose return volatility, on `equity`, is `target` x the wanted one.

    Both volatilities are annualised standard deviations of returns (0.2 is 20 % a year).
    The weight is volatility_wanted / volatility, at most `leverage_max`. Source: T. Moskowitz,
    Y. H. Ooi, L. H. Pedersen, Time Series Momentum, Journal of Financial Economics 104 (2012),
    eq. 5 (their 40 % is `volatility_wanted`). 10 % wanted, 20 % measured, 1 000 000 at 250
    -> weight 0.5 -> 2 000 shares.
    """
    if not price > 0.0 or not volatility > 0.0:
        return math.nan
    weight = min(volatility_wanted / volatility, leverage_max)
    return target * weight * equity / price


def whole_lots(shares: float, lot: float) -> float:
    """Return `shares` in whole lots, cut toward zero after reading them to eight places.

    `lot` is a multiple of 1e-8, |shares| below 9e10. 99.99999999999999 in lots of 1 -> 100.0,
    -10.7 -> -10.0, 0.37 in lots of 0.1 -> 0.3.
    """
    unit = round(lot * 1e8)
    units = round(abs(shares) * 1e8)
    # Compiled, a division by a constant is a multiplication: a tenth of the time.
    lots = units // _SHARE if unit == _SHARE else units // unit
    return math.copysign(lots * unit / 1e8, shares)
