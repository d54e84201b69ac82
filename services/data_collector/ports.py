"""What the data collector's handlers need from providers, tables and the cache."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, TypeAlias

from libs.common.contracts.messages import Bar, MarketData, Quote, TradeTick
from libs.common.domain.instruments import Instrument
from libs.common.domain.timeframes import Timeframe
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
class Ticks:
    """Good quotes and trades of one symbol, each oldest first, on their way to the table."""

    symbol: str
    quotes: Sequence[Quote]
    trades: Sequence[TradeTick]


@dataclass(frozen=True, slots=True)
class BarPage:
    """One stored bar as the API shows it; `ts` is the bar's start."""

    ts: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: Decimal | None
    trades: int | None
    provider: str


@dataclass(frozen=True, slots=True)
class QuoteRow:
    """One stored tick: a quote (bid and ask) or a trade (last price and volume)."""

    ts: datetime
    bid: Decimal | None
    ask: Decimal | None
    bid_size: Decimal | None
    ask_size: Decimal | None
    last_price: Decimal | None
    volume: Decimal | None
    provider: str


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """One refused tick with its reason."""

    id: int
    symbol: str
    ts: datetime | None
    received_at: datetime
    provider: str
    code: str
    reason: str
    tick: Any


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
    """Where ticks are kept."""

    async def append_ticks(self, provider: str, batches: Sequence[Ticks]) -> int:
        """Store ticks; returns the number of rows. Raises UnavailableError."""
        ...

    async def quarantine(self, provider: str, ticks: Sequence[Quarantined]) -> None:
        """Keep refused ticks with their reason. Raises UnavailableError."""
        ...


class BarStore(Protocol):
    """Where bars are kept."""

    async def add_bars(
        self, provider: str, bars: Mapping[str, Sequence[Bar]], *, replace: bool = False
    ) -> int:
        """Add bars, leaving those that are there; returns how many were written."""
        ...

    async def last_bar_ns(self, symbols: Sequence[str], timeframe: Timeframe) -> dict[str, int]:
        """The start of the newest stored bar of each symbol that has one."""
        ...

    async def minutes_since(self, symbols: Sequence[str], start_ns: int) -> dict[str, list[Bar]]:
        """Stored minute bars from `start_ns` on, oldest first, by symbol."""
        ...


class InstrumentStore(Protocol):
    """Where instruments are kept."""

    async def put_instruments(self, some: Sequence[Instrument]) -> None:
        """Insert or update instruments."""
        ...

    async def instruments(self) -> list[Instrument]:
        """Every instrument, by symbol."""
        ...


class PageStore(Protocol):
    """What the API reads."""

    async def bars(
        self, symbol: str, timeframe: Timeframe, start: datetime, end: datetime, limit: int
    ) -> list[BarPage]:
        """Bars of one symbol that start in [start, end), oldest first."""
        ...

    async def quotes(
        self, symbol: str, start: datetime, end: datetime, limit: int
    ) -> list[QuoteRow]:
        """Quotes and trades of one symbol in [start, end), oldest first."""
        ...

    async def quarantined(
        self, symbol: str | None, code: str | None, before_id: int | None, limit: int
    ) -> list[QuarantineRow]:
        """Refused ticks, newest first, below `before_id`."""
        ...


class Publish(Protocol):
    """Sends market data on its broadcast channels."""

    async def __call__(self, messages: Sequence[MarketData]) -> None:
        """Publish all in order; raises UnavailableError, after which some may have gone."""
        ...
