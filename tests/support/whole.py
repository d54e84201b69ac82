"""Every service at once on real servers, in one thread of this process, as HTTP sees them."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import uvloop
from fastapi import FastAPI

from services.audit.main import build as build_audit
from services.audit.settings import AuditSettings
from services.backtester.main import build as build_backtester
from services.backtester.settings import BacktesterSettings
from services.data_collector.main import build as build_collector
from services.data_collector.settings import CollectorSettings
from services.monitoring.main import build as build_monitoring
from services.monitoring.settings import MonitoringSettings
from services.portfolio.main import build as build_portfolio
from services.portfolio.settings import PortfolioSettings
from services.risk_manager.main import build as build_risk
from services.risk_manager.settings import RiskSettings
from services.security.main import build as build_security
from services.strategy_engine.main import build as build_engine
from services.strategy_engine.settings import EngineSettings
from services.trade_executor.main import build as build_executor
from services.trade_executor.settings import ExecutorSettings
from tests.support.executor_world import QUICK
from tests.support.security_house import settings_for
from tests.support.simulator import Simulator, start_simulator
from tests.support.tokens import SEEDS

READY_S = 120.0
_STRATEGIES = Path(__file__).resolve().parents[2] / "strategies"


@dataclass
class Whole:
    """Running services: their apps, and where each answers."""

    simulator: Simulator
    apps: dict[str, FastAPI]
    urls: dict[str, str]


def apps_of(
    database_url: str, redis_url: str, simulator: Simulator, folder: Path, urls: Mapping[str, str]
) -> dict[str, FastAPI]:
    """Return each service's app, by name, in the order in which they are started."""
    (folder / "strategies").mkdir(parents=True, exist_ok=True)
    shutil.copy(_STRATEGIES / "sma_cross.py", folder / "strategies")
    servers = {"database_url": database_url, "redis_url": redis_url, "port": 0}
    quick = {**servers, "outbox_sweep_s": 0.1, "heartbeat_s": 0.5, "clock_url": simulator.url}
    broker = {
        "broker_url": simulator.url,
        "broker_stream_url": simulator.stream_url,
        "broker_key": simulator.key,
        "broker_secret": simulator.secret,
        "data_url": simulator.data_url,
        "data_stream_url": simulator.data_stream_url,
        "symbols": ("AAPL", "KO", "MSFT"),
    }
    strategies = {"strategy_dirs": (folder / "strategies",)}
    built: dict[str, tuple[Callable[[Any], FastAPI], type[Any], Mapping[str, Any]]] = {
        "data_collector": (build_collector, CollectorSettings, {**quick, **broker}),
        "risk_manager": (build_risk, RiskSettings, quick),
        "trade_executor": (
            build_executor,
            ExecutorSettings,
            {
                **QUICK,
                **quick,
                **broker,
                "risk_url": urls["risk_manager"],
                "service_key": SEEDS["trade_executor"],
            },
        ),
        "portfolio": (build_portfolio, PortfolioSettings, quick),
        "strategy_engine": (
            build_engine,
            EngineSettings,
            {**quick, **strategies, "strategies": [], "sweep_s": 60},
        ),
        "backtester": (
            build_backtester,
            BacktesterSettings,
            {
                **quick,
                **strategies,
                "backtests_folder": folder / "runs",
                "backtests_data": folder,
                "backtests_parallel": 1,
            },
        ),
        "monitoring": (build_monitoring, MonitoringSettings, quick),
        "audit": (build_audit, AuditSettings, quick),
    }
    apps = {
        name: build(kind.model_validate(values)) for name, (build, kind, values) in built.items()
    }
    return {**apps, "security": build_security(settings_for(database_url, redis_url))}


SERVICES = (
    "data_collector",
    "risk_manager",
    "trade_executor",
    "portfolio",
    "strategy_engine",
    "backtester",
    "monitoring",
    "audit",
    "security",
)


@contextmanager
def running_whole(database_url: str, redis_url: str, folder: Path) -> Iterator[Whole]:
    """Run the simulated broker and all services until each is ready."""
    with start_simulator(simulator_factor=1) as simulator:
        for symbol, price in (("AAPL", 100), ("KO", 50), ("MSFT", 200)):
            simulator.quote(symbol, f"{price}.00", f"{price}.02")
        listeners = {name: _listen() for name in SERVICES}
        urls = {name: f"http://127.0.0.1:{s.getsockname()[1]}" for name, s in listeners.items()}
        apps = apps_of(database_url, redis_url, simulator, folder, urls)
        with _served(apps, listeners):
            _await_ready(urls)
            yield Whole(simulator, apps, urls)


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve one app in a thread of this process; yields its address."""
    listener = _listen()
    with _served({"app": app}, {"app": listener}):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        _await_ready({"app": url})
        yield url


@contextmanager
def _served(apps: Mapping[str, FastAPI], listeners: Mapping[str, socket.socket]) -> Iterator[None]:
    servers = {
        name: uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        )
        for name, app in apps.items()
    }
    thread = threading.Thread(target=_serve, args=(servers, listeners), name="served", daemon=True)
    thread.start()
    try:
        yield
    finally:
        for server in servers.values():
            server.should_exit = True
        thread.join(60)


def _listen() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def _serve(servers: Mapping[str, uvicorn.Server], listeners: Mapping[str, socket.socket]) -> None:
    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            for name, server in servers.items():
                group.create_task(server.serve(sockets=[listeners[name]]), name=name)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(together())


def _await_ready(urls: Mapping[str, str]) -> None:
    deadline = time.monotonic() + READY_S
    with httpx.Client(trust_env=False, timeout=10) as client:
        waiting = dict(urls)
        while waiting:
            for name, url in list(waiting.items()):
                try:
                    answer = client.get(f"{url}/ready")
                except httpx.TransportError:
                    continue
                if answer.status_code == 200:
                    del waiting[name]
                elif time.monotonic() > deadline:
                    raise AssertionError(f"{name} not ready within {READY_S} s: {answer.text}")
            time.sleep(0.05)
