"""What the executor's use cases need from the world, in domain types."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol
from uuid import UUID

from libs.common.contracts.messages import OrderSpec
from libs.common.contracts.risk_api import AssessmentReply, OrderFields
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Reversal
from libs.common.domain.ledger import Transfer
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import Level, OrderStatus, TradingState
from libs.common.kernel.errors import TradewindError, UnavailableError
from libs.common.kernel.ids import BrokerOrderId, ClientOrderId, OrderId, Symbol
from services.trade_executor.model import (
    BrokerOrder,
    BrokerPosition,
    Change,
    Order,
    Update,
)


class BrokerRefusedError(TradewindError):
    """The broker said no, provably: the request changed nothing there."""

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(f"{status} {code or ''} {message}".strip())
        self.status = status
        self.code = code
        self.message = message


class NotSentError(UnavailableError):
    """The request provably never left us: circuit open, budget spent, connection refused."""


class OutcomeUnknownError(UnavailableError):
    """The request may have been carried out: time-out, reset, 5xx, an answer nobody can read."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something may have happened that the stream did not tell: it was (again) connected, or
    told what nobody can read."""

    why: str


StreamItem = Update | Gap


class Broker(Protocol):
    """A venue. Calls raise BrokerRefusedError, NotSentError or OutcomeUnknownError, no other."""

    name: str

    def check(self, spec: OrderSpec) -> str | None:
        """Return why the venue's protocol cannot express `spec`, None if it can."""
        ...

    def slot(self, *, first: bool = False) -> AbstractAsyncContextManager[None]:
        """Wait for a place on the wire: budget and a free connection. What is asked inside it
        is asked at the last step before sending. `first` (an exit) goes before what is not."""
        ...

    async def submit(self, client_order_id: ClientOrderId, spec: OrderSpec) -> BrokerOrder:
        """Send one order, once; to be called inside a slot."""
        ...

    async def replace(
        self, broker_order_id: BrokerOrderId, client_order_id: ClientOrderId, change: Change
    ) -> BrokerOrder:
        """Ask for a replacement, once; to be called inside a slot. The answer is the new order,
        not yet in its place: the old one stands until it is said to be replaced."""
        ...

    async def find(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        """Return the order known by our id, None if the broker says there is none."""
        ...

    async def order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        """Return an order by the broker's id, with its legs."""
        ...

    async def open_orders(self) -> Sequence[BrokerOrder]:
        """Return all open orders, legs beside their parents."""
        ...

    async def orders_since(
        self, since: dt.datetime, symbol: Symbol | None = None
    ) -> Sequence[BrokerOrder]:
        """Return all orders, open and closed, submitted after `since` (market time), legs
        beside their parents."""
        ...

    async def cancel(self, broker_order_id: BrokerOrderId) -> None:
        """Ask for a cancel. Returning means asked, not done; refused raises."""
        ...

    async def positions(self) -> Sequence[BrokerPosition]:
        """Return all open positions."""
        ...

    async def cash(self) -> Decimal:
        """Return the account's cash, settled or not."""
        ...

    async def executions_since(self, since: dt.datetime) -> Sequence[Execution]:
        """Return all executions at or after `since` (market time), oldest first."""
        ...

    async def reversals_since(self, since: dt.datetime) -> Sequence[Reversal]:
        """Return the executions taken back or corrected at or after `since`, oldest first."""
        ...

    async def cash_activities_since(self, since: dt.datetime) -> Sequence[Activity]:
        """Return what moved money or shares without a trade at or after `since`, oldest first."""
        ...

    def stream(self) -> AsyncIterator[StreamItem]:
        """Yield order events for ever; every (re)connection first yields a `Gap`."""
        ...

    def distrust_stream(self) -> None:
        """Drop the stream's connection, since it does not tell what REST tells."""
        ...

    async def close(self) -> None:
        """Close connections and threads."""
        ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of an order's history to be written with its row."""

    event: str
    from_status: OrderStatus | None
    to_status: OrderStatus
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Heir:
    """An order that takes the place of another, with what it then asks for and holds."""

    order: Order
    quantity: Decimal | None
    hold: Transfer | None


@dataclass(frozen=True, slots=True)
class Move:
    """A state change that the state table has decided, to be written if the row still stands
    where it was decided from."""

    event: OrderEvent
    to_status: OrderStatus
    reason: str | None = None
    anomaly: str | None = None
    reject_reason: str | None = None
    broker_order_id: BrokerOrderId | None = None
    client_order_id: ClientOrderId | None = None
    attempt: int | None = None
    parent_id: OrderId | None = None
    external: bool | None = None
    strategy_id: str | None = None
    submitted_at: dt.datetime | None = None
    payload: dict[str, Any] | None = None
    heir: Heir | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did: the order as it stands in the database now, and what came of it."""

    outcome: Literal[
        "created",
        "exists",
        "moved",
        "conflict",
        "booked",
        "duplicate",
        "alias",
        "no_room",
        "reversed",
        "unknown",
    ]
    order: Order
    anomaly: str | None = None
    lifted: tuple[str, ...] = ()
    heir: Order | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """The kill switch as last read."""

    state: TradingState
    generation: int
    flatten: bool = False


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A difference between our books and the broker's; symbol '' means the account."""

    symbol: str
    kind: str
    ours: str
    theirs: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class OpenDiscrepancy:
    """A discrepancy that is on record and not resolved."""

    id: UUID
    found: Discrepancy
    opened_at: dt.datetime


@dataclass(frozen=True, slots=True)
class ReconciliationRun:
    """What one comparison with the broker did."""

    id: UUID
    cause: str
    started_at: dt.datetime
    finished_at: dt.datetime
    watermark: dt.datetime
    findings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opening:
    """Where our books begin: executions before `at` (market time) and the named cash activities
    are in the opening balance. `opened` is the market time at which they were opened."""

    at: dt.datetime
    activities: frozenset[str]
    opened: dt.datetime | None = None

    @property
    def begun(self) -> dt.datetime:
        """From when on the books are ours; as far as is known."""
        return max(self.at, self.opened or self.at)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list and where the next begins."""

    items: Sequence[dict[str, Any]]
    next: str | None


class Books(Protocol):
    """Orders, executions, ledger, positions: what is durable. Writes wait for the database."""

    async def create(
        self,
        order: Order,
        recorded: Sequence[Recorded],
        hold: Transfer | None,
        causation_id: UUID | None = None,
    ) -> Written:
        """Write a new order with its first events and its hold. Raises OverdraftError."""
        ...

    async def move(self, order: Order, move: Move) -> Written:
        """Change an order's state if it still stands as `order` says."""
        ...

    async def restate(self, order: Order, terms: OrderSpec) -> Written:
        """Write what the venue changed in a resting order's terms, its hold with it."""
        ...

    async def book(self, order: Order, execution: Execution, *, source: str) -> Written:
        """Book one execution: trade, order, position, ledger, messages, in one transaction."""
        ...

    async def reverse(
        self, order: Order, reversal: Reversal, held: Execution | None = None
    ) -> Written:
        """Take an execution back, and book its replacement, in one transaction. `held` is the
        execution itself where the opening balance holds it."""
        ...

    async def order(self, order_id: OrderId) -> Order | None:
        """Return an order."""
        ...

    async def order_at_broker(self, broker_order_id: BrokerOrderId) -> Order | None:
        """Return the order that the broker knows by this id."""
        ...

    async def open_orders(self) -> Sequence[Order]:
        """Return every order that has not come to an end."""
        ...

    async def execution_ids(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are booked, or were taken back before they could be."""
        ...

    async def executions(self, order_id: OrderId) -> Sequence[Execution]:
        """Return an order's booked executions that stand, without those that a correction put
        in the place of others: a venue lists these as reversals, never as executions."""
        ...

    async def positions(self) -> dict[Symbol, Decimal]:
        """Return our signed positions other than flat ones."""
        ...

    async def cash(self) -> Decimal | None:
        """Return the ledger's cash, None if the account was never opened."""
        ...

    async def open_account(
        self, cash: Decimal, positions: Sequence[BrokerPosition], opened: ReconciliationRun
    ) -> None:
        """Open the ledger with what the broker shows, and in the same transaction note by
        `opened` what that holds already; once in an account's life."""
        ...

    async def book_activities(self, activities: Sequence[Activity]) -> int:
        """Book money and shares that moved without a trade; return how many were new."""
        ...

    async def imbalances(self) -> dict[str, Decimal]:
        """Return the ledgers whose sum is not zero, with the difference."""
        ...

    async def gate(self) -> Gate | None:
        """Read the kill switch; None if the risk manager never set it."""
        ...

    async def watermark(self) -> dt.datetime | None:
        """Return the market time up to which executions have been compared."""
        ...

    async def opening(self) -> Opening | None:
        """Return what the opening balance already holds; None if the account is not open."""
        ...

    async def record_run(self, run: ReconciliationRun) -> None:
        """Keep what a reconciliation did."""
        ...

    async def open_discrepancies(self) -> Sequence[OpenDiscrepancy]:
        """Return what is not resolved."""
        ...

    async def open_discrepancy(self, found: Discrepancy) -> bool:
        """Put a difference on record and alert; False if it is there already."""
        ...

    async def resolve_discrepancy(self, one: OpenDiscrepancy, resolution: str) -> None:
        """Note how a difference ended."""
        ...

    async def notify(
        self, level: Level, title: str, message: str, fingerprint: str, context: dict[str, str]
    ) -> None:
        """Tell people."""
        ...


class RiskDesk(Protocol):
    """The risk manager, asked for a judgement."""

    async def assess(
        self,
        request_id: UUID,
        fields: OrderFields,
        *,
        correlation_id: UUID,
        replaces: OrderId | None = None,
    ) -> AssessmentReply:
        """Return its verdict. Raises UnavailableError when it is away or late."""
        ...
