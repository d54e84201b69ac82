"""Reading recorded market data: what a file holds, checked, as quotes and prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.market.tape import Ints, Quotes, Trades

_MS = 1_000_000
_BARS = {"open", "high", "low", "close"}
_QUOTE_BARS = {f"{side}_{at}" for side in ("bid", "ask") for at in _BARS}
_SPREAD_BPS = 1.0


def read_frame(path: Path) -> pd.DataFrame:
    """Return the file's table. Raises InvalidInputError naming the file."""
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


def kind_of(path: Path, frame: pd.DataFrame) -> str:
    """Return what the columns make the file: quote_bars, quotes, trades, bars or daily."""
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


def ticks_in(path: Path, frame: pd.DataFrame, column: str) -> Ints:
    """Return a column of prices in ten-thousandths. Raises InvalidInputError naming the row."""
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
    bad = ~np.isfinite(values) | (values <= 0) | (values > 1e9)
    if bad.any():
        row = frame.index[int(np.argmax(bad))]
        raise InvalidInputError(
            f"replay: {path}: row {row}: {column} {frame[column].loc[row]!r} is not a price"
        )
    ticks: Ints = np.rint(values * 10_000).astype(np.int64)
    return ticks


def sizes_in(frame: pd.DataFrame, column: str, default: int) -> Ints:
    """Return a column of sizes; `default` where the cell is empty or the column not there."""
    if column not in frame:
        return np.full(len(frame), default, dtype=np.int64)
    values = pd.to_numeric(frame[column], errors="coerce").fillna(default).to_numpy(np.float64)
    sizes: Ints = np.clip(np.rint(values), 0, 2**31 - 1).astype(np.int64)
    return sizes


def read_prints(path: Path, frame: pd.DataFrame) -> Trades:
    """Return the trades of one symbol, without those that the vendor suspects."""
    if "suspicious" in frame:
        frame = frame[~frame["suspicious"].astype(bool)]
    frame, ts = _sorted(path, frame)
    return Trades(ts, ticks_in(path, frame, "price"), np.maximum(sizes_in(frame, "size", 100), 1))


def read_quotes(path: Path, frame: pd.DataFrame) -> Quotes:
    """Return the quotes of one symbol; a side that is empty keeps its last value."""
    if "suspicious" in frame:
        frame = frame[~frame["suspicious"].astype(bool)]
    frame, ts = _sorted(path, frame)
    sides = [name for name in ("bid", "ask", "bid_size", "ask_size") if name in frame]
    filled = frame[sides].ffill()
    known = filled[["bid", "ask"]].notna().all(axis=1).to_numpy()
    filled, ts = filled[known], ts[known]
    return _valid_quotes(
        ts,
        ticks_in(path, filled, "bid"),
        ticks_in(path, filled, "ask"),
        sizes_in(filled, "bid_size", 100),
        sizes_in(filled, "ask_size", 100),
    )


def read_quote_bars(path: Path, frame: pd.DataFrame) -> Quotes:
    """Return four quotes for each quote bar."""
    frame, ts = _sorted(path, frame)
    step = _step(ts)
    moments = zip(("open", "low", "high", "close"), _moments(step), strict=True)
    parts = [
        _valid_quotes(
            ts + offset,
            ticks_in(path, frame, f"bid_{at}"),
            ticks_in(path, frame, f"ask_{at}"),
            sizes_in(frame, "bid_size", 100),
            sizes_in(frame, "ask_size", 100),
        )
        for at, offset in moments
    ]
    return join_quotes(parts)


def read_bar_prints(path: Path, frame: pd.DataFrame) -> Trades:
    """Return four prints a bar: open, the extremes (low first when it rose), close."""
    frame, ts = _sorted(path, frame)
    o, h, low, c = (ticks_in(path, frame, name) for name in ("open", "high", "low", "close"))
    if ((h < np.maximum(o, c)) | (low > np.minimum(o, c))).any():
        raise InvalidInputError(f"replay: {path}: a bar's high or low does not enclose it")
    rose = c >= o
    prices = (o, np.where(rose, low, h), np.where(rose, h, low), c)
    volume = np.maximum(sizes_in(frame, "volume", 400), 4)
    quarter = volume // 4
    sizes = (quarter, quarter, quarter, volume - 3 * quarter)
    parts = [
        Trades(ts + offset, price, size)
        for offset, price, size in zip(_moments(_step(ts)), prices, sizes, strict=True)
    ]
    return join_trades(parts)


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


def around(trades: Trades) -> Quotes:
    """Return a quote just before each print, for symbols without recorded ones."""
    tick = np.where(trades.price >= 10_000, 100, 1)
    wide = np.rint(trades.price * _SPREAD_BPS / 10_000 / tick).astype(np.int64)
    spread = np.maximum(wide, 1) * tick
    bid = np.maximum(trades.price - spread // 2 // tick * tick, 1)
    size = np.maximum(trades.size, 100)
    return Quotes(trades.ts - _MS // 2, bid, bid + spread, size, size)


def join_quotes(parts: Sequence[Quotes]) -> Quotes:
    """Return several runs of quotes as one, in order of time."""
    names = ("ts", "bid", "ask", "bid_size", "ask_size")
    columns = [np.concatenate([getattr(p, name) for p in parts]) for name in names]
    order = np.argsort(columns[0], kind="stable")
    return Quotes(*(column[order] for column in columns))


def join_trades(parts: Sequence[Trades]) -> Trades:
    """Return several runs of prints as one, in order of time."""
    columns = [
        np.concatenate([getattr(p, name) for p in parts]) for name in ("ts", "price", "size")
    ]
    order = np.argsort(columns[0], kind="stable")
    return Trades(*(column[order] for column in columns))
