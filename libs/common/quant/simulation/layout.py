"""The records of a simulation: what goes in beside bars, what comes out, what it remembers."""

from __future__ import annotations

from typing import Final

import numpy as np

QUOTE: Final = np.dtype(
    [("bid", "f8"), ("ask", "f8"), ("bid_size", "f8"), ("ask_size", "f8")], align=True
)
"""The best quote as a bar opens: prices in the instrument's currency, sizes in shares."""

ACTION: Final = np.dtype(
    [("ts", "i8"), ("time", "i8"), ("symbol", "i8"), ("kind", "i8"), ("value", "f8")], align=True
)
"""A corporate action, effective before the first bar that starts at `ts` or later; `time` is that
bar's place in the market's timeline, `symbol` the index in the market. `value`: new shares for an
old one (SPLIT), money a share (DIVIDEND), the last price a share, NaN for the last close
(DELISTING). After the market's last bar only delistings count; their fills bear their own `ts`."""

SPLIT: Final = 0
DIVIDEND: Final = 1
DELISTING: Final = 2

FILL: Final = np.dtype(
    [
        ("ts", "i8"),
        ("symbol", "i8"),
        ("sleeve", "i8"),
        ("side", "i8"),
        ("quantity", "f8"),
        ("price", "f8"),
        ("commission", "f8"),
        ("slippage", "f8"),
        ("reason", "i8"),
        ("bar", "i8"),
        ("signal", "i8"),
    ],
    align=True,
)
"""One execution. `ts` is the start of the bar it happened in, `bar` that bar's index in its symbol,
`side` 1 (bought) or -1 (sold), `quantity` positive, `price` with slippage in it, `commission` with
taxes, `slippage` the money that it cost against the model's clean price, `signal` the index in the
stream's signals that asked for it (-1: none did), `reason` one of REASONS."""

REASONS: Final = (
    "signal",
    "stop",
    "take_profit",
    "liquidation",
    "delisting",
    "split_fraction",
)
BY_SIGNAL: Final = 0
BY_STOP: Final = 1
BY_TAKE_PROFIT: Final = 2
BY_LIQUIDATION: Final = 3
BY_DELISTING: Final = 4
BY_SPLIT: Final = 5

TRADE: Final = np.dtype(
    [
        ("symbol", "i8"),
        ("sleeve", "i8"),
        ("side", "i8"),
        ("entry_ts", "i8"),
        ("exit_ts", "i8"),
        ("entry_bar", "i8"),
        ("exit_bar", "i8"),
        ("quantity", "f8"),
        ("entry_price", "f8"),
        ("exit_price", "f8"),
        ("commission", "f8"),
        ("income", "f8"),
        ("profit", "f8"),
        ("reason", "i8"),
    ],
    align=True,
)
"""A round trip of one sleeve in one symbol, from flat to flat: `quantity` all that was bought into
it, average prices, `income` dividends (negative: paid on a short), `profit` net of commission and
with income, `reason` of the last exit."""

REFUSAL: Final = np.dtype(
    [
        ("ts", "i8"),
        ("symbol", "i8"),
        ("sleeve", "i8"),
        ("signal", "i8"),
        ("code", "i8"),
        ("quantity", "f8"),
        ("value", "f8"),
        ("limit", "f8"),
    ],
    align=True,
)
"""An order, or the rest of one, that was not carried out: `code` one of CODES, and what was
measured against which limit."""

# The words of `domain.checks` where the check is the same one; the last four are the kernel's own.
CODES: Final = (
    "EQUITY_NOT_POSITIVE",
    "VOLATILITY_UNKNOWN",
    "SIZE_UNDEFINED",
    "QUANTITY_ABOVE_LIMIT",
    "NOTIONAL_BELOW_LIMIT",
    "NOTIONAL_ABOVE_LIMIT",
    "PRICE_OUTSIDE_COLLAR",
    "QUANTITY_OUTSIDE_COLLAR",
    "EXIT_LEGS_CROSSED",
    "BUYING_POWER_EXCEEDED",
    "POSITION_ABOVE_LIMIT",
    "GROSS_LEVERAGE_ABOVE_LIMIT",
    "NET_LEVERAGE_ABOVE_LIMIT",
    "NOT_SHORTABLE",
    "DAILY_LOSS_ABOVE_LIMIT",
    "DRAWDOWN_ABOVE_LIMIT",
    "CASH_SHORT",
    "ORDER_EXPIRED",
    "ORDER_REPLACED",
    "INSTRUMENT_DELISTED",
)
(
    EQUITY_NOT_POSITIVE,
    VOLATILITY_UNKNOWN,
    SIZE_UNDEFINED,
    QUANTITY_ABOVE_LIMIT,
    NOTIONAL_BELOW_LIMIT,
    NOTIONAL_ABOVE_LIMIT,
    PRICE_OUTSIDE_COLLAR,
    QUANTITY_OUTSIDE_COLLAR,
    EXIT_LEGS_CROSSED,
    BUYING_POWER_EXCEEDED,
    POSITION_ABOVE_LIMIT,
    GROSS_LEVERAGE_ABOVE_LIMIT,
    NET_LEVERAGE_ABOVE_LIMIT,
    NOT_SHORTABLE,
    DAILY_LOSS_ABOVE_LIMIT,
    DRAWDOWN_ABOVE_LIMIT,
    CASH_SHORT,
    ORDER_EXPIRED,
    ORDER_REPLACED,
    INSTRUMENT_DELISTED,
) = range(len(CODES))

ORDER: Final = np.dtype(
    [
        ("side", "f8"),
        ("left", "f8"),
        ("limit", "f8"),
        ("stop", "f8"),
        ("take_profit", "f8"),
        ("from_bar", "i8"),
        ("from_ts", "i8"),
        ("until_bar", "i8"),
        ("signal", "i8"),
        ("reason", "i8"),
        ("entry", "i8"),
        ("shares", "f8"),
        ("notional", "f8"),
        ("percent", "f8"),
        ("charged", "f8"),
    ],
    align=True,
)
"""A working order. side 0: none. `left` shares still to trade, `limit` NaN for a market order, the
exits that come with its first fill, the first bar (index and time) that may fill it, the bar with
which it ends, and what it has traded and been charged so far."""

STREAM: Final = np.dtype(
    [
        ("symbol", "i8"),
        ("sleeve", "i8"),
        ("method", "i8"),
        ("figure", "f8"),
        ("weight", "f8"),
        ("weight_max", "f8"),
        ("next", "i8"),
        ("end", "i8"),
        ("begin", "i8"),
        ("position", "f8"),
        ("order", ORDER),
        ("exit", ORDER),
        ("fresh", "i8"),
        ("last_side", "f8"),
        ("entry_ts", "i8"),
        ("entry_bar", "i8"),
        ("bought", "f8"),
        ("bought_value", "f8"),
        ("sold", "f8"),
        ("sold_value", "f8"),
        ("commission", "f8"),
        ("income", "f8"),
    ],
    align=True,
)
"""One sleeve in one symbol: how it sizes, which signals are left, what it holds, its working order,
its exits (`exit`: stop and take_profit of the position held), and the round trip it is in. `fresh`:
the position was entered or added to within the present bar."""

LINE: Final = np.dtype(
    [
        ("seen", "i8"),
        ("due", "i8"),
        ("busy", "i8"),
        ("position", "f8"),
        ("mark", "f8"),
        ("room", "f8"),
        ("buys", "f8"),
        ("sells", "f8"),
        ("since", "i8"),
        ("gone", "i8"),
        ("lot", "f8"),
        ("tick", "f8"),
        ("borrow", "f8"),
        ("shortable", "i8"),
        ("spread", "f8"),
        ("sigma", "f8"),
        ("volume", "f8"),
        ("quote", QUOTE),
        ("first", "i8"),
        ("last", "i8"),
    ],
    align=True,
)
"""One symbol: bars seen, the bar with the next signal, how many of its streams have an order or
exits, the account's position and last price, the volume left in this bar, the bar from which prices
are comparable (the last split), whether it is delisted, what slippage needs to know of this bar,
and its streams (first to last - 1)."""

ACCOUNT: Final = np.dtype(
    [
        ("time", "i8"),
        ("actions", "i8"),
        ("busy", "i8"),
        ("cash", "f8"),
        ("long", "f8"),
        ("short", "f8"),
        ("peak", "f8"),
        ("day", "i8"),
        ("day_equity", "f8"),
        ("ts", "i8"),
        ("fills", "i8"),
        ("trades", "i8"),
        ("refusals", "i8"),
        ("traded", "f8"),
        ("commission", "f8"),
        ("slippage", "f8"),
        ("interest", "f8"),
        ("borrow", "f8"),
        ("dividends", "f8"),
        ("idle", "i8"),
        ("symbols", "i8"),
        ("streams", "i8"),
    ],
    align=True,
)
"""The account: the next time to play and the next corporate action, cash, value of long and short
positions (both positive), what limits look back on, how much was written of each log, running
totals of money, and how many symbols and streams there are."""

WORK: Final = np.dtype(
    [("slot", "i8"), ("symbol", "i8"), ("bar", "i8"), ("begin", "i8"), ("end", "i8")], align=True
)
"""A symbol with something to do in the present time: its bar's place on the tape, its index, the
bar's index, and its finer bars (begin to end - 1)."""
