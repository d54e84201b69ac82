"""The small acts on orders that every part of a simulation needs."""

from __future__ import annotations

import math
from typing import Any, Final

from libs.common.quant import sizing
from libs.common.quant.compile import compiled

whole_lots = compiled(sizing.whole_lots)
# Until done or replaced; later than every bar and time.
FOREVER: Final = 2**62
# Below this a rest of shares or of money is rounding.
DUST: Final = 1e-9


@compiled
def eight_places(price: float) -> float:
    """Return the float nearest to `price` read to eight places, as a decimal price has them."""
    return float(round(price * 1e8)) / 1e8 if price < 1e9 else price


@compiled
def clear_order(order: Any) -> None:
    """Make the slot empty."""
    order.side = 0.0
    order.left = 0.0
    order.limit = math.nan
    order.stop = math.nan
    order.take_profit = math.nan
    order.from_bar = 0
    order.from_ts = 0
    order.until_bar = 0
    order.signal = -1
    order.reason = 0
    order.entry = 0
    order.shares = 0.0
    order.notional = 0.0
    order.percent = 0.0
    order.charged = 0.0


@compiled
def refuse(
    refusals: Any,
    account: Any,
    stream: Any,
    signal: int,
    code: int,
    quantity: float,
    value: float,
    limit: float,
) -> None:
    """Write down that (the rest of) an order is not carried out."""
    entry = refusals[account.refusals]
    entry.ts = account.ts
    entry.symbol = stream.symbol
    entry.sleeve = stream.sleeve
    entry.signal = signal
    entry.code = code
    entry.quantity = quantity
    entry.value = value
    entry.limit = limit
    account.refusals += 1


@compiled
def drop_order(refusals: Any, account: Any, stream: Any, code: int) -> None:
    """Cancel what is left of the stream's working order."""
    order = stream.order
    if order.side != 0.0:
        refuse(refusals, account, stream, order.signal, code, order.left, math.nan, math.nan)
        clear_order(order)


@compiled
def count_busy(account: Any, line: Any, streams: Any) -> None:
    """Count anew the streams of the symbol that the next bar can do something to."""
    busy = 0
    for j in range(line.first, line.last):
        stream = streams[j]
        exits = stream.exit
        guarded = not (math.isnan(exits.stop) and math.isnan(exits.take_profit))
        if stream.order.side != 0.0 or guarded:
            busy += 1
    account.busy += busy - line.busy
    line.busy = busy
