"""Bars on their way out: complete, in order, in the table first, then published once.

One source of truth a timeframe, so that bars are the same live and after a restart:
`1m` and `1d` are the provider's own, from its stream or, where that missed some, from its
history; `5m`, `15m` and `1h` are folded from the stored minutes. A bar that has been published
is never changed; a provider's later correction is quarantined with its figures.

A minute bar that reveals a gap in its symbol's regular session waits until the provider's history
has been asked for the missing ones, which are stored and published before it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from libs.common.contracts.messages import Bar, MarketData
from libs.common.domain.sessions import SessionCalendar
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.readiness import Readiness
from services.data_collector.bars import DERIVED, BarFolder
from services.data_collector.gaps import gap_between
from services.data_collector.metrics import BARS, BARS_REPEATED, GAPS, ROWS, UNPUBLISHED
from services.data_collector.ports import BarStore, HistoryProvider, Publish
from services.data_collector.tick_writer import TickWriter
from services.data_collector.validation import Code, check_bar, quarantined

_log = get_logger(__name__)
_RETRY_S = 0.5
_DECIMALS = 8
_REMEMBERED = 512


class BarKeeper:
    """Keeps the bars of all symbols; `offer` from the live path never waits."""

    def __init__(
        self,
        *,
        store: BarStore,
        history: HistoryProvider,
        publish: Publish,
        refused: TickWriter,
        calendar: SessionCalendar,
        gap_timeout_s: float,
        pending_max: int,
        readiness: Readiness | None = None,
    ) -> None:
        self._store = store
        self._history = history
        self._publish = publish
        self._refused = refused
        self._calendar = calendar
        self._gap_timeout_s = gap_timeout_s
        self._pending_max = pending_max
        self._readiness = readiness or Readiness()
        self._pending: dict[str, list[Bar]] = {}
        self._received_ns: dict[str, int] = {}
        self._pending_count = 0
        self._wake = asyncio.Event()
        self._last_ns: dict[str, int] = {}
        self._recent: dict[tuple[str, int], Bar] = {}
        self._folders: dict[str, list[BarFolder]] = {}

    @property
    def pending(self) -> int:
        """Bars that wait to be stored."""
        return self._pending_count

    async def resume(self, symbols: Sequence[str]) -> None:
        """Take up where the table ends: last bars, and the open buckets of longer bars."""
        self._last_ns = await self._store.last_bar_ns(symbols, Timeframe.MINUTE)
        if not self._last_ns:
            return
        hours = {s: Timeframe.HOUR.floor(ts) for s, ts in self._last_ns.items()}
        stored = await self._store.minutes_since(symbols, min(hours.values()))
        for symbol, minutes in stored.items():
            for folder in self._folders_of(symbol):
                folder.seed(bar for bar in minutes if bar.ts_event >= hours[symbol])

    def offer(self, symbol: str, bars: Iterable[Bar], received_ns: int) -> None:
        """Take checked minute bars that the stream brought at `received_ns`; never waits.

        If the database has been away for so long that `pending_max` wait, newer ones are left
        out: the next bar after them reveals the gap, and history fills it.
        """
        for bar in bars:
            if self._pending_count < self._pending_max:
                self._pending.setdefault(symbol, []).append(normal(bar))
                self._pending_count += 1
                self._received_ns.setdefault(symbol, received_ns)
        self._wake.set()

    async def run(self) -> None:
        """Store and publish until cancelled."""
        while True:
            await self._wake.wait()
            await self.flush()

    async def flush(self) -> None:
        """Store and publish what waits; waits for the database as long as it takes."""
        arrived, self._pending = self._pending, {}
        received_ns, self._received_ns = self._received_ns, {}
        self._pending_count = 0
        self._wake.clear()
        fresh = {symbol: self._news(symbol, bars) for symbol, bars in arrived.items()}
        fresh = {symbol: bars for symbol, bars in fresh.items() if bars}
        if not fresh:
            return
        await self._fill(fresh)
        await self._commit(self._with_longer(fresh))
        await self.announce(self._history.name, fresh, received_ns)

    async def announce(
        self, provider: str, bars: Mapping[str, Sequence[Bar]], received_ns: Mapping[str, int]
    ) -> None:
        """Publish stored bars, each symbol's with the time of their arrival; if Redis is away
        they are in the table all the same."""
        messages = [
            MarketData(
                symbol=symbol, provider=provider, ts_init=received_ns[symbol], bars=tuple(some)
            )
            for symbol, some in bars.items()
            if some
        ]
        for message in messages:
            for bar in message.bars:
                BARS.labels(bar.timeframe).inc()
        try:
            await self._publish(messages)
        except UnavailableError as error:
            UNPUBLISHED.inc(len(messages))
            _log.warning("bars_unpublished", error=str(error), messages=len(messages))

    def _news(self, symbol: str, bars: list[Bar]) -> list[Bar]:
        """The bars not seen before, oldest first; a changed repeat goes to quarantine."""
        last = self._last_ns.get(symbol, -1)
        news: dict[int, Bar] = {}
        for bar in bars:
            known = news.get(bar.ts_event) or self._recent.get((symbol, bar.ts_event))
            if known is None and bar.ts_event > last:
                news[bar.ts_event] = bar
                continue
            BARS_REPEATED.inc()
            if known is not None and known != bar:
                self._refused.refuse(quarantined(symbol, Code.BAR_CORRECTION, bar))
        return [news[ts] for ts in sorted(news)]

    async def _fill(self, fresh: dict[str, list[Bar]]) -> None:
        """Put the missing minutes before the ones that revealed them."""
        gaps: dict[str, tuple[int, int]] = {}
        for symbol, bars in fresh.items():
            last = self._last_ns.get(symbol)
            gap = last and gap_between(last, bars[-1].ts_event, self._calendar)
            if gap and not _covers(bars, gap):
                gaps[symbol] = gap
        if not gaps:
            return
        start, end = min(gap[0] for gap in gaps.values()), max(gap[1] for gap in gaps.values())
        try:
            async with asyncio.timeout(self._gap_timeout_s):
                found = await self._history.bars(sorted(gaps), Timeframe.MINUTE, start, end)
        except (UnavailableError, TimeoutError) as error:
            GAPS.labels("unfilled").inc(len(gaps))
            _log.error("gap_unfilled", symbols=sorted(gaps), error=str(error) or "timed out")
            return
        for symbol in gaps:
            missing = self._missing(symbol, found.get(symbol, []), fresh[symbol])
            GAPS.labels("filled" if missing else "no trades").inc()
            fresh[symbol] = sorted(fresh[symbol] + missing, key=lambda bar: bar.ts_event)

    def _missing(self, symbol: str, found: list[Bar], have: list[Bar]) -> list[Bar]:
        start, end = self._last_ns[symbol], have[-1].ts_event
        known = {bar.ts_event for bar in have}
        missing = []
        for bar in map(normal, found):
            if bar.ts_event in known or not start < bar.ts_event < end:
                continue
            code = check_bar(bar)
            if code is None:
                missing.append(bar)
            else:
                self._refused.refuse(quarantined(symbol, code, bar))
        return missing

    def _with_longer(self, fresh: Mapping[str, list[Bar]]) -> dict[str, list[Bar]]:
        """Add to each symbol's minutes the longer bars that they close."""
        for symbol, minutes in fresh.items():
            longer: list[Bar] = []
            for minute in minutes:
                for folder in self._folders_of(symbol):
                    longer += map(normal, folder.add(minute))
            minutes += longer
        return dict(fresh)

    def _folders_of(self, symbol: str) -> list[BarFolder]:
        return self._folders.setdefault(symbol, [BarFolder(timeframe) for timeframe in DERIVED])

    async def _commit(self, bars: dict[str, list[Bar]]) -> None:
        """Write to the table, however long the database is away."""
        while True:
            try:
                written = await self._store.add_bars(self._history.name, bars)
            except UnavailableError as error:
                self._readiness.block("bars", str(error))
                _log.warning("bars_wait", error=str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            ROWS.labels("market_ohlcv").inc(written)
            self._readiness.clear("bars")
            break
        for symbol, some in bars.items():
            for bar in some:
                if bar.timeframe == Timeframe.MINUTE:
                    self._last_ns[symbol] = max(self._last_ns.get(symbol, -1), bar.ts_event)
                    self._recent[(symbol, bar.ts_event)] = bar
        while len(self._recent) > _REMEMBERED:
            del self._recent[next(iter(self._recent))]


def normal(bar: Bar) -> Bar:
    """The bar in the figures that the table keeps (eight decimals), so that whoever reads the
    table and whoever heard the broadcast hold the same bits."""
    return msgspec.structs.replace(
        bar,
        open=round(bar.open, _DECIMALS),
        high=round(bar.high, _DECIMALS),
        low=round(bar.low, _DECIMALS),
        close=round(bar.close, _DECIMALS),
        volume=round(bar.volume, _DECIMALS),
        vwap=round(bar.vwap, _DECIMALS),
    )


def _covers(bars: Sequence[Bar], gap: tuple[int, int]) -> bool:
    """Whether the bars that came are every minute of the gap themselves."""
    start, end = gap
    inside = sum(1 for bar in bars if start <= bar.ts_event < end)
    return inside == (end - start) // Timeframe.MINUTE.ns
