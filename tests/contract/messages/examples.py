"""One example of every payload, with every field set; their JSON is kept under golden/."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

from libs.common.contracts import messages as m
from libs.common.domain.vocabulary import (
    Level,
    OrderClass,
    OrderStatus,
    OrderType,
    Side,
    StrategyMode,
    TimeInForce,
    TradingState,
    Verdict,
)

NOON = dt.datetime(2019, 3, 15, 16, 0, tzinfo=dt.UTC)


def uid(number: int) -> uuid.UUID:
    """Return a recognisable id."""
    return uuid.UUID(int=(0x7 << 76) | (0b10 << 62) | number)


SPEC = m.OrderSpec(
    symbol="AAPL",
    side=Side.BUY,
    order_type=OrderType.LIMIT,
    time_in_force=TimeInForce.GTC,
    order_class=OrderClass.BRACKET,
    quantity=Decimal("10"),
    limit_price=Decimal("150.25"),
    take_profit_limit_price=Decimal("160.00"),
    stop_loss_stop_price=Decimal("140.00"),
    stop_loss_limit_price=Decimal("139.50"),
)
ASSESSMENT = m.RiskAssessment(
    assessment_id=uid(1),
    account_id="main",
    symbol="AAPL",
    side=Side.BUY,
    verdict=Verdict.APPROVED,
    quantity=Decimal("10"),
    checks=(
        m.CheckResult(
            code="NOTIONAL_ABOVE_LIMIT",
            passed=True,
            value="1502.50",
            limit="50000",
            note="per order",
        ),
    ),
    generation=3,
    ts=NOON,
    latency_us=120,
    reference_price=Decimal("150.20"),
    signal_id=uid(2),
    strategy_id="sma_cross:main:1m",
)
EXAMPLES: tuple[m.Payload, ...] = (
    m.MarketData(
        symbol="AAPL",
        provider="alpaca",
        ts_init=1552665600123456789,
        quotes=(
            m.Quote(ts_event=1552665600000000001, bid=150.1, ask=150.2, bid_size=3.0, ask_size=4.0),
        ),
        trades=(
            m.TradeTick(ts_event=1552665600000000002, price=150.15, size=100.0, conditions=("@",)),
        ),
        bars=(
            m.Bar(
                timeframe="1m",
                ts_event=1552665540000000000,
                open=150.0,
                high=150.5,
                low=149.9,
                close=150.15,
                volume=1200.0,
                vwap=150.2,
                trades=17,
                correction=True,
            ),
        ),
    ),
    m.Signal(
        signal_id=uid(2),
        strategy_id="sma_cross:main:1m",
        symbol="AAPL",
        timeframe="1m",
        bar_ts=NOON,
        ts_event=NOON + dt.timedelta(minutes=1),
        target=1.0,
        confidence=0.75,
        reference_price=Decimal("150.15"),
        mode=StrategyMode.LIVE,
        stop=Decimal("140.00"),
        take_profit=Decimal("160.00"),
        limit=Decimal("150.25"),
        features={"fast": 150.1, "slow": 149.7},
    ),
    ASSESSMENT,
    m.ApprovedOrder(
        order_id=uid(3),
        account_id="main",
        spec=SPEC,
        assessment=ASSESSMENT,
        generation=3,
        expires_at=NOON + dt.timedelta(seconds=30),
        reducing=True,
        protective=True,
        strategy_id="sma_cross:main:1m",
        signal_id=uid(2),
    ),
    m.OrderEvent(
        order_id=uid(3),
        client_order_id=f"tw-{uid(3)}-1",
        account_id="main",
        symbol="AAPL",
        side=Side.BUY,
        seq=4,
        event="fill",
        from_status=OrderStatus.WORKING,
        to_status=OrderStatus.FILLED,
        quantity=Decimal("10"),
        filled_quantity=Decimal("10"),
        ts=NOON,
        reason="filled",
        broker_order_id="b-1",
        strategy_id="sma_cross:main:1m",
        signal_id=uid(2),
        limit_price=Decimal("150.25"),
        anomaly="over_fill",
    ),
    m.Trade(
        trade_id=uid(4),
        order_id=uid(3),
        account_id="main",
        broker="alpaca",
        execution_id="x-1",
        symbol="AAPL",
        side=Side.BUY,
        quantity=Decimal("10"),
        price=Decimal("150.20"),
        commission=Decimal("0.0000"),
        fees=Decimal("0.0100"),
        executed_at=NOON,
        realized_pnl=Decimal("0.0000"),
        position_quantity=Decimal("10"),
        position_avg_cost=Decimal("150.20"),
        strategy_id="sma_cross:main:1m",
        signal_id=uid(2),
    ),
    m.PortfolioUpdate(
        account_id="main",
        ts=NOON,
        cash=Decimal("998498.0000"),
        equity=Decimal("1000003.0000"),
        long_value=Decimal("1505.0000"),
        short_value=Decimal("0.0000"),
        day_pnl=Decimal("3.0000"),
        realized_pnl=Decimal("0.0000"),
        unrealized_pnl=Decimal("3.0000"),
        total_pnl=Decimal("3.0000"),
        positions=(
            m.PositionValue(
                symbol="AAPL",
                quantity=Decimal("10"),
                avg_cost=Decimal("150.20"),
                mark=Decimal("150.50"),
                market_value=Decimal("1505.0000"),
                unrealized_pnl=Decimal("3.0000"),
                realized_pnl=Decimal("0.0000"),
                stale=True,
            ),
        ),
    ),
    m.RiskAlert(
        account_id="main",
        code="DAILY_LOSS",
        level=Level.CRITICAL,
        message="The daily loss limit is reached.",
        ts=NOON,
        context={"loss": "10012.50"},
        generation=4,
        state=TradingState.HALTED,
    ),
    m.Heartbeat(
        service="risk_manager",
        instance="0",
        ready=False,
        reasons=("start: starting",),
        ts=NOON,
        started_at=NOON,
        figures={"judgements": 12.0},
    ),
    m.Notification(
        level=Level.ERROR,
        title="Books differ",
        message="AAPL: ours 10, broker 12",
        fingerprint="discrepancy:main:AAPL",
        ts=NOON,
        context={"symbol": "AAPL"},
    ),
    m.AuditEvent(
        event_type="risk.limit",
        actor="operator",
        action="set",
        resource="account/main/order_notional_max",
        outcome="done",
        ts=NOON,
        details={"from": "50000", "to": "40000"},
    ),
    m.Command(command="reconcile", actor="operator", ts=NOON, arguments={"symbol": "AAPL"}),
)
