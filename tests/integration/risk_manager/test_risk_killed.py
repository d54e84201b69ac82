"""The risk manager is killed in the middle of judging: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.support.risk_world import SECTORS, RiskProcess, World, seed, sim_clock
from tests.support.runtimes import eventually

SIGNALS = 600
KILLS = 3


async def test_every_signal_is_approved_exactly_once_though_killed(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """SIGKILL at random moments while signals pour in, some of them sent twice."""
    dice = random.Random(20260101)
    seed(database_url)
    with sim_clock() as clock:
        world = World(database_url, redis_url, clock)
        process = RiskProcess(database_url, redis_url, clock.url, tmp_path / "risk.log")
        process.start()
        stop = asyncio.Event()
        quotes = asyncio.create_task(_keep_quoting(world, stop))
        try:
            signals = [
                world.signal(dice.choice(list(SECTORS)), 0.01, strategy=f"s{i}")
                for i in range(SIGNALS)
            ]
            per_kill = SIGNALS // (KILLS + 1)
            for round_ in range(KILLS + 1):
                await eventually(process.ready, within_s=60, what=f"start {round_}")
                part = signals[round_ * per_kill : (round_ + 1) * per_kill]
                for start in range(0, len(part), 10):
                    await world.send(*part[start : start + 10])
                await world.send(*dice.sample(part, 20))
                if round_ < KILLS:
                    await asyncio.sleep(dice.uniform(0.0, 0.15))
                    process.kill()
                    process.start()
            await eventually(process.ready, within_s=60, what="the last start")
            ids = {s.signal_id for s in signals}

            async def all_judged() -> bool:
                rows = world.rows("SELECT count(*) AS n FROM risk_assessments")
                return bool(rows[0]["n"] == len(ids))

            await eventually(all_judged, within_s=60, what="all judgements")
            rows = world.rows("SELECT signal_id, order_id, verdict, code FROM risk_assessments")
            assert {row["signal_id"] for row in rows} == ids
            denied = {row["code"] for row in rows if row["verdict"] == "denied"}
            approved = {row["order_id"] for row in rows if row["verdict"] == "approved"}
            # Many strategies wish the same of one symbol: some meet a limit, which is as it should.
            assert denied <= {"POSITION_ABOVE_LIMIT", "SECTOR_ABOVE_LIMIT", "ORDER_RATE_ACCOUNT"}
            assert len(approved) > SIGNALS / 4

            async def all_published() -> bool:
                return {e.payload.order_id for e in await world.approved()} == approved

            await eventually(all_published, within_s=60, what="all orders on the log")
            # The log may repeat a message after a crash; its id is then the same.
            first_seen: dict[object, object] = {}
            for envelope in await world.approved():
                known = first_seen.setdefault(envelope.payload.order_id, envelope.id)
                assert known == envelope.id
        finally:
            stop.set()
            await quotes
            process.kill()
            await world.close()


async def _keep_quoting(world: World, stop: asyncio.Event) -> None:
    while not stop.is_set():
        for symbol in SECTORS:
            await world.quote(symbol, 100.0)
        await asyncio.sleep(0.1)
