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
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from libs.common.domain.sessions import NEW_YORK, Session, SessionCalendar
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.market.bridge import Density
from services.broker_simulator.market.daily import DailyMarket, DailySeries, asset_of
from services.broker_simulator.market.tape import (
    Candle,
    DayTape,
    Ints,
    Market,
    Quotes,
    Trades,
    between,
    candles,
    empty_tape,
    merge,
)

_DAY_NS = 86_400_000_000_000
_MS = 1_000_000
_BARS = {"open", "high", "low", "close"}
_QUOTE_BARS = {f"{side}_{at}" for side in ("bid", "ask") for at in _BARS}
_SPREAD_BPS = 1.0


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
        self._quotes = {s: quotes.get(s) or _around(trades[s]) for s in symbols}
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
    digest = hashlib.sha256()
    for path in files:
        frame = _read(path)
        digest.update(path.name.encode())
        digest.update(str(frame.shape).encode())
        kind = _kind(path, frame)
        for name, part in frame.groupby("symbol", sort=True):
            symbol = str(name).upper()
            if symbols and symbol not in symbols:
                continue
            if kind == "daily":
                daily[symbol] = part
            elif kind in ("quotes", "quote_bars"):
                made = _quotes(path, part) if kind == "quotes" else _quote_bars(path, part)
                quotes.setdefault(symbol, []).append(made)
            else:
                prints = _prints(path, part) if kind == "trades" else _bar_prints(path, part)
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
        {s: _join_quotes(parts) for s, parts in quotes.items()},
        {s: _join_trades(parts) for s, parts in trades.items()},
        calendar,
    )


def _read(path: Path) -> pd.DataFrame:
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".parquet": pd.read_parquet,
        ".csv": pd.read_csv,
        ".gz": pd.read_csv,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidInputError(f"replay: {path}: expected a .parquet or .csv file")
    try:
        frame = reader(path)
    except FileNotFoundError as error:
        raise InvalidInputError(f"replay: {path}: no such file") from error
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise InvalidInputError(f"replay: {path}: cannot be read: {error}") from error
    if frame.empty:
        raise InvalidInputError(f"replay: {path}: has no rows")
    return frame


def _kind(path: Path, frame: pd.DataFrame) -> str:
    columns = set(frame.columns)
    if "symbol" not in columns:
        raise InvalidInputError(f"replay: {path}: column symbol is missing")
    if "ts" not in columns and not ("date" in columns and columns >= _BARS):
        raise InvalidInputError(f"replay: {path}: column ts (or date, for daily bars) is missing")
    kinds = {
        "quote_bars": _QUOTE_BARS,
        "quotes": {"bid", "ask"},
        "trades": {"price", "size"},
        "bars": _BARS,
    }
    for kind, needed in kinds.items():
        if columns >= needed:
            return "daily" if kind == "bars" and "ts" not in columns else kind
    raise InvalidInputError(
        f"replay: {path}: columns {', '.join(sorted(columns))} are neither bars "
        "(open, high, low, close), quotes (bid, ask), quote bars nor trades (price, size)"
    )


def _sorted(path: Path, frame: pd.DataFrame) -> tuple[pd.DataFrame, Ints]:
    try:
        times = pd.to_datetime(frame["ts"], utc=True)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"replay: {path}: column ts: {error}") from error
    if times.isna().any():
        raise InvalidInputError(f"replay: {path}: column ts has empty cells")
    ns = times.astype("datetime64[ns, UTC]").astype("int64").to_numpy()
    order = np.argsort(ns, kind="stable")
    return frame.iloc[order], ns[order].astype(np.int64)


def _ticks(path: Path, frame: pd.DataFrame, column: str) -> Ints:
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
    bad = ~np.isfinite(values) | (values <= 0) | (values > 1e9)
    if bad.any():
        row = frame.index[int(np.argmax(bad))]
        raise InvalidInputError(
            f"replay: {path}: row {row}: {column} {frame[column].loc[row]!r} is not a price"
        )
    ticks: Ints = np.rint(values * 10_000).astype(np.int64)
    return ticks


def _sizes(frame: pd.DataFrame, column: str, default: int) -> Ints:
    if column not in frame:
        return np.full(len(frame), default, dtype=np.int64)
    values = pd.to_numeric(frame[column], errors="coerce").fillna(default).to_numpy(np.float64)
    sizes: Ints = np.clip(np.rint(values), 0, 2**31 - 1).astype(np.int64)
    return sizes


def _prints(path: Path, frame: pd.DataFrame) -> Trades:
    if "suspicious" in frame:
        frame = frame[~frame["suspicious"].astype(bool)]
    frame, ts = _sorted(path, frame)
    return Trades(ts, _ticks(path, frame, "price"), np.maximum(_sizes(frame, "size", 100), 1))


def _quotes(path: Path, frame: pd.DataFrame) -> Quotes:
    if "suspicious" in frame:
        frame = frame[~frame["suspicious"].astype(bool)]
    frame, ts = _sorted(path, frame)
    sides = [name for name in ("bid", "ask", "bid_size", "ask_size") if name in frame]
    filled = frame[sides].ffill()
    known = filled[["bid", "ask"]].notna().all(axis=1).to_numpy()
    filled, ts = filled[known], ts[known]
    return _valid_quotes(
        ts,
        _ticks(path, filled, "bid"),
        _ticks(path, filled, "ask"),
        _sizes(filled, "bid_size", 100),
        _sizes(filled, "ask_size", 100),
    )


def _quote_bars(path: Path, frame: pd.DataFrame) -> Quotes:
    frame, ts = _sorted(path, frame)
    step = _step(ts)
    moments = zip(("open", "low", "high", "close"), _moments(step), strict=True)
    parts = [
        _valid_quotes(
            ts + offset,
            _ticks(path, frame, f"bid_{at}"),
            _ticks(path, frame, f"ask_{at}"),
            _sizes(frame, "bid_size", 100),
            _sizes(frame, "ask_size", 100),
        )
        for at, offset in moments
    ]
    return _join_quotes(parts)


def _bar_prints(path: Path, frame: pd.DataFrame) -> Trades:
    """Return four prints a bar: open, the extremes (low first when it rose), close."""
    frame, ts = _sorted(path, frame)
    o, h, low, c = (_ticks(path, frame, name) for name in ("open", "high", "low", "close"))
    if ((h < np.maximum(o, c)) | (low > np.minimum(o, c))).any():
        raise InvalidInputError(f"replay: {path}: a bar's high or low does not enclose it")
    rose = c >= o
    prices = (o, np.where(rose, low, h), np.where(rose, h, low), c)
    volume = np.maximum(_sizes(frame, "volume", 400), 4)
    quarter = volume // 4
    sizes = (quarter, quarter, quarter, volume - 3 * quarter)
    parts = [
        Trades(ts + offset, price, size)
        for offset, price, size in zip(_moments(_step(ts)), prices, sizes, strict=True)
    ]
    return _join_trades(parts)


def _step(ts: Ints) -> int:
    gaps = np.diff(ts)
    gaps = gaps[gaps > 0]
    return int(gaps.min()) if gaps.size else 60_000 * _MS


def _moments(step: int) -> tuple[int, int, int, int]:
    return (_MS, step // 3, 2 * step // 3, step - 2 * _MS)


def _valid_quotes(ts: Ints, bid: Ints, ask: Ints, bid_size: Ints, ask_size: Ints) -> Quotes:
    """Keep quotes whose sides do not cross or lock; recorded feeds hold a few that do."""
    keep = bid < ask
    return Quotes(ts[keep], bid[keep], ask[keep], bid_size[keep], ask_size[keep])


def _around(trades: Trades) -> Quotes:
    tick = np.where(trades.price >= 10_000, 100, 1)
    wide = np.rint(trades.price * _SPREAD_BPS / 10_000 / tick).astype(np.int64)
    spread = np.maximum(wide, 1) * tick
    bid = np.maximum(trades.price - spread // 2 // tick * tick, 1)
    size = np.maximum(trades.size, 100)
    return Quotes(trades.ts - _MS // 2, bid, bid + spread, size, size)


def _join_quotes(parts: Sequence[Quotes]) -> Quotes:
    names = ("ts", "bid", "ask", "bid_size", "ask_size")
    columns = [np.concatenate([getattr(p, name) for p in parts]) for name in names]
    order = np.argsort(columns[0], kind="stable")
    return Quotes(*(column[order] for column in columns))


def _join_trades(parts: Sequence[Trades]) -> Trades:
    columns = [
        np.concatenate([getattr(p, name) for p in parts]) for name in ("ts", "price", "size")
    ]
    order = np.argsort(columns[0], kind="stable")
    return Trades(*(column[order] for column in columns))


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
        o, h, low, c = (_ticks(path, aligned, name) for name in ("open", "high", "low", "close"))
        h, low = np.maximum(h, np.maximum(o, c)), np.minimum(low, np.minimum(o, c))
        sigma = np.maximum(np.log(h / low) / 1.67, 0.002)  # range of a random walk ~ 1.67 sigma
        series[symbol] = DailySeries(o, h, low, c, _sizes(aligned, "volume", 1_000_000), sigma)
    return DailyMarket(fingerprint, 0, days, series, Density())
