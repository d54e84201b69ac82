"""One account's state in memory, and the moment of a judgement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from libs.common.contracts.messages import Signal
from libs.common.domain.checks import Limits
from libs.common.domain.instruments import Instrument
from libs.common.domain.vocabulary import SessionState, TradingState
from services.risk_manager.book import Book
from services.risk_manager.limits import LimitBook
from services.risk_manager.memory import Losses, Rates, Repeats


@dataclass(frozen=True, slots=True)
class Switch:
    """The kill switch as it stands."""

    state: TradingState
    generation: int
    reason: str
    set_by: str
    set_at: dt.datetime
    # A halt that also closes every position.
    flatten: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """When a judgement is made: wall time for rates and expiry, market time for prices."""

    wall: float
    market_ns: int
    factor: float
    session: SessionState
    time_of_day: dt.time | None = None


@dataclass
class Desk:
    """One account's state in memory."""

    account_id: str
    instruments: dict[str, Instrument]
    book: Book
    limits: LimitBook
    switch: Switch
    restricted: frozenset[str] = frozenset()
    volatility: Mapping[str, float] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)
    repeats: Repeats = field(default_factory=Repeats)
    losses: Losses = field(default_factory=Losses)
    last_bars: dict[tuple[str, str], dt.datetime] = field(default_factory=dict)

    def limits_for(self, strategy_id: str | None, symbol: str) -> Limits:
        """The limits of an order; an unknown symbol has the account's."""
        instrument = self.instruments.get(symbol) or Instrument(symbol.strip().upper() or "?")
        limits = self.limits.limits_for(strategy_id, instrument)
        return replace(limits, restricted=True) if symbol in self.restricted else limits

    def is_newest(self, signal: Signal) -> bool:
        """Tell whether no decision of its strategy on its symbol was seen for this bar or later."""
        last = self.last_bars.get((signal.strategy_id, signal.symbol))
        return last is None or signal.bar_ts > last

    def see_bar(self, signal: Signal) -> dt.datetime | None:
        """Remember a strategy's newest decision on a symbol; return the one before."""
        key = signal.strategy_id, signal.symbol
        last = self.last_bars.get(key)
        if self.is_newest(signal):
            self.last_bars[key] = signal.bar_ts
        return last

    def forget_bar(self, signal: Signal, before: dt.datetime | None) -> None:
        """Take `see_bar` back."""
        key = signal.strategy_id, signal.symbol
        if before is None:
            self.last_bars.pop(key, None)
        else:
            self.last_bars[key] = before
