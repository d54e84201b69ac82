"""Every payload that travels on a channel, as frozen structs.

Money, prices and quantities of the money path are Decimals (strings in JSON). Market data
travels as JSON numbers in shortest round-trip form and integer nanoseconds, because it comes
by the tens of thousands a second; `kernel.money.from_float` turns such a price into the very
decimal that was printed. Unknown fields are ignored when reading.
"""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import msgspec

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


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all payloads."""


# Market data -----------------------------------------------------------------------------


class Quote(Payload, frozen=True, kw_only=True):
    """Best bid and ask. `ts_event` in ns since the epoch (market time); sizes in shares."""

    ts_event: int
    bid: float
    ask: float
    bid_size: float = 0.0
    ask_size: float = 0.0


class TradeTick(Payload, frozen=True, kw_only=True):
    """One trade printed by the market (not ours)."""

    ts_event: int
    price: float
    size: float
    conditions: tuple[str, ...] = ()


class Bar(Payload, frozen=True, kw_only=True):
    """A closed bar. `ts_event` is the bar's start in ns; volume in shares; vwap NaN-free."""

    timeframe: str
    ts_event: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float = 0.0
    trades: int = 0
    correction: bool = False


class MarketData(Payload, frozen=True, kw_only=True):
    """All ticks and bars of one symbol since the last flush, each list oldest first.

    `ts_init` is the wall time in ns at which the oldest of them reached us.
    """

    symbol: str
    provider: str
    ts_init: int
    quotes: tuple[Quote, ...] = ()
    trades: tuple[TradeTick, ...] = ()
    bars: tuple[Bar, ...] = ()


# Signals and judgement -------------------------------------------------------------------


class Signal(Payload, frozen=True, kw_only=True):
    """A strategy's decision on one bar.

    `target` in [-1, 1] is the wished share of the strategy's capital in `symbol`.
    `reference_price` is the bar's close that the decision saw. `bar_ts` is the bar's start,
    market time; `ts_event` its end.
    """

    signal_id: uuid.UUID
    strategy_id: str
    symbol: str
    timeframe: str
    bar_ts: dt.datetime
    ts_event: dt.datetime
    target: float
    confidence: float
    reference_price: Decimal
    mode: StrategyMode
    stop: Decimal | None = None
    take_profit: Decimal | None = None
    limit: Decimal | None = None
    features: dict[str, float] = {}


class CheckResult(Payload, frozen=True, kw_only=True):
    """One check of a judgement: what was measured against what, and the outcome.

    `passed` is None where the check does not apply to this order; `note` says why.
    """

    code: str
    passed: bool | None
    value: str = ""
    limit: str = ""
    note: str = ""


class OrderSpec(Payload, frozen=True, kw_only=True):
    """What is to be bought or sold and how. Exactly one of quantity and notional is set."""

    symbol: str
    side: Side
    order_type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    order_class: OrderClass = OrderClass.SIMPLE
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    take_profit_limit_price: Decimal | None = None
    stop_loss_stop_price: Decimal | None = None
    stop_loss_limit_price: Decimal | None = None


class RiskAssessment(Payload, frozen=True, kw_only=True):
    """The record of one judgement, approved or denied, with every check.

    Either `signal_id` or `request_id` says what was judged. `generation` is the kill switch's
    at the time of judgement. `quantity` is what may be traded (0 when denied).
    """

    assessment_id: uuid.UUID
    account_id: str
    symbol: str
    side: Side
    verdict: Verdict
    quantity: Decimal
    checks: tuple[CheckResult, ...]
    generation: int
    ts: dt.datetime
    latency_us: int
    reference_price: Decimal | None = None
    signal_id: uuid.UUID | None = None
    request_id: uuid.UUID | None = None
    strategy_id: str | None = None
    code: str | None = None


class ApprovedOrder(Payload, frozen=True, kw_only=True):
    """An order that may be sent: the only thing the executor takes orders from.

    `protective` orders (exits) are left alone by the kill switch. `expires_at` (wall time) is
    when the reservation behind it ends; later it must not be sent.
    """

    order_id: uuid.UUID
    account_id: str
    spec: OrderSpec
    assessment: RiskAssessment
    generation: int
    expires_at: dt.datetime
    reducing: bool = False
    protective: bool = False
    strategy_id: str | None = None
    signal_id: uuid.UUID | None = None
    request_id: uuid.UUID | None = None


# Orders, executions, account ---------------------------------------------------------------


class OrderEvent(Payload, frozen=True, kw_only=True):
    """One change of an order's state; `seq` counts from 1 within the order."""

    order_id: uuid.UUID
    client_order_id: str
    account_id: str
    symbol: str
    side: Side
    seq: int
    event: str
    from_status: OrderStatus | None
    to_status: OrderStatus
    quantity: Decimal | None
    filled_quantity: Decimal
    ts: dt.datetime
    reason: str | None = None
    broker_order_id: str | None = None
    strategy_id: str | None = None
    signal_id: uuid.UUID | None = None
    limit_price: Decimal | None = None
    anomaly: str | None = None


class Trade(Payload, frozen=True, kw_only=True):
    """One execution, booked. Cash moved = -sign x notional - commission - fees.

    `position_quantity` and `position_avg_cost` are the account's position after it.
    """

    trade_id: uuid.UUID
    order_id: uuid.UUID
    account_id: str
    broker: str
    execution_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal
    fees: Decimal
    executed_at: dt.datetime
    realized_pnl: Decimal
    position_quantity: Decimal
    position_avg_cost: Decimal
    strategy_id: str | None = None
    signal_id: uuid.UUID | None = None


class TradeReversed(Payload, frozen=True, kw_only=True):
    """An execution that the venue took back: a `bust`, or the first half of a `correction`, whose
    other half is the `Trade` that replaces it.

    Side, quantity and price are those of the execution. Cash moved = +sign x notional +
    commission + fees. `realized_pnl` is what it changes of the position's profit, and
    `position_quantity`, `position_avg_cost` are the account's position after it.
    """

    reversal_id: uuid.UUID
    trade_id: uuid.UUID
    order_id: uuid.UUID
    account_id: str
    broker: str
    execution_id: str
    kind: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal
    fees: Decimal
    executed_at: dt.datetime
    reversed_at: dt.datetime
    realized_pnl: Decimal
    position_quantity: Decimal
    position_avg_cost: Decimal
    record_id: str | None = None
    strategy_id: str | None = None
    signal_id: uuid.UUID | None = None


class StrategyPart(Payload, frozen=True, kw_only=True):
    """What a strategy, or nobody, got of shares that moved without a trade; signed."""

    quantity: Decimal
    strategy_id: str | None = None


class PositionChanged(Payload, frozen=True, kw_only=True):
    """Shares that moved without a trade: a `split`, `cash_in_lieu` of a fraction, a `transfer`.

    `quantity` is the signed change, `amount` the money that came with it (positive ours),
    `shares` are the strategies' parts and sum to `quantity`.
    """

    change_id: uuid.UUID
    account_id: str
    symbol: str
    kind: str
    quantity: Decimal
    amount: Decimal
    effective_at: dt.datetime
    realized_pnl: Decimal
    position_quantity: Decimal
    position_avg_cost: Decimal
    activity_id: str
    shares: tuple[StrategyPart, ...]


class PositionValue(Payload, frozen=True, kw_only=True):
    """One position at its mark; `stale` when the mark is older than the age limit."""

    symbol: str
    quantity: Decimal
    avg_cost: Decimal
    mark: Decimal
    market_value: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    stale: bool = False


class PortfolioUpdate(Payload, frozen=True, kw_only=True):
    """The account's values at `ts` (market time); equity = cash + sum of market values."""

    account_id: str
    ts: dt.datetime
    cash: Decimal
    equity: Decimal
    long_value: Decimal
    short_value: Decimal
    day_pnl: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    total_pnl: Decimal
    positions: tuple[PositionValue, ...] = ()


# Operations ----------------------------------------------------------------------------------


class RiskAlert(Payload, frozen=True, kw_only=True):
    """Something about risk that a person should know."""

    account_id: str
    code: str
    level: Level
    message: str
    ts: dt.datetime
    context: dict[str, str] = {}
    generation: int | None = None
    state: TradingState | None = None


class Heartbeat(Payload, frozen=True, kw_only=True):
    """A service's sign of life, each 5 s and on change."""

    service: str
    instance: str
    ready: bool
    reasons: tuple[str, ...]
    ts: dt.datetime
    started_at: dt.datetime
    figures: dict[str, float] = {}


class Notification(Payload, frozen=True, kw_only=True):
    """A message to people; `fingerprint` makes repeats one."""

    level: Level
    title: str
    message: str
    fingerprint: str
    ts: dt.datetime
    context: dict[str, str] = {}


class AuditEvent(Payload, frozen=True, kw_only=True):
    """Who did what to what, with which outcome."""

    event_type: str
    actor: str
    action: str
    resource: str
    outcome: str
    ts: dt.datetime
    details: dict[str, str] = {}


class ApiCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of an API: the event, and the id and correlation that a message of its own would
    have."""

    id: uuid.UUID
    correlation_id: uuid.UUID
    event: AuditEvent


class ApiCalls(Payload, frozen=True, kw_only=True):
    """Calls of a service's API, oldest first: of each its `event`, an AuditEvent, with the `id` and
    the `correlation_id` that a message of its own would have. Each becomes the row of the audit log
    that such a message on `audit.operations` would become."""

    calls: list[ApiCall]


class Revocation(Payload, frozen=True, kw_only=True):
    """A session, user or key that is admitted no more: `session:<id>`, `user:<id>`, `key:<id>`.

    A token of a session or user issued before `revoked_at` is refused; after `expires_at` no such
    token is left.
    """

    subject: str
    revoked_at: dt.datetime
    expires_at: dt.datetime


class KeyUse(Payload, frozen=True, kw_only=True):
    """An API key was used, the last time at `ts`, from address `ip` (empty: unknown)."""

    key_id: str
    ts: dt.datetime
    ip: str = ""


class Command(Payload, frozen=True, kw_only=True):
    """An order to a service: reconcile, reload, halt; `arguments` are strings."""

    command: str
    actor: str
    ts: dt.datetime
    arguments: dict[str, str] = {}
