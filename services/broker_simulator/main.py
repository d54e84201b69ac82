"""Wiring of the simulated broker: settings → market → engine → storage → app."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.domain.sessions import load_calendar
from libs.common.kernel.clock import from_ns
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.app import end_cleanly_on_signals, json_response, load_settings
from libs.common.runtime.clocks import Uuid7Ids
from libs.common.runtime.logging import configure_logging, get_logger
from libs.common.runtime.openapi import READINESS, ServiceApp
from libs.common.runtime.permissions import PUBLIC, check_permissions, requires
from libs.common.runtime.problems import install_problem_handlers
from libs.common.runtime.readiness import Readiness
from services.broker_simulator.api.account import AccountApi
from services.broker_simulator.api.control import control_router
from services.broker_simulator.api.data import DataApi
from services.broker_simulator.api.interventions import interventions_router
from services.broker_simulator.api.orders import OrdersApi
from services.broker_simulator.api.positions import PositionsApi
from services.broker_simulator.api.watchlists import WatchlistsApi
from services.broker_simulator.assembly import assemble, open_days
from services.broker_simulator.control_gate import KEYS, ControlGate
from services.broker_simulator.edge import Edge, Router
from services.broker_simulator.market.archive import Archive
from services.broker_simulator.market.scripted import ScriptedMarket
from services.broker_simulator.market.source import build_market
from services.broker_simulator.server import SimulatorServer, bind_or_exit
from services.broker_simulator.settings import SimulatorSettings
from services.broker_simulator.store import StateFile

NAME = "broker_simulator"
FIRST_DAY = date(1989, 12, 1)
_log = get_logger(__name__)
_REQUESTS = Counter("simulator_requests_total", "Alpaca requests", ["method", "status"])


class Simulator:
    """The parts of one simulator and the app that serves them."""

    def __init__(
        self, settings: SimulatorSettings, ids: IdSource, wall_ns: Callable[[], int]
    ) -> None:
        exchange_days = load_calendar(FIRST_DAY, from_ns(wall_ns()).date() + timedelta(days=365))
        self.market = build_market(settings, exchange_days)
        calendar = open_days(self.market, exchange_days)
        store = StateFile(settings.simulator_state)
        snapshot = store.load(self.market.fingerprint)
        self.broker = assemble(settings, calendar, self.market, store, snapshot, ids, wall_ns)
        self.readiness = Readiness()
        self.broker.on_failure = self._stop_serving
        self.broker.switches.refuse = self._refuse
        self.server: SimulatorServer | None = None
        self.router = router = Router()
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
            self.readiness.clear("start")
            try:
                yield
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                if self.broker.failure is None:
                    self.broker.close()

        app = ServiceApp(
            title="Tradewind broker_simulator",
            lifespan=lifespan,
            redoc_url=None,
            security=KEYS,
        )
        app.add_middleware(AlpacaFront, simulator=self)
        install_problem_handlers(app)
        app.include_router(self._operations())
        app.include_router(control_router(self.broker, self._tell))
        app.include_router(interventions_router(self.broker))
        check_permissions(app)
        app.state.simulator = self
        app.state.gate = ControlGate(self.broker)
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
        router = APIRouter(tags=["operations"], dependencies=[requires(PUBLIC, any_query=True)])

        @router.get("/health")
        async def health() -> dict[str, str]:
            """Tell that the process is alive."""
            return {"status": "alive", "service": NAME}

        @router.get("/ready", responses=READINESS)
        async def ready() -> Response:
            """Tell whether the exchange moves and can store: 200, or 503 with the reason."""
            ready = self.readiness.ready
            body = {
                "status": "ready" if ready else "not ready",
                "service": NAME,
                "reasons": self.readiness.reasons,
            }
            return json_response(body, status=200 if ready else 503)

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
        self.readiness.block("exchange", self.broker.failure or "failed")
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
