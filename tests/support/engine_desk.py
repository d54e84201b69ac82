"""An engine on real servers, its API, and the feed that stands for the data collector."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import psycopg

from libs.common.kernel.clock import from_ns
from services.strategy_engine.main import build
from services.strategy_engine.settings import EngineSettings
from tests.support.bar_feed import BarFeed
from tests.support.runtimes import eventually, ready, serving


class Desk:
    """An engine, its API, and the feed that stands for the data collector."""

    def __init__(self, client: httpx.AsyncClient, feed: BarFeed, database_url: str) -> None:
        self.client = client
        self.feed = feed
        self._connection = psycopg.connect(database_url, autocommit=True)

    def rows(self, query: str) -> list[Any]:
        return self._connection.execute(query).fetchall()

    def targets(self, strategy_id: str) -> list[tuple[Any, float]]:
        query = "SELECT bar_ts, target FROM signals WHERE strategy_id = %s ORDER BY bar_ts"
        return self._connection.execute(query, (strategy_id,)).fetchall()

    async def seen(self, strategy_id: str, symbol: str, bar: np.void) -> None:
        """Wait until the state after `bar` is saved."""
        query = "SELECT as_of FROM strategy_states WHERE strategy_id = %s AND symbol = %s"

        def reached() -> bool:
            row = self._connection.execute(query, (strategy_id, symbol)).fetchone()
            return row is not None and row[0] >= from_ns(int(bar["ts"]))

        # Long: a strategy that is not trusted steps in a process of its own, which has to start.
        await eventually(reached, within_s=60, what=f"{strategy_id} on {symbol} at {bar['ts']}")

    async def faulted(self, strategy_id: str) -> str:
        """Wait until the strategy has stopped on its first symbol; return why."""
        reason = ""

        async def stopped() -> bool:
            nonlocal reason
            detail = (await self.client.get(f"/api/v1/strategies/{strategy_id}")).json()
            reason = detail["symbols"][0]["reason"]
            return bool(detail["symbols"][0]["status"] == "faulted")

        await eventually(stopped, within_s=90, what=f"fault of {strategy_id}")
        return reason

    async def metric(self, name: str) -> float:
        text = (await self.client.get("/metrics")).text
        values = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(name)]
        return sum(map(float, values))


def as_role(role: str, database_url: str) -> str:
    """Return the database as the service sees it, with its own rights only."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {role} LOGIN PASSWORD 'test-only'")
    return f"postgresql://{role}:test-only@{database_url.rpartition('@')[2]}"


@asynccontextmanager
async def opened(
    database_url: str, redis_url: str, *strategies: dict[str, object], **settings: object
) -> AsyncIterator[Desk]:
    """Run an engine with these strategies on daily bars."""
    values = {
        "database_url": as_role("strategy_engine", database_url),
        "redis_url": redis_url,
        "strategies": strategies,
        "outbox_sweep_s": 0.1,
        "sweep_s": 60,
        "gap_timeout_s": 20,
        **settings,
    }
    app = build(EngineSettings.model_validate(values))
    with BarFeed(database_url, redis_url, "1d") as feed:
        async with serving(app) as client:
            # Long: strategy files may have to be compiled first.
            await ready(client, within_s=90)
            await eventually(feed.heard, what="subscription")
            yield Desk(client, feed, database_url)
