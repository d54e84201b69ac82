"""Checks on ticks and bars: each rule has a code, and what fails is kept apart with it.

State is per symbol and kind. The price rule is a robust one: a price is an outlier where it is
further from the rolling median than `outlier_mad` scaled median absolute deviations *and* than
`outlier_floor` of the median (Hampel's identifier, J. Amer. Statist. Assoc. 69 (1974), 383-393;
1.4826 makes the deviation consistent with a normal's sigma). A level that `outlier_confirmations`
ticks in a row agree on is a move and not an error: the window starts anew there.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite
from statistics import median

import msgspec

from libs.common.contracts.messages import Bar, Quote, TradeTick
from libs.common.domain.instruments import Instrument
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import NS_PER_SECOND

_MAD_TO_SIGMA = 1.4826
_GRID_TOLERANCE = 1e-4
_FIGURE_END = 1e12
"""Prices and quantities are kept as NUMERIC(20,8): twelve digits before the point."""
_TRADES_END = 2**63


class Code(StrEnum):
    """Why a tick was quarantined."""

    PRICE_NOT_FINITE = "PRICE_NOT_FINITE"
    PRICE_NOT_POSITIVE = "PRICE_NOT_POSITIVE"
    PRICE_TOO_LARGE = "PRICE_TOO_LARGE"
    PRICE_OUTLIER = "PRICE_OUTLIER"
    QUOTE_CROSSED = "QUOTE_CROSSED"
    TICK_OFF_GRID = "TICK_OFF_GRID"
    SIZE_INVALID = "SIZE_INVALID"
    TIME_BACKWARD = "TIME_BACKWARD"
    TIME_FUTURE = "TIME_FUTURE"
    TIME_TOO_OLD = "TIME_TOO_OLD"
    STALE_REPEAT = "STALE_REPEAT"
    BAR_INCONSISTENT = "BAR_INCONSISTENT"
    BAR_MISALIGNED = "BAR_MISALIGNED"
    BAR_CORRECTION = "BAR_CORRECTION"
    SYMBOL_UNKNOWN = "SYMBOL_UNKNOWN"


REASONS = {
    Code.PRICE_NOT_FINITE: "a price is not a finite number",
    Code.PRICE_NOT_POSITIVE: "a price is zero or negative",
    Code.PRICE_TOO_LARGE: "a price has more digits than any price",
    Code.PRICE_OUTLIER: "the price is far from the rolling median of its symbol",
    Code.QUOTE_CROSSED: "the bid is above the ask",
    Code.TICK_OFF_GRID: "a quoted price is not a whole number of ticks",
    Code.SIZE_INVALID: "a size is negative, absurd or not a number",
    Code.TIME_BACKWARD: "it is older than the one before it of its symbol",
    Code.TIME_FUTURE: "its time has not come yet on the market's clock",
    Code.TIME_TOO_OLD: "it is too old to be live",
    Code.STALE_REPEAT: "it repeats what was said before",
    Code.BAR_INCONSISTENT: "open or close lies outside low to high, or its mean is no price",
    Code.BAR_MISALIGNED: "it does not start on its timeframe's grid",
    Code.BAR_CORRECTION: "the bar was published before with other figures",
    Code.SYMBOL_UNKNOWN: "nobody asked for this symbol",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits of the checks. Times are market time; a simulated clock's factor scales them."""

    future_s_max: float = 5.0
    age_s_max: float = 60.0
    size_max: float = 1e9
    outlier_window: int = 64
    outlier_refresh: int = 32
    outlier_mad: float = 10.0
    outlier_floor: float = 0.03
    outlier_confirmations: int = 5
    outlier_reset_s: float = 1800.0
    repeats_max: int = 1000


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """The event times that are believable now, in ns."""

    earliest_ns: int
    latest_ns: int

    @classmethod
    def around(cls, now_ns: int, rules: Rules, factor: float = 1.0) -> "TimeWindow":
        """The window at market time `now_ns` when the market runs `factor` times as fast."""
        scale = max(1.0, factor) * NS_PER_SECOND
        return cls(now_ns - int(rules.age_s_max * scale), now_ns + int(rules.future_s_max * scale))


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A tick that failed, with the reason and the tick itself as JSON."""

    symbol: str
    kind: str
    code: Code
    ts_event: int
    tick: str

    @property
    def reason(self) -> str:
        """What the code means, in words."""
        return REASONS[self.code]


def quarantined(symbol: str, code: Code, tick: Quote | TradeTick | Bar) -> Quarantined:
    """The record of `tick` having failed by `code`."""
    kind = {Quote: "quote", TradeTick: "trade", Bar: "bar"}[type(tick)]
    # PostgreSQL's jsonb has no NUL character, whatever a provider may send.
    text = msgspec.json.encode(tick).decode().replace("\\u0000", "")
    return Quarantined(symbol, kind, code, tick.ts_event, text)


class PriceBand:
    """The range of prices near what was seen last; unbounded until half the window is full."""

    __slots__ = ("_accepted", "_prices", "_rules", "_strangers", "_ts_last", "high", "low")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._prices: deque[float] = deque(maxlen=rules.outlier_window)
        self._strangers: list[float] = []
        self._accepted = 0
        self._ts_last = 0
        self.low, self.high = -inf, inf

    def admits(self, price: float, ts_ns: int) -> bool:
        """Whether `price` is no outlier; remembers it."""
        if ts_ns - self._ts_last > self._rules.outlier_reset_s * NS_PER_SECOND:
            self._restart([])
        self._ts_last = ts_ns
        if self.low <= price <= self.high:
            if self._strangers:
                self._strangers = []
            self._remember(price)
            return True
        return self._confirms_new_level(price)

    def _remember(self, price: float) -> None:
        self._prices.append(price)
        self._accepted += 1
        if self._accepted % self._rules.outlier_refresh == 0:
            self._refresh()

    def _refresh(self) -> None:
        if len(self._prices) * 2 < self._rules.outlier_window:
            return
        middle = median(self._prices)
        deviation = median(abs(price - middle) for price in self._prices)
        reach = max(
            self._rules.outlier_mad * _MAD_TO_SIGMA * deviation, self._rules.outlier_floor * middle
        )
        self.low, self.high = middle - reach, middle + reach

    def _confirms_new_level(self, price: float) -> bool:
        near = self._rules.outlier_floor * price
        if self._strangers and abs(price - self._strangers[-1]) > near:
            self._strangers = []
        self._strangers.append(price)
        if len(self._strangers) < self._rules.outlier_confirmations:
            return False
        self._restart(self._strangers)
        return True

    def _restart(self, prices: list[float]) -> None:
        self._prices.clear()
        self._prices.extend(prices)
        self._strangers = []
        self._accepted = len(prices)
        self.low, self.high = -inf, inf


class SymbolChecks:
    """The checks of one symbol. Each method gives the code that failed, or None."""

    __slots__ = (
        "_band",
        "_quote",
        "_repeats",
        "_rules",
        "_tick_below_one",
        "_tick_units",
        "_trade",
    )

    def __init__(self, instrument: Instrument, rules: Rules) -> None:
        self._rules = rules
        self._band = PriceBand(rules)
        self._quote: Quote | None = None
        self._trade: TradeTick | None = None
        self._repeats = 0
        self._tick_units = 1.0 / float(instrument.tick_size)
        self._tick_below_one = 1.0 / float(instrument.tick_at(instrument.tick_size / 2))

    def quote(self, quote: Quote, window: TimeWindow) -> Code | None:
        """Check a quote: prices, spread, grid, sizes, time, repeats, outlier."""
        bid, ask = quote.bid, quote.ask
        if not (0.0 < bid < _FIGURE_END and 0.0 < ask < _FIGURE_END):
            return _not_a_price(bid, ask)
        if bid > ask:
            return Code.QUOTE_CROSSED
        if self._off_grid(bid) or self._off_grid(ask):
            return Code.TICK_OFF_GRID
        limit = self._rules.size_max
        if not (0.0 <= quote.bid_size <= limit and 0.0 <= quote.ask_size <= limit):
            return Code.SIZE_INVALID
        last = self._quote
        code = self._time(quote.ts_event, last.ts_event if last else 0, window)
        if code is None and last is not None:
            code = self._repeat(quote, last)
        if code is None and not self._band.admits((bid + ask) / 2.0, quote.ts_event):
            code = Code.PRICE_OUTLIER
        if code is None:
            self._quote = quote
        return code

    def trade(self, trade: TradeTick, window: TimeWindow) -> Code | None:
        """Check a trade. Prints inside the spread may lie off the quoting grid (price
        improvement, midpoint crosses), so the grid is not asked of them."""
        if not 0.0 < trade.price < _FIGURE_END:
            return _not_a_price(trade.price)
        if not 0.0 < trade.size <= self._rules.size_max:
            return Code.SIZE_INVALID
        last = self._trade
        code = self._time(trade.ts_event, last.ts_event if last else 0, window)
        if code is None and not self._band.admits(trade.price, trade.ts_event):
            code = Code.PRICE_OUTLIER
        if code is None:
            self._trade = trade
        return code

    def bar(self, bar: Bar, window: TimeWindow) -> Code | None:
        """Check a provider's live bar: its own consistency, closed by now, no outlier."""
        code = check_bar(bar)
        if code is not None:
            return code
        if bar.ts_event + Timeframe(bar.timeframe).ns > window.latest_ns:
            return Code.TIME_FUTURE
        if not self._band.low <= bar.close <= self._band.high:
            return Code.PRICE_OUTLIER
        return None

    def _off_grid(self, price: float) -> bool:
        ticks = price * (self._tick_units if price >= 1.0 else self._tick_below_one)
        return abs(ticks - round(ticks)) > _GRID_TOLERANCE

    def _time(self, ts_ns: int, last_ns: int, window: TimeWindow) -> Code | None:
        if ts_ns > window.latest_ns:
            return Code.TIME_FUTURE
        if ts_ns < window.earliest_ns:
            return Code.TIME_TOO_OLD
        return Code.TIME_BACKWARD if ts_ns < last_ns else None

    def _repeat(self, quote: Quote, last: Quote) -> Code | None:
        if quote.bid != last.bid or quote.ask != last.ask:
            self._repeats = 0
            return None
        if quote.bid_size != last.bid_size or quote.ask_size != last.ask_size:
            self._repeats = 0
            return None
        self._repeats += 1
        same = quote.ts_event == last.ts_event
        return Code.STALE_REPEAT if same or self._repeats > self._rules.repeats_max else None


def check_bar(bar: Bar) -> Code | None:
    """The code by which a bar contradicts itself, or None; needs no state, no clock."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    if not all(0.0 < price < _FIGURE_END for price in prices):
        return _not_a_price(*prices)
    if not (0.0 <= bar.volume < _FIGURE_END and 0 <= bar.trades < _TRADES_END):
        return Code.SIZE_INVALID
    if not 0.0 <= bar.vwap < _FIGURE_END:
        return Code.BAR_INCONSISTENT
    if bar.low > min(bar.open, bar.close) or bar.high < max(bar.open, bar.close):
        return Code.BAR_INCONSISTENT
    timeframe = Timeframe(bar.timeframe)
    if bar.ts_event <= 0:
        return Code.BAR_MISALIGNED
    if timeframe is not Timeframe.DAY and timeframe.floor(bar.ts_event) != bar.ts_event:
        return Code.BAR_MISALIGNED
    return None


def _not_a_price(*prices: float) -> Code:
    if not all(isfinite(price) for price in prices):
        return Code.PRICE_NOT_FINITE
    return Code.PRICE_NOT_POSITIVE if min(prices) <= 0.0 else Code.PRICE_TOO_LARGE
