"""Executor, risk manager and simulated broker over real sockets, and orders brought to them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import uvicorn

from infra.embedded.ports import free_port
from libs.common.contracts.channels import MARKET_DATA
from libs.common.contracts.messages import MarketData, Quote
from libs.common.kernel.clock import parse_ns
from services.risk_manager.main import build as build_risk
from services.risk_manager.settings import RiskSettings
from services.trade_executor.main import build
from tests.support.executor_world import Voice, World, settings_for
from tests.support.runtimes import eventually, ready, serving
from tests.support.simulator import SYMBOLS, Simulator
from tests.support.tokens import AS_OPERATOR


@dataclass
class OrderDesk(World):
    """A world in which every order is really judged."""

    risk_url: str = ""

    async def market(self, symbol: str, bid: str, ask: str, *, age_s: float = 0) -> None:
        """Let a quote happen at the venue, and let everybody hear of it."""
        await tell(self.voice, self.simulator, symbol, bid, ask, age_s=age_s)

    async def place(self, key: str | None = None, **body: Any) -> Any:
        """Place an order; AAPL, buy, 10 unless told otherwise."""
        wanted = {"symbol": "AAPL", "side": "buy", **body}
        if not {"quantity", "notional"} & wanted.keys():
            wanted["quantity"] = "10"
        answer = await self.client.post(
            "/api/v1/orders", json=wanted, headers={"Idempotency-Key": key or uuid.uuid4().hex}
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def preview(self, **body: Any) -> str:
        """Return the code of the judgement that an order would get now."""
        async with httpx.AsyncClient(
            base_url=self.risk_url, auth=AS_OPERATOR, trust_env=False
        ) as risk:
            wanted = {"symbol": "AAPL", "side": "buy", "quantity": "10", **body}
            answer = await risk.post(
                "/api/v1/risk/preview", json={"account_id": "main", "order": wanted}
            )
            return str(answer.json()["code"])

    async def funded(self) -> bool:
        """Tell whether the risk manager knows of the account's money."""
        async with httpx.AsyncClient(
            base_url=self.risk_url, auth=AS_OPERATOR, trust_env=False
        ) as risk:
            shown = (await risk.get("/api/v1/risk/exposure")).json()
        return Decimal(shown["cash"]) > 0

    async def placed(self, *statuses: str, **body: Any) -> Any:
        """Place an order and wait until it has one of the statuses."""
        order = await self.place(**body)
        return await self.until(uuid.UUID(order["id"]), *statuses)

    async def amend(self, order: Any, key: str | None = None, **body: Any) -> Any:
        """Return the raw answer to an amendment."""
        return await self.client.patch(
            f"/api/v1/orders/{order['id']}",
            json=body,
            headers={"Idempotency-Key": key or uuid.uuid4().hex},
        )

    async def becomes(self, order: Any, *statuses: str) -> Any:
        """Wait until an order has one of the statuses; return it."""
        return await self.until(uuid.UUID(order["id"]), *statuses)

    def rows(self, query: str, *parameters: object) -> list[Any]:
        """Ask the database."""
        with psycopg.connect(self.voice.database_url) as connection:
            return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]

    def held(self, ledger: str = "USD") -> str:
        """Return what our account holds for its orders in one ledger."""
        code = "cash" if ledger == "USD" else "position"
        rows = self.rows(
            "SELECT trim_scale(debits_pending)::text FROM ledger_accounts"
            " WHERE owner = 'main' AND ledger = %s AND code = %s",
            ledger,
            code,
        )
        return str(rows[0][0]) if rows else "0"


async def tell(
    voice: Voice, simulator: Simulator, symbol: str, bid: str, ask: str, *, age_s: float = 0
) -> None:
    """Let a quote happen at the venue, and let everybody hear of it; an old one is only heard."""
    now_ns = parse_ns(simulator.clock()["now"], "now") - round(age_s * 1e9)
    quote = Quote(ts_event=now_ns, bid=float(bid), ask=float(ask))
    data = MarketData(symbol=symbol, provider="test", ts_init=now_ns, quotes=(quote,))
    if not age_s:
        await asyncio.to_thread(simulator.quote, symbol, bid, ask)
    await voice.bus.broadcast(MARKET_DATA, voice.seal(data), key=symbol)


@asynccontextmanager
async def order_desk(
    simulator: Simulator, database_url: str, redis_url: str, **settings: Any
) -> AsyncIterator[OrderDesk]:
    """Run both services until they are ready; every symbol is quoted at 100.00 to 100.02."""
    _list_instruments(database_url)
    port = free_port()
    risk = build_risk(
        RiskSettings.model_validate(
            {
                "port": 0,
                "database_url": database_url,
                "redis_url": redis_url,
                "clock_url": simulator.url,
                "symbols": SYMBOLS,
                "clock_poll_s": 0.1,
                "outbox_sweep_s": 0.1,
                "heartbeat_s": 0.5,
            }
        )
    )
    server = uvicorn.Server(uvicorn.Config(risk, port=port, log_level="error"))
    serving_risk = asyncio.create_task(server.serve())
    url = f"http://127.0.0.1:{port}"
    voice = Voice(database_url, redis_url)
    app = build(settings_for(simulator, database_url, redis_url, risk_url=url, **settings))
    try:
        async with serving(app) as client:
            desk = OrderDesk(simulator, voice, client, app, risk_url=url)
            for symbol in SYMBOLS:
                await asyncio.to_thread(simulator.quote, symbol, "100.00", "100.02")
            await eventually(lambda: risk.state.runtime.readiness.ready, within_s=30, what="risk")
            await ready(client)
            for symbol in SYMBOLS:
                await desk.market(symbol, "100.00", "100.02")
            await eventually(
                lambda: desk.executor.gate.risk_manager_alive, what="risk manager's heartbeat"
            )
            # Its book may have been begun before the executor opened the account.
            await eventually(desk.funded, what="the account's money in the risk manager's book")
            yield desk
    finally:
        await voice.close()
        server.should_exit = True
        await serving_risk


def _list_instruments(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for symbol in SYMBOLS:
            connection.execute(
                "INSERT INTO instruments (symbol, exchange, asset_class, tick_size, lot_size,"
                " sector, tradable, shortable, fractionable) VALUES"
                " (%s, 'XNYS', 'us_equity', 0.01, 1, 'unknown', true, true, %s)"
                " ON CONFLICT DO NOTHING",
                (symbol, symbol != "KO"),
            )
