"""A market replayed from files: Parquet or CSV with bars, quote bars, trades or quotes.

What a file holds is told from its columns: `symbol` and a time (`ts`, or `date` for daily bars),
then `price, size` (trades) · `bid, ask[, bid_size, ask_size]` (quotes; an empty side did not
change) · `open, high, low, close[, volume]` (bars) · `bid_open … ask_close` (quote bars). Several
files make one market. A symbol without quotes gets some around its prints, one tick or a basis
point wide. Daily bars are expanded by the bridge of the history market, with their own open,
high, low and close.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from libs.common.domain.sessions import NEW_YORK, Session, SessionCalendar
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.market.bridge import Density
from services.broker_simulator.market.daily import DailyMarket, DailySeries, asset_of
from services.broker_simulator.market.recordings import (
    around,
    join_quotes,
    join_trades,
    kind_of,
    read_bar_prints,
    read_frame,
    read_prints,
    read_quote_bars,
    read_quotes,
    sizes_in,
    ticks_in,
)
from services.broker_simulator.market.tape import (
    Candle,
    DayTape,
    Market,
    Quotes,
    Trades,
    between,
    candles,
    empty_tape,
    merge,
)

_DAY_NS = 86_400_000_000_000


class ReplayMarket:
    """Recorded ticks, as they came."""

    def __init__(
        self,
        fingerprint: str,
        quotes: dict[str, Quotes],
        trades: dict[str, Trades],
        calendar: SessionCalendar,
    ) -> None:
        self.fingerprint = fingerprint
        symbols = sorted(set(quotes) | set(trades))
        self.assets = tuple(asset_of(symbol) for symbol in symbols)
        self._trades = trades
        self._quotes = {s: quotes.get(s) or around(trades[s]) for s in symbols}
        stamps = np.concatenate([q.ts for q in self._quotes.values()])
        midnights = pd.to_datetime(stamps, utc=True).tz_convert(NEW_YORK).normalize().unique()
        days = sorted(stamp.date() for stamp in midnights)
        self._days = {day for day in days if calendar.is_session_day(day)}
        if not self._days:
            raise InvalidInputError("replay: the files hold no exchange day")
        self.first, self.last = min(self._days), max(self._days)

    def has(self, day: date) -> bool:
        """Tell whether anything was recorded on `day`."""
        return day in self._days

    def day(self, symbol: str, session: Session) -> DayTape:
        """Return what was recorded of the symbol that day, extended hours included."""
        quotes = self._quotes.get(symbol)
        if quotes is None:
            return empty_tape()
        start, end = to_ns(session.pre_open), to_ns(session.post_close)
        a, b = (int(i) for i in np.searchsorted(quotes.ts, [start, end]))
        names = ("ts", "bid", "ask", "bid_size", "ask_size")
        part = Quotes(*(getattr(quotes, name)[a:b] for name in names))
        trades = self._trades.get(symbol)
        return DayTape(part, between(trades, start, end) if trades else empty_tape().trades)

    def daily(self, symbol: str, session: Session) -> Candle | None:
        """Return the bar of the regular session."""
        opened, closed = to_ns(session.open), to_ns(session.close)
        parts = candles(between(self.day(symbol, session).trades, opened, closed), _DAY_NS)
        return merge(parts, opened) if parts else None


def replay_market(
    files: Sequence[Path], symbols: Sequence[str], calendar: SessionCalendar
) -> Market:
    """Return the market of the files, of `symbols` only where given.

    Raises InvalidInputError naming the file and what is wrong with it.
    """
    quotes: dict[str, list[Quotes]] = {}
    trades: dict[str, list[Trades]] = {}
    daily: dict[str, pd.DataFrame] = {}
    digest = hashlib.sha256(",".join(sorted(symbols)).encode())
    for path in files:
        frame = read_frame(path)
        digest.update(path.name.encode())
        digest.update(str(frame.shape).encode())
        kind = kind_of(path, frame)
        for name, part in frame.groupby("symbol", sort=True):
            symbol = str(name).upper()
            if symbols and symbol not in symbols:
                continue
            if kind == "daily":
                daily[symbol] = part
            elif kind in ("quotes", "quote_bars"):
                made = read_quotes(path, part) if kind == "quotes" else read_quote_bars(path, part)
                quotes.setdefault(symbol, []).append(made)
            else:
                prints = (
                    read_prints(path, part) if kind == "trades" else read_bar_prints(path, part)
                )
                trades.setdefault(symbol, []).append(prints)
    fingerprint = f"replay-{digest.hexdigest()[:12]}"
    if daily and (quotes or trades):
        raise InvalidInputError("replay: daily bars cannot be mixed with ticks or minute bars")
    if daily:
        return _daily_market(fingerprint, daily, calendar)
    if not quotes and not trades:
        raise InvalidInputError(f"replay: no rows of {', '.join(symbols) or 'any symbol'}")
    return ReplayMarket(
        fingerprint,
        {s: join_quotes(parts) for s, parts in quotes.items()},
        {s: join_trades(parts) for s, parts in trades.items()},
        calendar,
    )


def _daily_market(
    fingerprint: str, frames: dict[str, pd.DataFrame], calendar: SessionCalendar
) -> DailyMarket:
    dates = sorted({pd.Timestamp(d).date() for frame in frames.values() for d in frame["date"]})
    days = [day for day in dates if calendar.is_session_day(day)]
    series = {}
    for symbol, frame in frames.items():
        path = Path(symbol)
        stamps = [pd.Timestamp(value).date() for value in frame["date"]]
        aligned = frame.assign(day=stamps).drop_duplicates("day").set_index("day").reindex(days)
        aligned = aligned.ffill().bfill()
        o, h, low, c = (ticks_in(path, aligned, name) for name in ("open", "high", "low", "close"))
        h, low = np.maximum(h, np.maximum(o, c)), np.minimum(low, np.minimum(o, c))
        sigma = np.maximum(np.log(h / low) / 1.67, 0.002)  # range of a random walk ~ 1.67 sigma
        series[symbol] = DailySeries(o, h, low, c, sizes_in(aligned, "volume", 1_000_000), sigma)
    return DailyMarket(fingerprint, 0, days, series, Density())
