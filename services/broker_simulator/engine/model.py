"""What the broker's books hold: orders, executions, positions, accounts, activities.

Mutable structs, owned by the engine, stored as they are. Times are nanoseconds since 1970 in
market time; quantities, prices and money are decimals.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from libs.common.domain.vocabulary import OrderClass, OrderType, Side, TimeInForce

ZERO = Decimal(0)


class Status(StrEnum):
    """An order's status as it stands on Alpaca's wire."""

    PENDING_NEW = "pending_new"
    ACCEPTED = "accepted"
    HELD = "held"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"
    # On request only: what an exchange may do to an order, rarely.
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    CALCULATED = "calculated"
    DONE_FOR_DAY = "done_for_day"


TERMINAL = frozenset(
    {Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REPLACED, Status.REJECTED}
)


# Orders in one of these are open and do not trade.
PAUSED = frozenset({Status.SUSPENDED, Status.STOPPED, Status.CALCULATED, Status.DONE_FOR_DAY})
# Activities that move shares: the change in `qty`, signed.
SHARE_ACTIVITIES = frozenset({"SPLIT", "CIL"})


class Amendment(StrEnum):
    """What became of a reported execution, in the words of the trading stream."""

    BUST = "trade_bust"
    CORRECT = "trade_correct"


class Role(StrEnum):
    """What a leg does for its group."""

    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"


class Asset(msgspec.Struct, frozen=True):
    """A share that can be traded here."""

    id: str
    symbol: str
    name: str
    exchange: str = "NASDAQ"
    tradable: bool = True
    shortable: bool = True
    fractionable: bool = True
    marginable: bool = True


class Order(msgspec.Struct, kw_only=True):
    """One order as the broker knows it.

    `group` is the id of the root of a bracket, OCO or OTO (its own id for a simple order);
    `parent` names the root for a leg. `opening` tells whether it opens exposure (and so holds
    buying power at `hold_price` a share) or closes it (and so reserves shares). `rests` is true
    once the order stood unfilled in the live book, with `queue_ahead` before it. `qty_total` is
    what a replacement asked for, fills of its predecessor included.
    """

    id: str
    seq: int
    account: str
    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    tif: TimeInForce
    order_class: OrderClass
    extended_hours: bool
    status: Status
    created_at: int
    updated_at: int
    submitted_at: int
    expires_at: int
    group: str
    opening: bool
    hold_price: Decimal
    qty: Decimal | None = None
    qty_total: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    filled_money: Decimal = ZERO
    filled_at: int | None = None
    expired_at: int | None = None
    canceled_at: int | None = None
    failed_at: int | None = None
    replaced_at: int | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    parent: str | None = None
    role: Role | None = None
    legs: list[str] = []
    triggered: bool = False
    rests: bool = False
    queue_ahead: Decimal = ZERO
    status_before: Status | None = None
    cancel_rejected: bool = False

    @property
    def is_open(self) -> bool:
        """Tell whether the order can still change."""
        return self.status not in TERMINAL

    @property
    def is_successor_in_waiting(self) -> bool:
        """Tell whether it replaces an order that still stands, whose reservation serves both."""
        return self.status is Status.PENDING_NEW and self.replaces is not None

    @property
    def reserves(self) -> bool:
        """Tell whether the order ties up buying power or shares."""
        return self.is_open and self.status is not Status.HELD and not self.is_successor_in_waiting

    @property
    def remaining(self) -> Decimal:
        """Return the shares not filled yet; zero for an order given as money."""
        return ZERO if self.qty is None else self.qty - self.filled_qty

    @property
    def shares_reserved(self) -> Decimal:
        """Return the shares that a closing order needs; those of an order of money at its worst."""
        if self.notional is None:
            return self.remaining
        return round(self.remaining_notional / self.hold_price, 8) if self.hold_price else ZERO

    @property
    def remaining_notional(self) -> Decimal:
        """Return the money not spent yet of an order given as money."""
        return ZERO if self.notional is None else self.notional - self.filled_money

    @property
    def hold(self) -> Decimal:
        """Return the buying power that the open order reserves."""
        if not self.opening or not self.reserves:
            return ZERO
        if self.notional is not None:
            return self.remaining_notional
        return self.remaining * self.hold_price


def standing_status(order: Order) -> Status:
    """Return the status to which an order goes back when what it waited for is refused."""
    before = order.status_before or Status.NEW
    if before is Status.NEW and order.filled_qty > 0:
        return Status.PARTIALLY_FILLED
    return before


class Execution(msgspec.Struct, kw_only=True, frozen=True):
    """One fill: what really happened; or, with `amendment`, what became of `previous`.

    A correction carries what stands in the place of `previous`, a bust what no longer counts.
    `ended_by` names the amendment of this one. `first_seq` is the place in the order of events
    of the fill that was corrected.
    """

    id: str
    seq: int
    account: str
    order_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    money: Decimal
    fee: Decimal
    ts: int
    cum_qty: Decimal
    leaves_qty: Decimal
    order_status: Status
    position_qty: Decimal
    amendment: Amendment | None = None
    previous: str | None = None
    ended_by: str | None = None
    first_seq: int | None = None

    @property
    def counts(self) -> bool:
        """Tell whether it moved shares and money and still stands."""
        return self.ended_by is None and self.amendment is not Amendment.BUST


class Position(msgspec.Struct, kw_only=True):
    """A holding: signed quantity, and what it cost (negative for a short)."""

    symbol: str
    qty: Decimal
    cost: Decimal


class Activity(msgspec.Struct, kw_only=True, frozen=True):
    """Money or shares that moved for another reason than a fill."""

    id: str
    account: str
    activity_type: str
    ts: int
    net_amount: Decimal
    description: str
    symbol: str | None = None
    qty: Decimal | None = None
    per_share_amount: Decimal | None = None
    sub_type: str | None = None


class Watchlist(msgspec.Struct, kw_only=True):
    """A named list of symbols."""

    id: str
    name: str
    symbols: list[str]
    created_at: int
    updated_at: int


class EquityPoint(msgspec.Struct, frozen=True):
    """The account's value at one close."""

    ts: int
    equity: Decimal


class Account(msgspec.Struct, kw_only=True):
    """One customer's account."""

    id: str
    key: str
    number: str
    created_at: int
    cash: Decimal
    opening_cash: Decimal
    multiplier: Decimal
    last_equity: Decimal
    positions: dict[str, Position] = {}
    realized_pnl: Decimal = ZERO
    fees_paid: Decimal = ZERO
    no_shorting: bool = False
    suspend_trade: bool = False
    fractional_trading: bool = True
    trade_confirm_email: str = "all"
    ptp_no_exception_entry: bool = False
    max_options_trading_level: int | None = None
    watchlists: dict[str, Watchlist] = {}
    equity_history: list[EquityPoint] = []


class TradeUpdate(msgspec.Struct, frozen=True):
    """One message of the trading stream, with the order as it stood at that instant."""

    account: str
    event: str
    order: Order
    legs: list[Order]
    ts: int
    execution: Execution | None = None
    reason: str | None = None
