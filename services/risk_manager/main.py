"""Wiring of the risk manager: `python -m services.risk_manager.main`."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI

from libs.common.contracts.channels import Channel, Kind
from libs.common.domain.instruments import Instrument
from libs.common.domain.vocabulary import TradingState
from libs.common.runtime.app import create_app, run
from libs.common.runtime.consumers import BroadcastListener, LogConsumer
from libs.common.runtime.four_eyes_store import four_eyes_of
from libs.common.runtime.runtime import Runtime
from services.risk_manager import commands, feeds, handlers, upkeep
from services.risk_manager.api import routes
from services.risk_manager.approvals import Approvals
from services.risk_manager.book import Book
from services.risk_manager.conduct import ConductStore
from services.risk_manager.desk import Desk, Switch
from services.risk_manager.halt_mark import honour_mark
from services.risk_manager.handlers import Office
from services.risk_manager.limits import LimitBook, defaults
from services.risk_manager.market import MarketView
from services.risk_manager.registry import RiskRegistry
from services.risk_manager.rules import Rules
from services.risk_manager.settings import RiskSettings
from services.risk_manager.store import RiskStore

Work = Callable[[], Coroutine[Any, Any, None]]

NAME = "risk_manager"
_NEVER = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def build(settings: RiskSettings) -> FastAPI:
    """Return the service's app."""
    runtime = Runtime.of(NAME, settings)
    office = open_office(runtime, settings)
    market = office.market
    assert isinstance(market, MarketView)
    consumers, listeners = _readers(office, settings)
    store = office.store
    registry = office.registry
    assert isinstance(store, RiskStore)
    assert isinstance(registry, RiskRegistry)
    rules = Rules(office, ConductStore(runtime.database, settings.account_id))
    approvals = Approvals(office, four_eyes_of(runtime, "risk"))
    return create_app(
        runtime,
        routers=routes(office, store, registry, approvals),
        sole=True,
        start=[
            market.prepare,
            partial(honour_mark, office),
            partial(upkeep.rebuild, office),
        ],
        consumers=consumers,
        listeners=listeners,
        tasks=[
            ("reservations", _every(1.0, partial(upkeep.sweep, office))),
            ("refresh", _every(settings.risk_refresh_s, partial(upkeep.refresh, office))),
            ("halt mark", _every(settings.risk_watch_s, partial(honour_mark, office))),
            ("watch", _every(settings.risk_watch_s, partial(upkeep.watch, office))),
            ("rules", _every(settings.risk_rules_s, rules.look)),
            ("instruments", _every(settings.risk_instruments_s, partial(upkeep.relist, office))),
            ("calendar", _every(60.0, market.prepare)),
        ],
        figures=partial(_figures, office),
    )


def open_office(runtime: Runtime, settings: RiskSettings) -> Office:
    """Return the account's office with an empty book; `rebuild` fills it."""
    instruments: dict[str, Instrument] = {}
    book = Book(instruments)
    desk = Desk(
        account_id=settings.account_id,
        instruments=instruments,
        book=book,
        limits=LimitBook(defaults()),
        # Until the stored switch is read nothing may pass.
        switch=Switch(TradingState.HALTED, 0, "not started", NAME, _NEVER),
    )
    return Office(
        desk=desk,
        store=RiskStore(
            runtime.database,
            runtime.outbox,
            settings.account_id,
            grace_s=settings.risk_reservation_grace_s,
        ),
        registry=RiskRegistry(runtime.database, runtime.outbox, settings.account_id),
        market=MarketView(runtime.clock, runtime.market_clock, book),
        clock=runtime.clock,
        ids=runtime.ids,
        settings=settings,
    )


def _readers(
    office: Office, settings: RiskSettings
) -> tuple[Sequence[LogConsumer[Any]], Sequence[BroadcastListener[Any]]]:
    table: Mapping[Channel, Any] = {
        **handlers.HANDLERS,
        **feeds.HANDLERS,
        **commands.HANDLERS,
    }
    logs = [
        LogConsumer(channel, partial(handle, office), batch=settings.risk_batch_max)
        for channel, handle in table.items()
        if channel.kind is Kind.LOG
    ]
    broadcasts = [
        BroadcastListener(channel, partial(handle, office))
        for channel, handle in table.items()
        if channel.kind is Kind.BROADCAST
    ]
    return logs, broadcasts


def _every(delay_s: float, work: Work) -> Work:
    async def loop() -> None:
        while True:
            await work()
            await asyncio.sleep(delay_s)

    return loop


def _figures(office: Office) -> dict[str, float]:
    desk = office.desk
    totals = desk.book.totals()
    return {
        "equity": float(totals.equity),
        "gross": float(totals.gross),
        "generation": float(desk.switch.generation),
        "reservations": float(desk.book.reservations()),
    }


if __name__ == "__main__":
    run(NAME, RiskSettings, build)
