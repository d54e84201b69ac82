"""What a bar does to working orders and exits, in the order of events within it.

At the open: sells, then buys (so that what is sold pays for what is bought). Within the bar:
resting limits, then exits. At the close: orders that wait for it, sells first. Nothing here looks
beyond the bar in hand.
"""

from __future__ import annotations

import math
from typing import Any, Final

from libs.common.quant.compile import compiled, compiled_step
from libs.common.quant.simulation.booking import take
from libs.common.quant.simulation.costs import slippage
from libs.common.quant.simulation.layout import (
    BY_SIGNAL,
    BY_STOP,
    BY_TAKE_PROFIT,
    ORDER_EXPIRED,
    ORDER_REPLACED,
)
from libs.common.quant.simulation.models import MarketFill
from libs.common.quant.simulation.orders import (
    DUST,
    FOREVER,
    clear_order,
    count_busy,
    drop_order,
    eight_places,
    refuse,
)

NEXT_CLOSE: Final = list(MarketFill).index(MarketFill.NEXT_CLOSE)
QUOTE: Final = list(MarketFill).index(MarketFill.QUOTE)

# Phases of a bar.
OPEN_SELL: Final = 0
OPEN_BUY: Final = 1
RESTING: Final = 2
EXITS: Final = 3
CLOSE_SELL: Final = 4
CLOSE_BUY: Final = 5
END: Final = 6
# How the present position came about within this bar.
AT_OPEN: Final = 1
WITHIN: Final = 2


@compiled_step
def match(
    logs: Any,
    model: Any,
    account: Any,
    lines: Any,
    streams: Any,
    tape: Any,
    fine: Any,
    active: Any,
    count: int,
) -> None:
    """Play one time's bars of the symbols with work.

    `active`: the `count` symbols with work (WORK).
    """
    work = _work(model, lines, streams, active, count)
    for phase in range(END + 1):
        if not work[phase]:
            continue
        for a in range(count):
            busy = active[a]
            line, i, bar = lines[busy.symbol], busy.bar, tape[busy.slot]
            for j in range(line.first, line.last):
                stream = streams[j]
                if phase in (RESTING, EXITS):
                    low, high = busy.begin, busy.end
                    if low == high:
                        _within(logs, model, account, line, stream, bar, i, phase, False)
                    elif phase == EXITS:
                        for f in range(low, high):
                            for inner in (RESTING, EXITS):
                                _within(logs, model, account, line, stream, fine[f], i, inner, True)
                            stream.fresh = 0
                elif phase == END:
                    _expire(logs, account, stream, i)
                elif stream.order.side != 0.0:
                    _at_auction(logs, model, account, line, stream, bar, i, phase)
            if phase == END:
                count_busy(account, line, streams)


@compiled_step
def _work(model: Any, lines: Any, streams: Any, active: Any, count: int) -> Any:
    """Tell which phases have something to do."""
    sells = buys = within = False
    for a in range(count):
        line = lines[active[a].symbol]
        for j in range(line.first, line.last):
            order, exits = streams[j].order, streams[j].exit
            sells = sells or order.side < 0.0
            buys = buys or order.side > 0.0
            # Exits of its own that an order brings along count from its first fill on.
            within = within or not (math.isnan(order.limit) and math.isnan(order.stop))
            within = within or not (math.isnan(order.take_profit) and math.isnan(exits.stop))
            within = within or not math.isnan(exits.take_profit)
    closes = model.market_fill == NEXT_CLOSE
    return sells, buys, within, within, sells and closes, buys and closes, True


@compiled_step
def _expire(logs: Any, account: Any, stream: Any, i: int) -> None:
    stream.fresh = 0
    order = stream.order
    if order.side != 0.0 and i >= order.until_bar:
        refuse(
            logs[2], account, stream, order.signal, ORDER_EXPIRED, order.left, math.nan, math.nan
        )
        clear_order(order)


@compiled
def _may(account: Any, order: Any, i: int) -> bool:
    return bool(order.side != 0.0 and i >= order.from_bar and account.ts >= order.from_ts)


@compiled
def _settle(stream: Any, taken: float, how: int) -> None:
    """After a fill of the working order: exits that come with it, and the end of the order."""
    order = stream.order
    if taken > 0.0 and order.entry == 1 and stream.position * order.side > 0.0:
        stream.fresh = how
        if not (math.isnan(order.stop) and math.isnan(order.take_profit)):
            guard(stream, order.stop, order.take_profit, order.signal)
    if order.left <= DUST:
        clear_order(order)


@compiled
def guard(stream: Any, stop: float, take_profit: float, signal: int) -> None:
    """Let these exits guard the stream's position from now on."""
    exits = stream.exit
    clear_order(exits)
    exits.stop = stop
    exits.take_profit = take_profit
    exits.signal = signal


@compiled_step
def _at_auction(
    logs: Any, model: Any, account: Any, line: Any, stream: Any, bar: Any, i: int, phase: int
) -> None:
    """Fill the working order at the bar's open or close, where it is one for that."""
    order = stream.order
    side = order.side
    opening = phase <= OPEN_BUY
    selling = phase in (OPEN_SELL, CLOSE_SELL)
    if (side < 0.0) != selling or not _may(account, order, i):
        return
    market = math.isnan(order.limit)
    # A market order of a signal may have to wait for the close; what closes by force never does.
    waits = market and model.market_fill == NEXT_CLOSE and order.reason == BY_SIGNAL
    if waits == opening:
        return
    if opening and model.market_fill == QUOTE:
        _walk(logs, model, account, line, stream, i, market)
        return
    price = bar.open if opening else bar.close
    if not market and side * (price - order.limit) > 0.0:
        return
    if not market and not opening:
        return
    slip = slippage(model, line, order.left, price) if market else 0.0
    taken = take(logs, model, account, line, stream, order, price, slip, False, i, order.left)
    _settle(stream, taken, AT_OPEN)


@compiled
def _walk(
    logs: Any, model: Any, account: Any, line: Any, stream: Any, i: int, market: bool
) -> None:
    """Trade along the ladder behind the quote, as `domain.matching.depth` and `walk` have it: each
    step one tick away with one more multiple of the best size."""
    order, quote = stream.order, line.quote
    side = order.side
    best, size = quote.bid, quote.bid_size
    if side > 0.0:
        best, size = quote.ask, quote.ask_size
    for k in range(model.quote_levels):
        price = eight_places(best + side * k * line.tick)
        if order.side == 0.0 or price <= 0.0:
            break
        if not market and side * (price - order.limit) > 0.0:
            break
        wished = min(order.left, size * (k + 1))
        slip = slippage(model, line, wished, price) if market else 0.0
        taken = take(logs, model, account, line, stream, order, price, slip, False, i, wished)
        _settle(stream, taken, AT_OPEN)


@compiled
def _reaches(model: Any, price: float, far: float, side: float) -> bool:
    """Tell whether a resting order of `side` at `price` trades in a bar that goes to `far`."""
    beyond = side * (price - far)
    return beyond > 0.0 or (beyond == 0.0 and model.through == 0)


@compiled
def _within(
    logs: Any,
    model: Any,
    account: Any,
    line: Any,
    stream: Any,
    bar: Any,
    i: int,
    phase: int,
    finer: bool,
) -> None:
    """Fill a resting limit (RESTING) or an exit (EXITS) within `bar`."""
    order = stream.order
    price = slip = math.nan
    maker = True
    if phase == RESTING:
        side = order.side
        if math.isnan(order.limit) or not _may(account, order, i):
            return
        if not _reaches(model, order.limit, bar.low if side > 0.0 else bar.high, side):
            return
        # The bar's own open was seen to before; a finer bar may open beyond the limit.
        price, slip = order.limit, 0.0
        if finer and side * (bar.open - price) < 0.0:
            price = bar.open
    else:
        price = _exit_price(model, stream, bar)
        if math.isnan(price):
            return
        side = -1.0 if stream.position > 0.0 else 1.0
        if stream.exit.reason == BY_STOP:
            drop_order(logs[2], account, stream, ORDER_REPLACED)
            order.signal = stream.exit.signal
            order.until_bar = FOREVER
            clear_order(stream.exit)
            slip = slippage(model, line, abs(stream.position), price)
            maker = False
            order.reason = BY_STOP
        else:
            order = stream.exit
            slip = 0.0
        order.side = side
        order.left = abs(stream.position)
    taken = take(logs, model, account, line, stream, order, price, slip, maker, i, order.left)
    if phase == RESTING:
        _settle(stream, taken, WITHIN)
        return
    if order.reason == BY_STOP and order.left <= DUST:
        clear_order(order)
    if stream.position == 0.0:
        drop_order(logs[2], account, stream, ORDER_REPLACED)
        clear_order(stream.exit)


@compiled
def _exit_price(model: Any, stream: Any, bar: Any) -> float:
    """Return where `bar` ends the position, NaN if it does not, and name the exit in
    `stream.exit.reason`.

    Where the bar touches both, it is the stop, unless it opened beyond the target. A position
    entered within the bar can be stopped in it, but takes no profit. A bar that opens beyond the
    stop fills at its open.
    """
    exits = stream.exit
    if stream.position == 0.0:
        return math.nan
    side = -1.0 if stream.position > 0.0 else 1.0
    near, far = (bar.low, bar.high) if side < 0.0 else (bar.high, bar.low)
    opened = stream.fresh != WITHIN
    exits.reason = BY_TAKE_PROFIT
    if opened and side * (bar.open - exits.take_profit) <= 0.0:
        return float(bar.open)
    if side * (near - exits.stop) >= 0.0:
        exits.reason = BY_STOP
        gapped = opened and side * (bar.open - exits.stop) > 0.0
        return float(bar.open if gapped else exits.stop)
    if opened and _reaches(model, exits.take_profit, far, side):
        return float(exits.take_profit)
    return math.nan
