"""The bridge between a provider and us: a bounded queue that sheds load in a stated order.

A provider puts ticks in and is never blocked; the collector takes everything there is at once,
already grouped by symbol. Above 80 % the state is *warning*. Above 95 % it is *critical*: the
quotes of each symbol are conflated to the latest one; if trades alone hold that many places,
trades are conflated too. Bars are never dropped. All of it is counted.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from libs.common.contracts.messages import Bar, Quote, TradeTick

WARNING_SHARE = 0.80
CRITICAL_SHARE = 0.95


class BridgeState(StrEnum):
    """How full the bridge is."""

    NORMAL = "normal"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(slots=True)
class Arrivals:
    """What came of one symbol since the last take, oldest first, and when the first came."""

    received_ns: int
    quotes: list[Quote] = field(default_factory=list)
    trades: list[TradeTick] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)


@dataclass(slots=True)
class BridgeCounts:
    """What passed and what was shed since the start."""

    offered: int = 0
    quotes_conflated: int = 0
    trades_conflated: int = 0


class Bridge:
    """The queue. All calls come from one event loop: a thread uses `call_soon_threadsafe`."""

    def __init__(
        self,
        capacity: int,
        wall_ns: Callable[[], int],
        changed: Callable[[BridgeState], None] = lambda state: None,
    ) -> None:
        self.capacity = capacity
        self.counts = BridgeCounts()
        self.state = BridgeState.NORMAL
        self._wall_ns = wall_ns
        self._changed = changed
        self._warning_at = int(capacity * WARNING_SHARE)
        self._critical_at = int(capacity * CRITICAL_SHARE)
        self._size = 0
        self._arrivals: dict[str, Arrivals] = {}
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return self._size

    def offer(self, symbol: str, tick: Quote | TradeTick | Bar) -> None:
        """Take one tick; sheds what must be shed to stay within the capacity."""
        arrivals = self._arrivals.get(symbol)
        if arrivals is None:
            arrivals = self._arrivals[symbol] = Arrivals(self._wall_ns())
            self._filled.set()
        if type(tick) is Quote:
            arrivals.quotes.append(tick)
        elif type(tick) is TradeTick:
            arrivals.trades.append(tick)
        else:
            assert isinstance(tick, Bar)
            arrivals.bars.append(tick)
        self.counts.offered += 1
        self._size += 1
        if self._size > self._warning_at:
            self._press()

    async def take(self) -> dict[str, Arrivals]:
        """Wait until there is something, then give all of it."""
        await self._filled.wait()
        return self.take_now()

    def take_now(self) -> dict[str, Arrivals]:
        """Everything there is; may be empty."""
        arrivals, self._arrivals = self._arrivals, {}
        self._size = 0
        self._filled.clear()
        self._enter(BridgeState.NORMAL)
        return arrivals

    def _press(self) -> None:
        if self._size <= self._critical_at:
            self._enter(BridgeState.WARNING)
            return
        self._enter(BridgeState.CRITICAL)
        self._conflate_quotes()
        if self._size > self._critical_at:
            self._conflate_trades()

    def _conflate_quotes(self) -> None:
        for arrivals in self._arrivals.values():
            shed = len(arrivals.quotes) - 1
            if shed > 0:
                arrivals.quotes = arrivals.quotes[-1:]
                self.counts.quotes_conflated += shed
                self._size -= shed

    def _conflate_trades(self) -> None:
        for arrivals in self._arrivals.values():
            shed = len(arrivals.trades) - 1
            if shed > 0:
                arrivals.trades = arrivals.trades[-1:]
                self.counts.trades_conflated += shed
                self._size -= shed

    def _enter(self, state: BridgeState) -> None:
        if state is not self.state:
            self.state = state
            self._changed(state)
