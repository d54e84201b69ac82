"""The figures that limits are held against: one definition for the judgement and the simulation.

Plain arithmetic of one amount type: the risk manager calls these with Decimals, the simulation
compiles them for floats. `zero` is the type's nought. Amounts are in the account's currency,
quantities in units of the instrument, shares are fractions of equity (0.10 is ten percent).
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

Amount = TypeVar("Amount", float, Decimal)


def worst_position(position: Amount, buys: Amount, sells: Amount) -> Amount:
    """Return the largest absolute position that pending `buys` and `sells` can lead to.

    Position 100, buys 20, sells 250 -> 150.
    """
    return max(abs(position + buys), abs(position - sells))


def opening_quantity(
    position: Amount, buys: Amount, sells: Amount, buying: bool, quantity: Amount, zero: Amount
) -> Amount:
    """Return how much of an order would open or add, after what pending orders close already.

    Position 100, sells 30 pending: a sell of 90 closes 70 and opens 20.
    """
    closable = -position - buys if buying else position - sells
    return max(zero, quantity - max(zero, closable))


def reserve_price(
    buying: bool, near: Amount, stop: Amount, limit: Amount, factor: Amount
) -> Amount:
    """Return the price at which an order without a cap is set aside, never below what it may cost.

    `near` is the ask of a buy or the bid of a sell, `stop` and `limit` 0 where not given, `factor`
    1 + the buffer that a buy may pay beyond: ask 100, 1 % -> 101.
    """
    basis = max(near, stop, limit)
    return basis * factor if buying else basis


def buying_power(multiple: Amount, equity: Amount, positions: Amount, held: Amount) -> Amount:
    """Return what is neither invested nor set aside: multiple x equity - positions - held."""
    return multiple * equity - positions - held


def share_of_equity(share: Amount, equity: Amount, zero: Amount) -> Amount:
    """Return the amount that a share of equity allows; nothing where equity is negative."""
    return share * max(equity, zero)


def net_after(high: Amount, low: Amount, buying: bool, value: Amount) -> Amount:
    """Return the largest net value, long or short, once an order of `value` is pending too.

    `high` and `low` are the highest and lowest net value that pending orders can lead to.
    """
    if buying:
        return max(abs(high + value), abs(low))
    return max(abs(high), abs(low - value))


def beyond_market(buying: bool, limit: Amount, reference: Amount, one: Amount) -> Amount:
    """Return how far a limit lies beyond `reference`, as a share of it; negative: it is passive.

    A buy at 106 against an ask of 100 -> 0.06.
    """
    return limit / reference - one if buying else one - limit / reference


def loss_allowed(share: Amount, equity: Amount, loss: Amount, zero: Amount) -> Amount:
    """Return the loss that a share of the opening equity (equity + loss since) allows."""
    return share * max(equity + loss, zero)
