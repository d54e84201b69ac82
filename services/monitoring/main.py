"""`monitoring`: health, alerts, notification. `python -m services.monitoring.main` runs it."""

from __future__ import annotations

import datetime as dt
from functools import partial

from fastapi import FastAPI

from libs.common.runtime.app import Work, create_app, run
from libs.common.runtime.consumers import BroadcastListener, LogConsumer
from libs.common.runtime.logging import get_logger
from libs.common.runtime.runtime import Runtime
from services.monitoring.adapters.dead_letters import DeadLetterReader
from services.monitoring.adapters.gotify import GotifyMessenger
from services.monitoring.api import router
from services.monitoring.board import Board
from services.monitoring.courier import Courier
from services.monitoring.handlers import BROADCAST_HANDLERS, LOG_HANDLERS, NAME, Watch
from services.monitoring.logic import Patience
from services.monitoring.settings import MonitoringSettings
from services.monitoring.store import AlertStore

_log = get_logger(__name__)


def build(settings: MonitoringSettings) -> FastAPI:
    """Wire the service."""
    # Watching needs no market time, so it does not wait for a broker's clock.
    runtime = Runtime.of(NAME, settings.model_copy(update={"clock_url": ""}))
    patience = Patience(
        dt.timedelta(seconds=settings.monitoring_stale_s),
        dt.timedelta(seconds=settings.monitoring_down_s),
        dt.timedelta(seconds=settings.monitoring_first_s),
    )
    board = Board(settings.monitoring_services, patience, runtime.clock.monotonic_ns())
    store = AlertStore(runtime.database, runtime.outbox, runtime.clock, runtime.ids)
    courier = _courier(settings, runtime, store)
    watch = Watch(
        board,
        store,
        courier,
        runtime.clock,
        runtime.ids,
        repeat_after=dt.timedelta(seconds=settings.monitoring_repeat_s),
        settle=dt.timedelta(seconds=settings.monitoring_settle_s),
        check_s=settings.monitoring_check_s,
    )
    dead_letters = DeadLetterReader(
        runtime.bus, runtime.clock, runtime.readiness, group=NAME, consumer=settings.instance
    )
    tasks: list[tuple[str, Work]] = [
        ("health", watch.run),
        ("dead letters", partial(dead_letters.run, watch.take)),
    ]
    if courier is not None:
        tasks.append(("courier", courier.run))
    return create_app(
        runtime,
        routers=[router(board, store, ["gotify"] if courier else [])],
        start=[watch.start],
        consumers=[
            LogConsumer(channel, partial(handle, watch)) for channel, handle in LOG_HANDLERS.items()
        ],
        listeners=[
            BroadcastListener(channel, partial(handle, watch))
            for channel, handle in BROADCAST_HANDLERS.items()
        ],
        tasks=tasks,
        stop=[courier.account] if courier else [],
    )


def _courier(settings: MonitoringSettings, runtime: Runtime, store: AlertStore) -> Courier | None:
    token = settings.gotify_token.get_secret_value()
    if not settings.gotify_url or not token:
        _log.warning(
            "gotify_absent",
            detail="TRADEWIND_GOTIFY_URL and TRADEWIND_GOTIFY_TOKEN are not both set: alerts are "
            "kept in the list and nobody is told of them",
        )
        return None
    return Courier(
        GotifyMessenger(settings.gotify_url, token, settings.gotify_timeout_s),
        store.receipt,
        runtime.clock,
        queue_max=settings.gotify_queue_max,
        attempts_max=settings.gotify_attempts_max,
        delay_s=settings.gotify_delay_s,
        delay_s_max=settings.gotify_delay_s_max,
    )


if __name__ == "__main__":
    run(NAME, MonitoringSettings, build)
