"""Rates: and streaks: counted together in Redis, alone while it is away."""

from __future__ import annotations

import time

import redis
from pydantic import SecretStr

from infra.embedded.ports import free_port
from libs.common.runtime.rates import STREAKS, Rates, Streaks
from libs.common.runtime.settings import ServiceSettings


async def test_two_processes_count_together(redis_url: str) -> None:
    settings = ServiceSettings(redis_url=SecretStr(redis_url))
    one, two = Rates(settings), Rates(settings)
    whom = f"key:{time.monotonic_ns()}"
    try:
        assert [await rates.wait_s(whom, 4) for rates in (one, two, one, two)] == [0, 0, 0, 0]
        for rates in (one, two):
            assert 1 <= await rates.wait_s(whom, 4) <= 120
        assert await one.wait_s(f"{whom}x", 4) == 0
    finally:
        await one.close()
        await two.close()


async def test_without_redis_each_counts_alone() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    rates = Rates(ServiceSettings(redis_url=SecretStr(url)))
    assert [await rates.wait_s("key:a", 2) for _ in range(2)] == [0, 0]
    assert await rates.wait_s("key:a", 2) >= 1
    await rates.close()


async def test_two_processes_see_one_streak(redis_url: str) -> None:
    settings = ServiceSettings(redis_url=SecretStr(redis_url))
    one, two = Streaks(settings, 60), Streaks(settings, 60)
    whom = f"login:{time.monotonic_ns()}"
    try:
        assert [await streaks.failed(whom) for streaks in (one, two, one)] == [1, 2, 3]
        assert await two.failed(f"{whom}x") == 1
        with redis.Redis.from_url(redis_url) as client:
            # It ends by itself, counted from the last failure.
            assert 50_000 < client.pttl(f"{STREAKS}:{whom}") <= 60_000
        await one.forget(whom)
        assert await two.failed(whom) == 1
    finally:
        await one.close()
        await two.close()


async def test_streaks_go_on_without_redis() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    streaks = Streaks(ServiceSettings(redis_url=SecretStr(url)), 60)
    assert [await streaks.failed("anna") for _ in range(3)] == [1, 2, 3]
    await streaks.forget("anna")
    assert await streaks.failed("anna") == 1
    await streaks.close()
