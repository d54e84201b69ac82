"""What a judgement looks at: the order, the market, the book and the limits, all frozen.

`Case` gathers the facts of one order and derives once what several checks need. Amounts are
decimals in the account's currency, quantities in units of the instrument, ages in seconds.

Pending quantities (open orders and reservations) count in the way that hurts most: the position
may end anywhere between `position - sells` and `position + buys`, and the exposure of a symbol
is the largest absolute value in that interval. So an approval can only widen it, and the order
in which pending orders fill never matters.
"""

from dataclasses import dataclass, field
from datetime import time
from decimal import Decimal

from libs.common.domain.instruments import Instrument
from libs.common.domain.vocabulary import (
    OrderClass,
    OrderType,
    SessionState,
    Side,
    TimeInForce,
    TradingState,
)
from libs.common.kernel.money import ZERO
from libs.common.quant import limits


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """The order to judge; `quantity` is already sized and positive, or zero if nothing is left."""

    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    order_class: OrderClass = OrderClass.SIMPLE
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    stop_loss_limit: Decimal | None = None
    extended_hours: bool = False
    # For an amount of money: `quantity` is then what it comes to at the last price.
    by_notional: bool = False
    strategy_id: str | None = None

    @property
    def is_exit(self) -> bool:
        """Whether it is of a kind that guards a position: a stop, or a pair of exits."""
        stops = {OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP}
        return self.order_class is OrderClass.OCO or self.order_type in stops


@dataclass(frozen=True, slots=True)
class Mark:
    """The market's last word on a symbol: bid, ask and their middle, and how old it is."""

    bid: Decimal
    ask: Decimal
    price: Decimal
    age_s: Decimal


@dataclass(frozen=True, slots=True)
class SymbolExposure:
    """Signed position and the unfilled quantities of buys and sells, reservations included."""

    position: Decimal = ZERO
    buys: Decimal = ZERO
    sells: Decimal = ZERO

    @property
    def worst(self) -> Decimal:
        """The largest absolute position that the pending orders can lead to."""
        return limits.worst_position(self.position, self.buys, self.sells)

    def with_order(self, side: Side, quantity: Decimal) -> "SymbolExposure":
        """The exposure after `quantity` more is pending on `side`."""
        if side is Side.BUY:
            return SymbolExposure(self.position, self.buys + quantity, self.sells)
        return SymbolExposure(self.position, self.buys, self.sells + quantity)

    def opening(self, side: Side, quantity: Decimal) -> Decimal:
        """How much of an order would open or add, after what pending orders close already.

        Position 100, sells 30 pending: a sell of 90 closes 70 and opens 20.
        """
        return limits.opening_quantity(
            self.position, self.buys, self.sells, side is Side.BUY, quantity, ZERO
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """The account at its marks. `gross`, `net_high` and `net_low` are the sums over symbols of
    the worst, highest and lowest value that pending orders can lead to; `positions_value` is the
    sum of absolute position values and `held` what pending orders have set aside."""

    equity: Decimal
    gross: Decimal = ZERO
    net_high: Decimal = ZERO
    net_low: Decimal = ZERO
    sector: Decimal = ZERO
    positions_value: Decimal = ZERO
    held: Decimal = ZERO
    loss_today: Decimal | None = None
    drawdown: Decimal | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Flow:
    """What was asked lately: orders in the rate window, and orders this one repeats or meets."""

    orders_strategy: int = 0
    orders_account: int = 0
    duplicate_of: str | None = None
    crosses: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that hold for one order: the tightest of account, strategy, sector and symbol.

    Shares are fractions of equity (0.10 is ten percent); None means that no limit is set.
    """

    notional_min: Decimal = Decimal(1)
    notional_max: Decimal | None = Decimal(250_000)
    quantity_max: Decimal | None = Decimal(100_000)
    order_equity_share_max: Decimal | None = Decimal("0.25")
    price_collar: Decimal | None = Decimal("0.05")
    price_age_s_max: Decimal = Decimal(15)
    rate_window_s: Decimal = Decimal(60)
    orders_per_window_strategy: int = 300
    orders_per_window_account: int = 1000
    duplicate_window_s: Decimal = Decimal(2)
    market_buffer: Decimal = Decimal("0.01")
    buying_power_multiple: Decimal = Decimal(1)
    position_share_max: Decimal | None = Decimal("0.10")
    sector_share_max: Decimal | None = Decimal("0.30")
    gross_leverage_max: Decimal | None = Decimal(1)
    net_leverage_max: Decimal | None = Decimal(1)
    short_selling: bool = True
    restricted: bool = False
    daily_loss_max: Decimal | None = None
    daily_loss_share_max: Decimal | None = Decimal("0.05")
    drawdown_max: Decimal | None = Decimal("0.20")


@dataclass(frozen=True, slots=True)
class Case:
    """All facts of one judgement, with the figures that several checks share."""

    order: OrderFacts
    state: TradingState
    instrument: Instrument | None
    session: SessionState
    mark: Mark | None
    exposure: SymbolExposure
    totals: Totals
    flow: Flow
    limits: Limits
    # An amendment that asks for no more than the order it takes the place of; that one is then
    # not in `exposure` and `totals`.
    improves: bool = False
    # Closes a position; everything else that was open in its symbol has been cancelled for it.
    closing: bool = False
    # The exchange's own time of day.
    time_of_day: time | None = None
    reducing: bool = field(init=False)
    opening: Decimal = field(init=False)
    reserve_price: Decimal | None = field(init=False)
    added: Decimal | None = field(init=False)
    after: SymbolExposure = field(init=False)

    def __post_init__(self) -> None:
        """Derive `reducing`, `opening`, `reserve_price`, `added` (value) and `after`."""
        order = self.order
        opening = self.exposure.opening(order.side, order.quantity)
        after = self.exposure.with_order(order.side, order.quantity)
        set_ = object.__setattr__
        set_(self, "opening", opening)
        set_(self, "reducing", order.quantity > 0 and (opening == 0 or self.improves))
        set_(self, "after", after)
        set_(self, "reserve_price", reserve_price(order, self.mark, self.limits.market_buffer))
        added = None
        if self.mark is not None:
            added = (after.worst - self.exposure.worst) * self.mark.price
            added = min(added, ZERO) if self.improves else added
        set_(self, "added", added)


def reserve_price(order: OrderFacts, mark: Mark | None, buffer: Decimal) -> Decimal | None:
    """The price at which an order is set aside, never below what it may cost; None if unknown.

    A limit caps a buy; a market buy may pay `buffer` above the ask (ask 100, 1 % → 101), a stop
    above the higher of stop and ask. A sell is valued at the highest of bid and its own prices.
    """
    if order.side is Side.BUY and order.limit_price is not None:
        return order.limit_price
    if mark is None:
        return None
    near = mark.ask if order.side is Side.BUY else mark.bid
    return limits.reserve_price(
        order.side is Side.BUY,
        near,
        order.stop_price or ZERO,
        order.limit_price or ZERO,
        1 + buffer,
    )
