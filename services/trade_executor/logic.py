"""Pure decisions of the executor: may it be sent, what does it hold, do the books agree."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal
from typing import Final

from libs.common.domain.booking import hold, hold_amount
from libs.common.domain.ledger import Transfer
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderStatus, Side, TradingState
from libs.common.kernel.errors import Refusal
from libs.common.kernel.ids import AccountId, Symbol, TransferId, derived_id
from libs.common.kernel.money import MONEY_QUANTUM, PRICE_QUANTUM, ZERO, plain
from services.trade_executor.model import BrokerOrder, Order, worst_price
from services.trade_executor.ports import Discrepancy, Gate, Heir

APPROVAL_EXPIRED: Final = "APPROVAL_EXPIRED"
TRADING_STATE_UNKNOWN: Final = "TRADING_STATE_UNKNOWN"
GENERATION_OLD: Final = "GENERATION_OLD"
TRADING_HALTED: Final = "TRADING_HALTED"
TRADING_REDUCING: Final = "TRADING_REDUCING"
RISK_MANAGER_SILENT: Final = "RISK_MANAGER_SILENT"
RISK_UNAVAILABLE: Final = "RISK_UNAVAILABLE"
CASH_INSUFFICIENT: Final = "CASH_INSUFFICIENT"
SHARES_INSUFFICIENT: Final = "SHARES_INSUFFICIENT"
PRICE_UNKNOWN: Final = "PRICE_UNKNOWN"
NOT_EXPRESSIBLE: Final = "NOT_EXPRESSIBLE"
BROKER_UNAVAILABLE: Final = "BROKER_UNAVAILABLE"
NEVER_ARRIVED: Final = "NEVER_ARRIVED"

LATE_ATTEMPT: Final = "late_attempt"
NOT_REPLACEABLE: Final = "NOT_REPLACEABLE"
SYMBOL_BLOCKED: Final = "SYMBOL_BLOCKED"

_AFTER_EXECUTIONS: Final = frozenset(
    {
        OrderEvent.PARTLY_FILLED,
        OrderEvent.FILLED,
        OrderEvent.CANCELED,
        OrderEvent.EXPIRED,
        OrderEvent.REPLACED,
        OrderEvent.REJECTED,
    }
)


def refusal_at_the_wire(
    order: Order, gate: Gate | None, *, now: dt.datetime, risk_manager_alive: bool
) -> Refusal | None:
    """Return why `order` must not leave now, None if it may.

    Asked at the last step before the wire. `protective` orders pass the kill switch: an exit
    that rests at the venue makes a halt safer, not weaker. Everything else needs an approval of
    the present generation and a state that allows it.
    """
    if order.expires_at is not None and now >= order.expires_at:
        return Refusal(APPROVAL_EXPIRED, {"expires_at": order.expires_at.isoformat()})
    if order.protective:
        return None
    if gate is None:
        return Refusal(TRADING_STATE_UNKNOWN)
    if order.generation < gate.generation:
        facts = {"approved": str(order.generation), "present": str(gate.generation)}
        return Refusal(GENERATION_OLD, facts)
    if gate.state is TradingState.HALTED:
        return Refusal(TRADING_HALTED)
    if order.adds_risk and gate.state is TradingState.REDUCING:
        return Refusal(TRADING_REDUCING)
    if order.adds_risk and not risk_manager_alive:
        return Refusal(RISK_MANAGER_SILENT)
    return None


def unwanted(order: Order) -> bool:
    """Tell whether an order lives at the venue that we had refused, given up or sent again: no
    approval stands behind it any more."""
    odd = order.anomaly or ""
    return odd == LATE_ATTEMPT or odd.endswith(f"_after_{OrderStatus.DENIED}")


def hold_for(order: Order, reference_price: Decimal | None, collar: Decimal) -> Transfer | None:
    """Return the hold that `order` makes before it is sent, None if its size is unknowable."""
    amount = hold_amount(
        order.spec.side,
        quantity=order.spec.quantity,
        notional_amount=order.spec.notional,
        worst_price=worst_price(order.spec),
        collar=collar,
        reference_price=_seen_price(order, reference_price),
    )
    if not amount or amount <= 0:
        return None
    return hold(order.id, AccountId(order.account_id), order.symbol, order.spec.side, amount)


def heir_of(forerunner: Order, heir: Order) -> Heir:
    """Return what an amendment asks for and holds in the moment of taking over: what its
    forerunner traded meanwhile is no longer asked for.

    Asked for 100 in all, 10 traded when judged and 30 now: 70 of the 90 judged are left, and
    70/90 of what 90 would hold, rounded up.
    """
    plan = heir.succession
    if plan is None or plan.total is None or heir.spec.quantity is None:
        held = plan.hold if plan else heir.hold_amount
        return Heir(heir, heir.spec.quantity, _takeover_hold(heir, held))
    left = plan.total - forerunner.filled_quantity
    if left <= 0:  # more traded than was asked for: the venue knows what is left
        return Heir(heir, heir.spec.quantity, _takeover_hold(heir, plan.hold))
    held = plan.hold
    if held is not None:
        quantum = MONEY_QUANTUM if heir.spec.side is Side.BUY else PRICE_QUANTUM
        held = (held * left / heir.spec.quantity).quantize(quantum, rounding=ROUND_CEILING)
    return Heir(heir, left, _takeover_hold(heir, held))


def _takeover_hold(heir: Order, amount: Decimal | None) -> Transfer | None:
    if not amount:
        return None
    first = hold(heir.id, AccountId(heir.account_id), heir.symbol, heir.spec.side, amount)
    return replace(first, id=TransferId(derived_id("takeover_hold", str(heir.id))))


def _seen_price(order: Order, reference_price: Decimal | None) -> Decimal | None:
    """Return the price that a market execution is expected near: of a stop, its trigger."""
    stop = order.spec.stop_price
    if stop is None or reference_price is None:
        return stop or reference_price
    return max(stop, reference_price)


def news_of(found: BrokerOrder, order: Order) -> OrderEvent:
    """Return the event that a look-up of `order` amounts to.

    Executions are booked from their own list: while some are missing, a look-up that says filled,
    or names an end, is only a sign of life; an end believed before them would void what the order
    holds for them. So is a status word that we do not know.
    """
    if found.event is OrderEvent.UNRECOGNISED:
        return OrderEvent.ACKNOWLEDGED
    if found.event in _AFTER_EXECUTIONS and found.filled_quantity > order.filled_quantity:
        return OrderEvent.ACKNOWLEDGED
    return found.event


@dataclass
class Suspects:
    """Differences seen once. A difference counts when it is seen again, unchanged, a settle time
    later: balances are read at different instants, so one look proves nothing."""

    settle_s: float
    _seen: dict[tuple[str, str], tuple[Decimal, float]] = field(default_factory=dict)

    def judge(
        self, kind: str, differences: Mapping[str, Decimal], now_s: float
    ) -> tuple[set[str], bool]:
        """Return the names whose difference is proven, and whether any is still in doubt.

        `differences` maps a symbol ('' for the account) to theirs - ours, zeros left out;
        `now_s` is a monotonic time.
        """
        proven = set()
        for name, difference in differences.items():
            before = self._seen.get((kind, name))
            if before is None or before[0] != difference:
                self._seen[kind, name] = (difference, now_s)
            elif now_s - before[1] >= self.settle_s:
                proven.add(name)
        for key in [key for key in self._seen if key[0] == kind and key[1] not in differences]:
            del self._seen[key]
        return proven, bool(differences.keys() - proven)


def position_differences(
    ours: Mapping[Symbol, Decimal], theirs: Mapping[Symbol, Decimal]
) -> dict[str, Decimal]:
    """Return theirs - ours per symbol where they differ."""
    names = sorted(ours.keys() | theirs.keys())
    all_differences = {name: theirs.get(name, ZERO) - ours.get(name, ZERO) for name in names}
    return {name: value for name, value in all_differences.items() if value}


def position_discrepancies(
    names: Sequence[str], ours: Mapping[Symbol, Decimal], theirs: Mapping[Symbol, Decimal]
) -> list[Discrepancy]:
    """Return what to put on record for the symbols in `names`."""
    return [
        Discrepancy(
            symbol=name,
            kind="position",
            ours=plain(ours.get(Symbol(name), ZERO)),
            theirs=plain(theirs.get(Symbol(name), ZERO)),
            detail="No execution explains the difference.",
        )
        for name in names
    ]
