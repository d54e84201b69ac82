"""SIGKILL in the middle of a protection and of closing everything: nothing is closed twice, nothing
stands naked, and the books are right to the last digit."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from libs.common.domain.vocabulary import TradingState
from tests.support.executor_process import ExecutorProcess
from tests.support.executor_world import Voice
from tests.support.risk_stand_in import RiskStandIn, serving_risk
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator
from tests.support.strict_books import wrongs
from tests.support.tokens import AS_OPERATOR

WITHIN_S = 60.0
API = "/api/v1/orders"
HELD = ("AAPL", "KO")


@dataclass
class Desk:
    """An executor that a test may kill, and what it is asked."""

    process: ExecutorProcess
    client: httpx.AsyncClient
    simulator: Simulator
    risk: RiskStandIn
    database_url: str

    async def post(self, path: str, **body: str) -> Any:
        """Ask for something; a process that is killed meanwhile does not answer."""
        with contextlib.suppress(httpx.HTTPError):
            key = {"Idempotency-Key": uuid.uuid4().hex}
            return (await self.client.post(API + path, json=body or None, headers=key)).json()

    async def killed(self) -> None:
        """Kill it and start it again."""
        self.process.kill()
        await asyncio.to_thread(self.process.start)

    def rows(self, query: str) -> list[Any]:
        """Ask the database."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    def at_broker(self, status: str) -> list[Any]:
        """The broker's orders of a status."""
        return [one for one in self.simulator.ledger()["orders"] if one["status"] == status]

    async def right(self) -> None:
        """Wait until the books are right."""
        found: list[str] = []

        async def nothing_wrong() -> bool:
            found[:] = await asyncio.to_thread(
                wrongs, self.database_url, self.simulator.ledger(), self.risk.approved
            )
            return not found

        try:
            await eventually(nothing_wrong, within_s=WITHIN_S, what="right books")
        except AssertionError as error:
            raise AssertionError("\n".join(found)) from error


@asynccontextmanager
async def desk(
    simulator: Simulator, database_url: str, redis_url: str, log: Path
) -> AsyncIterator[Desk]:
    voice, risk = Voice(database_url, redis_url), RiskStandIn()
    voice.set_state(TradingState.ACTIVE, 1)
    voice.begin_beating()
    async with serving_risk(risk) as url:
        process = ExecutorProcess(
            simulator, database_url, redis_url, log, risk_url=url, broker_timeout_s=10,
            protection_look_s=0.2, protection_naked_s=30,
        )  # fmt: skip
        await asyncio.to_thread(process.start)
        try:
            async with httpx.AsyncClient(
                base_url=process.url, auth=AS_OPERATOR, trust_env=False, timeout=WITHIN_S
            ) as client:
                yield Desk(process, client, simulator, risk, database_url)
        finally:
            await voice.close()
            process.stop()


async def until(check: Any, what: str) -> None:
    await eventually(check, within_s=WITHIN_S, what=what)


@pytest.mark.timeout(300)  # four starts of a process
async def test_killed_while_guarding_and_while_closing_all(
    simulator: Simulator, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    for symbol in HELD:
        simulator.quote(symbol, "100.00", "100.02")
    async with desk(simulator, database_url, redis_url, tmp_path / "log") as one:
        for symbol in HELD:
            await one.post("", symbol=symbol, side="buy", quantity="10")
        await until(lambda: len(one.at_broker("filled")) == 2, "both bought")
        await until(lambda: len(one.rows("SELECT 1 FROM trades")) == 2, "both booked")
        # The exit of the first reaches the broker, and its answer never comes.
        simulator.fault("lost_answer", method="POST", path="/v2/orders", count=1)
        await one.post("/protection", symbol="AAPL", stop_price="90")
        await until(lambda: len(one.at_broker("new")) == 1, "the exit at the broker")
        await one.killed()
        await one.post("/protection", symbol="KO", stop_price="90")
        await until(lambda: _guarded(one), "both guarded")
        stops = one.at_broker("new")
        assert sorted((s["symbol"], s["qty"], s["side"]) for s in stops) == [
            (symbol, "10", "sell") for symbol in HELD
        ]

        # All is to be closed: killed while the exits are being cancelled.
        simulator.fault("latency", method="DELETE", count=2, seconds=30)
        asked = asyncio.create_task(one.post("/positions/close"))
        exits = "SELECT 1 FROM closings WHERE cardinality(exits) > 0"
        await until(lambda: len(one.rows(exits)) == 2, "both closings under way")
        await asyncio.gather(one.killed(), asked)
        # Killed again when the first closing order has arrived and nobody has heard of it.
        simulator.clear_faults()
        simulator.fault("lost_answer", method="POST", path="/v2/orders", count=2)
        await until(lambda: len(one.at_broker("filled")) >= 3, "a closing order filled")
        await one.killed()

        done = "SELECT 1 FROM closings WHERE status = 'closed'"
        await until(lambda: len(one.rows(done)) == 2, "both closed")
        assert simulator.get("/v2/positions") == []
        sold: dict[str, Decimal] = dict.fromkeys(HELD, Decimal(0))
        for execution in simulator.ledger()["executions"]:
            if execution["side"] == "sell":
                sold[execution["symbol"]] += Decimal(execution["qty"])
        assert sold == dict.fromkeys(HELD, Decimal(10)), "each is closed once"
        await one.right()


async def _guarded(one: Desk) -> bool:
    items = (await one.client.get(f"{API}/protection")).json()["items"]
    return [(item.get("active"), item.get("missing")) for item in items] == [("10", "0")] * 2
