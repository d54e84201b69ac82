"""What each strategy has made of the account: the money of its executions and what it holds.

P&L = money received less money paid, fees included, plus the holding at its mark. Over all
strategies, and what no strategy ordered, it sums to the account's total P&L.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from libs.common.kernel.money import ZERO, notional
from services.portfolio.logic import Mark


@dataclass(frozen=True, slots=True)
class Share:
    """One strategy in one symbol. `strategy_id` None: ordered by a person, or at the broker.

    `quantity` is signed; `cash` is what its executions brought (negative: cost) after fees.
    """

    strategy_id: str | None
    symbol: str
    quantity: Decimal
    cash: Decimal


@dataclass(frozen=True, slots=True)
class ValuedShare:
    """A share at its mark; mark, value and P&L are None while a held symbol has no price."""

    share: Share
    mark: Decimal | None
    market_value: Decimal | None
    pnl: Decimal | None


def value_share(share: Share, mark: Mark | None) -> ValuedShare:
    """Return the share at `mark`. 10 bought at 50, 4 sold at 53, mark 52 -> P&L 24."""
    price = mark.price if mark is not None else None
    if share.quantity == 0:
        return ValuedShare(share, price, ZERO, share.cash)
    if price is None:
        return ValuedShare(share, None, None, None)
    value = notional(share.quantity, price)
    return ValuedShare(share, price, value, share.cash + value)
