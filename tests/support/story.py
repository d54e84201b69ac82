"""A made-up but complete story: a bar, a signal, its judgement, order, execution, ledger lines."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import create_engine, insert

from libs.common.contracts.channels import (
    ORDERS_APPROVED,
    ORDERS_EVENTS,
    RISK_ASSESSMENTS,
    SIGNALS,
    TRADES_EXECUTED,
    Channel,
)
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import (
    ApprovedOrder,
    CheckResult,
    OrderEvent,
    OrderSpec,
    Payload,
    RiskAssessment,
    Signal,
    Trade,
)
from libs.common.domain.vocabulary import OrderStatus, Side, StrategyMode, Verdict
from libs.common.kernel.clock import to_ns
from libs.common.runtime.bus import LogMessage
from libs.common.runtime.schema.execution import (
    ledger_accounts,
    ledger_transfers,
    order_events,
    orders,
    trades,
)
from libs.common.runtime.schema.market import market_ohlcv
from libs.common.runtime.schema.risk import risk_assessments
from libs.common.runtime.schema.strategies import signals, strategies

MARKET_TIME = dt.datetime(2022, 1, 3, 15, 0, tzinfo=dt.UTC)


@dataclass
class MadeUpStory:
    """Ids and messages of one story that begins at `start` (wall time), 10 ms a step."""

    start: dt.datetime = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
    symbol: str = "AAPL"
    correlation_id: uuid.UUID = field(default_factory=uuid.uuid4)
    signal_id: uuid.UUID = field(default_factory=uuid.uuid4)
    assessment_id: uuid.UUID = field(default_factory=uuid.uuid4)
    order_id: uuid.UUID = field(default_factory=uuid.uuid4)
    trade_id: uuid.UUID = field(default_factory=uuid.uuid4)
    hold_id: uuid.UUID = field(default_factory=uuid.uuid4)
    messages: list[LogMessage] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Seal the messages, in their order."""
        self._seal(SIGNALS, self._signal(), "strategy_engine", 0, "sma_cross")
        self._seal(RISK_ASSESSMENTS, self._assessment(), "risk_manager", 1)
        self._seal(ORDERS_APPROVED, self._approval(), "risk_manager", 1)
        for seq, (before, after) in enumerate(self._changes, start=1):
            self._seal(ORDERS_EVENTS, self._event(seq, before, after), "trade_executor", 1 + seq)
        self._seal(TRADES_EXECUTED, self._trade(), "trade_executor", 5)

    @property
    def _changes(self) -> list[tuple[OrderStatus | None, OrderStatus]]:
        return [
            (None, OrderStatus.CREATED),
            (OrderStatus.CREATED, OrderStatus.SUBMITTING),
            (OrderStatus.SUBMITTING, OrderStatus.ACCEPTED),
            (OrderStatus.ACCEPTED, OrderStatus.FILLED),
        ]

    def at(self, step: int) -> dt.datetime:
        """Return the wall time of `step`."""
        return self.start + dt.timedelta(milliseconds=10 * step)

    def store(self, database_url: str) -> None:
        """Put the story's rows into the tables of the trading path."""
        scheme, _, rest = database_url.partition("://")
        engine = create_engine(f"{scheme}+psycopg://{rest}")
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "SELECT ensure_month_partition('market_ohlcv', date '2022-01-01')"
            )
            for table, rows in self._rows():
                connection.execute(insert(table), rows)
        engine.dispose()

    def _seal(
        self, channel: Channel, payload: Payload, source: str, step: int, key: str = ""
    ) -> None:
        before = self.messages[-1].id if self.messages else None
        envelope = seal(
            payload,
            message_id=uuid.uuid4(),
            ts_ns=to_ns(self.at(step)),
            source=source,
            correlation_id=self.correlation_id,
            causation_id=before,
        )
        self.messages.append(
            LogMessage(envelope.id, channel.name(key), channel.stream, encode(envelope))
        )

    def _signal(self) -> Signal:
        return Signal(
            signal_id=self.signal_id,
            strategy_id="sma_cross",
            symbol=self.symbol,
            timeframe="1m",
            bar_ts=MARKET_TIME,
            ts_event=MARKET_TIME + dt.timedelta(minutes=1),
            target=1.0,
            confidence=1.0,
            reference_price=Decimal("150.10"),
            mode=StrategyMode.LIVE,
        )

    def _assessment(self) -> RiskAssessment:
        return RiskAssessment(
            assessment_id=self.assessment_id,
            account_id="main",
            symbol=self.symbol,
            side=Side.BUY,
            verdict=Verdict.APPROVED,
            quantity=Decimal("66"),
            checks=(CheckResult(code="PRICE_STALE", passed=True, value="1s", limit="10s"),),
            generation=1,
            ts=self.at(1),
            latency_us=180,
            signal_id=self.signal_id,
        )

    def _approval(self) -> ApprovedOrder:
        return ApprovedOrder(
            order_id=self.order_id,
            account_id="main",
            spec=OrderSpec(symbol=self.symbol, side=Side.BUY, quantity=Decimal("66")),
            assessment=self._assessment(),
            generation=1,
            expires_at=self.at(1000),
            signal_id=self.signal_id,
        )

    def _event(self, seq: int, before: OrderStatus | None, after: OrderStatus) -> OrderEvent:
        return OrderEvent(
            order_id=self.order_id,
            client_order_id=f"tw-{self.order_id}-1",
            account_id="main",
            symbol=self.symbol,
            side=Side.BUY,
            seq=seq,
            event=after.value,
            from_status=before,
            to_status=after,
            quantity=Decimal("66"),
            filled_quantity=Decimal("66") if after is OrderStatus.FILLED else Decimal(0),
            ts=self.at(1 + seq),
        )

    def _trade(self) -> Trade:
        return Trade(
            trade_id=self.trade_id,
            order_id=self.order_id,
            account_id="main",
            broker="alpaca",
            execution_id=f"x-{self.trade_id}",
            symbol=self.symbol,
            side=Side.BUY,
            quantity=Decimal("66"),
            price=Decimal("150.12"),
            commission=Decimal(0),
            fees=Decimal("0.0100"),
            executed_at=MARKET_TIME + dt.timedelta(minutes=1, seconds=2),
            realized_pnl=Decimal(0),
            position_quantity=Decimal("66"),
            position_avg_cost=Decimal("150.12"),
        )

    def _rows(self) -> list[tuple[Any, list[dict[str, Any]]]]:
        ours, market = uuid.uuid4(), uuid.uuid4()
        return [
            (
                market_ohlcv,
                [
                    {
                        "symbol": self.symbol,
                        "timeframe": "1m",
                        "ts": MARKET_TIME,
                        **dict.fromkeys(("open", "high", "low", "close"), Decimal("150.10")),
                        "volume": Decimal(1000),
                        "provider": "alpaca",
                    }
                ],
            ),
            (
                strategies,
                [
                    {
                        "id": "sma_cross",
                        "class_name": "SmaCross",
                        "version_hash": "x",
                        "params": {},
                        "universe": [self.symbol],
                        "timeframe": "1m",
                        "mode": "live",
                    }
                ],
            ),
            (
                signals,
                [
                    {
                        "id": self.signal_id,
                        "strategy_id": "sma_cross",
                        "symbol": self.symbol,
                        "timeframe": "1m",
                        "bar_ts": MARKET_TIME,
                        "ts": MARKET_TIME + dt.timedelta(minutes=1),
                        "target": 1.0,
                        "confidence": 1.0,
                        "reference_price": Decimal("150.10"),
                        "mode": "live",
                        "features": {},
                        "correlation_id": self.correlation_id,
                        "created_at": self.at(0),
                    }
                ],
            ),
            (
                risk_assessments,
                [
                    {
                        "id": self.assessment_id,
                        "signal_id": self.signal_id,
                        "order_id": self.order_id,
                        "account_id": "main",
                        "symbol": self.symbol,
                        "side": "buy",
                        "verdict": "approved",
                        "quantity": Decimal("66"),
                        "checks": [{"code": "PRICE_STALE", "passed": True}],
                        "generation": 1,
                        "latency_us": 180,
                        "correlation_id": self.correlation_id,
                        "ts": self.at(1),
                    }
                ],
            ),
            (
                orders,
                [
                    {
                        "id": self.order_id,
                        "client_order_id": f"tw-{self.order_id}-1",
                        "broker": "alpaca",
                        "account_id": "main",
                        "symbol": self.symbol,
                        "side": "buy",
                        "order_type": "market",
                        "order_class": "simple",
                        "quantity": Decimal("66"),
                        "time_in_force": "day",
                        "status": "filled",
                        "signal_id": self.signal_id,
                        "correlation_id": self.correlation_id,
                    }
                ],
            ),
            (
                order_events,
                [
                    {
                        "order_id": self.order_id,
                        "seq": seq,
                        "event": after.value,
                        "from_status": before.value if before else None,
                        "to_status": after.value,
                        "ts": self.at(1 + seq),
                    }
                    for seq, (before, after) in enumerate(self._changes, start=1)
                ],
            ),
            (
                trades,
                [
                    {
                        "id": self.trade_id,
                        "order_id": self.order_id,
                        "account_id": "main",
                        "broker": "alpaca",
                        "execution_id": f"x-{self.trade_id}",
                        "symbol": self.symbol,
                        "side": "buy",
                        "quantity": Decimal("66"),
                        "executed_price": Decimal("150.12"),
                        "entry": 1,
                        "commission": Decimal(0),
                        "fees": Decimal("0.0100"),
                        "executed_at": MARKET_TIME + dt.timedelta(minutes=1, seconds=2),
                        "realized_pnl": Decimal(0),
                        "correlation_id": self.correlation_id,
                        "booked_at": self.at(5),
                    }
                ],
            ),
            (
                ledger_accounts,
                [
                    {"id": ours, "owner": "main", "ledger": "USD", "code": "cash"},
                    {"id": market, "owner": "market", "ledger": "USD", "code": "cash"},
                ],
            ),
            (
                ledger_transfers,
                [
                    self._line(self.hold_id, "pending", ours, market, "9917.9200", 2),
                    self._line(uuid.uuid4(), "post", ours, market, "9907.9200", 5),
                    self._line(uuid.uuid4(), "direct", ours, market, "0.0100", 5),
                ],
            ),
        ]

    def _line(
        self,
        line_id: uuid.UUID,
        kind: str,
        debit: uuid.UUID,
        credit: uuid.UUID,
        amount: str,
        step: int,
    ) -> dict[str, Any]:
        return {
            "id": line_id,
            "debit_account": debit,
            "credit_account": credit,
            "ledger": "USD",
            "amount": Decimal(amount),
            "kind": kind,
            "pending_id": self.hold_id if kind == "post" else None,
            "code": "trade",
            "order_id": self.order_id,
            "trade_id": self.trade_id if kind != "pending" else None,
            "correlation_id": self.correlation_id,
            "ts": self.at(step),
        }
