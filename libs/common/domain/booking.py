"""What an order and its executions write into the ledger.

Decisions:

- A **buy** holds cash: quantity x the worst price that can be known beforehand. A **sell** holds
  its shares, all of them: where the position account may go short the hold takes it below zero,
  which is what a short sale is; where it is flagged `no_overdraft` the hold, and with it the
  order, is refused. Margin for shorts is not a transfer: nothing moved. The risk manager's buying
  power check is what limits it.
- **Exit legs** (of a bracket, OCO, OTO) hold nothing: at the venue the group reserves its shares
  once, and only one of the exits can trade.
- A **fill** posts from the hold, goes direct for what the hold does not cover, and holds again
  what is left of it. No fill ever raises what is held, so it cannot overdraw by holding.
- The **end** of an order voids what is still held.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Final
from uuid import UUID

from libs.common.domain.ledger import (
    CURRENCY,
    AccountKey,
    Transfer,
    TransferCode,
    TransferKind,
    cash_account,
    fees_account,
    market_account,
    position_account,
)
from libs.common.domain.vocabulary import OrderClass, Side
from libs.common.kernel.ids import AccountId, OrderId, Symbol, TradeId, TransferId, derived_id
from libs.common.kernel.money import ZERO, money, notional


class Leg(IntEnum):
    """The lines that one execution may write, in their order; part of each line's id."""

    POST = 0
    EXCESS = 1
    OTHER = 2
    FEE = 3
    REHOLD = 4


def leg_id(trade_id: TradeId, leg: Leg) -> TransferId:
    """Return the id of one line of a trade; the same trade gives the same ids.

    A trade's id is a hash, so the ids next to it are as free as any other.
    """
    return TransferId(UUID(int=trade_id.int ^ (leg + 1)))


def hold_id(order_id: OrderId) -> TransferId:
    """Return the id of an order's first hold."""
    return TransferId(derived_id("hold", str(order_id)))


def release_id(pending_id: TransferId) -> TransferId:
    """Return the id of the void that ends a hold."""
    return TransferId(derived_id("release", str(pending_id)))


@dataclass(frozen=True, slots=True)
class Booked:
    """An execution with all that its ledger lines need; `amount` is money without the fee."""

    trade_id: TradeId
    order_id: OrderId
    account: AccountId
    symbol: Symbol
    side: Side
    quantity: Decimal
    amount: Decimal
    fee: Decimal
    currency: str = CURRENCY


# Market orders may trade above the price that was seen; Alpaca holds a few per cent more too.
MARKET_COLLAR: Final = Decimal("0.05")


def hold_amount(
    side: Side,
    *,
    quantity: Decimal | None,
    notional_amount: Decimal | None,
    worst_price: Decimal | None,
    collar: Decimal = MARKET_COLLAR,
    reference_price: Decimal | None = None,
) -> Decimal | None:
    """Return how much an order holds: money of a buy, shares of a sell; None if unknowable.

    `worst_price` is the limit (of a buy the most it can cost); without one the reference price
    widened by `collar`. Buy 100 at market, seen at 10 -> 1050.0000. A buy by notional holds the
    notional; a sell by notional holds the shares it would take at the reference price.
    """
    if side is Side.SELL:
        if quantity is not None:
            return quantity
        if notional_amount is None or not reference_price:
            return None
        return (notional_amount / reference_price).quantize(Decimal("0.00000001"))
    if notional_amount is not None:
        return money(notional_amount)
    price = worst_price
    if price is None and reference_price is not None:
        price = reference_price * (1 + collar)
    return None if price is None or quantity is None else notional(quantity, price)


def hold(
    order_id: OrderId,
    account: AccountId,
    symbol: Symbol,
    side: Side,
    amount: Decimal,
    currency: str = CURRENCY,
) -> Transfer:
    """Return the pending transfer that an order makes before it is sent."""
    debit, credit = _hold_accounts(account, symbol, side, currency)
    return Transfer(
        id=hold_id(order_id),
        debit=debit,
        credit=credit,
        amount=amount,
        code=TransferCode.HOLD,
        kind=TransferKind.PENDING,
        order_id=order_id,
    )


def holds(order_class: OrderClass, *, is_leg: bool) -> bool:
    """Tell whether an order makes a hold: all but the exit legs of a group."""
    return not (is_leg and order_class is not OrderClass.SIMPLE)


def release(pending: Transfer) -> Transfer:
    """Return the void that ends a hold."""
    return Transfer(
        id=release_id(pending.id),
        debit=pending.debit,
        credit=pending.credit,
        amount=pending.amount,
        code=TransferCode.RELEASE,
        kind=TransferKind.VOID,
        pending_id=pending.id,
        order_id=pending.order_id,
    )


def fill_group(trade: Booked, held: Transfer | None, *, order_open: bool) -> tuple[Transfer, ...]:
    """Return the lines of one execution: the held leg, the other leg, the fee, the new hold.

    `held` is the order's open hold, if any; `order_open` tells whether the order can trade on
    (otherwise the rest of the hold is not renewed, which voids it). Worked: hold 1050, buy 40 at
    10.10 with more to come -> post 404.0000, 40 shares in, new hold 646.0000.
    """
    held_leg = trade.amount if trade.side is Side.BUY else trade.quantity
    debit, credit = _hold_accounts(trade.account, trade.symbol, trade.side, trade.currency)
    code = TransferCode.CASH if trade.side is Side.BUY else TransferCode.INSTRUMENT
    lines: list[Transfer] = []

    def line(
        leg: Leg,
        pair: tuple[AccountKey, AccountKey],
        amount: Decimal,
        why: TransferCode,
        kind: TransferKind = TransferKind.DIRECT,
        pending: TransferId | None = None,
    ) -> None:
        if amount > 0:
            lines.append(
                Transfer(leg_id(trade.trade_id, leg), *pair, amount, why, kind, pending,
                         trade.order_id, trade.trade_id)
            )  # fmt: skip

    posted = min(held_leg, held.amount) if held else ZERO
    if held and posted > 0:
        line(Leg.POST, (debit, credit), posted, code, TransferKind.POST, held.id)
    elif held and not order_open:
        lines.append(release(held))
    line(Leg.EXCESS, (debit, credit), held_leg - posted, code)
    if trade.side is Side.BUY:
        other = market_account(trade.symbol), position_account(trade.account, trade.symbol)
        line(Leg.OTHER, other, trade.quantity, TransferCode.INSTRUMENT)
    else:
        other = market_account(trade.currency), cash_account(trade.account, trade.currency)
        line(Leg.OTHER, other, trade.amount, TransferCode.CASH)
    fee_pair = cash_account(trade.account, trade.currency), fees_account(trade.currency)
    line(Leg.FEE, fee_pair, trade.fee, TransferCode.FEE)
    if held and posted > 0 and order_open:
        rest = held.amount - posted
        line(Leg.REHOLD, (debit, credit), rest, TransferCode.HOLD, TransferKind.PENDING)
    return tuple(lines)


def reversal(lines: Iterable[Transfer]) -> tuple[Transfer, ...]:
    """Return the lines that take an execution back: what moved, the other way round."""
    return tuple(
        Transfer(
            reversal_line_id(line.id),
            line.credit,
            line.debit,
            line.amount,
            TransferCode.REVERSAL,
            order_id=line.order_id,
            trade_id=line.trade_id,
        )
        for line in lines
        if line.kind in {TransferKind.DIRECT, TransferKind.POST}
        and line.code is not TransferCode.REVERSAL
    )


def rehold(
    trade_id: TradeId, lines: Iterable[Transfer], held: Transfer | None
) -> tuple[Transfer, ...]:
    """Return how an open order holds again what a reversed execution had posted from its hold.

    Its present hold is ended and a new one opened for both: nothing where it posted nothing.
    """
    posted = next((line for line in lines if line.kind is TransferKind.POST), None)
    if posted is None:
        return ()
    fresh = Transfer(
        reversal_line_id(leg_id(trade_id, Leg.REHOLD)),
        posted.debit,
        posted.credit,
        posted.amount + (held.amount if held else ZERO),
        TransferCode.HOLD,
        TransferKind.PENDING,
        order_id=posted.order_id,
        trade_id=trade_id,
    )
    return (release(held), fresh) if held else (fresh,)


def reversal_line_id(line_id: TransferId) -> TransferId:
    """Return the id of the line that takes another back; the same line gives the same id."""
    return TransferId(UUID(int=line_id.int ^ (1 << 8)))


def _hold_accounts(
    account: AccountId, symbol: Symbol, side: Side, currency: str
) -> tuple[AccountKey, AccountKey]:
    if side is Side.BUY:
        return cash_account(account, currency), market_account(currency)
    return position_account(account, symbol), market_account(symbol)
