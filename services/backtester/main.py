"""`backtester`: backtests on request. `python -m services.backtester.main` runs it."""

from __future__ import annotations

from fastapi import FastAPI

from libs.common.runtime.app import Work, create_app, run
from libs.common.runtime.runtime import Runtime
from services.backtester.adapters.process import ProcessLauncher
from services.backtester.api import router
from services.backtester.bar_store import BarExport
from services.backtester.desk import Desk
from services.backtester.handlers import NAME
from services.backtester.hub import Hub
from services.backtester.settings import BacktesterSettings
from services.backtester.store import RunStore


def build(settings: BacktesterSettings) -> FastAPI:
    """Wire the service."""
    # History needs no market time, so it does not wait for a broker's clock.
    runtime = Runtime.of(NAME, settings.model_copy(update={"clock_url": ""}))
    runs, hub = RunStore(runtime.database), Hub()
    launcher = ProcessLauncher(settings, BarExport(runtime.database))
    folder = settings.backtests_folder.absolute()
    desk = Desk(runs, launcher, hub, runtime.clock, folder, settings.instance)
    workers: list[tuple[str, Work]] = [
        (f"worker {number}", desk.work) for number in range(settings.backtests_parallel)
    ]
    return create_app(
        runtime,
        routers=[router(runs, desk, hub, runtime.ids, settings)],
        start=[desk.begin],
        stop=[desk.stop],
        tasks=workers,
        figures=lambda: {"running": float(desk.running)},
    )


if __name__ == "__main__":
    run(NAME, BacktesterSettings, build)
