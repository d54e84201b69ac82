"""Bars from trades, and longer bars from shorter ones."""

from collections.abc import Iterable
from dataclasses import dataclass

from libs.common.contracts.messages import Bar, TradeTick
from libs.common.domain.timeframes import Timeframe

DERIVED = (Timeframe.FIVE_MINUTES, Timeframe.QUARTER_HOUR, Timeframe.HOUR)
"""What we fold from minute bars; `1m` and `1d` are the provider's."""


@dataclass(slots=True)
class _Open:
    """A bar in the making; `turnover` is the sum of price x size."""

    ts_event: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float
    trades: int


class BarBuilder:
    """Builds the bars of one symbol and timeframe from its trades.

    A bar holds the trades with start <= ts < start + span, in order of arrival, and is given
    out once, when time has passed its end by the grace time. Spans without a trade give no bar.
    Trades that come later still are counted in `late` and change nothing.
    """

    def __init__(self, timeframe: Timeframe, grace_ns: int = 0) -> None:
        self.timeframe = timeframe
        self.late = 0
        self._grace_ns = grace_ns
        self._open: dict[int, _Open] = {}
        self._closed_until_ns = 0

    def add(self, trade: TradeTick) -> None:
        """Take one trade into its bar."""
        start = self.timeframe.floor(trade.ts_event)
        if start < self._closed_until_ns:
            self.late += 1
            return
        price, size = trade.price, trade.size
        bar = self._open.get(start)
        if bar is None:
            self._open[start] = _Open(start, price, price, price, price, size, price * size, 1)
            return
        bar.high = max(bar.high, price)
        bar.low = min(bar.low, price)
        bar.close = price
        bar.volume += size
        bar.turnover += price * size
        bar.trades += 1

    def close_until(self, now_ns: int) -> list[Bar]:
        """Every bar whose end, grace included, is not after `now_ns`, oldest first."""
        limit = self.timeframe.floor(now_ns - self._grace_ns)
        self._closed_until_ns = max(self._closed_until_ns, limit)
        due = sorted(start for start in self._open if start < limit)
        return [self._finish(self._open.pop(start)) for start in due]

    def _finish(self, bar: _Open) -> Bar:
        return Bar(
            timeframe=self.timeframe.value,
            ts_event=bar.ts_event,
            open=bar.open,
            high=bar.high,
            low=bar.low,
            close=bar.close,
            volume=bar.volume,
            vwap=bar.turnover / bar.volume,
            trades=bar.trades,
        )


def fold(bars: Iterable[Bar], timeframe: Timeframe, ts_event: int) -> Bar:
    """One bar of `timeframe` at `ts_event` out of shorter ones, oldest first; at least one."""
    parts = list(bars)
    volume = sum(bar.volume for bar in parts)
    turnover = sum(bar.vwap * bar.volume for bar in parts)
    return Bar(
        timeframe=timeframe.value,
        ts_event=ts_event,
        open=parts[0].open,
        high=max(bar.high for bar in parts),
        low=min(bar.low for bar in parts),
        close=parts[-1].close,
        volume=volume,
        vwap=turnover / volume if volume else 0.0,
        trades=sum(bar.trades for bar in parts),
    )


class BarFolder:
    """Folds the minute bars of one symbol into one longer timeframe.

    A longer bar is given out with the minute that ends it, or, where that minute had no trade,
    with the first minute after it. `seed` puts back the open bucket after a restart.
    """

    def __init__(self, timeframe: Timeframe) -> None:
        self.timeframe = timeframe
        self._start = -1
        self._parts: list[Bar] = []

    def seed(self, minutes: Iterable[Bar]) -> None:
        """Take stored minutes, oldest first, without giving any bar out."""
        for bar in minutes:
            self.add(bar)

    def add(self, minute: Bar) -> list[Bar]:
        """Take the next minute bar; the bars that are closed by it (none, one or two)."""
        closed = []
        start = self.timeframe.floor(minute.ts_event)
        if start != self._start:
            closed += self.close_until(minute.ts_event)
            self._start = start
        self._parts.append(minute)
        closed += self.close_until(minute.ts_event + Timeframe.MINUTE.ns)
        return closed

    def close_until(self, now_ns: int) -> list[Bar]:
        """The open bar, if it has ended by `now_ns`."""
        if not self._parts or now_ns < self._start + self.timeframe.ns:
            return []
        bar = fold(self._parts, self.timeframe, self._start)
        self._parts = []
        return [bar]


def fold_all(minutes: Iterable[Bar], timeframe: Timeframe, now_ns: int) -> list[Bar]:
    """Every bar of `timeframe` that the stored minutes make and that has ended by `now_ns`."""
    folder = BarFolder(timeframe)
    folded = [bar for minute in minutes for bar in folder.add(minute)]
    return folded + folder.close_until(now_ns)
