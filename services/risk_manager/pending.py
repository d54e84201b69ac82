"""What is on its way: open orders and reservations, executions, and ids seen lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from libs.common.domain.vocabulary import OrderType, Side
from libs.common.kernel.ids import derived_id
from libs.common.kernel.money import ZERO, money

_TRIGGERED = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})


@dataclass(slots=True)
class Pending:
    """An approval or an open order. `expires_at` (epoch seconds, wall time) is set while no order
    was seen behind the approval; `hold` is what it set aside as a whole."""

    order_id: UUID
    symbol: str
    side: Side
    quantity: Decimal
    hold: Decimal = ZERO
    strategy_id: str | None = None
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    expires_at: float | None = None
    # The order that this one amends: while it stands, only what exceeds it counts.
    replaces: UUID | None = None
    executed: Decimal = ZERO
    ended_with: Decimal | None = None
    # The number of the order's event that told `ended_with`; 0 where its row told.
    ended_seq: int = 0

    @property
    def remaining(self) -> Decimal:
        """What may still be executed, as far as executions were seen."""
        total = self.quantity if self.ended_with is None else self.ended_with
        return max(ZERO, total - self.executed)

    @property
    def held(self) -> Decimal:
        """The part of `hold` that belongs to what remains."""
        if not self.hold:
            return ZERO
        return money(self.hold * self.remaining / self.quantity)

    @property
    def is_over(self) -> bool:
        """Whether the order has ended and all its executions were seen."""
        return self.ended_with is not None and not self.remaining

    @property
    def rests(self) -> bool:
        """Whether it can meet an order of ours: what waits for a trigger cannot."""
        return self.order_type not in _TRIGGERED


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution as the book needs it; `cash` is the signed change of cash, fees included.

    `reverses`: it takes one back, so that its order has those shares to trade again. Without an
    order: shares that moved without a trade.
    """

    trade_id: UUID
    order_id: UUID | None
    symbol: str
    side: Side
    quantity: Decimal
    cash: Decimal
    strategy_id: str | None
    reverses: bool = False

    @property
    def of_order(self) -> Decimal:
        """What it adds to its order's executed quantity."""
        return -self.quantity if self.reverses else self.quantity


def parts_of(
    change_id: UUID, symbol: str, cash: Decimal, parts: Sequence[tuple[str | None, Decimal]]
) -> list[Fill]:
    """Shares that moved without a trade, as the book takes them: one fill a strategy, the money
    with the first. The same change gives the same ids."""
    return [
        Fill(
            trade_id=derived_id("position_part", str(change_id), strategy_id or ""),
            order_id=None,
            symbol=symbol,
            side=Side.BUY if quantity > 0 else Side.SELL,
            quantity=abs(quantity),
            cash=ZERO if place else cash,
            strategy_id=strategy_id,
        )
        for place, (strategy_id, quantity) in enumerate(parts)
    ]


class Recent:
    """The last `size` ids, to know what arrives again."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: dict[UUID, None] = {}

    def add(self, item: UUID) -> bool:
        """Remember `item`; False if it was there."""
        if item in self._ids:
            return False
        self._ids[item] = None
        if len(self._ids) > self._size:
            del self._ids[next(iter(self._ids))]
        return True

    def discard(self, item: UUID) -> None:
        """Forget `item`."""
        self._ids.pop(item, None)

    def __contains__(self, item: UUID) -> bool:
        """Tell whether `item` was seen lately."""
        return item in self._ids

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._ids)
