"""What every test of the orders needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.order_desk import OrderDesk, order_desk
from tests.support.simulator import Simulator, start_simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        yield running


@pytest.fixture
async def desk(simulator: Simulator, database_url: str, redis_url: str) -> AsyncIterator[OrderDesk]:
    async with order_desk(simulator, database_url, redis_url) as running:
        yield running
