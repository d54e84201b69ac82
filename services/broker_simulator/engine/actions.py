"""Corporate actions: splits and cash dividends, on holdings and on resting orders."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from libs.common.kernel.money import PRICE_QUANTUM, money
from services.broker_simulator.engine.book import ticks_of
from services.broker_simulator.engine.model import ZERO, Activity, Order
from services.broker_simulator.engine.registry import Registry

CENT = Decimal("0.01")


def split(registry: Registry, symbol: str, ratio: Decimal, ns: int) -> None:
    """Give `ratio` new shares for one old: holdings, marks and resting orders follow.

    7 for 1: 100 shares at a cost of 64 500 become 700, a stop at 640.00 becomes 91.43. Orders of
    money keep it; quantities are cut to eight places.
    """
    book = registry.books[symbol]
    for order in list(book.orders.values()):
        _restate(order, ratio)
        order.updated_at = ns
        registry.touch(order)
        registry.emit("restated", order, ns)
    book.last = _scaled(book.last, ratio)
    book.previous_close = _scaled(book.previous_close, ratio)
    if book.has_quote:
        book.set_quote(
            ns,
            _scaled(book.bid, ratio),
            _scaled(book.ask, ratio),
            book.bid_size,
            book.ask_size,
        )
    for account in registry.accounts.values():
        position = account.positions.get(symbol)
        if position is None:
            continue
        before = position.qty
        position.qty = (before * ratio).quantize(PRICE_QUANTUM, rounding=ROUND_DOWN)
        registry.changes.accounts[account.id] = account
        _record(
            registry, account.id, "SPLIT", ns, symbol, ZERO, position.qty - before, None,
            f"{symbol} split {ratio} for 1",
        )  # fmt: skip


def pay_dividend(registry: Registry, symbol: str, cash: Decimal, ns: int) -> None:
    """Pay `cash` a share to holders; short positions pay it."""
    for account in registry.accounts.values():
        position = account.positions.get(symbol)
        if position is None:
            continue
        amount = money(position.qty * cash)
        account.cash += amount
        registry.changes.accounts[account.id] = account
        _record(
            registry, account.id, "DIV", ns, symbol, amount, position.qty, cash,
            f"Cash dividend {symbol} {cash} a share",
        )  # fmt: skip


def _restate(order: Order, ratio: Decimal) -> None:
    if order.qty is not None:
        order.qty = order.filled_qty + _shares(order.qty - order.filled_qty, ratio)
    for name in ("limit_price", "stop_price", "hwm", "trail_price"):
        price = getattr(order, name)
        if price is not None:
            setattr(order, name, (price / ratio).quantize(CENT, rounding=ROUND_HALF_EVEN))
    order.hold_price /= ratio


def _shares(quantity: Decimal, ratio: Decimal) -> Decimal:
    return (quantity * ratio).quantize(PRICE_QUANTUM, rounding=ROUND_DOWN)


def _scaled(ticks: int, ratio: Decimal) -> int:
    price = (Decimal(ticks) / 10_000 / ratio).quantize(CENT, rounding=ROUND_HALF_EVEN)
    return ticks_of(price)


def _record(
    registry: Registry,
    account: str,
    kind: str,
    ns: int,
    symbol: str,
    amount: Decimal,
    quantity: Decimal,
    per_share: Decimal | None,
    description: str,
) -> None:
    activity = Activity(
        id=str(registry.ids.new()),
        account=account,
        activity_type=kind,
        ts=ns,
        net_amount=amount,
        description=description,
        symbol=symbol,
        qty=quantity,
        per_share_amount=per_share,
    )
    registry.activities.append(activity)
    registry.changes.activities.append(activity)
