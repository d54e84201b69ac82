"""From a signal to an order: the size, the flip rule, the limits, when it may fill."""

from __future__ import annotations

import math
from typing import Any

from libs.common.quant import sizing
from libs.common.quant.compile import compiled, compiled_step
from libs.common.quant.simulation.history import deviation
from libs.common.quant.simulation.layout import (
    BY_LIQUIDATION,
    BY_SIGNAL,
    EQUITY_NOT_POSITIVE,
    EXIT_LEGS_CROSSED,
    INSTRUMENT_DELISTED,
    ORDER_REPLACED,
    SIZE_UNDEFINED,
    VOLATILITY_UNKNOWN,
)
from libs.common.quant.simulation.limits import within_limits
from libs.common.quant.simulation.matching import guard
from libs.common.quant.simulation.orders import (
    clear_order,
    count_busy,
    drop_order,
    eight_places,
    refuse,
    whole_lots,
)
from libs.common.quant.simulation.sleeves import METHODS, Method

_percent_of_equity = compiled(sizing.percent_of_equity)
_fixed_notional = compiled(sizing.fixed_notional)
_volatility_target = compiled(sizing.volatility_target)

_PERCENT = METHODS.index(Method.PERCENT_OF_EQUITY)
_NOTIONAL = METHODS.index(Method.FIXED_NOTIONAL)
_QUANTITY = METHODS.index(Method.FIXED_QUANTITY)
# Shares that are counted in units of 1e-8 in 64 bits.
_SHARES_MAX = 9e10


@compiled_step
def wished_shares(
    stream: Any, target: float, price: float, equity: float, volatility: float
) -> float:
    """Return the unrounded signed position that `target` asks for, NaN where undefined."""
    scaled = target * stream.weight
    if stream.method == _PERCENT:
        return _percent_of_equity(scaled, stream.figure, equity, price)
    if stream.method == _NOTIONAL:
        return _fixed_notional(scaled, stream.figure, price)
    if stream.method == _QUANTITY:
        return float(scaled * stream.figure)
    return _volatility_target(scaled, stream.figure, volatility, equity, price, stream.weight_max)


@compiled_step
def on_tick(price: float, tick: float, side: float) -> float:
    """Return `price` on the grid: a buy's limit rounds down, a sell's up; side 0: to the nearest.

    What is within a millionth of a tick is on it. 192 ticks of 0.1 are 19.2, and not the
    product 19.200000000000003, which a bar with a low of 19.2 would miss.
    """
    if not tick > 0.0 or math.isnan(price):
        return price
    steps = price / tick
    whole = float(round(steps))
    if abs(steps - whole) < 1e-6:
        return price
    if side != 0.0:
        whole = math.floor(steps) if side > 0.0 else math.ceil(steps)
    return eight_places(whole * tick)


@compiled_step
def obey(
    logs: Any,
    model: Any,
    account: Any,
    lines: Any,
    streams: Any,
    stream: Any,
    signal: Any,
    k: int,
    i: int,
    tape: Any,
    places: Any,
) -> None:
    """Turn the stream's signal k, decided on its symbol's bar i, into its order, or refuse it."""
    line, refusals = lines[stream.symbol], logs[2]
    equity = account.cash + account.long - account.short
    wished, code = 0.0, -1
    if line.gone:
        code = INSTRUMENT_DELISTED
    elif signal.target != 0.0:
        volatility = 0.0
        if stream.method > _QUANTITY:
            volatility = deviation(tape, places, line.since, i, model.volatility_window)
            volatility *= math.sqrt(model.periods)
        wished = wished_shares(stream, signal.target, line.mark, equity, volatility)
        if not equity > 0.0:
            code = EQUITY_NOT_POSITIVE
        elif math.isnan(volatility):
            code = VOLATILITY_UNKNOWN
        elif not abs(wished) < _SHARES_MAX:
            code = SIZE_UNDEFINED
    if code >= 0:
        refuse(refusals, account, stream, k, code, math.nan, wished, math.nan)
        return
    if stream.order.reason != BY_LIQUIDATION:
        drop_order(refusals, account, stream, ORDER_REPLACED)
        wished = whole_lots(wished, line.lot)
        _aim(logs, model, account, lines, streams, stream, signal, k, i, wished)
    count_busy(account, line, streams)


@compiled_step
def _aim(
    logs: Any,
    model: Any,
    account: Any,
    lines: Any,
    streams: Any,
    stream: Any,
    signal: Any,
    k: int,
    i: int,
    wished: float,
) -> None:
    """Place the order that leads from the present position to `wished`."""
    line = lines[stream.symbol]
    present = stream.position
    stop = on_tick(signal.stop, line.tick, 0.0)
    profit = on_tick(signal.take_profit, line.tick, 0.0)
    if model.exits_latest and wished * present > 0.0:
        guard(stream, stop, profit, k)
    change = wished - present
    if wished * present < 0.0 and not model.flip_through:
        change = -present
    quantity = abs(whole_lots(change, line.lot))
    if quantity <= 0.0:
        account.idle += 1
        return
    side = 1.0 if change > 0.0 else -1.0
    after = present + side * quantity
    entry = abs(after) >= abs(present) or present * after < 0.0
    limit = on_tick(signal.limit, line.tick, side)
    if not entry:
        stop = profit = math.nan
    elif (
        side * (stop - profit) >= 0.0
        or side * (limit - profit) >= 0.0
        or side * (stop - limit) >= 0.0
    ):
        refuse(logs[2], account, stream, k, EXIT_LEGS_CROSSED, quantity, stop, profit)
        return
    if model.limited:
        passes = within_limits(
            logs[2], model, account, lines, streams, stream, k, side, quantity, limit
        )
        if not passes:
            return
    order = stream.order
    clear_order(order)
    order.side = side
    order.left = quantity
    order.limit = limit
    order.stop = stop
    order.take_profit = profit
    order.entry = 1 if entry else 0
    order.from_bar = i + 1 + model.latency_bars
    if model.latency_ns > 0:
        order.from_ts = account.ts + model.duration + model.latency_ns
    order.until_bar = order.from_bar + model.order_bars - 1
    order.signal = k
    order.reason = BY_SIGNAL
