"""`portfolio`: marks, account values, P&L. `python -m services.portfolio.main` runs it."""

from __future__ import annotations

import asyncio
from functools import partial

from fastapi import FastAPI

from libs.common.runtime.app import create_app, run
from libs.common.runtime.consumers import BroadcastListener, LogConsumer
from libs.common.runtime.runtime import Runtime
from services.portfolio.api import router
from services.portfolio.handlers import BROADCAST_HANDLERS, LOG_HANDLERS, Keeper
from services.portfolio.market import MarketView
from services.portfolio.settings import PortfolioSettings
from services.portfolio.statement_api import statement_routes
from services.portfolio.statement_store import StatementStore
from services.portfolio.store import BookStore, JournalStore

NAME = "portfolio"
CALENDAR_S = 3600.0


def build(settings: PortfolioSettings) -> FastAPI:
    """Wire the service."""
    runtime = Runtime.of(NAME, settings)
    market = MarketView(runtime.market_clock)
    books = BookStore(runtime.database, settings.account_id)
    journal = JournalStore(runtime.database, runtime.outbox, runtime.ids, settings.account_id)
    keeper = Keeper(settings, books, journal, market, runtime.clock)

    async def keep_calendar() -> None:
        while True:
            await asyncio.sleep(CALENDAR_S)
            await market.prepare()

    return create_app(
        runtime,
        routers=[
            statement_routes(books, StatementStore(runtime.database), settings.account_id),
            router(keeper, journal, books),
        ],
        start=[market.prepare, keeper.start],
        consumers=[
            LogConsumer(channel, partial(handle, keeper), batch=500)
            for channel, handle in LOG_HANDLERS.items()
        ],
        listeners=[
            BroadcastListener(channel, partial(handle, keeper))
            for channel, handle in BROADCAST_HANDLERS.items()
        ],
        tasks=[("valuation", keeper.run), ("calendar", keep_calendar)],
        stop=[keeper.save],
        figures=partial(_figures, keeper),
    )


def _figures(keeper: Keeper) -> dict[str, float]:
    present = keeper.present
    if present is None:
        return {}
    return {
        "equity": float(present.values.equity),
        "cash": float(present.values.cash),
        "day_pnl": float(present.day_pnl),
        "positions": float(len(present.values.positions)),
    }


if __name__ == "__main__":
    run(NAME, PortfolioSettings, build)
