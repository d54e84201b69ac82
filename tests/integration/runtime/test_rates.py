"""Rates: counted together in Redis, alone while it is away."""

from __future__ import annotations

import time

from pydantic import SecretStr

from infra.embedded.ports import free_port
from libs.common.runtime.rates import Rates
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
