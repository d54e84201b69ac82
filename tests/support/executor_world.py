"""An executor at work: real PostgreSQL, Redis and simulated broker, a risk manager by ear."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import psycopg
from fastapi import FastAPI

from libs.common.contracts.channels import ORDERS_APPROVED, RISK_ALERTS, SYSTEM_HEALTH
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import ApprovedOrder, Heartbeat, Payload, RiskAlert
from libs.common.domain.vocabulary import Level, TradingState
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.bus import Bus, LogMessage
from libs.common.runtime.clocks import SystemClock, Uuid7Ids
from services.trade_executor.assembly import Executor
from services.trade_executor.main import build
from services.trade_executor.settings import ExecutorSettings
from tests.support.runtimes import eventually, ready, serving
from tests.support.simulator import Simulator
from tests.support.tokens import SEEDS

QUICK: dict[str, Any] = {
    "outbox_sweep_s": 0.1,
    "heartbeat_s": 0.5,
    "claim_idle_s": 1.0,
    "clock_poll_s": 0.1,
    "broker_timeout_s": 1.5,
    "broker_circuit_reset_s": 0.5,
    "lookup_settle_s": 1.0,
    "lookup_s_first": 0.1,
    "lookup_s_max": 0.3,
    "settle_s": 0.5,
    "watch_s": 0.4,
    "gate_poll_s": 0.2,
    "reconcile_orders_s": 1.0,
    "reconcile_books_s": 1.0,
    "close_poll_s": 0.2,
    "tie_out_retry_s": 1.0,
    "stream_reconnect_s_max": 0.5,
}


class Voice:
    """Speaks on the bus as the risk manager would."""

    def __init__(self, database_url: str, redis_url: str, account_id: str = "main") -> None:
        self.database_url = database_url
        self.account_id = account_id
        self.bus = Bus(redis_url, timeout_s=5, name="test")
        self._ids, self._clock = Uuid7Ids(), SystemClock()
        self._beating: asyncio.Task[None] | None = None
        self._silent = False

    def seal(self, payload: Payload, correlation_id: uuid.UUID | None = None) -> Any:
        """Return a payload in an envelope of the risk manager."""
        return seal(
            payload,
            message_id=self._ids.new(),
            ts_ns=self._clock.now_ns(),
            source="risk_manager",
            correlation_id=correlation_id or self._ids.new(),
        )

    async def approve(self, *orders: ApprovedOrder) -> None:
        """Put approvals on their log."""
        sealed = [self.seal(order) for order in orders]
        await self.bus.append(
            [
                LogMessage(one.id, ORDERS_APPROVED.name(), ORDERS_APPROVED.stream, encode(one))
                for one in sealed
            ]
        )

    def set_state(self, state: TradingState, generation: int) -> None:
        """Write the kill switch's row."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute(
                "INSERT INTO trading_state (account_id, state, generation, reason, set_by)"
                " VALUES (%s, %s, %s, 'test', 'test') ON CONFLICT (account_id) DO UPDATE"
                " SET state = excluded.state, generation = excluded.generation",
                (self.account_id, state, generation),
            )

    async def alert(self) -> None:
        """Say that the kill switch has moved."""
        alert = RiskAlert(
            account_id=self.account_id,
            code="KILL_SWITCH",
            level=Level.CRITICAL,
            message="halted by test",
            ts=self._clock.now(),
        )
        sealed = self.seal(alert)
        await self.bus.append(
            [LogMessage(sealed.id, RISK_ALERTS.name(), RISK_ALERTS.stream, encode(sealed))]
        )

    async def beat(self) -> None:
        """Send one heartbeat."""
        now = self._clock.now()
        heartbeat = Heartbeat(
            service="risk_manager", instance="0", ready=True, reasons=(), ts=now, started_at=now
        )
        await self.bus.broadcast(SYSTEM_HEALTH, self.seal(heartbeat))

    def begin_beating(self) -> None:
        """Send heartbeats until stopped."""

        async def beats() -> None:
            while not self._silent:
                with contextlib.suppress(UnavailableError):
                    await self.beat()
                await asyncio.sleep(0.1)

        self._silent = False
        self._beating = asyncio.create_task(beats())

    async def stop_beating(self) -> None:
        """Fall silent."""
        # A flag, not a cancel: a client library may swallow one that meets its own time-out.
        self._silent = True
        if self._beating is not None:
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None

    async def close(self) -> None:
        """Stop and disconnect."""
        await self.stop_beating()
        await self.bus.close()


@dataclass
class World:
    """One executor and its surroundings."""

    simulator: Simulator
    voice: Voice
    client: httpx.AsyncClient
    app: FastAPI
    orders: list[uuid.UUID] = field(default_factory=list)

    @property
    def executor(self) -> Executor:
        """The parts of the executor."""
        executor: Executor = self.app.state.executor
        return executor

    async def send(self, *orders: ApprovedOrder) -> None:
        """Approve orders."""
        self.orders += [order.order_id for order in orders]
        await self.voice.approve(*orders)

    async def order(self, order_id: uuid.UUID) -> dict[str, Any]:
        """Return an order as the API shows it, {} if it is not there."""
        response = await self.client.get(f"/api/v1/orders/{order_id}")
        return response.json() if response.status_code == 200 else {}

    async def until(self, order_id: uuid.UUID, *statuses: str, within_s: float = 60) -> Any:
        """Wait until an order has one of the statuses; return it."""
        seen: dict[str, Any] = {}

        async def there() -> bool:
            seen.update(await self.order(order_id))
            return seen.get("status") in statuses

        try:
            await eventually(there, within_s=within_s, what=f"status {statuses}")
        except AssertionError as error:
            history = await self.client.get(f"/api/v1/orders/{order_id}/events")
            raise AssertionError(f"{error}: {seen}\n{history.text}") from error
        return seen

    async def events(self, order_id: uuid.UUID) -> list[str]:
        """Return the names of an order's events."""
        response = await self.client.get(f"/api/v1/orders/{order_id}/events")
        return [event["event"] for event in response.json()["items"]]

    async def books_equal(self, within_s: float = 60) -> None:
        """Wait until our books equal the broker's truth, to the cent and the share."""

        def differences() -> list[str]:
            return compare_books(self.voice.database_url, self.simulator.ledger())

        try:
            await eventually(lambda: not differences(), within_s=within_s, what="equal books")
        except AssertionError:
            raise AssertionError("\n".join(differences())) from None


def compare_books(database_url: str, truth: dict[str, Any]) -> list[str]:
    """Return every difference between our tables and what `/sim/ledger` says happened."""
    with psycopg.connect(database_url) as connection:
        trades = connection.execute(
            "SELECT execution_id, symbol, side, quantity, executed_price FROM trades t"
            " WHERE NOT EXISTS (SELECT 1 FROM trade_reversals v WHERE v.trade_id = t.id)"
        ).fetchall()
        positions = connection.execute(
            "SELECT symbol, quantity FROM portfolio_positions WHERE quantity <> 0"
        ).fetchall()
        balances = connection.execute(
            "SELECT ledger, code, credits_posted - debits_posted FROM ledger_accounts"
            " WHERE owner = 'main'"
        ).fetchall()
        sums = connection.execute(
            "SELECT ledger, sum(credits_posted - debits_posted), sum(credits_pending) - "
            "sum(debits_pending) FROM ledger_accounts GROUP BY ledger"
        ).fetchall()
        holds = connection.execute(
            "SELECT p.id FROM ledger_transfers p JOIN orders o ON o.id = p.order_id"
            " WHERE p.kind = 'pending' AND o.status IN ('filled', 'canceled', 'expired',"
            " 'rejected', 'denied', 'replaced') AND NOT EXISTS (SELECT 1 FROM ledger_transfers r"
            " WHERE r.pending_id = p.id)"
        ).fetchall()
    ours = {row[0]: (row[1], row[2], row[3].normalize(), row[4].normalize()) for row in trades}
    theirs = {
        one["execution_id"]: (
            one["symbol"], one["side"], Decimal(one["qty"]).normalize(),
            Decimal(one["price"]).normalize(),
        )
        for one in truth["executions"]
        if one["counts"]
    }  # fmt: skip
    found = []
    if ours != theirs:
        found.append(f"executions: only ours {ours.keys() - theirs.keys()},"
                     f" only theirs {theirs.keys() - ours.keys()}")  # fmt: skip
    held = {one["symbol"]: Decimal(one["qty"]) for one in truth["positions"]}
    held = {symbol: quantity for symbol, quantity in held.items() if quantity}
    if dict(positions) != held:
        found.append(f"positions: ours {dict(positions)}, theirs {held}")
    cash = [row[2] for row in balances if row[1] == "cash"]
    if cash != [Decimal(truth["cash"])]:
        found.append(f"cash: ours {cash}, theirs {truth['cash']}")
    shares = {row[0]: row[2] for row in balances if row[1] == "position" and row[2]}
    if shares != dict(positions):
        found.append(f"ledger shares {shares}, positions {dict(positions)}")
    found += [f"ledger {row[0]} sums to {row[1:]}" for row in sums if row[1] or row[2]]
    found += [f"hold {row[0]} outlives its order" for row in holds]
    return found


def settings_for(
    simulator: Simulator, database_url: str, redis_url: str, **settings: Any
) -> ExecutorSettings:
    """Return settings that point an executor at the servers, quick to notice things."""
    return ExecutorSettings.model_validate(
        {
            **QUICK,
            "port": 0,
            "service_key": SEEDS["trade_executor"],
            "database_url": database_url,
            "redis_url": redis_url,
            "broker_url": simulator.url,
            "broker_stream_url": simulator.stream_url,
            "clock_url": simulator.url,
            "broker_key": simulator.key,
            "broker_secret": simulator.secret,
            "risk_url": "http://127.0.0.1:1",
            **settings,
        }
    )


@asynccontextmanager
async def executor_world(
    simulator: Simulator, database_url: str, redis_url: str, **settings: Any
) -> AsyncIterator[World]:
    """Run an executor until it is ready; trading is active, generation 1."""
    voice = Voice(database_url, redis_url)
    voice.set_state(TradingState.ACTIVE, 1)
    voice.begin_beating()
    app = build(settings_for(simulator, database_url, redis_url, **settings))
    try:
        async with serving(app) as client:
            await ready(client)
            world = World(simulator, voice, client, app)
            await eventually(
                lambda: world.executor.gate.risk_manager_alive, what="risk manager's heartbeat"
            )
            yield world
    finally:
        await voice.close()
