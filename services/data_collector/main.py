"""Wiring of the data collector: settings → clients → store, adapters → pump → app."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import httpx
from fastapi import FastAPI

from libs.common.contracts.channels import MARKET_DATA
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import MarketData
from libs.common.domain.instruments import Instrument
from libs.common.domain.sessions import SessionCalendar, load_calendar
from libs.common.domain.timeframes import Timeframe
from libs.common.domain.vocabulary import Level, SessionState
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.runtime.app import create_app, run
from libs.common.runtime.logging import get_logger
from libs.common.runtime.metrics import BUS_PUBLISHED
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.secrets.stored import WAYS, with_stored
from services.data_collector.adapters.alpaca import AlpacaRest
from services.data_collector.adapters.alpaca_stream import AlpacaStream, StreamLimits
from services.data_collector.adapters.files import FileProvider
from services.data_collector.adapters.quote_cache import RedisQuoteCache
from services.data_collector.adapters.yahoo import YahooProvider
from services.data_collector.alerts import Alerts
from services.data_collector.api import Market, router
from services.data_collector.bar_keeper import BarKeeper
from services.data_collector.bridge import Bridge, BridgeState
from services.data_collector.collector import Collector
from services.data_collector.daily import DailyBars
from services.data_collector.history import Backfill, warmup_start
from services.data_collector.instrument_book import (
    InstrumentBook,
    shipped_sectors,
    with_sectors,
)
from services.data_collector.latest import LatestTicks
from services.data_collector.metrics import BRIDGE_STATE, FRESHNESS, RECONNECTS
from services.data_collector.ports import HistoryProvider
from services.data_collector.settings import CollectorSettings
from services.data_collector.store import MarketStore
from services.data_collector.tick_writer import TickWriter
from services.data_collector.validation import Rules

NAME = "data_collector"
_CALENDAR_YEARS_BACK = 6
_CALENDAR_YEARS_AHEAD = 10
_BRIDGE_LEVEL = {BridgeState.NORMAL: 0, BridgeState.WARNING: 1, BridgeState.CRITICAL: 2}
_log = get_logger(__name__)


class Service:
    """The parts of one running collector; those that need instruments exist after `start`."""

    def __init__(self, settings: CollectorSettings, runtime: Runtime) -> None:
        self.settings = settings
        self.runtime = runtime
        self.store = MarketStore(runtime.database)
        self.alerts = Alerts(runtime)
        self.rest = AlpacaRest(
            settings.broker_key.get_secret_value(),
            settings.broker_secret.get_secret_value(),
            data_url=settings.data_url,
            trading_url=settings.broker_url,
            feed=settings.data_feed,
            timeout_s=settings.history_timeout_s,
            attempts=settings.history_attempts,
            requests_per_minute=settings.history_requests_per_minute,
        )
        self.providers: dict[str, HistoryProvider] = {self.rest.name: self.rest}
        if settings.files_path is not None:
            self.providers["files"] = FileProvider(settings.files_path)
        if settings.yahoo_enabled:
            self.providers["yahoo"] = YahooProvider(settings.history_timeout_s)
        self.stream = AlpacaStream(
            settings.data_stream_url or f"wss://stream.data.alpaca.markets/v2/{settings.data_feed}",
            settings.broker_key.get_secret_value(),
            settings.broker_secret.get_secret_value(),
            settings.symbols,
            clock=runtime.clock,
            limits=StreamLimits(
                mute_s_max=settings.stream_mute_s_max,
                delay_s=settings.stream_delay_s,
                delay_s_max=settings.stream_delay_s_max,
            ),
            expects_data=self.market_is_open,
        )
        self.latest = LatestTicks(self.stream.name)
        self.cache = RedisQuoteCache(runtime.bus.client, settings.cache_ttl_s)
        self.writer = TickWriter(
            self.store,
            self.stream.name,
            rows_max=settings.tick_rows_max,
            batch_rows=settings.tick_batch_rows,
            pause_s=settings.tick_store_s,
            readiness=runtime.readiness,
        )
        self.bridge = Bridge(settings.bridge_capacity, runtime.clock.now_ns, self._bridge_changed)
        self.book = InstrumentBook(())
        self._clock_client: httpx.AsyncClient | None = None
        self._calendar: SessionCalendar | None = None
        self._parts: tuple[BarKeeper, Collector, DailyBars, Market] | None = None

    @property
    def calendar(self) -> SessionCalendar:
        """The exchange's sessions around market time. Raises UnavailableError before start."""
        if self._calendar is None:
            raise UnavailableError("the service is still starting")
        return self._calendar

    def parts(self) -> tuple[BarKeeper, Collector, DailyBars, Market]:
        """What `start` has made. Raises UnavailableError before it."""
        if self._parts is None:
            raise UnavailableError("the service is still starting")
        return self._parts

    def market(self) -> Market:
        """What the API stands on."""
        return self.parts()[3]

    def market_is_open(self) -> bool:
        """Whether data is to be expected now: the broker's word, else the calendar's."""
        clock = self.runtime.market_clock
        if clock.state is not None:
            return clock.state is SessionState.REGULAR
        return self._calendar is not None and self._calendar.is_open(clock.now())

    async def start(self) -> None:
        """Instruments, calendar, warm-up history; then the parts that need them."""
        self.runtime.readiness.block("stream", f"{self.stream.name}: not connected yet")
        if self._clock_client is None:
            # Made here because making one takes a tenth of a second (it reads certificates).
            self._clock_client = httpx.AsyncClient()
        await self._load_calendar()
        await self._load_instruments()
        watched = self._watched()
        backfill = Backfill(bars=self.store, ticks=self.store, calendar=self.calendar)
        await self._warm_up(backfill)
        await self._prime_latest()
        keeper = BarKeeper(
            store=self.store,
            history=self.rest,
            publish=self.publish,
            refused=self.writer,
            calendar=self.calendar,
            gap_timeout_s=self.settings.gap_fill_timeout_s,
            pending_max=self.settings.bars_pending_max,
            readiness=self.runtime.readiness,
        )
        await keeper.resume(self.settings.symbols)
        self._parts = (
            keeper,
            self._collector(keeper, watched),
            DailyBars(
                store=self.store,
                history=self.rest,
                keeper=keeper,
                calendar=self.calendar,
                symbols=self.settings.symbols,
                now=self.runtime.market_clock.now,
                wall_ns=self.runtime.clock.now_ns,
            ),
            Market(
                store=self.store,
                latest=self.latest,
                backfill=backfill,
                providers=self.providers,
                book=lambda: self.book,
                calendar=lambda: self.calendar,
                health=lambda: [self.stream.health()],
                now=self.runtime.market_clock.now,
            ),
        )

    async def publish(self, messages: Any) -> None:
        """Send market data, one envelope a symbol, in one round trip."""
        clock, ids = self.runtime.clock, self.runtime.ids
        sealed: list[tuple[str, bytes]] = []
        for payload in messages:
            assert isinstance(payload, MarketData)
            message_id = ids.new()
            envelope = seal(
                payload,
                message_id=message_id,
                ts_ns=clock.now_ns(),
                source=NAME,
                correlation_id=message_id,
            )
            sealed.append((MARKET_DATA.name(payload.symbol), encode(envelope)))
        if sealed:
            await self.runtime.bus.broadcast_many(sealed)
            BUS_PUBLISHED.labels(MARKET_DATA.topic).inc(len(sealed))

    async def run_stream(self) -> None:
        """Receive until cancelled."""
        await self.stream.stream(self.bridge, lambda: self.runtime.readiness.clear("stream"))

    async def run_cache(self) -> None:
        """Write changed quotes to Redis and the figures that follow time, until cancelled."""
        while True:
            await asyncio.sleep(self.settings.cache_refresh_s)
            for symbol, age_s in self.latest.ages_s(self.runtime.clock.now_ns()).items():
                FRESHNESS.labels(symbol).set(age_s)
            self._watch_stream()
            await self.cache.put(self.latest.changed())

    async def stop(self) -> None:
        """Store what waits."""
        if self._parts is not None:
            await self._parts[0].flush()
        await self.writer.drain()
        if self._clock_client is not None:
            await self._clock_client.aclose()

    def figures(self) -> dict[str, float]:
        """What the heartbeat tells."""
        health = self.stream.health()
        return {
            "stream_healthy": float(health.healthy),
            "stream_reconnects": float(health.reconnects),
            "bridge_fill": float(len(self.bridge)),
            "rows_waiting": float(self.writer.waiting),
        }

    def _collector(self, keeper: BarKeeper, watched: dict[str, Instrument]) -> Collector:
        settings = self.settings
        return Collector(
            provider=self.stream.name,
            bridge=self.bridge,
            instruments=watched,
            rules=Rules(
                future_s_max=settings.tick_future_s_max,
                age_s_max=settings.tick_age_s_max,
                outlier_mad=settings.outlier_mad,
                outlier_floor=settings.outlier_floor,
            ),
            publish=self.publish,
            bars=keeper,
            writer=self.writer,
            latest=self.latest,
            clock=self.runtime.clock,
            market=self.runtime.market_clock,
            resync=self._resync,
            store_ticks=settings.ticks_stored,
            pause_s=(settings.flush_ms_min / 1000, settings.flush_ms_max / 1000),
        )

    async def _resync(self) -> None:
        clock = self.runtime.market_clock
        if clock.is_wall or self._clock_client is None:
            return
        try:
            await clock.synchronise(self._clock_client)
        except UnavailableError as error:
            _log.warning("market_clock_unavailable", error=str(error))

    async def _load_calendar(self) -> None:
        year = self.runtime.market_clock.now().year
        first, last = year - _CALENDAR_YEARS_BACK, year + _CALENDAR_YEARS_AHEAD
        self._calendar = await asyncio.to_thread(
            load_calendar, date(first, 1, 1), date(last, 12, 31)
        )

    async def _load_instruments(self) -> None:
        found = with_sectors(await self.rest.instruments(), shipped_sectors())
        await self.store.put_instruments(found)
        self.book = InstrumentBook(await self.store.instruments())

    def _watched(self) -> dict[str, Instrument]:
        watched = {symbol: self.book.get(symbol) for symbol in self.settings.symbols}
        unknown = [symbol for symbol, instrument in watched.items() if instrument is None]
        if unknown:
            raise InvalidInputError(
                f"TRADEWIND_SYMBOLS: the broker does not know {', '.join(unknown)}"
            )
        return {symbol: item for symbol, item in watched.items() if item is not None}

    async def _warm_up(self, backfill: Backfill) -> None:
        """Fetch what the table lacks of the warm-up history, and nothing twice."""
        symbols, now = self.settings.symbols, self.runtime.market_clock.now()
        starts = warmup_start(
            self.calendar, now, self.settings.warmup_minute_days, self.settings.warmup_daily_bars
        )
        for timeframe, start_ns in starts.items():
            stored = await self.store.last_bar_ns(symbols, timeframe)
            if len(stored) == len(symbols):
                # From the hour's start: longer bars are folded from whole buckets only.
                start_ns = max(start_ns, Timeframe.HOUR.floor(min(stored.values())))
            await backfill.fetch(self.rest, symbols, timeframe, start_ns, to_ns(now))

    async def _prime_latest(self) -> None:
        """Take the provider's last quotes, so that a price is there before the first tick."""
        quotes = await self.rest.latest_quotes(self.settings.symbols)
        received_ns = self.runtime.clock.now_ns()
        for symbol, quote in quotes.items():
            if 0.0 < quote.bid <= quote.ask:
                self.latest.put(symbol, received_ns, quote, None)

    def _bridge_changed(self, state: BridgeState) -> None:
        BRIDGE_STATE.set(_BRIDGE_LEVEL[state])
        if state is BridgeState.CRITICAL:
            self.alerts.raise_alert(
                Level.WARNING,
                "market-bridge",
                "Market data comes faster than it can be handled",
                f"More than 95 % of {self.bridge.capacity} places are taken: quotes are conflated.",
            )

    def _watch_stream(self) -> None:
        health = self.stream.health()
        RECONNECTS.labels(health.name).set(health.reconnects)
        if health.healthy:
            self.runtime.readiness.clear("stream")
            return
        self.runtime.readiness.block("stream", f"{health.name}: {health.reason}")
        if self.market_is_open():
            self.alerts.raise_alert(
                Level.ERROR,
                "market-stream",
                "No market data",
                f"The stream of {health.name} is not delivering: {health.reason}.",
            )


def build(settings: CollectorSettings) -> FastAPI:
    """The service's app. Raises InvalidInputError when it could not work with these settings."""
    if not settings.broker_key.get_secret_value() or not settings.broker_secret.get_secret_value():
        raise InvalidInputError(
            "TRADEWIND_BROKER_KEY and TRADEWIND_BROKER_SECRET: needed to receive market data; "
            f"{WAYS}"
        )
    if not settings.symbols:
        raise InvalidInputError("TRADEWIND_SYMBOLS: at least one symbol is needed")
    runtime = Runtime.of(NAME, settings)
    service = Service(settings, runtime)
    return create_app(
        runtime,
        routers=[router(service.market)],
        start=[service.start],
        stop=[service.stop],
        tasks=[
            ("collector", lambda: service.parts()[1].run()),
            ("bars", lambda: service.parts()[0].run()),
            ("daily bars", lambda: service.parts()[2].run()),
            ("tick writer", service.writer.run),
            ("stream", service.run_stream),
            ("quote cache", service.run_cache),
            ("alerts", service.alerts.run),
        ],
        figures=service.figures,
    )


if __name__ == "__main__":
    run(NAME, CollectorSettings, build, complete=with_stored)
