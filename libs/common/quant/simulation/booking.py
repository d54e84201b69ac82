"""A fill in the books: cash, positions, round trips; and how much of it the account can bear."""

from __future__ import annotations

import math
from typing import Any

from libs.common.quant.compile import compiled, compiled_step
from libs.common.quant.simulation.costs import commission, percent_rate, taxes
from libs.common.quant.simulation.layout import BY_SIGNAL, CASH_SHORT
from libs.common.quant.simulation.orders import DUST, refuse, whole_lots


@compiled_step
def spare(
    model: Any, account: Any, line: Any, side: float, quantity: float, price: float, fee: float
) -> float:
    """Return what equity still covers after such a trade: equity / initial - gross value.

    Without leverage and shorts that is the cash left over.
    """
    cash = account.cash - side * quantity * price - fee
    before, after = line.position * line.mark, (line.position + side * quantity) * line.mark
    net = account.long - account.short - before + after
    gross = account.long + account.short - abs(before) + abs(after)
    return float((cash + net) / model.initial - gross)


@compiled_step
def affordable(
    model: Any, account: Any, line: Any, order: Any, rate: float, quantity: float, price: float
) -> tuple[float, float]:
    """Return how much of `quantity` the account can bear and what the broker and the state take of
    it; what only reduces a position is always borne."""
    side = order.side
    closing = min(quantity, abs(line.position)) if line.position * side < 0.0 else 0.0
    tolerance = 1e-12 * max(1.0, abs(account.cash) + account.long + account.short)
    can = quantity
    for _ in range(64):
        fee = commission(model, order, rate, can, price) + taxes(model, side, can, price)
        if can <= closing:
            return can, fee
        rest = spare(model, account, line, side, can, price, fee)
        if rest >= -tolerance:
            return can, fee
        # Never below what a share frees, so that what is cut is not too much.
        tax = model.tax_buy if side > 0.0 else model.tax_sell
        if model.maximum_share < math.inf:
            tax += model.maximum_share
        cost = price * (max(0.0, rate) + tax) + model.per_share + model.fee_sold
        cost += side * (price - line.mark)
        unit = max(cost / model.initial + line.mark, DUST)
        rest = min(rest, -unit * line.lot)
        can = closing + whole_lots(max(0.0, can - closing + rest / unit), line.lot)
        if can <= 0.0:
            break
    return 0.0, 0.0


@compiled
def take(
    logs: Any,
    model: Any,
    account: Any,
    line: Any,
    stream: Any,
    order: Any,
    clean: float,
    slip: float,
    maker: bool,
    bar: int,
    wished: float,
) -> float:
    """Trade what volume and account allow of `wished`; return how much. `order.left` shrinks by it.

    What the account cannot bear of a signal's order is refused and not tried again; what closes by
    force or by a stop stays for the next bar.
    """
    quantity = wished
    if line.room < wished:
        quantity = whole_lots(line.room, line.lot)
    if quantity <= 0.0:
        return 0.0
    price = max(clean + order.side * slip, 1e-8)
    rate = percent_rate(model, account.traded, maker)
    can, fee = affordable(model, account, line, order, rate, quantity, price)
    order.left -= can
    if can < quantity and order.reason == BY_SIGNAL:
        left = order.left
        refuse(logs[2], account, stream, order.signal, CASH_SHORT, left, left * price, account.cash)
        order.left = 0.0
    if can <= 0.0:
        return 0.0
    line.room -= can
    order.shares += can
    order.percent += rate * can * price
    order.notional += can * price
    order.charged += fee - taxes(model, order.side, can, price)
    account.traded += can * price
    reason, signal = order.reason, order.signal
    write_fill(logs, account, line, stream, order.side, can, price, clean, fee, reason, bar, signal)
    return can


@compiled
def write_fill(
    logs: Any,
    account: Any,
    line: Any,
    stream: Any,
    side: float,
    quantity: float,
    price: float,
    clean: float,
    fee: float,
    reason: int,
    bar: int,
    signal: int,
) -> None:
    """Move cash and position, write the fill, keep the round trip."""
    account.cash -= side * quantity * price + fee
    account.commission += fee
    slipped = side * (price - clean) * quantity
    account.slippage += slipped
    entry = logs[0][account.fills]
    entry.ts = account.ts
    entry.symbol = stream.symbol
    entry.sleeve = stream.sleeve
    entry.side = int(side)
    entry.quantity = quantity
    entry.price = price
    entry.commission = fee
    entry.slippage = slipped
    entry.reason = reason
    entry.bar = bar
    entry.signal = signal
    account.fills += 1
    before = line.position * line.mark
    line.position += side * quantity
    if abs(line.position) < DUST:
        line.position = 0.0
    after = line.position * line.mark
    account.long += max(after, 0.0) - max(before, 0.0)
    account.short += max(-after, 0.0) - max(-before, 0.0)
    held = stream.position
    closing = min(quantity, abs(held)) if held * side < 0.0 else 0.0
    # A fill through zero ends one round trip and begins another.
    part = closing if closing > 0.0 else quantity
    while part > 0.0:
        _trip(account, stream, side, part, price, fee * part / quantity, bar)
        if stream.position == 0.0:
            _end_trip(logs[1], account, stream, reason, bar)
        part = quantity - closing if closing > 0.0 and quantity - closing > DUST else 0.0
        closing = 0.0


@compiled_step
def _trip(
    account: Any, stream: Any, side: float, quantity: float, price: float, fee: float, bar: int
) -> None:
    """Add a one-sided part of a fill to the stream's round trip."""
    if stream.position == 0.0:
        stream.entry_ts = account.ts
        stream.entry_bar = bar
        stream.bought = 0.0
        stream.bought_value = 0.0
        stream.sold = 0.0
        stream.sold_value = 0.0
        stream.commission = 0.0
        stream.income = 0.0
    if side > 0.0:
        stream.bought += quantity
        stream.bought_value += quantity * price
    else:
        stream.sold += quantity
        stream.sold_value += quantity * price
    stream.commission += fee
    stream.position += side * quantity
    if abs(stream.position) < DUST:
        stream.position = 0.0
    stream.last_side = side


@compiled_step
def _end_trip(trades: Any, account: Any, stream: Any, reason: int, bar: int) -> None:
    """Write the round trip down; exits have nothing left to guard."""
    trade = trades[account.trades]
    # The last fill closed the position, so it is on the other side.
    long = stream.last_side < 0.0
    bought, sold = stream.bought_value / stream.bought, stream.sold_value / stream.sold
    trade.symbol = stream.symbol
    trade.sleeve = stream.sleeve
    trade.side = 1 if long else -1
    trade.entry_ts = stream.entry_ts
    trade.exit_ts = account.ts
    trade.entry_bar = stream.entry_bar
    trade.exit_bar = bar
    trade.quantity = stream.bought if long else stream.sold
    trade.entry_price = bought if long else sold
    trade.exit_price = sold if long else bought
    trade.commission = stream.commission
    trade.income = stream.income
    trade.profit = stream.sold_value - stream.bought_value - stream.commission + stream.income
    trade.reason = reason
    account.trades += 1
    stream.exit.stop = math.nan
    stream.exit.take_profit = math.nan
