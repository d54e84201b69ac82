"""What the handlers need of the world, in the words of the domain."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol
from uuid import UUID

import msgspec

from libs.common.contracts.channels import Channel
from libs.common.contracts.messages import CheckResult, OrderSpec, Payload
from libs.common.domain.instruments import Instrument
from libs.common.domain.vocabulary import Side, Verdict
from libs.common.kernel.money import ZERO
from services.risk_manager.desk import Moment, Switch
from services.risk_manager.limits import LimitKey
from services.risk_manager.pending import Fill, Pending


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `risk_assessments`: one judgement as it is kept for ever."""

    id: UUID
    account_id: str
    symbol: str
    side: Side
    verdict: Verdict
    quantity: Decimal
    checks: tuple[CheckResult, ...]
    generation: int
    latency_us: int
    correlation_id: UUID
    ts: dt.datetime
    source: str
    order_id: UUID
    signal_id: UUID | None = None
    request_id: UUID | None = None
    strategy_id: str | None = None
    code: str | None = None
    reference_price: Decimal | None = None
    order_spec: OrderSpec | None = None
    hold: Decimal | None = None
    bar_ts: dt.datetime | None = None
    replaces_id: UUID | None = None
    expires_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for a log channel, to be committed with the rows it speaks of."""

    channel: Channel
    payload: Payload
    correlation_id: UUID
    causation_id: UUID | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The account as PostgreSQL has it at one instant."""

    cash: Decimal
    positions: Mapping[str, Decimal]
    by_strategy: Mapping[tuple[str, str], Decimal]
    executions: Sequence[UUID]
    pending: Sequence[Pending]
    last_bars: Mapping[tuple[str, str], dt.datetime]
    approvals: Sequence[tuple[str | None, float]]
    booked_until: dt.datetime
    earned: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Changes:
    """What was booked since a time, with the cash and the positions that resulted. `earned` is
    what came of the account itself since its beginning: dividends and interest, less fees and
    taxes."""

    cash: Decimal
    positions: Mapping[str, Decimal]
    fills: Sequence[Fill]
    booked_until: dt.datetime
    earned: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Listing:
    """The instruments and those on the restricted list."""

    instruments: Mapping[str, Instrument]
    restricted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Quoted:
    """A stored quote; time in ns of market time."""

    symbol: str
    bid: float
    ask: float
    ts_ns: int


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order row, as far as the book needs it. `leg` marks the exits of a group, which the
    venue trades at most once and never beyond the position. `before_us` is what it had traded
    before our books began, which no execution ever tells."""

    pending: Pending
    ended: bool
    leg: bool
    before_us: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Valuation:
    """The account's figures at `ts` (market time), one row of `risk_metrics`."""

    ts: dt.datetime
    equity: Decimal
    peak_equity: Decimal
    drawdown: Decimal
    day_pnl: Decimal
    gross: Decimal
    net: Decimal
    leverage: Decimal


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A limit set (or, with None, removed) by somebody for a reason."""

    key: LimitKey
    old: Decimal | None
    new: Decimal | None
    set_by: str
    reason: str
    set_at: dt.datetime
    messages: Sequence[Outgoing] = field(default=())


class Store(Protocol):
    """Judgements, and what the book is made of."""

    async def snapshot(self) -> Snapshot:
        """Return everything that the book is made of, from one instant."""
        ...

    async def changes(self, since: dt.datetime) -> Changes:
        """Return what was booked from `since` on, from one instant."""
        ...

    async def open_order(self, order_id: UUID) -> OpenOrder | None:
        """Return the order row, None if there is none."""
        ...

    async def listing(self) -> Listing:
        """Return the instruments."""
        ...

    async def quotes(self, symbols: Collection[str]) -> Sequence[Quoted]:
        """Return the last stored price of each symbol that has one."""
        ...

    async def volatilities(self, symbols: Collection[str]) -> Mapping[str, float]:
        """Return the annualised volatility of each symbol with enough history."""
        ...

    async def judged(self, origins: Collection[UUID]) -> Mapping[UUID, Assessment]:
        """Return the judgements of these signals or requests that exist already."""
        ...

    async def record(self, assessments: Sequence[Assessment], messages: Sequence[Outgoing]) -> None:
        """Store judgements and their messages in one transaction."""
        ...


class Registry(Protocol):
    """The tables of control."""

    async def switch(self) -> Switch | None:
        """Return the kill switch, None before the first start."""
        ...

    async def set_switch(self, switch: Switch, messages: Sequence[Outgoing]) -> None:
        """Store the kill switch if its generation is the next one. Raises ConflictError."""
        ...

    async def limits(self) -> Mapping[LimitKey, Decimal]:
        """Return all limits of the account."""
        ...

    async def set_limits(self, changes: Sequence[LimitChange]) -> None:
        """Store changes of limits with their history."""
        ...

    async def last_valuation(self) -> Valuation | None:
        """Return the newest row of `risk_metrics`."""
        ...

    async def add_valuation(self, valuation: Valuation) -> None:
        """Store one row of `risk_metrics`."""
        ...


class Market(Protocol):
    """Market time and the session."""

    def moment(self) -> Moment:
        """Return the present moment. Raises UnavailableError without a market clock."""
        ...

    def date(self) -> dt.date:
        """Return the exchange's date."""
        ...

    def date_of(self, moment: dt.datetime) -> dt.date:
        """Return the exchange's date at `moment`."""
        ...
