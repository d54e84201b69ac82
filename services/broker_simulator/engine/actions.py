"""Corporate actions and journals: what moves shares or cash without a trade.

Written as Alpaca writes it: a forward split is one SPLIT row with the shares added, a reverse
split two (the old shares away, the new ones in), a fraction that is paid out a CIL row with the
shares taken (negative) and the cash given, a dividend a DIV row with the shares that earned it.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import PRICE_QUANTUM, money
from services.broker_simulator.engine.account import apply_execution
from services.broker_simulator.engine.book import ticks_of
from services.broker_simulator.engine.groups import Groups
from services.broker_simulator.engine.model import (
    ZERO,
    Account,
    Activity,
    Order,
    Position,
    Status,
)
from services.broker_simulator.engine.registry import Registry

CENT = Decimal("0.01")
CORPORATE_ACTION = "CORPORATE_ACTION"


def split(
    registry: Registry,
    groups: Groups,
    symbol: str,
    ratio: Decimal,
    ns: int,
    *,
    cash_in_lieu: bool | None = None,
    cancel_orders: bool = False,
) -> None:
    """Give `ratio` new shares for one old: holdings, marks and resting orders follow.

    7 for 1: 100 shares at a cost of 64 500 become 700, a stop at 640.00 becomes 91.43. Orders of
    money keep it; quantities are cut to eight places. With `cash_in_lieu` (as a rule in a reverse
    split) a fraction of a share is paid out at the new price: 105 shares, 1 for 10, at 2.00 are
    10 shares and 10.00. `cancel_orders` ends resting orders, as the broker may, in place of
    restating them; an order of which nothing is left is always ended.
    """
    book = registry.books[symbol]
    in_lieu = ratio < 1 if cash_in_lieu is None else cash_in_lieu
    book.last = _scaled(book.last, ratio)
    book.previous_close = _scaled(book.previous_close, ratio)
    if book.has_quote:
        bid, ask = _scaled(book.bid, ratio), _scaled(book.ask, ratio)
        book.set_quote(ns, bid, max(ask, bid + 1), book.bid_size, book.ask_size)
    for account in registry.accounts.values():
        position = account.positions.get(symbol)
        if position is not None:
            _split_holding(registry, account, position, ratio, ns, in_lieu=in_lieu)
    for order in list(book.orders.values()):
        if not order.is_open:
            continue  # it went with another order of its group
        if not cancel_orders:
            _restate(order, ratio, whole=in_lieu)
        if cancel_orders or (order.qty is not None and order.remaining <= 0):
            registry.transition(order, Status.CANCELED, "canceled", ns, reason=CORPORATE_ACTION)
            groups.after_end(order, ns)
            continue
        order.updated_at = ns
        registry.touch(order)
        registry.emit("restated", order, ns, reason=CORPORATE_ACTION)


def pay_dividend(registry: Registry, symbol: str, cash: Decimal, ns: int) -> None:
    """Pay `cash` a share to holders; short positions pay it."""
    for account in registry.accounts.values():
        position = account.positions.get(symbol)
        if position is None:
            continue
        journal(
            registry, account, "DIV", money(position.qty * cash), ns, sub_type="CDIV",
            symbol=symbol, qty=position.qty, per_share=cash,
            description=f"Cash dividend {symbol} {cash} a share",
        )  # fmt: skip


def journal(
    registry: Registry,
    account: Account,
    kind: str,
    amount: Decimal,
    ns: int,
    *,
    description: str,
    sub_type: str | None = None,
    symbol: str | None = None,
    qty: Decimal | None = None,
    per_share: Decimal | None = None,
) -> Activity:
    """Move cash for a reason that is no trade: a fee, a deposit, interest. Positive is theirs."""
    account.cash += amount
    registry.changes.accounts[account.id] = account
    activity = Activity(
        id=str(registry.ids.new()),
        account=account.id,
        activity_type=kind,
        ts=ns,
        net_amount=amount,
        description=description,
        symbol=symbol,
        qty=qty,
        per_share_amount=per_share,
        sub_type=sub_type,
    )
    registry.add_activity(activity)
    return activity


def _split_holding(
    registry: Registry,
    account: Account,
    position: Position,
    ratio: Decimal,
    ns: int,
    *,
    in_lieu: bool,
) -> None:
    symbol, before = position.symbol, position.qty
    position.qty = (before * ratio).quantize(PRICE_QUANTUM, rounding=ROUND_DOWN)
    text = f"{symbol} split {ratio} for 1"
    if ratio < 1:
        for moved in (-before, position.qty):
            journal(
                registry, account, "SPLIT", ZERO, ns, sub_type="RSPLIT", symbol=symbol,
                qty=moved, description=text,
            )  # fmt: skip
    else:
        journal(
            registry, account, "SPLIT", ZERO, ns, sub_type="FSPLIT", symbol=symbol,
            qty=position.qty - before, description=text,
        )  # fmt: skip
    fraction = abs(position.qty) % 1
    if not in_lieu or fraction == 0:
        return
    price = registry.books[symbol].mark
    side = Side.SELL if position.qty > 0 else Side.BUY
    cash_before = account.cash
    apply_execution(account, symbol, side, fraction, money(fraction * price), ZERO)
    paid, account.cash = account.cash - cash_before, cash_before
    journal(
        registry, account, "CIL", paid, ns, symbol=symbol, qty=side.sign * fraction,
        description=f"Cash in lieu of {fraction} {symbol}",
    )  # fmt: skip


def _restate(order: Order, ratio: Decimal, *, whole: bool) -> None:
    if order.qty is not None:
        step = Decimal(1) if whole else PRICE_QUANTUM
        left = (order.remaining * ratio).quantize(step, rounding=ROUND_DOWN)
        order.qty = order.filled_qty + left
    for name in ("limit_price", "stop_price", "hwm", "trail_price"):
        price = getattr(order, name)
        if price is not None:
            setattr(order, name, (price / ratio).quantize(CENT, rounding=ROUND_HALF_EVEN))
    order.hold_price /= ratio


def _scaled(ticks: int, ratio: Decimal) -> int:
    price = (Decimal(ticks) / 10_000 / ratio).quantize(CENT, rounding=ROUND_HALF_EVEN)
    return ticks_of(price)
