"""From a wished target to an order: the float formulas of `quant.sizing`, rounded to decimals.

Here, and nowhere else, a float becomes an amount. The formula's result is read to eight places
(so that 99.99999999999999 is 100) and then cut to whole lots toward zero, toward less risk.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from libs.common.domain.instruments import Instrument
from libs.common.domain.vocabulary import Side
from libs.common.kernel.errors import Refusal
from libs.common.kernel.money import PRICE_QUANTUM, QUANTITY_LIMIT, ZERO, from_float, round_to_step
from libs.common.quant import sizing


class SizingMethod(StrEnum):
    """How a strategy's target becomes a quantity."""

    PERCENT_OF_EQUITY = "percent_of_equity"
    FIXED_NOTIONAL = "fixed_notional"
    FIXED_QUANTITY = "fixed_quantity"
    VOLATILITY_TARGET = "volatility_target"


@dataclass(frozen=True, slots=True)
class SizingRule:
    """A method and its figure for target 1: a share of equity, money, a quantity, or the wished
    annual volatility. `weight_max` caps the share of equity that a volatility target may take."""

    method: SizingMethod
    figure: Decimal
    weight_max: Decimal = Decimal("0.10")


@dataclass(frozen=True, slots=True)
class Sized:
    """What to trade: side and quantity in whole lots (zero: nothing is left to do).

    `wished` is the position aimed at. `note` tells where less is traded than was wished.
    """

    side: Side
    quantity: Decimal
    wished: Decimal
    note: str = ""


FLIP = "closes first; the other side needs its own signal"


def wished_position(
    rule: SizingRule,
    target: float,
    *,
    price: Decimal,
    equity: Decimal,
    volatility: float | None,
    instrument: Instrument,
) -> Decimal | Refusal:
    """The signed position in whole lots that `target` in [-1, 1] asks for.

    5 % of 1 000 000 at 151.30, target 1 → 330.469… → 330. Refusals: TARGET_INVALID,
    EQUITY_NOT_POSITIVE, VOLATILITY_UNKNOWN, SIZE_UNDEFINED. Whole lots even where the broker
    sells fractions: those cannot be shorted or protected by a bracket.
    """
    if not -1.0 <= target <= 1.0:
        return Refusal("TARGET_INVALID", {"value": repr(target), "limit": "-1 to 1"})
    if target == 0.0:
        return ZERO
    if equity <= 0:
        return Refusal("EQUITY_NOT_POSITIVE", {"value": str(equity)})
    if rule.method is SizingMethod.VOLATILITY_TARGET and volatility is None:
        return Refusal("VOLATILITY_UNKNOWN", {"symbol": instrument.symbol})
    shares = _shares(rule, target, float(price), float(equity), volatility or 0.0)
    if not abs(shares) < float(QUANTITY_LIMIT):
        return Refusal("SIZE_UNDEFINED", {"value": repr(shares), "method": rule.method.value})
    exact = from_float(shares, "size").quantize(PRICE_QUANTUM, rounding=ROUND_HALF_EVEN)
    return round_to_step(exact, instrument.lot_size, ROUND_DOWN)


def _shares(
    rule: SizingRule, target: float, price: float, equity: float, volatility: float
) -> float:
    figure = float(rule.figure)
    match rule.method:
        case SizingMethod.PERCENT_OF_EQUITY:
            return sizing.percent_of_equity(target, figure, equity, price)
        case SizingMethod.FIXED_NOTIONAL:
            return sizing.fixed_notional(target, figure, price)
        case SizingMethod.FIXED_QUANTITY:
            return target * figure
        case SizingMethod.VOLATILITY_TARGET:
            return sizing.volatility_target(
                target, figure, volatility, equity, price, float(rule.weight_max)
            )


def order_to_reach(wished: Decimal, present: Decimal, instrument: Instrument) -> Sized:
    """The order that leads from `present` (pending orders included) to `wished`.

    The venue takes no order through zero, so a change of sides closes only: present 100,
    wished -50 → sell 100. What a lot cannot express stays: present 10.4, wished 0, lot 1 →
    sell 10.
    """
    flips = wished * present < 0
    change = -present if flips else wished - present
    side = Side.BUY if change > 0 else Side.SELL
    quantity = instrument.round_quantity(abs(change), ROUND_DOWN)
    return Sized(side, quantity, wished, FLIP if flips else "")


def quantity_of_notional(notional: Decimal, price: Decimal, instrument: Instrument) -> Decimal:
    """The whole lots that `notional` buys at `price`: 1 000 at 151.30 → 6, in fractions 6.60938…"""
    return instrument.round_quantity(notional / price, ROUND_DOWN)
