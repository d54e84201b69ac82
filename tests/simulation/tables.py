"""What the simulated database keeps: tables whose rows are replaced, never changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from libs.common.contracts.channels import Channel
from libs.common.domain.executions import Execution
from libs.common.domain.ledger import Ledger
from libs.common.domain.positions import Position
from libs.common.domain.replay import Change
from services.risk_manager.desk import Switch
from services.risk_manager.limits import LimitKey
from services.risk_manager.ports import Assessment, Valuation
from services.trade_executor.closing import Closing
from services.trade_executor.ports import OpenDiscrepancy, ReconciliationRun
from services.trade_executor.protection_store import Protection
from services.trade_executor.trigger import Trigger

K = TypeVar("K")
V = TypeVar("V")


class Table(dict[K, V]):
    """Rows by their key; `writes` counts them, so that a look may be spared where nothing has
    changed since the last."""

    writes = 0

    def __setitem__(self, key: K, row: V) -> None:
        """Write a row."""
        self.writes += 1
        super().__setitem__(key, row)

    def __delitem__(self, key: K) -> None:
        """Take a row away."""
        self.writes += 1
        super().__delitem__(key)

    def _refused(self, *_: object, **__: object) -> Any:
        raise TypeError("rows are written one by one, so that each write is counted")

    clear = pop = popitem = setdefault = update = __ior__ = _refused  # type: ignore[assignment]


@dataclass
class Row:
    """A message of the outbox. `epoch` is the life of the bus that it was published in, `acked_at`
    holds when each acting group was done with it; once confirmed it is not told again."""

    id: UUID
    source: str
    channel: Channel
    data: bytes
    epoch: int = -1
    confirmed: bool = False
    acked_at: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventRow:
    """A row of `order_events`."""

    event: str
    reason: str | None
    ts: dt.datetime


@dataclass(frozen=True)
class BookedTrade:
    """A row of `trades`."""

    id: UUID
    order_id: UUID
    execution: Execution
    booked_at: dt.datetime
    strategy_id: str | None
    realized_pnl: Decimal
    entry: int = 0
    replaces: bool = False


@dataclass(frozen=True)
class BookedReversal:
    """A row of `trade_reversals`; without a trade where it was taken back before it was booked."""

    id: UUID
    trade: BookedTrade | None
    booked_at: dt.datetime
    record_id: str | None
    reversed_at: dt.datetime


@dataclass(frozen=True)
class BookedChange:
    """A row of `position_changes`: shares that moved without a trade."""

    id: UUID
    symbol: str
    after_entry: int
    change: Change
    parts: Sequence[tuple[str | None, Decimal]]
    booked_at: dt.datetime
    effective_at: dt.datetime


@dataclass
class Tables:
    """Everything that is durable. Rows are replaced, never changed, so that undoing is easy.
    `triggers`: whether the tables have theirs; a planted bug takes them away."""

    triggers: bool = True
    orders: Table[UUID, dict[str, Any]] = field(default_factory=Table)
    trades: Table[str, BookedTrade] = field(default_factory=Table)
    reversals: Table[str, BookedReversal] = field(default_factory=Table)
    changes: Table[UUID, BookedChange] = field(default_factory=Table)
    activities: Table[UUID, str] = field(default_factory=Table)
    positions: Table[str, Position] = field(default_factory=Table)
    ledger: Ledger = field(default_factory=Ledger)
    outbox: Table[UUID, Row] = field(default_factory=Table)
    runs: Table[UUID, ReconciliationRun] = field(default_factory=Table)
    discrepancies: Table[UUID, OpenDiscrepancy] = field(default_factory=Table)
    resolved: Table[UUID, str] = field(default_factory=Table)
    closings: Table[UUID, Closing] = field(default_factory=Table)
    triggers_kept: Table[UUID, Trigger] = field(default_factory=Table)
    events: Table[tuple[UUID, int], EventRow] = field(default_factory=Table)
    protections: Table[UUID, Protection] = field(default_factory=Table)
    protections_ended: Table[UUID, dt.datetime] = field(default_factory=Table)
    switch: Table[str, Switch] = field(default_factory=Table)
    limits: Table[LimitKey, Decimal] = field(default_factory=Table)
    assessments: Table[UUID, Assessment] = field(default_factory=Table)
    valuations: Table[dt.datetime, Valuation] = field(default_factory=Table)

    def standing(self) -> list[BookedTrade]:
        """Return the booked executions that were not taken back."""
        gone = self.reversals
        return [trade for name, trade in self.trades.items() if name not in gone]

    def unresolved(self) -> list[OpenDiscrepancy]:
        """Return the discrepancies that stand open."""
        return [one for one in self.discrepancies.values() if one.id not in self.resolved]
