"""The pump: takes what the bridge holds, checks it, and hands the good out at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from libs.common.contracts.messages import Bar, MarketData, Quote, TradeTick
from libs.common.domain.instruments import Instrument
from libs.common.kernel.clock import NS_PER_SECOND, Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from services.data_collector.bridge import Arrivals, Bridge
from services.data_collector.latest import LatestTicks
from services.data_collector.metrics import (
    BRIDGE_FILL,
    CONFLATED,
    FLUSH,
    QUARANTINED,
    TICKS,
    UNPUBLISHED,
)
from services.data_collector.ports import Publish, Tick, Ticks
from services.data_collector.tick_writer import TickWriter
from services.data_collector.validation import Code, Rules, SymbolChecks, TimeWindow, quarantined

_log = get_logger(__name__)
_BUSY_TICKS = 50
_RESYNC_PAUSE_NS = NS_PER_SECOND // 50
T = TypeVar("T", Quote, TradeTick, Bar)


class MarketTime(Protocol):
    """The market's clock: wall time, or simulated time at a factor."""

    @property
    def factor(self) -> float:
        """Market seconds in a wall second."""
        ...

    def now_ns(self) -> int:
        """Market time in ns."""
        ...


class BarSink(Protocol):
    """Who takes the checked minute bars."""

    def offer(self, symbol: str, bars: Sequence[Bar], received_ns: int) -> None:
        """Take bars that arrived at `received_ns`; never waits."""
        ...


class Collector:
    """Bridge → checks → published, remembered, stored.

    A flush publishes one message a symbol with all its ticks since the flush before. When the
    market is quiet that is at once; under load the next flush waits 1 to 5 ms for more.
    """

    def __init__(
        self,
        *,
        provider: str,
        bridge: Bridge,
        instruments: Mapping[str, Instrument],
        rules: Rules,
        publish: Publish,
        bars: BarSink,
        writer: TickWriter,
        latest: LatestTicks,
        clock: Clock,
        market: MarketTime,
        resync: Callable[[], Awaitable[None]],
        store_ticks: bool,
        pause_s: tuple[float, float],
    ) -> None:
        self._provider = provider
        self._bridge = bridge
        self._rules = rules
        self._checks = {s: SymbolChecks(item, rules) for s, item in instruments.items()}
        self._publish = publish
        self._bars = bars
        self._writer = writer
        self._latest = latest
        self._clock = clock
        self._market = market
        self._resync = resync
        self._resync_from_ns = 0
        self._store_ticks = store_ticks
        self._pause_s = pause_s
        self._shed = {"quote": 0, "trade": 0}

    async def run(self) -> None:
        """Pump until cancelled."""
        while True:
            arrivals = await self._bridge.take()
            ticks = await self.flush(arrivals)
            quiet, busy = self._pause_s
            await asyncio.sleep(busy if ticks > _BUSY_TICKS else quiet)

    async def flush(self, arrivals: Mapping[str, Arrivals]) -> int:
        """Check, publish and hand on one batch; returns how many ticks it held."""
        window = await self._window(arrivals)
        # Symbols with bars first: an order may wait for them, and the table takes them while the
        # other ticks are checked.
        closing = {symbol: arrived for symbol, arrived in arrivals.items() if arrived.bars}
        messages = self._check_all(closing, window)
        if closing:
            await asyncio.sleep(0)
        others = {symbol: arrived for symbol, arrived in arrivals.items() if not arrived.bars}
        messages += self._check_all(others, window)
        ticks = sum(len(a.quotes) + len(a.trades) + len(a.bars) for a in arrivals.values())
        BRIDGE_FILL.set(ticks)
        self._count_shed()
        if messages:
            await self._send(messages)
        return ticks

    def _check_all(self, arrivals: Mapping[str, Arrivals], window: TimeWindow) -> list[MarketData]:
        checked = (self._check(symbol, arrived, window) for symbol, arrived in arrivals.items())
        return [message for message in checked if message is not None]

    def _check(self, symbol: str, arrived: Arrivals, window: TimeWindow) -> MarketData | None:
        checks = self._checks.get(symbol)
        if checks is None:
            strangers: list[Tick] = [*arrived.quotes, *arrived.trades, *arrived.bars]
            for tick in strangers:
                self._refuse(symbol, Code.SYMBOL_UNKNOWN, tick)
            return None
        quotes = self._sift(symbol, arrived.quotes, checks.quote, window)
        trades = self._sift(symbol, arrived.trades, checks.trade, window)
        if arrived.bars:
            bars = self._sift(symbol, arrived.bars, checks.bar, window)
            self._bars.offer(symbol, bars, arrived.received_ns)
        if not (quotes or trades):
            return None
        TICKS.labels("quote").inc(len(quotes))
        TICKS.labels("trade").inc(len(trades))
        self._latest.put(
            symbol,
            arrived.received_ns,
            quotes[-1] if quotes else None,
            trades[-1] if trades else None,
        )
        if self._store_ticks:
            self._writer.add(Ticks(symbol, quotes, trades))
        return MarketData(
            symbol=symbol,
            provider=self._provider,
            ts_init=arrived.received_ns,
            quotes=tuple(quotes),
            trades=tuple(trades),
        )

    def _sift(
        self,
        symbol: str,
        ticks: list[T],
        check: Callable[[T, TimeWindow], Code | None],
        window: TimeWindow,
    ) -> list[T]:
        good: list[T] = []
        for tick in ticks:
            code = check(tick, window)
            if code is None:
                good.append(tick)
            else:
                self._refuse(symbol, code, tick)
        return good

    def _refuse(self, symbol: str, code: Code, tick: Tick) -> None:
        QUARANTINED.labels(code.value).inc()
        self._writer.refuse(quarantined(symbol, code, tick))

    async def _send(self, messages: list[MarketData]) -> None:
        try:
            await self._publish(messages)
        except UnavailableError as error:
            UNPUBLISHED.inc(len(messages))
            _log.warning("ticks_unpublished", error=str(error), messages=len(messages))
            return
        oldest = min(message.ts_init for message in messages)
        FLUSH.observe(max(0.0, (self._clock.now_ns() - oldest) / 1e9))

    async def _window(self, arrivals: Mapping[str, Arrivals]) -> TimeWindow:
        """The believable times; a tick from the future is reason to look at the clock again,
        because a simulated market jumps over closed hours between two polls of its clock."""
        window = TimeWindow.around(self._market.now_ns(), self._rules, self._market.factor)
        newest = max(map(_newest_ns, arrivals.values()), default=0)
        asked_ns = self._clock.monotonic_ns()
        if newest > window.latest_ns and asked_ns >= self._resync_from_ns:
            await self._resync()
            answered_ns = self._clock.monotonic_ns()
            # A clock that is slow to answer must not hold the market up for half of the time.
            pause_ns = max(_RESYNC_PAUSE_NS, 2 * (answered_ns - asked_ns))
            self._resync_from_ns = answered_ns + pause_ns
            window = TimeWindow.around(self._market.now_ns(), self._rules, self._market.factor)
        return window

    def _count_shed(self) -> None:
        counts = self._bridge.counts
        for kind, total in (("quote", counts.quotes_conflated), ("trade", counts.trades_conflated)):
            if total > self._shed[kind]:
                CONFLATED.labels(kind).inc(total - self._shed[kind])
                self._shed[kind] = total


def _newest_ns(arrived: Arrivals) -> int:
    """The newest event time: by the last tick of each kind, a bar by its end."""
    times = [0]
    if arrived.quotes:
        times.append(arrived.quotes[-1].ts_event)
    if arrived.trades:
        times.append(arrived.trades[-1].ts_event)
    if arrived.bars:
        times.append(arrived.bars[-1].ts_event + 60 * NS_PER_SECOND)
    return max(times)
