"""Positions: quantity, average cost and realised profit of one account in one instrument.

Average cost, as the broker reports it: adding moves the average, reducing keeps it and realises
(price - average) x quantity closed, crossing zero closes the whole and opens the rest at the
trade's price. Long is positive, short negative; the profit is before fees, which have their own
ledger account.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, NamedTuple

from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import MONEY_QUANTUM, PRICE_QUANTUM, ZERO

# Products of two stored figures have up to 40 digits; a quotient kept to 60 cannot round onto a
# tie of the 8th place that is not one, since a divisor has at most 20.
_EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Position:
    """`quantity` signed shares (8 places), `avg_cost` >= 0 per share (8 places, 0 when flat),
    `realized_pnl` money (4 places)."""

    quantity: Decimal = ZERO
    avg_cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO


class Filled(NamedTuple):
    """The position after a fill and the profit that this fill alone realised."""

    position: Position
    realized_pnl: Decimal


def apply_fill(position: Position, side: Side, quantity: Decimal, price: Decimal) -> Filled:
    """Return the position after buying or selling `quantity` at `price`.

    Worked: long 100 at 10, sell 150 at 12 -> short 50 at 12, realised 100 x (12 - 10) = 200.
    Roundings: average to 8 places and profit to 4, both half to even, once each.
    """
    held, signed = position.quantity, quantity * side.sign
    after = held + signed
    if held == 0 or (held > 0) == (signed > 0):
        return Filled(_added(position, quantity, price, after), ZERO)
    closed = min(quantity, abs(held))
    gain_per_share = price - position.avg_cost if held > 0 else position.avg_cost - price
    realized = _EXACT.multiply(closed, gain_per_share).quantize(MONEY_QUANTUM, context=_EXACT)
    flipped = after != 0 and (after > 0) != (held > 0)
    avg_cost = price if flipped else ZERO if after == 0 else position.avg_cost
    return Filled(Position(after, avg_cost, position.realized_pnl + realized), realized)


def _added(position: Position, quantity: Decimal, price: Decimal, after: Decimal) -> Position:
    cost = _EXACT.add(
        _EXACT.multiply(abs(position.quantity), position.avg_cost),
        _EXACT.multiply(quantity, price),
    )
    average = _EXACT.divide(cost, abs(after)).quantize(PRICE_QUANTUM, context=_EXACT)
    return Position(after, average, position.realized_pnl)


def apply_split(position: Position, change: Decimal) -> Position:
    """Return the position after a split gave (or took, below zero) `change` shares.

    What it cost stays. Worked: 100 at 50, change +100 -> 200 at 25; 100 at 50, change -90 ->
    10 at 500. The average is rounded to 8 places, half to even.
    """
    after = position.quantity + change
    cost = _EXACT.multiply(abs(position.quantity), position.avg_cost)
    average = ZERO
    if after != 0:
        average = _EXACT.divide(cost, abs(after)).quantize(PRICE_QUANTUM, context=_EXACT)
    return Position(after, average, position.realized_pnl)


def apply_cash_in_lieu(position: Position, change: Decimal, amount: Decimal) -> Filled:
    """Return the position after a fraction was paid out: `change` shares for `amount` of money,
    positive ours, so that a long position has change < 0 < amount.

    Worked: 10.5 at 20, change -0.5 for 11.00 -> 10 at 20, realised 11 - 0.5 x 20 = 1.00. What
    lowers no position is money for nothing: all of it is profit.
    """
    held, after = position.quantity, position.quantity + change
    if held == 0 or (held > 0) == (change > 0):
        moved = apply_split(position, change)
        realized = amount.quantize(MONEY_QUANTUM, context=_EXACT)
        return Filled(_earned(moved, realized), realized)
    sold = _EXACT.multiply(min(abs(change), abs(held)), position.avg_cost)
    gain = _EXACT.subtract(amount, sold) if held > 0 else _EXACT.add(amount, sold)
    realized = gain.quantize(MONEY_QUANTUM, context=_EXACT)
    average = ZERO if after == 0 else position.avg_cost
    return Filled(_earned(Position(after, average, position.realized_pnl), realized), realized)


def apply_transfer(position: Position, change: Decimal, cost: Decimal) -> Position:
    """Return the position after shares were moved in or out without a trade.

    What adds comes at `cost` a share, what reduces leaves at the average: no profit either way.
    """
    adds = position.quantity == 0 or (position.quantity > 0) == (change > 0)
    price = cost if adds else position.avg_cost
    side = Side.BUY if change > 0 else Side.SELL
    return apply_fill(position, side, abs(change), price).position


def _earned(position: Position, realized: Decimal) -> Position:
    return Position(position.quantity, position.avg_cost, position.realized_pnl + realized)


def unrealized_pnl(position: Position, mark: Decimal) -> Decimal:
    """Return what closing at `mark` would realise: short 50 at 12, mark 11 -> 50.0000."""
    gain = _EXACT.multiply(position.quantity, mark - position.avg_cost)
    return gain.quantize(MONEY_QUANTUM, context=_EXACT)
