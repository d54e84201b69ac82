"""Small stand-ins for the ports of the data collector, kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from libs.common.contracts.messages import Bar, MarketData
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import UnavailableError
from services.data_collector.ports import Ticks
from services.data_collector.validation import Quarantined


class MemoryMarketStore:
    """Bars and ticks in dictionaries; `away` makes every write fail."""

    def __init__(self) -> None:
        self.bars: dict[tuple[str, str, int], Bar] = {}
        self.ticks: list[Ticks] = []
        self.refused: list[Quarantined] = []
        self.away = False

    async def append_ticks(self, provider: str, batches: Sequence[Ticks]) -> int:
        """Keep ticks."""
        del provider
        self._check()
        self.ticks += batches
        return sum(len(batch.quotes) + len(batch.trades) for batch in batches)

    async def quarantine(self, provider: str, ticks: Sequence[Quarantined]) -> None:
        """Keep refused ticks."""
        del provider
        self._check()
        self.refused += ticks

    async def add_bars(
        self, provider: str, bars: Mapping[str, Sequence[Bar]], *, replace: bool = False
    ) -> int:
        """Keep bars that are not there."""
        del provider
        self._check()
        written = 0
        for symbol, some in bars.items():
            for bar in some:
                key = (symbol, bar.timeframe, bar.ts_event)
                if replace or key not in self.bars:
                    self.bars[key] = bar
                    written += 1
        return written

    async def last_bar_ns(self, symbols: Sequence[str], timeframe: Timeframe) -> dict[str, int]:
        """The newest bar's start."""
        last: dict[str, int] = {}
        for symbol, name, ts in self.bars:
            if symbol in symbols and name == timeframe.value:
                last[symbol] = max(ts, last.get(symbol, 0))
        return last

    async def minutes_since(self, symbols: Sequence[str], start_ns: int) -> dict[str, list[Bar]]:
        """Stored minutes."""
        found: dict[str, list[Bar]] = {}
        for (symbol, name, ts), bar in sorted(self.bars.items(), key=lambda item: item[0][2]):
            if symbol in symbols and name == "1m" and ts >= start_ns:
                found.setdefault(symbol, []).append(bar)
        return found

    def _check(self) -> None:
        if self.away:
            raise UnavailableError("database: away")


class MemoryHistory:
    """A provider's history; `away` makes it fail, `asked` keeps the requests."""

    name = "alpaca"

    def __init__(self, bars: Mapping[str, Sequence[Bar]] | None = None) -> None:
        self.known: dict[str, list[Bar]] = {s: list(b) for s, b in (bars or {}).items()}
        self.away = False
        self.delay_s = 0.0
        self.asked: list[tuple[tuple[str, ...], Timeframe, int, int]] = []

    async def bars(
        self, symbols: Sequence[str], timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> dict[str, list[Bar]]:
        """Known bars in the range."""
        self.asked.append((tuple(symbols), timeframe, start_ns, end_ns))
        await asyncio.sleep(self.delay_s)
        if self.away:
            raise UnavailableError("history: away")
        return {
            symbol: [
                bar
                for bar in self.known.get(symbol, [])
                if bar.timeframe == timeframe.value and start_ns <= bar.ts_event < end_ns
            ]
            for symbol in symbols
        }


class Published:
    """Keeps what was published, and what the store held of it at that moment."""

    def __init__(self, store: MemoryMarketStore | None = None) -> None:
        self.messages: list[MarketData] = []
        self.unstored: list[Bar] = []
        self.away = False
        self.delay_s = 0.0
        self._store = store

    async def __call__(self, messages: Sequence[MarketData]) -> None:
        """Keep messages."""
        await asyncio.sleep(self.delay_s)
        if self.away:
            raise UnavailableError("redis: away")
        self.messages += messages
        if self._store is not None:
            for message in messages:
                for bar in message.bars:
                    key = (message.symbol, bar.timeframe, bar.ts_event)
                    if self._store.bars.get(key) != bar:
                        self.unstored.append(bar)

    def bars(self, symbol: str, timeframe: str = "1m") -> list[Bar]:
        """Every published bar of one symbol and timeframe, in order."""
        return [
            bar
            for message in self.messages
            if message.symbol == symbol
            for bar in message.bars
            if bar.timeframe == timeframe
        ]
