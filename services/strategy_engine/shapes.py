"""What the strategy engine's routes answer with, as OpenAPI tells it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Literal, NotRequired, TypedDict
from uuid import UUID

from libs.common.contracts.messages import Signal
from libs.common.domain.vocabulary import StrategyMode

Params = dict[str, Any]


class VersionShape(TypedDict):
    """What a strategy ran before the last swap."""

    class_name: str
    params: Params
    version_hash: str


class StreamShape(TypedDict):
    """The state on one symbol."""

    symbol: str
    status: str
    reason: str
    as_of: dt.datetime | None
    bars: int
    decision: Any
    params: NotRequired[Params]
    layout_hash: NotRequired[str]
    state: NotRequired[Any]


class FieldShape(TypedDict):
    """A parameter and its range."""

    name: str
    kind: Literal["integer", "number"]
    default: float
    low: float | None
    high: float | None
    meaning: str


class ProofShape(TypedDict):
    """The new version beside the old one on the same bars."""

    symbol: str
    bars: int
    signals_old: int
    signals_new: int
    differing: int


class SwapShape(TypedDict):
    """How a swap stands or went."""

    status: str
    proof: list[ProofShape]
    reason: str
    class_name: str
    params: Params
    version_hash: str
    rollback: bool
    carried: list[str]
    shadow_bars: int
    shadowed: int


class StrategyShape(TypedDict):
    """A configured strategy and how it does."""

    id: str
    class_name: str
    version_hash: str
    summary: str
    params: Params
    universe: list[str]
    timeframe: str
    weight: float
    enabled: bool
    mode: StrategyMode
    limits: dict[str, Any]
    previous: VersionShape | None
    status: str
    reason: str
    uncollected: list[str]
    symbols: list[StreamShape]
    replica: NotRequired[str | None]
    schema: NotRequired[list[FieldShape]]
    swap: NotRequired[SwapShape | None]


class ClassShape(TypedDict):
    """A strategy that a file defines."""

    name: str
    summary: str
    file: str
    version_hash: str
    schema: list[FieldShape]


class RefusedShape(TypedDict):
    """A file that was refused."""

    file: str
    line: int | None
    reason: str


class ValidShape(TypedDict):
    """Parameters with the defaults filled in."""

    class_name: str
    params: Params


class PerformanceShape(TypedDict):
    """What a strategy has made."""

    strategy_id: str
    mode: StrategyMode
    executions: int
    trips: int
    hits: int
    realized: Decimal
    unrealized: Decimal
    costs: Decimal
    slippage: Decimal
    referred: Decimal
    peak: Decimal
    day: dt.date
    opening: Decimal
    signals: int
    hit_rate: float | None
    slippage_bps: float | None
    pnl: Decimal
    drawdown: Decimal
    day_pnl: Decimal


class SignalShape(Signal, frozen=True, kw_only=True):
    """A stored signal."""

    correlation_id: UUID
    created_at: dt.datetime
