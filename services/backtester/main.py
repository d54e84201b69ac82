"""`backtester`: backtests on request. `python -m services.backtester.main` runs it."""

from __future__ import annotations

from fastapi import FastAPI

from libs.common.runtime.app import Work, create_app, run
from libs.common.runtime.runtime import Runtime
from services.backtester.adapters.process import ProcessLauncher
from services.backtester.adapters.session_reader import SessionReader
from services.backtester.api import router
from services.backtester.bar_store import BarExport
from services.backtester.desk import Desk
from services.backtester.handlers import NAME
from services.backtester.hub import Hub
from services.backtester.nightly import Nightly, Nights, notice_of
from services.backtester.settings import BacktesterSettings
from services.backtester.store import RunStore


def build(settings: BacktesterSettings) -> FastAPI:
    """Wire the service."""
    # History needs no market time, so it does not wait for a broker's clock.
    runtime = Runtime.of(NAME, settings.model_copy(update={"clock_url": ""}))
    runs, hub = RunStore(runtime.database, runtime.outbox), Hub()
    sessions = SessionReader(settings.database_url.get_secret_value(), settings.account_id)
    launcher = ProcessLauncher(settings, BarExport(runtime.database), sessions)
    folder = settings.backtests_folder.absolute()
    desk = Desk(runs, launcher, hub, runtime.clock, folder, settings.instance, notice_of)
    workers: list[tuple[str, Work]] = [
        (f"worker {number}", desk.work) for number in range(settings.backtests_parallel)
    ]
    nightly = Nightly(runs, desk, runtime.ids, sessions, settings.backtests_queue_max)
    hour, minute = map(int, settings.parity_at.split(":"))
    nights = [Nights(nightly.try_to_queue, hour, minute)] if settings.parity_nightly else []
    return create_app(
        runtime,
        routers=[router(runs, desk, hub, runtime.ids, settings)],
        start=[desk.begin, *(each.start for each in nights)],
        stop=[*(each.stop for each in nights), desk.stop],
        tasks=workers,
        figures=lambda: {"running": float(desk.running)},
    )


if __name__ == "__main__":
    run(NAME, BacktesterSettings, build)
