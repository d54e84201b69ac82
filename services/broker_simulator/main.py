"""Wiring of the simulated broker: settings → market → engine → storage → app."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.domain.sessions import SessionCalendar, load_calendar
from libs.common.kernel.clock import NS_PER_SECOND, from_ns, parse_ns, to_ns
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.app import end_cleanly_on_signals, json_response, load_settings
from libs.common.runtime.clocks import Uuid7Ids
from libs.common.runtime.logging import configure_logging, get_logger
from libs.common.runtime.permissions import PUBLIC, check_permissions, requires
from libs.common.runtime.problems import install_problem_handlers
from services.broker_simulator.api.account import AccountApi
from services.broker_simulator.api.control import control_router
from services.broker_simulator.api.data import DataApi
from services.broker_simulator.api.orders import OrdersApi
from services.broker_simulator.api.positions import PositionsApi
from services.broker_simulator.api.watchlists import WatchlistsApi
from services.broker_simulator.broker import Broker
from services.broker_simulator.clock import Hours, MarketTime
from services.broker_simulator.data_stream import DataStream
from services.broker_simulator.edge import Edge, Router
from services.broker_simulator.engine.account import FeeSchedule
from services.broker_simulator.engine.engine import Engine
from services.broker_simulator.engine.registry import Terms
from services.broker_simulator.exchange import Exchange
from services.broker_simulator.faults import Faults
from services.broker_simulator.market.archive import Archive
from services.broker_simulator.market.feed import Feed
from services.broker_simulator.market.scripted import ScriptedMarket
from services.broker_simulator.market.source import build_market, first_day
from services.broker_simulator.market.tape import Market
from services.broker_simulator.server import SimulatorServer, bind_or_exit
from services.broker_simulator.settings import SimulatorSettings
from services.broker_simulator.store import Snapshot, StateFile

NAME = "broker_simulator"
FIRST_DAY = date(1989, 12, 1)
_log = get_logger(__name__)
_REQUESTS = Counter("simulator_requests_total", "Alpaca requests", ["method", "status"])


class Simulator:
    """The parts of one simulator and the app that serves them."""

    def __init__(
        self, settings: SimulatorSettings, ids: IdSource, wall_ns: Callable[[], int]
    ) -> None:
        calendar = load_calendar(FIRST_DAY, from_ns(wall_ns()).date() + timedelta(days=365))
        self.market = build_market(settings, calendar)
        store = StateFile(settings.simulator_state)
        snapshot = store.load(self.market.fingerprint)
        self.broker = _broker(settings, calendar, self.market, store, snapshot, ids, wall_ns)
        self.broker.on_failure = self._stop_serving
        self.server: SimulatorServer | None = None
        router = Router()
        OrdersApi(self.broker).register(router)
        PositionsApi(self.broker).register(router)
        AccountApi(self.broker).register(router)
        WatchlistsApi(self.broker, ids).register(router)
        DataApi(self.broker, Archive(self.market, calendar)).register(router)
        self._edge = Edge(
            router,
            self.broker.faults,
            self.broker.authenticate,
            body_bytes_max=settings.body_bytes_max,
            observe=lambda method, status: _REQUESTS.labels(method, status).inc(),
        )

    def app(self) -> FastAPI:
        """Return the app: the simulator's own paths, and Alpaca's in front of them."""

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            running = asyncio.create_task(self.broker.run(), name="exchange")
            running.add_done_callback(self._on_exchange_end)
            try:
                yield
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                if self.broker.failure is None:
                    self.broker.close()

        app = FastAPI(title="Tradewind broker_simulator", lifespan=lifespan, redoc_url=None)
        app.add_middleware(AlpacaFront, simulator=self)
        install_problem_handlers(app)
        app.include_router(self._operations())
        app.include_router(control_router(self.broker, self._refuse, self._tell))
        check_permissions(app)
        app.state.simulator = self
        return app

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Serve the connection if it is for one of Alpaca's paths; False where it is not."""
        path: str = scope.get("path", "")
        if scope["type"] == "http" and path.startswith("/v2/"):
            await self._edge(scope, receive, send)
        elif scope["type"] == "websocket" and path == "/stream":
            await self.broker.trading.serve(scope, receive, send)
        elif scope["type"] == "websocket" and path.startswith("/v2/"):
            await self.broker.data.serve(scope, receive, send)
        else:
            return False
        return True

    def _operations(self) -> APIRouter:
        router = APIRouter(tags=["operations"], dependencies=[requires(PUBLIC)])

        @router.get("/health")
        async def health() -> dict[str, str]:
            """Tell that the process is alive."""
            return {"status": "alive", "service": NAME}

        @router.get("/ready")
        async def ready() -> Response:
            """Tell whether the exchange moves and can store: 200, or 503 with the reason."""
            failure = self.broker.failure
            body = {
                "status": "not ready" if failure else "ready",
                "service": NAME,
                "reasons": {"exchange": failure} if failure else {},
            }
            return json_response(body, status=503 if failure else 200)

        @router.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            """Return the figures in Prometheus' text format."""
            return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

        return router

    def _refuse(self, seconds: float) -> None:
        if self.server is None:
            raise InvalidInputError("this server cannot refuse connections")
        self.server.refuse(seconds)

    def _tell(self, symbol: str, row: Any) -> None:
        if isinstance(self.market, ScriptedMarket):
            self.market.tell(symbol, row)

    def _on_exchange_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception() or RuntimeError("the exchange stopped")
        _log.error("exchange_stopped", exc_info=error)
        self.broker.fail(error)

    def _stop_serving(self) -> None:
        if self.server is not None:
            self.server.should_exit = True


class AlpacaFront:
    """Passes Alpaca's paths to the simulator, everything else to FastAPI."""

    def __init__(self, app: ASGIApp, simulator: Simulator) -> None:
        self._app = app
        self._simulator = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if not await self._simulator.serve(scope, receive, send):
            await self._app(scope, receive, send)


def _broker(
    settings: SimulatorSettings,
    calendar: SessionCalendar,
    market: Market,
    store: StateFile,
    snapshot: Snapshot | None,
    ids: IdSource,
    wall_ns: Callable[[], int],
) -> Broker:
    engine = Engine(calendar, market.assets, ids, _terms(settings))
    start = snapshot.now_ns if snapshot else start_ns(settings, calendar, market, wall_ns())
    faults = Faults(settings.simulator_seed)
    credentials = _credentials(settings)

    def login(key: str, secret: str) -> Any:
        return broker.login(key, secret)

    data = DataStream(
        login,
        faults,
        buffer_bytes=settings.simulator_client_buffer_bytes,
        connections_max=settings.simulator_connections_max,
        symbols_max=settings.simulator_symbols_max,
    )
    _restore(engine, snapshot, Archive(market, calendar), start)
    exchange = Exchange(engine, Feed(market, calendar), calendar, data, start)
    broker = Broker(
        engine=engine,
        exchange=exchange,
        clock=_clock(
            settings, _traded(market, calendar), start + (_lost_ns(settings) if snapshot else 0)
        ),
        store=store,
        faults=faults,
        data=data,
        secrets_by_key={},
        tick_s=settings.simulator_tick_s,
        state_s=settings.simulator_state_s,
        buffer_bytes=settings.simulator_client_buffer_bytes,
    )
    for key, (secret, cash) in credentials.items():
        broker.open_account(key, secret, cash, settings.simulator_multiplier)
    return broker


def _restore(engine: Engine, snapshot: Snapshot | None, archive: Archive, start: int) -> None:
    registry = engine.registry
    if snapshot is None:
        for symbol, book in registry.books.items():
            book.previous_close = archive.previous_close(symbol, start)
        return
    for account in snapshot.accounts:
        registry.add_account(account)
    for symbol, mark in snapshot.marks.items():
        book = registry.books[symbol]
        bid, ask, bid_size, ask_size, last, previous_close, quoted_at = mark
        book.set_quote(quoted_at, bid, ask, bid_size, ask_size)
        book.last, book.previous_close, book.opened_on = last, previous_close, quoted_at
    registry.executions.extend(snapshot.executions)
    registry.activities.extend(snapshot.activities)
    registry.sequence = snapshot.sequence
    engine.restore(snapshot.orders)


def _terms(settings: SimulatorSettings) -> Terms:
    regulated = settings.simulator_regulatory_fees
    fees = FeeSchedule(
        commission_per_share=settings.simulator_commission_per_share,
        commission_bps=settings.simulator_commission_bps,
        sec_rate=settings.simulator_sec_rate if regulated else Decimal(0),
        taf_per_share=settings.simulator_taf_per_share if regulated else Decimal(0),
        taf_max=settings.simulator_taf_max if regulated else Decimal(0),
    )
    return Terms(
        seed=settings.simulator_seed,
        depth_levels=settings.simulator_depth_levels,
        fees=fees,
        wash_trade_check=settings.simulator_wash_trade_check,
    )


def _traded(market: Market, calendar: SessionCalendar) -> SessionCalendar:
    """Return the sessions that the market has prices for: the clock passes over all others."""
    return SessionCalendar([s for s in calendar.sessions if market.has(s.date)])


def _clock(settings: SimulatorSettings, calendar: SessionCalendar, start: int) -> MarketTime:
    real = settings.simulator_start == "now"
    return MarketTime(
        calendar,
        start,
        1.0 if real else settings.simulator_factor,
        hours=Hours.ALL if real else settings.simulator_hours,
        pause_s=settings.simulator_pause_s,
        lead_in=timedelta(seconds=settings.simulator_lead_in_s),
        lead_out=timedelta(seconds=settings.simulator_lead_out_s),
        monotonic_ns=time.monotonic_ns,
    )


def _lost_ns(settings: SimulatorSettings) -> int:
    """Return how much market time may have passed after the last save before a crash.

    The clock resumes behind it and the exchange catches up: time never runs backward for others.
    """
    return int(settings.simulator_state_s * settings.simulator_factor * NS_PER_SECOND)


def start_ns(
    settings: SimulatorSettings, calendar: SessionCalendar, market: Market, wall_ns: int
) -> int:
    """Return the market time at which a new state begins. Raises InvalidInputError."""
    text = settings.simulator_start
    if text == "now":
        return wall_ns
    if "T" in text:
        return parse_ns(text, "TRADEWIND_SIMULATOR_START")
    day = first_day(settings, market)
    if text:
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise InvalidInputError(f"TRADEWIND_SIMULATOR_START: {text!r}: {error}") from error
    if not market.first <= day <= market.last:
        raise InvalidInputError(
            f"TRADEWIND_SIMULATOR_START: {day} lies outside the market's days "
            f"{market.first} to {market.last}"
        )
    sessions = calendar.sessions_between(day, day + timedelta(days=14))
    return to_ns(sessions[0].open - timedelta(seconds=settings.simulator_lead_in_s))


def _credentials(settings: SimulatorSettings) -> dict[str, tuple[str, Decimal]]:
    """Return secret and cash by key: the broker's own pair, and `key:secret:cash` further ones."""
    pairs = {
        settings.broker_key: (
            settings.broker_secret.get_secret_value(),
            settings.simulator_cash,
        )
    }
    for text in settings.simulator_accounts:
        parts = text.split(":")
        if len(parts) not in (2, 3):
            raise InvalidInputError(
                "TRADEWIND_SIMULATOR_ACCOUNTS: expected key:secret or key:secret:cash"
            )
        cash = Decimal(parts[2]) if len(parts) == 3 else settings.simulator_cash
        pairs[parts[0]] = (parts[1], cash)
    return pairs


def build(settings: SimulatorSettings) -> FastAPI:
    """Return the app; opens the state file. Raises InvalidInputError, UnavailableError."""
    return Simulator(settings, Uuid7Ids(), time.time_ns).app()


def main() -> None:
    """Read the settings, serve until SIGTERM or Ctrl-C."""
    settings = load_settings(SimulatorSettings)
    configure_logging(NAME, settings.log_level)
    try:
        app = build(settings)
    except (InvalidInputError, UnavailableError) as error:
        print(f"{NAME}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    listener = bind_or_exit(NAME, settings.host, settings.port)
    server = SimulatorServer(app, listener, settings.shutdown_timeout_s)
    simulator: Simulator = app.state.simulator
    simulator.server = server
    end_cleanly_on_signals()
    server.run(sockets=[listener])
    if simulator.broker.failure:
        sys.exit(1)


if __name__ == "__main__":
    main()
