"""The tape: what a market did on one day, as arrays; and the bars made from it.

Prices are whole ten-thousandths of a dollar, times nanoseconds since 1970, sizes shares; all
int64, sorted by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from libs.common.domain.sessions import Session
from services.broker_simulator.engine.model import Asset

Ints = NDArray[np.int64]
MINUTE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Quotes:
    """Best bids and offers, one row a change; each field shape (n,)."""

    ts: Ints
    bid: Ints
    ask: Ints
    bid_size: Ints
    ask_size: Ints


@dataclass(frozen=True, slots=True)
class Trades:
    """Prints; each field shape (n,)."""

    ts: Ints
    price: Ints
    size: Ints


@dataclass(frozen=True, slots=True)
class DayTape:
    """One symbol's day."""

    quotes: Quotes
    trades: Trades


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar; prices in ten-thousandths, `vwap` in dollars, `ts` its beginning."""

    ts: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int
    vwap: float


class Market(Protocol):
    """A source of tapes: the same arguments give the same tape, always."""

    @property
    def assets(self) -> Sequence[Asset]:
        """Return what is traded."""
        ...

    @property
    def first(self) -> date:
        """Return the first day that has a tape."""
        ...

    @property
    def last(self) -> date:
        """Return the last day that has a tape."""
        ...

    @property
    def fingerprint(self) -> str:
        """Return a name that differs whenever the tapes do."""
        ...

    def has(self, day: date) -> bool:
        """Tell whether `day` has a tape."""
        ...

    def day(self, symbol: str, session: Session) -> DayTape:
        """Return the tape of one symbol and session; empty where there is none."""
        ...

    def daily(self, symbol: str, session: Session) -> Candle | None:
        """Return the finished day's bar of the regular session, None where nothing traded."""
        ...


def empty_tape() -> DayTape:
    """Return a day on which nothing happened."""
    none = np.empty(0, dtype=np.int64)
    return DayTape(Quotes(none, none, none, none, none), Trades(none, none, none))


def candles(trades: Trades, step_ns: int, origin_ns: int = 0) -> list[Candle]:
    """Return the bars of `step_ns` that `trades` make, oldest first, none for empty steps.

    Bars begin at `origin_ns` plus whole steps.
    """
    if trades.ts.size == 0:
        return []
    buckets = (trades.ts - origin_ns) // step_ns
    starts = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1))
    ends = np.append(starts[1:], trades.ts.size)
    volume = np.add.reduceat(trades.size, starts)
    money = np.add.reduceat(trades.price * trades.size, starts)
    high = np.maximum.reduceat(trades.price, starts)
    low = np.minimum.reduceat(trades.price, starts)
    return [
        Candle(
            ts=int(buckets[a]) * step_ns + origin_ns,
            open=int(trades.price[a]),
            high=int(high[i]),
            low=int(low[i]),
            close=int(trades.price[b - 1]),
            volume=int(volume[i]),
            trades=int(b - a),
            vwap=_vwap(int(money[i]), int(volume[i]), int(trades.price[b - 1])),
        )
        for i, (a, b) in enumerate(zip(starts, ends, strict=True))
    ]


def merge(parts: Sequence[Candle], ts: int) -> Candle:
    """Return the one bar that consecutive `parts` make, beginning at `ts`."""
    volume = sum(part.volume for part in parts)
    money = sum(part.vwap * part.volume for part in parts)
    return Candle(
        ts=ts,
        open=parts[0].open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=parts[-1].close,
        volume=volume,
        trades=sum(part.trades for part in parts),
        vwap=round(money / volume, 6) if volume else parts[-1].close / 10_000,
    )


def between(trades: Trades, start_ns: int, end_ns: int) -> Trades:
    """Return the prints with `start_ns <= ts < end_ns`."""
    a, b = np.searchsorted(trades.ts, [start_ns, end_ns])
    return Trades(trades.ts[a:b], trades.price[a:b], trades.size[a:b])


def _vwap(money: int, volume: int, close: int) -> float:
    return round(money / volume / 10_000, 6) if volume else close / 10_000
