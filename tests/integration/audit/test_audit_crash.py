"""The audit process killed again and again while messages arrive: each is recorded once."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import uuid
from pathlib import Path

import psycopg

from libs.common.runtime.bus import Bus
from services.audit.adapters.chain_scan import verify_chain
from tests.support.runtimes import eventually
from tests.support.story import MadeUpStory

ROOT = Path(__file__).resolve().parents[3]
STORIES = 250
KILLS = 3


def start(database_url: str, redis_url: str, log: Path) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": os.environ["PATH"],
        "TRADEWIND_DATABASE_URL": database_url,
        "TRADEWIND_REDIS_URL": redis_url,
        "TRADEWIND_PORT": "0",
        "TRADEWIND_AUDIT_BATCH": "20",
        "TRADEWIND_CLAIM_IDLE_S": "1",
        # What a broker's clock says is nothing that recording waits for.
        "TRADEWIND_CLOCK_URL": "http://127.0.0.1:9",
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "services.audit.main"],
            cwd=ROOT, env=environment, stdout=output, stderr=output,
        )  # fmt: skip


def recorded(database_url: str) -> set[uuid.UUID]:
    with psycopg.connect(database_url) as connection:
        return {
            row[0]
            for row in connection.execute("SELECT message_id FROM audit_log WHERE actor <> 'audit'")
        }


def count(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM audit_log").fetchone()
    assert row is not None
    return int(row[0])


async def test_kills_lose_and_double_nothing(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    stories = [MadeUpStory() for _ in range(STORIES)]
    sent = {message.id for story in stories for message in story.messages}
    bus = Bus(redis_url, timeout_s=5, name="test")
    for story in stories[: STORIES // 2]:
        await bus.append(story.messages)
    process = start(database_url, redis_url, tmp_path / "audit.log")
    try:
        for kill in range(KILLS):
            before = len(recorded(database_url))
            await eventually(
                lambda known=before: len(recorded(database_url)) > known,  # type: ignore[misc]
                within_s=60,
                what=f"progress before kill {kill}",
            )
            await asyncio.sleep(chance.uniform(0, 0.05))
            process.kill()
            process.wait(10)
            share = stories[STORIES // 2 :][kill::KILLS]
            for story in share:
                await bus.append(story.messages)
            process = start(database_url, redis_url, tmp_path / "audit.log")
        await eventually(
            lambda: recorded(database_url) == sent, within_s=60, what="everything recorded"
        )
    finally:
        process.terminate()
        process.wait(20)
        await bus.close()
    assert process.returncode == 0
    found = verify_chain(database_url)
    assert (found.valid, found.rows) == (True, count(database_url))
