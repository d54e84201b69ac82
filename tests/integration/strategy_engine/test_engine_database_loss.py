"""PostgreSQL dies under the engine, in the middle of its commits: nothing lost, nothing twice."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.migrate import migrate
from libs.common.kernel.clock import from_ns
from libs.common.strategy import Runner
from services.strategy_engine.main import build
from services.strategy_engine.settings import EngineSettings
from strategies.rsi_reversion import RsiReversion
from tests.support.bar_feed import BarFeed, daily_bars
from tests.support.runtimes import eventually, ready, serving
from tests.support.servers import ServerProcess, running_postgres
from tests.support.tokens import make_known

KILLS = 3


@pytest.fixture
def own_postgres() -> Iterator[ServerProcess]:
    """A server that nobody else needs."""
    with tempfile.TemporaryDirectory(prefix="tradewind-engine-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with running_postgres(directory) as server:
            migrate(server.url)
            make_known(server.url)
            yield server


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_signals_equal_the_loop_through_losses_of_the_database(
    own_postgres: ServerProcess, redis_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    bars = daily_bars("PG", 150)
    values = {
        "database_url": own_postgres.url,
        "redis_url": redis_url,
        "database_timeout_s": 1.0,
        "strategies": [
            {
                "id": "rsi_reversion",
                "class_name": "rsi_reversion",
                "universe": ["PG"],
                "timeframe": "1d",
            }
        ],
        "sweep_s": 0.5,
        "gap_timeout_s": 30,
        "outbox_sweep_s": 0.2,
    }
    runner = Runner(RsiReversion.definition, {})
    steps = runner.run(bars)
    signals = [
        (from_ns(int(bar["ts"])), float(decision["target"]))
        for bar, decision in zip(bars[steps.changed], steps.decisions[steps.changed], strict=True)
    ]
    async with serving(build(EngineSettings.model_validate(values))) as client:
        await ready(client)
        feed = BarFeed(own_postgres.url, redis_url, "1d")
        await eventually(feed.heard, what="subscription")
        feed.close("PG", bars[:1])
        await eventually(lambda: len(states(own_postgres)) == 1, what="the first state")
        # Best right after a bar whose step gives a signal: its commit is then under way.
        speaking = [i for i in range(10, 150) if steps.changed[i]]
        deaths = set(chance.sample(speaking, KILLS))
        for i in range(1, 150):
            feed.close("PG", bars[i : i + 1])
            if i in deaths:
                await client.get("/health")
                own_postgres.kill()
                own_postgres.start()
                feed = BarFeed(own_postgres.url, redis_url, "1d")
        await eventually(
            lambda: states(own_postgres) == [runner.save()], within_s=60, what="the last state"
        )
    with psycopg.connect(own_postgres.url) as connection:
        query = "SELECT bar_ts, target FROM signals ORDER BY bar_ts"
        assert connection.execute(query).fetchall() == signals
        row = connection.execute(
            "SELECT count(*) FROM outbox WHERE stream = 'log:signals'"
        ).fetchone()
        assert row == (len(signals),)


def states(server: ServerProcess) -> list[bytes]:
    with psycopg.connect(server.url) as connection:
        rows = connection.execute("SELECT state FROM strategy_states").fetchall()
    return [bytes(row[0]) for row in rows]
