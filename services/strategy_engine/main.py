"""`strategy_engine`: strategies on market data. `python -m services.strategy_engine.main`."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI

from libs.common.runtime.app import create_app, run
from libs.common.runtime.consumers import BroadcastListener
from libs.common.runtime.four_eyes_store import four_eyes_of
from libs.common.runtime.runtime import Runtime
from services.strategy_engine.api import router
from services.strategy_engine.approvals import Approvals
from services.strategy_engine.bar_store import BarTable
from services.strategy_engine.configurator import Configurator
from services.strategy_engine.engine import Engine
from services.strategy_engine.filler import Filler
from services.strategy_engine.handlers import HANDLERS
from services.strategy_engine.instrument_store import InstrumentTable
from services.strategy_engine.lease_keeper import LeaseKeeper
from services.strategy_engine.lease_store import LeaseTable
from services.strategy_engine.performance_store import PerformanceTable
from services.strategy_engine.reviewer import Reviewer
from services.strategy_engine.settings import EngineSettings
from services.strategy_engine.signal_store import SignalTable
from services.strategy_engine.store import EngineBook
from services.strategy_engine.swapper import Swapper

NAME = "strategy_engine"


def build(settings: EngineSettings) -> FastAPI:
    """Wire the service."""
    runtime = Runtime.of(NAME, settings)
    bars = BarTable(runtime.database)
    filler = Filler(settings, bars, runtime.clock, runtime.ids)
    replica = settings.replica
    book = EngineBook(runtime.database, runtime.outbox, replica=replica)
    leases = LeaseTable(
        runtime.database, replica=replica, url=settings.url, lease_s=settings.lease_s
    )
    engine = Engine(
        settings,
        filler,
        book=book,
        leases=leases,
        replica=replica,
        clock=runtime.clock,
        ids=runtime.ids,
    )
    keeper = LeaseKeeper(engine, leases, renew_s=settings.lease_renew_s)
    configurator = Configurator(
        engine,
        filler,
        book=book,
        instruments=InstrumentTable(runtime.database),
        collected=settings.symbols,
        clock=runtime.clock,
        ids=runtime.ids,
    )
    performances = PerformanceTable(runtime.database, settings.account_id)
    reviewer = Reviewer(
        engine,
        configurator,
        performances=performances,
        history=bars,
        market_clock=runtime.market_clock,
        review_s=settings.review_s,
    )
    swapper = Swapper(
        engine,
        book=book,
        history=bars,
        clock=runtime.clock,
        ids=runtime.ids,
    )
    return create_app(
        runtime,
        routers=router(
            engine,
            configurator,
            swapper,
            SignalTable(runtime.database),
            book,
            leases,
            performances,
            Approvals(engine, configurator, four_eyes_of(runtime, "strategies")),
            runtime.ids,
        ),
        start=[engine.start],
        listeners=[
            BroadcastListener(channel, partial(handle, engine))
            for channel, handle in HANDLERS.items()
        ],
        tasks=[("engine", engine.run), ("leases", keeper.run), ("review", reviewer.run)],
        stop=[swapper.stop, engine.save, leases.release, engine.close],
        figures=engine.figures,
    )


if __name__ == "__main__":
    run(NAME, EngineSettings, build)
