"""The account's arithmetic: what an execution does to it, what it is worth, what it may spend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import money
from services.broker_simulator.engine.model import ZERO, Account, Order, Position

CENT = Decimal("0.01")
Mark = Callable[[str], Decimal]


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """What the broker and the regulators take from an execution; all zero unless set.

    `sec_rate` is a share of the money of sales (Section 31 fee), `taf_per_share` FINRA's trading
    activity fee on shares sold, at most `taf_max` an execution. Each is rounded up to a cent.
    """

    commission_per_share: Decimal = ZERO
    commission_bps: Decimal = ZERO
    sec_rate: Decimal = ZERO
    taf_per_share: Decimal = ZERO
    taf_max: Decimal = ZERO

    def fee(self, side: Side, quantity: Decimal, value: Decimal) -> Decimal:
        """Return the fee in money: 100 sold for 20000.00 at 0.0000278 and 0.000166 → 0.58."""
        commission = quantity * self.commission_per_share + value * self.commission_bps / 10_000
        total = _cents(commission)
        if side is Side.SELL:
            total += _cents(value * self.sec_rate)
            total += _cents(min(quantity * self.taf_per_share, self.taf_max))
        return total


def _cents(value: Decimal) -> Decimal:
    return value.quantize(CENT, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True)
class Valuation:
    """An account at market: all money, `buying_power` after the holds of open orders."""

    equity: Decimal
    long_value: Decimal
    short_value: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    buying_power: Decimal
    cash_available: Decimal


def apply_execution(
    account: Account, symbol: str, side: Side, quantity: Decimal, value: Decimal, fee: Decimal
) -> Position:
    """Book one fill: cash, position, cost and realised profit; returns the position after it.

    Selling 60 of 100 shares that cost 1000.00 for 700.00 realises 700 - 600 = 100. A fill larger
    than the position closes it and opens the rest on the other side at the fill's price.
    """
    account.cash += -side.sign * value - fee
    account.fees_paid += fee
    position = account.positions.get(symbol) or Position(symbol=symbol, qty=ZERO, cost=ZERO)
    change = quantity * side.sign
    closing = min(quantity, abs(position.qty)) if position.qty * side.sign < 0 else ZERO
    if closing:
        cost_out = money(position.cost * closing / abs(position.qty))
        value_closing = money(value * closing / quantity)
        # A long's cost is positive and its sale brings value; a short's cost is negative (the
        # proceeds) and its cover costs value: one formula serves both.
        account.realized_pnl += -side.sign * value_closing - cost_out
        position.cost -= cost_out
        position.cost += side.sign * (value - value_closing)
    else:
        position.cost += side.sign * value
    position.qty += change
    if position.qty:
        account.positions[symbol] = position
    else:
        account.positions.pop(symbol, None)
    return position


def valuate(account: Account, open_orders: Iterable[Order], mark: Mark) -> Valuation:
    """Return the account at the prices of `mark`.

    Reg T in its plain form: positions need 1/multiplier of their value as margin (all of it in a
    cash account), and what is left over, times the multiplier, can be spent.
    """
    long_value = short_value = ZERO
    for position in account.positions.values():
        value = money(position.qty * mark(position.symbol))
        if value >= 0:
            long_value += value
        else:
            short_value += value
    equity = account.cash + long_value + short_value
    gross = long_value - short_value
    holds = money(sum((order.hold for order in open_orders), ZERO))
    initial = money(gross / account.multiplier)
    buying_power = max(equity * account.multiplier - gross, ZERO) - holds
    return Valuation(
        equity=equity,
        long_value=long_value,
        short_value=short_value,
        initial_margin=initial,
        maintenance_margin=money(long_value * Decimal("0.25") - short_value * Decimal("0.30")),
        buying_power=max(buying_power, ZERO),
        cash_available=account.cash - holds,
    )


def reserved_shares(open_orders: Iterable[Order], side: Side) -> Decimal:
    """Return the shares that closing orders of `side` reserve; exits of one group count once."""
    groups: dict[str, Decimal] = {}
    for order in open_orders:
        if order.side is side and not order.opening and order.reserves:
            groups[order.group] = max(groups.get(order.group, ZERO), order.shares_reserved)
    return sum(groups.values(), ZERO)
