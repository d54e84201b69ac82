"""A market that does what it is told: quotes and prints come through `/sim/market`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from libs.common.domain.sessions import Session
from libs.common.kernel.clock import to_ns
from services.broker_simulator.market.daily import asset_of
from services.broker_simulator.market.tape import (
    Candle,
    DayTape,
    Quotes,
    Trades,
    between,
    candles,
    merge,
)

_DAY_NS = 86_400_000_000_000


class ScriptedMarket:
    """Remembers what it was told, so that history can be asked for it."""

    def __init__(self, symbols: Sequence[str], first: date, last: date) -> None:
        self.assets = tuple(asset_of(symbol) for symbol in symbols)
        self.first, self.last = first, last
        self.fingerprint = f"scripted-{'-'.join(symbols)}"
        self._quotes: dict[str, list[tuple[int, ...]]] = {}
        self._trades: dict[str, list[tuple[int, ...]]] = {}

    def tell(self, symbol: str, row: tuple[int, ...]) -> None:
        """Remember a quote (ts, bid, ask, bid_size, ask_size) or a print (ts, price, size)."""
        rows = self._quotes if len(row) == 5 else self._trades
        rows.setdefault(symbol, []).append(row)

    def has(self, day: date) -> bool:
        """Tell whether something can happen on `day`."""
        return self.first <= day <= self.last

    def day(self, symbol: str, session: Session) -> DayTape:
        """Return what was told for the symbol on that day."""
        start, end = to_ns(session.pre_open), to_ns(session.post_close)
        quotes = [row for row in self._quotes.get(symbol, ()) if start <= row[0] < end]
        trades = [row for row in self._trades.get(symbol, ()) if start <= row[0] < end]
        q = np.array(sorted(quotes), dtype=np.int64).reshape(-1, 5).T
        t = np.array(sorted(trades), dtype=np.int64).reshape(-1, 3).T
        return DayTape(Quotes(*q), Trades(*t))

    def daily(self, symbol: str, session: Session) -> Candle | None:
        """Return the bar of the day's regular session."""
        opened, closed = to_ns(session.open), to_ns(session.close)
        trades = between(self.day(symbol, session).trades, opened, closed)
        parts = candles(trades, _DAY_NS)
        return merge(parts, opened) if parts else None
