"""Redis and PostgreSQL are killed while the market runs: the table ends up complete."""

import asyncio
import signal
from pathlib import Path

import psycopg

from infra.migrate import migrate
from services.data_collector.main import build
from services.data_collector.settings import CollectorSettings
from tests.support.runtimes import eventually, ready, serving
from tests.support.servers import running_postgres, running_redis
from tests.support.simulator import Simulator, start_simulator
from tests.support.tokens import make_known

SYMBOLS = ("AAPL", "KO", "MSFT")


async def _minutes(simulator: Simulator, count: int) -> None:
    for _ in range(count):
        for symbol, price in zip(SYMBOLS, ("100.01", "50.01", "200.01"), strict=True):
            await asyncio.to_thread(simulator.trade, symbol, price)
        await asyncio.to_thread(simulator.step, 60)
        await asyncio.sleep(0.1)


def _stored(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM ts - '2019-03-04 15:00+00')::int / 60 FROM market_ohlcv "
            "WHERE symbol = 'KO' AND timeframe = '1m' AND ts >= '2019-03-04 15:00+00' ORDER BY ts"
        ).fetchall()
    return [row[0] for row in rows]


async def test_no_minute_is_lost_when_both_servers_die(server_directory: Path) -> None:
    directory = server_directory / "crash"
    directory.mkdir()
    directory.chmod(0o755)
    with (
        running_postgres(directory) as postgres,
        running_redis(directory) as redis_server,
        start_simulator() as simulator,
    ):
        migrate(postgres.url)
        make_known(postgres.url)
        settings = CollectorSettings.model_validate(
            {
                "database_url": postgres.url, "redis_url": redis_server.url,
                "symbols": ",".join(SYMBOLS), "broker_url": simulator.url,
                "data_url": simulator.data_url, "data_stream_url": simulator.data_stream_url,
                "clock_url": simulator.url, "clock_poll_s": 0.05, "broker_key": simulator.key,
                "broker_secret": simulator.secret, "tick_store_s": 0.02, "stream_delay_s": 0.05,
                "outbox_sweep_s": 0.1, "database_timeout_s": 1.0, "redis_timeout_s": 1.0,
            }
        )  # fmt: skip
        async with serving(build(settings)) as client:
            await ready(client)
            await _minutes(simulator, 2)
            await asyncio.to_thread(redis_server.kill)
            await _minutes(simulator, 2)
            await asyncio.to_thread(redis_server.start)
            await _minutes(simulator, 1)
            postgres.signal(signal.SIGQUIT)  # PostgreSQL's immediate stop: no checkpoint
            await asyncio.to_thread(postgres.process.wait, 20)  # type: ignore[union-attr]
            await _minutes(simulator, 3)
            assert (await client.get("/ready")).status_code == 503
            await asyncio.to_thread(postgres.start)
            await _minutes(simulator, 2)
            await eventually(
                lambda: _stored(postgres.url) == list(range(10)), within_s=60, what="ten minutes"
            )
            await ready(client)
