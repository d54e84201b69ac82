"""The world around the risk manager: market clock, seeded tables, signals, quotes, process."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from infra.embedded.ports import free_port
from libs.common.contracts.channels import (
    MARKET_DATA,
    ORDERS_APPROVED,
    ORDERS_EVENTS,
    SIGNALS,
    TRADES_EXECUTED,
    Channel,
)
from libs.common.contracts.envelope import Envelope, Reader, seal
from libs.common.contracts.messages import (
    ApprovedOrder,
    MarketData,
    OrderEvent,
    Payload,
    Quote,
    Signal,
    Trade,
)
from libs.common.domain.vocabulary import OrderStatus, StrategyMode
from libs.common.kernel.clock import to_ns
from libs.common.kernel.ids import client_order_id
from libs.common.runtime.runtime import Runtime
from tests.support.runtimes import runtime_for

ROOT = Path(__file__).resolve().parents[2]
# A Tuesday, 10:00 in New York.
MARKET_OPEN = dt.datetime(2022, 3, 1, 15, 0, tzinfo=dt.UTC)
SECTORS = {"AAPL": "technology", "MSFT": "technology", "KO": "staples", "XOM": "energy"}
CASH = Decimal(1_000_000)


class _ClockHandler(BaseHTTPRequestHandler):
    server: SimClock

    def do_GET(self) -> None:
        body = json.dumps(
            {"now": self.server.now().isoformat(), "factor": 1.0, "state": self.server.state}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class SimClock(ThreadingHTTPServer):
    """A broker's `/sim/clock` that starts at MARKET_OPEN and runs at wall speed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ClockHandler)
        self.state = "regular"
        self._started = time.monotonic()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def now(self) -> dt.datetime:
        return MARKET_OPEN + dt.timedelta(seconds=time.monotonic() - self._started)


@contextmanager
def sim_clock() -> Iterator[SimClock]:
    """Run a SimClock."""
    clock = SimClock()
    thread = threading.Thread(target=clock.serve_forever, daemon=True)
    thread.start()
    try:
        yield clock
    finally:
        clock.shutdown()
        clock.server_close()


def seed(database_url: str, *, cash: Decimal = CASH) -> None:
    """Put instruments and opening cash into a fresh database."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for symbol, sector in SECTORS.items():
            connection.execute(
                """INSERT INTO instruments (symbol, exchange, asset_class, tick_size, lot_size,
                       sector, tradable, shortable, fractionable)
                   VALUES (%s, 'XNYS', 'us_equity', 0.01, 1, %s, true, true, false)""",
                (symbol, sector),
            )
        connection.execute(
            """INSERT INTO ledger_accounts (id, owner, ledger, code, credits_posted)
               VALUES (%s, 'main', 'USD', 'cash', %s)""",
            (uuid.uuid4(), cash),
        )


class World:
    """What the risk manager hears and says, from the outside."""

    def __init__(self, database_url: str, redis_url: str, clock: SimClock) -> None:
        self.database_url = database_url
        self.clock = clock
        self.engine = runtime_for("strategy_engine", database_url, redis_url, port=0)
        self.executor = runtime_for("trade_executor", database_url, redis_url, port=0)
        self._minute = 0

    async def close(self) -> None:
        await self.engine.close()
        await self.executor.close()

    async def quote(self, symbol: str, price: float) -> None:
        """Broadcast a quote of one cent's width around `price`."""
        ns = to_ns(self.clock.now())
        quote = Quote(ts_event=ns, bid=price - 0.005, ask=price + 0.005)
        data = MarketData(symbol=symbol, provider="test", ts_init=ns, quotes=(quote,))
        await self.engine.bus.broadcast(MARKET_DATA, self._sealed(self.engine, data), key=symbol)

    def signal(
        self,
        symbol: str,
        target: float,
        *,
        strategy: str = "sma",
        mode: StrategyMode = StrategyMode.LIVE,
    ) -> Signal:
        """A strategy's next decision, one minute after the last."""
        self._minute += 1
        bar_ts = MARKET_OPEN + dt.timedelta(minutes=self._minute)
        return Signal(
            signal_id=uuid.uuid4(),
            strategy_id=strategy,
            symbol=symbol,
            timeframe="1m",
            bar_ts=bar_ts,
            ts_event=bar_ts + dt.timedelta(minutes=1),
            target=target,
            confidence=1.0,
            reference_price=Decimal(100),
            mode=mode,
        )

    async def send(self, *signals: Signal) -> None:
        """Put signals on their log, as the engine's outbox would."""
        messages = [
            self.engine.outbox.prepare(SIGNALS, s, correlation_id=uuid.uuid4(), key=s.strategy_id)
            for s in signals
        ]
        await self.engine.bus.append(messages)

    async def tell(self, channel: Channel, payload: Payload) -> None:
        """Put a message of the executor on its log."""
        message = self.executor.outbox.prepare(channel, payload, correlation_id=uuid.uuid4())
        await self.executor.bus.append([message])

    async def order_event(
        self, order: ApprovedOrder, status: OrderStatus, seq: int, filled: Decimal = Decimal(0)
    ) -> None:
        """Tell that an approved order moved."""
        event = OrderEvent(
            order_id=order.order_id,
            client_order_id=client_order_id(order.order_id, 1),  # type: ignore[arg-type]
            account_id="main",
            symbol=order.spec.symbol,
            side=order.spec.side,
            seq=seq,
            event="accepted",
            from_status=None,
            to_status=status,
            quantity=order.spec.quantity,
            filled_quantity=filled,
            ts=dt.datetime.now(dt.UTC),
            strategy_id=order.strategy_id,
        )
        await self.tell(ORDERS_EVENTS, event)

    async def trade(self, order: ApprovedOrder, quantity: Decimal, price: Decimal) -> Trade:
        """Tell of an execution."""
        trade = Trade(
            trade_id=uuid.uuid4(),
            order_id=order.order_id,
            account_id="main",
            broker="sim",
            execution_id=uuid.uuid4().hex,
            symbol=order.spec.symbol,
            side=order.spec.side,
            quantity=quantity,
            price=price,
            commission=Decimal(0),
            fees=Decimal(0),
            executed_at=dt.datetime.now(dt.UTC),
            realized_pnl=Decimal(0),
            position_quantity=quantity,
            position_avg_cost=price,
            strategy_id=order.strategy_id,
        )
        await self.tell(TRADES_EXECUTED, trade)
        return trade

    async def approved(self) -> list[Envelope[ApprovedOrder]]:
        """Everything on the log of approved orders."""
        reader = Reader(ApprovedOrder)
        entries = await self.engine.bus.client.xrange(ORDERS_APPROVED.stream)
        return [reader.read(fields[b"message"]) for _, fields in entries]

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Ask the database."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]

    def _sealed(self, runtime: Runtime, payload: Payload) -> Envelope[Any]:
        return seal(
            payload,
            message_id=runtime.ids.new(),
            ts_ns=runtime.clock.now_ns(),
            source=runtime.name,
            correlation_id=uuid.uuid4(),
        )


class RiskProcess:
    """`python -m services.risk_manager.main` on a free port."""

    def __init__(self, database_url: str, redis_url: str, clock_url: str, log: Path) -> None:
        self._log = log
        self.port = free_port()
        self._environment = {
            "TRADEWIND_DATABASE_URL": database_url,
            "TRADEWIND_REDIS_URL": redis_url,
            "TRADEWIND_CLOCK_URL": clock_url,
            "TRADEWIND_PORT": str(self.port),
            "TRADEWIND_CLAIM_IDLE_S": "1",
            "TRADEWIND_OUTBOX_SWEEP_S": "0.1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it is not awaited."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.risk_manager.main"],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ready(self) -> bool:
        """Tell whether `/ready` says so."""
        try:
            return httpx.get(f"{self.url}/ready", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """SIGKILL it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(20)

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]
