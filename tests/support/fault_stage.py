"""An executor on a stage of faults, and the one check that ends every act."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from libs.common.contracts.messages import ApprovedOrder, OrderSpec
from tests.support.executor_orders import approval, spec
from tests.support.executor_world import World, executor_world
from tests.support.risk_stand_in import RiskStandIn, serving_risk
from tests.support.simulator import Simulator, start_simulator
from tests.support.strict_books import Expected, wrongs

SYMBOLS = ("AAPL", "KO", "MSFT", "PG", "XOM")
BID, ASK = "100.00", "100.02"


@contextmanager
def stage_simulator(**settings: Any) -> Iterator[Simulator]:
    """Run a simulated broker with every symbol of the stage quoted."""
    chosen = {"simulator_cash": "10000000", "simulator_symbols": SYMBOLS, **settings}
    with start_simulator(**chosen) as running:
        quote_all(running)
        yield running


def quote_all(simulator: Simulator) -> None:
    """Quote every symbol at 100.00 to 100.02."""
    for symbol in SYMBOLS:
        simulator.quote(symbol, BID, ASK)


@dataclass
class Books:
    """What the check needs: our database, the broker, and what was approved."""

    database_url: str
    simulator: Simulator
    approved: dict[uuid.UUID, ApprovedOrder] = field(default_factory=dict)
    risk: RiskStandIn | None = None

    def approval(self, order: OrderSpec, **how: Any) -> ApprovedOrder:
        """Approve an order, and remember that it was."""
        given = approval(order, **{"generation": 1, "reference_price": "100", **how})
        self.approved[given.order_id] = given
        return given

    def wrongs(self, expected: Expected | None = None) -> list[str]:
        """Return everything that is wrong now."""
        judged = {**self.approved, **(self.risk.approved if self.risk else {})}
        return wrongs(self.database_url, self.simulator.ledger(), judged, expected)

    async def nothing_wrong(
        self, expected: Expected | None = None, *, within_s: float = 60
    ) -> None:
        """Wait until nothing is lost, doubled or mispriced; fails with everything that is."""
        deadline = time.monotonic() + within_s
        while found := await asyncio.to_thread(self.wrongs, expected):
            if time.monotonic() > deadline:
                raise AssertionError("\n".join(found))
            await asyncio.sleep(0.1)

    def rows(self, query: str, *parameters: object) -> list[Any]:
        """Ask the database."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]


@dataclass
class Stage(Books):
    """A running executor with its surroundings."""

    world: World = None  # type: ignore[assignment]

    async def approve(
        self, side: str = "buy", quantity: str = "10", *, symbol: str = "AAPL", **fields: Any
    ) -> uuid.UUID:
        """Approve one order and let it be sent; return its id."""
        how = {
            name: fields.pop(name)
            for name in ("generation", "lasts_s", "reducing", "protective")
            if name in fields
        }
        given = self.approval(spec(side, quantity, symbol=symbol, **fields), **how)
        await self.world.send(given)
        return given.order_id

    async def until(self, order_id: uuid.UUID, *statuses: str, within_s: float = 60) -> Any:
        """Wait until an order has one of the statuses; return it."""
        return await self.world.until(order_id, *statuses, within_s=within_s)

    async def amend(self, order_id: uuid.UUID, **body: str) -> Any:
        """Return the raw answer to an amendment."""
        return await self.world.client.patch(
            f"/api/v1/orders/{order_id}", json=body, headers={"Idempotency-Key": uuid.uuid4().hex}
        )

    async def cancel(self, order_id: uuid.UUID) -> Any:
        """Return the raw answer to a cancel."""
        return await self.world.client.delete(f"/api/v1/orders/{order_id}")

    def at_broker(self, order_id: uuid.UUID) -> list[Any]:
        """Return the broker's orders that carry one of our order's names."""
        name = f"tw-{order_id}"
        orders = self.simulator.ledger()["orders"]
        return [one for one in orders if one["client_order_id"].rpartition("-")[0] == name]

    async def settled(
        self,
        expected: Expected | None = None,
        *,
        blocks: frozenset[str] = frozenset(),
        within_s: float = 60,
    ) -> None:
        """Switch the faults off and wait until nothing is wrong and no symbol is blocked, except
        those in `blocks`."""
        self.simulator.clear_faults()
        await self.nothing_wrong(expected, within_s=within_s)
        deadline = time.monotonic() + within_s
        while (left := set(self.world.executor.blocks.shown())) - blocks:
            assert time.monotonic() < deadline, f"blocked: {self.world.executor.blocks.shown()}"
            await asyncio.sleep(0.05)
        assert left == blocks, f"expected blocks: {set(blocks)}, there are {left}"

    async def recover(self) -> None:
        """Undo a test's switches, whatever became of it: the stage is shared."""
        self.simulator.clear_faults()
        self.simulator.behave()
        for order in self.simulator.get("/v2/orders", status="open", limit=500):
            self.simulator.request("DELETE", f"/v2/orders/{order['id']}")
        self.simulator.step(1)
        quote_all(self.simulator)


@asynccontextmanager
async def fault_stage(
    simulator: Simulator, database_url: str, redis_url: str, **settings: Any
) -> AsyncIterator[Stage]:
    """Run an executor until it is ready, with a risk manager that approves what it is asked."""
    risk = RiskStandIn()
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving_risk(risk))
        world = await stack.enter_async_context(
            executor_world(simulator, database_url, redis_url, risk_url=url, **settings)
        )
        yield Stage(database_url, simulator, risk=risk, world=world)
