"""Tries are rationed and failures counted, with Redis away too."""

from __future__ import annotations

import pytest

from libs.common.runtime.rates import STREAKS_MAX, Rates, Streaks
from services.security.limits import LoginLimits, TooManyError
from services.security.settings import SecuritySettings


@pytest.fixture
def limits() -> LoginLimits:
    settings = SecuritySettings.model_validate(
        {
            "redis_url": "redis://127.0.0.1:1/0",
            "logins_per_minute_user": 3,
            "logins_per_minute_address": 5,
        }
    )
    return LoginLimits(Rates(settings), Streaks(settings, 900), settings)


async def test_a_name_and_an_address_have_only_so_many_tries(limits: LoginLimits) -> None:
    for _ in range(3):
        await limits.count("anna", "203.0.113.7")
    with pytest.raises(TooManyError) as caught:
        await limits.count("anna", "203.0.113.8")
    assert caught.value.status == 429
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 120
    # The address is counted first, so that one who tries many names is stopped by it.
    await limits.count("ben", "203.0.113.7")
    await limits.count("carl", "203.0.113.7")
    with pytest.raises(TooManyError):
        await limits.count("dora", "203.0.113.7")
    await limits.count("dora", "203.0.113.9")


async def test_failures_in_a_row_are_counted_for_each_name_until_one_gets_in(
    limits: LoginLimits,
) -> None:
    assert [await limits.failed("anna") for _ in range(3)] == [1, 2, 3]
    assert await limits.failed("nobody") == 1
    await limits.forget("anna")
    assert await limits.failed("anna") == 1


async def test_names_that_somebody_invents_do_not_fill_the_memory(limits: LoginLimits) -> None:
    for number in range(STREAKS_MAX + 10):
        await limits.failed(f"name {number}")
    assert await limits.failed("name 0") == 1
    assert await limits.failed(f"name {STREAKS_MAX + 9}") == 2
