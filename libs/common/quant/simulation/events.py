"""What happens to an account without an order: corporate actions, interest, margin calls."""

from __future__ import annotations

import math
from typing import Any

from libs.common.quant.compile import compiled
from libs.common.quant.simulation.booking import write_fill
from libs.common.quant.simulation.layout import (
    BY_DELISTING,
    BY_LIQUIDATION,
    BY_SPLIT,
    DELISTING,
    DIVIDEND,
    INSTRUMENT_DELISTED,
    ORDER_REPLACED,
    SPLIT,
)
from libs.common.quant.simulation.orders import (
    DUST,
    FOREVER,
    clear_order,
    count_busy,
    drop_order,
    whole_lots,
)


@compiled
def act(logs: Any, model: Any, account: Any, lines: Any, streams: Any, action: Any) -> None:
    """Carry out one corporate action."""
    line = lines[action.symbol]
    if line.gone:
        return
    if action.kind == SPLIT:
        line.mark /= action.value
        line.position *= action.value
        line.since = line.seen
    for j in range(line.first, line.last):
        if action.kind == DIVIDEND:
            _pay_dividend(model, account, streams[j], action.value)
        elif action.kind == SPLIT:
            _split(logs, account, line, streams[j], action.value)
        else:
            price = line.mark if math.isnan(action.value) else action.value
            _delist(logs, account, line, streams[j], price)
    if action.kind == DELISTING:
        line.gone = 1
    count_busy(account, line, streams)


@compiled
def _pay_dividend(model: Any, account: Any, stream: Any, amount: float) -> None:
    """Longs receive `amount` a share less tax, shorts pay it."""
    paid = stream.position * amount
    if paid > 0.0:
        paid *= 1.0 - model.dividend_tax
    stream.income += paid
    account.cash += paid
    account.dividends += paid


@compiled
def _split(logs: Any, account: Any, line: Any, stream: Any, ratio: float) -> None:
    """`ratio` new shares for an old one: positions, orders, prices and round trips follow. What is
    no whole lot then is paid out at the last price."""
    stream.position *= ratio
    stream.bought *= ratio
    stream.sold *= ratio
    for order in (stream.order, stream.exit):
        order.left = whole_lots(order.left * ratio, line.lot)
        order.shares *= ratio
        order.limit /= ratio
        order.stop /= ratio
        order.take_profit /= ratio
    if stream.order.left <= DUST:
        drop_order(logs[2], account, stream, ORDER_REPLACED)
    rest = stream.position - whole_lots(stream.position, line.lot)
    if abs(rest) > DUST:
        side = -1.0 if rest > 0.0 else 1.0
        price, bar = line.mark, line.seen
        write_fill(
            logs, account, line, stream, side, abs(rest), price, price, 0.0, BY_SPLIT, bar, -1
        )


@compiled
def _delist(logs: Any, account: Any, line: Any, stream: Any, price: float) -> None:
    """Close the position at `price` and cancel the order."""
    drop_order(logs[2], account, stream, INSTRUMENT_DELISTED)
    if stream.position != 0.0:
        side = -1.0 if stream.position > 0.0 else 1.0
        held, bar = abs(stream.position), line.seen
        write_fill(
            logs, account, line, stream, side, held, price, price, 0.0, BY_DELISTING, bar, -1
        )
    clear_order(stream.exit)


@compiled
def accrue(model: Any, account: Any, lines: Any, ts: int) -> None:
    """Add interest on cash and take the fee for borrowed shares since the last time.

    Simple interest, actual days over the year that the model names: cash x rate x days / 360. Cash
    from short sales is collateral and earns nothing.
    """
    years = (ts - account.ts) / model.year_ns
    earned = max(account.cash - account.short, 0.0) * model.credit * years
    earned += min(account.cash, 0.0) * model.debit * years
    fee = 0.0
    if account.short > 0.0:
        for s in range(account.symbols):
            line = lines[s]
            if line.position < 0.0:
                fee -= line.position * line.mark * line.borrow * years
    account.cash += earned - fee
    account.interest += earned
    account.borrow += fee


@compiled
def call_margin(logs: Any, model: Any, account: Any, lines: Any, streams: Any) -> None:
    """Below maintenance, order the closing of so much of everything that the initial margin holds
    again; without equity, of all. Executed at each symbol's next open."""
    equity = account.cash + account.long - account.short
    gross = account.long + account.short
    needed = model.maintenance_long * account.long + model.maintenance_short * account.short
    if equity >= needed and equity > 0.0:
        return
    keep = min(max(equity / (model.initial * gross), 0.0), 1.0)
    for j in range(account.streams):
        stream = streams[j]
        if stream.position == 0.0 or stream.order.reason == BY_LIQUIDATION:
            continue
        line, order = lines[stream.symbol], stream.order
        held = abs(stream.position)
        rest = whole_lots(held * keep, line.lot)
        if rest == held:
            continue
        drop_order(logs[2], account, stream, ORDER_REPLACED)
        if rest <= 0.0:
            clear_order(stream.exit)
        order.side = -1.0 if stream.position > 0.0 else 1.0
        order.left = held - rest
        order.from_bar = line.seen
        order.until_bar = FOREVER
        order.reason = BY_LIQUIDATION
        count_busy(account, line, streams)
