"""Markets that know each symbol's days and expand them to ticks: real history, or invented."""

from __future__ import annotations

import hashlib
import importlib.util
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from libs.common.domain.sessions import Session, SessionCalendar
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.engine.model import Asset
from services.broker_simulator.market.bridge import DayShape, Density, expand, grid, stream
from services.broker_simulator.market.tape import Candle, DayTape, Ints, empty_tape

Floats = NDArray[np.float64]
EWMA_DECAY = 0.94
SIGMA_FLOOR = 0.005
GAP_SHARE = 0.3
GAP_NOISE = 0.25
INTRADAY_SHARE = 0.8
VOLUME_MEAN = 4_000_000.0

NAMES = {
    "AAPL": ("Apple Inc.", "NASDAQ"),
    "AMD": ("Advanced Micro Devices, Inc.", "NASDAQ"),
    "BAC": ("Bank of America Corporation", "NYSE"),
    "BBY": ("Best Buy Co., Inc.", "NYSE"),
    "CVX": ("Chevron Corporation", "NYSE"),
    "GE": ("General Electric Company", "NYSE"),
    "HD": ("The Home Depot, Inc.", "NYSE"),
    "JNJ": ("Johnson & Johnson", "NYSE"),
    "JPM": ("JPMorgan Chase & Co.", "NYSE"),
    "KO": ("The Coca-Cola Company", "NYSE"),
    "LLY": ("Eli Lilly and Company", "NYSE"),
    "MRK": ("Merck & Co., Inc.", "NYSE"),
    "MSFT": ("Microsoft Corporation", "NASDAQ"),
    "PEP": ("PepsiCo, Inc.", "NASDAQ"),
    "PFE": ("Pfizer Inc.", "NYSE"),
    "PG": ("The Procter & Gamble Company", "NYSE"),
    "RRC": ("Range Resources Corporation", "NYSE"),
    "UNH": ("UnitedHealth Group Incorporated", "NYSE"),
    "WMT": ("Walmart Inc.", "NYSE"),
    "XOM": ("Exxon Mobil Corporation", "NYSE"),
}


@dataclass(frozen=True, slots=True)
class DailySeries:
    """One symbol's days: prices in ten-thousandths, each shape (n,); `sigma` intraday, log."""

    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    sigma: Floats


def asset_of(symbol: str) -> Asset:
    """Return the asset record of `symbol`, its id derived from the symbol."""
    name, exchange = NAMES.get(symbol, (symbol, "NYSE"))
    asset_id = uuid.uuid5(uuid.NAMESPACE_DNS, f"{symbol}.assets.tradewind")
    return Asset(id=str(asset_id), symbol=symbol, name=name, exchange=exchange)


def outline(seed: int, symbol: str, closes: Floats) -> DailySeries:
    """Derive open, high, low and volume of each day from closes, by a seeded model.

    With r the day's log return and s its volatility (exponentially weighted, decay 0.94, from
    earlier days only): the open gaps by 0.3 r + 0.25 s z from the previous close; high and low
    are drawn from the exact law of a Brownian bridge's extremes between open and close with
    volatility 0.8 s, maximum = (o + c + sqrt((c - o)^2 - 2 v^2 ln u)) / 2 in logs (Karatzas &
    Shreve, Brownian Motion and Stochastic Calculus, 4.3.40); volume is log-normal around four
    million shares and grows with |r| / s.
    """
    rng = stream(seed, symbol, 0)
    logs = np.log(closes)
    returns = np.diff(logs, prepend=logs[0])
    sigma = _ewma_sigma(returns)
    count = closes.size
    gap = GAP_SHARE * returns + GAP_NOISE * sigma * rng.standard_normal(count)
    opens = np.concatenate([logs[:1], logs[:-1]]) + gap
    vol = INTRADAY_SHARE * sigma
    span, centre = (logs - opens) ** 2, opens + logs
    highs = (centre + np.sqrt(span - 2 * vol**2 * np.log(1.0 - rng.random(count)))) / 2
    lows = (centre - np.sqrt(span - 2 * vol**2 * np.log(1.0 - rng.random(count)))) / 2
    o, c = grid(np.exp(opens) * 10_000), grid(closes * 10_000)
    h = np.maximum(grid(np.exp(highs) * 10_000), np.maximum(o, c))
    low = np.minimum(grid(np.exp(lows) * 10_000), np.minimum(o, c))
    surprise = 1.0 + 0.5 * np.minimum(np.abs(returns) / sigma, 4.0)
    volume = VOLUME_MEAN * np.exp(0.35 * rng.standard_normal(count)) * surprise
    return DailySeries(o, h, low, c, volume.astype(np.int64), vol)


def _ewma_sigma(returns: Floats) -> Floats:
    variance = np.empty(returns.size)
    level = float(np.var(returns[1:64])) if returns.size > 1 else SIGMA_FLOOR**2
    for i, value in enumerate(returns.tolist()):
        variance[i] = level
        level = EWMA_DECAY * level + (1 - EWMA_DECAY) * value * value
    return np.maximum(np.sqrt(variance), SIGMA_FLOOR)


class DailyMarket:
    """Symbols with daily outlines, expanded to ticks day by day."""

    def __init__(
        self,
        name: str,
        seed: int,
        days: Sequence[date],
        series: Mapping[str, DailySeries],
        density: Density,
    ) -> None:
        if not days or not series:
            raise InvalidInputError(f"market {name}: no days or no symbols")
        self._seed = seed
        self._days = list(days)
        self._index = {day: i for i, day in enumerate(self._days)}
        self._series = dict(series)
        self._density = density
        digest = hashlib.sha256(repr((name, seed, density, sorted(series))).encode())
        self.fingerprint = f"{name}-{digest.hexdigest()[:12]}"
        self.assets = tuple(asset_of(symbol) for symbol in self._series)
        self.first, self.last = self._days[0], self._days[-1]

    def has(self, day: date) -> bool:
        """Tell whether the market has prices of `day`."""
        return day in self._index

    def day(self, symbol: str, session: Session) -> DayTape:
        """Return the symbol's ticks of the session's day."""
        index = self._index.get(session.date)
        series = self._series.get(symbol)
        if index is None or series is None:
            return empty_tape()
        shape = DayShape(
            previous_close=int(series.close[max(index - 1, 0)]),
            open=int(series.open[index]),
            high=int(series.high[index]),
            low=int(series.low[index]),
            close=int(series.close[index]),
            volume=int(series.volume[index]),
            sigma=float(series.sigma[index]),
        )
        return expand(self._seed, symbol, session.date, session, shape, self._density)

    def daily(self, symbol: str, session: Session) -> Candle | None:
        """Return the day's bar without expanding it; its vwap is the typical price."""
        index = self._index.get(session.date)
        series = self._series.get(symbol)
        if index is None or series is None:
            return None
        high, low, close = (int(s[index]) for s in (series.high, series.low, series.close))
        minutes = (to_ns(session.close) - to_ns(session.open)) // 60_000_000_000
        return Candle(
            ts=to_ns(session.open),
            open=int(series.open[index]),
            high=high,
            low=low,
            close=close,
            volume=int(series.volume[index]),
            trades=int(minutes * self._density.trades),
            vwap=round((high + low + close) / 3 / 10_000, 6),
        )


def history_market(
    seed: int, symbols: Sequence[str], density: Density, calendar: SessionCalendar
) -> DailyMarket:
    """Return the real closes of twenty S&P 500 shares, 1990 to 2022, that ship inside skfolio.

    Adjusted closes only, so open, high, low and volume are modelled (`outline`). With `symbols`,
    only those; unknown ones raise InvalidInputError.
    """
    frame = _shipped_closes()
    available = [str(column) for column in frame.columns]
    wanted = list(symbols) or available
    unknown = sorted(set(wanted) - set(available))
    if unknown:
        raise InvalidInputError(
            f"market history: no prices for {', '.join(unknown)}; it has {', '.join(available)}"
        )
    days = [stamp.date() for stamp in frame.index]
    keep = [i for i, day in enumerate(days) if calendar.is_session_day(day)]
    if not keep:
        raise InvalidInputError("market history: the calendar shares no day with the prices")
    series = {
        symbol: outline(seed, symbol, frame[symbol].to_numpy(dtype=np.float64)[keep])
        for symbol in wanted
    }
    return DailyMarket("history", seed, [days[i] for i in keep], series, density)


def _shipped_closes() -> pd.DataFrame:
    """Read the data set where it lies: importing skfolio would load half of scientific Python."""
    spec = importlib.util.find_spec("skfolio")
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInputError("market history: the package skfolio is not installed")
    path = Path(spec.submodule_search_locations[0]) / "datasets/data/sp500_dataset.csv.gz"
    try:
        frame = pd.read_csv(path, index_col=0, parse_dates=True)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"market history: {path}: {error}") from error
    return frame
