"""What the data collector's handlers need from providers, tables and the cache."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from libs.common.contracts.messages import Bar, Quote, TradeTick
from libs.common.domain.instruments import Instrument
from services.data_collector.timeframes import Timeframe
from services.data_collector.validation import Quarantined

Tick: TypeAlias = Quote | TradeTick | Bar


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """How a provider is doing: by the age of its data, not by the state of its socket.

    `last_data_ns` is wall time in ns (0 = nothing yet); `reason` says why it is not healthy.
    """

    name: str
    connected: bool
    healthy: bool
    last_data_ns: int
    reconnects: int
    malformed: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class QuoteRow:
    """One stored or cached tick of a symbol; `last` and `volume` are those of a trade."""

    symbol: str
    ts_event: int
    bid: float | None
    ask: float | None
    bid_size: float | None
    ask_size: float | None
    last: float | None
    volume: float | None
    provider: str


class TickSink(Protocol):
    """Where a provider puts what it received; never blocks."""

    def offer(self, symbol: str, tick: Tick) -> None:
        """Take one tick."""
        ...


class StreamProvider(Protocol):
    """A provider's live stream."""

    @property
    def name(self) -> str:
        """The provider's name as stored with its data."""
        ...

    async def stream(self, sink: TickSink, connected: Callable[[], None]) -> None:
        """Deliver ticks until cancelled; call `connected` after each (re)subscription."""
        ...

    def health(self) -> ProviderHealth:
        """How the stream is doing now."""
        ...


class HistoryProvider(Protocol):
    """A provider's history."""

    @property
    def name(self) -> str:
        """The provider's name as stored with its data."""
        ...

    async def bars(
        self, symbols: Sequence[str], timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> dict[str, list[Bar]]:
        """Bars that start in [start, end), oldest first; a symbol without any may be absent.

        Raises UnavailableError if the provider does not answer in time or refuses.
        """
        ...


class InstrumentSource(Protocol):
    """Who knows what can be traded."""

    async def instruments(self) -> list[Instrument]:
        """Every instrument; raises UnavailableError if it can't be had."""
        ...


class TickStore(Protocol):
    """The market tables."""

    async def append_ticks(self, rows: Sequence[QuoteRow]) -> int:
        """Store quotes and trades; how many."""
        ...

    async def add_bars(
        self, provider: str, bars: dict[str, list[Bar]], *, replace: bool = False
    ) -> dict[str, list[Bar]]:
        """Store bars and return those that were new (with `replace`, all that were written)."""
        ...

    async def quarantine(self, provider: str, ticks: Sequence[Quarantined]) -> None:
        """Keep what was refused, with the reason."""
        ...


class LatestQuotes(Protocol):
    """The shared cache of last quotes."""

    async def put(self, quotes: dict[str, QuoteRow]) -> None:
        """Write the latest quote of each symbol."""
        ...


Publish: TypeAlias = Callable[[Sequence[tuple[str, bytes]]], Awaitable[None]]
"""Sends (channel, message) pairs on broadcast channels, in order."""
