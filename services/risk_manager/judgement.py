"""The judgement: size, check, reserve. Pure but for the desk's memory; no clock, no I/O.

`judge` is the only way to an approval. It runs under the account's lock, one order after the
other, so two approvals can never spend the same headroom.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Final
from uuid import UUID

from msgspec import structs

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.checks import (
    Case,
    Check,
    Flow,
    Limits,
    Mark,
    OrderFacts,
    SymbolExposure,
    first_denial,
)
from libs.common.domain.checks import judge as run_checks
from libs.common.domain.instruments import Instrument
from libs.common.domain.sizing import quantity_of_notional
from libs.common.kernel.errors import Refusal
from libs.common.kernel.money import PRICE_QUANTUM, ZERO, money
from services.risk_manager.book import crossing
from services.risk_manager.desk import Desk, Moment
from services.risk_manager.pending import Pending

AMENDMENT: Final = "AMENDMENT"
LESSENS: Final = "lessens"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be judged: an order as asked for, and where it comes from."""

    order_id: UUID
    spec: OrderSpec
    strategy_id: str | None = None
    before: tuple[Check, ...] = ()
    # The order that this one amends, and whether that is an exit leg of a group: such a leg is no
    # part of the book, for it can only close what its entry opened.
    replaces: UUID | None = None
    leg: bool = False
    # Closes a position, whose other orders have been cancelled for it: see `CLOSING`.
    closing: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome: all checks, the sized order, and what it sets aside if approved."""

    ask: Ask
    spec: OrderSpec
    quantity: Decimal
    checks: tuple[Check, ...]
    refusal: Refusal | None
    price: Decimal | None
    hold: Decimal = ZERO
    reducing: bool = False


def judge(desk: Desk, ask: Ask, now: Moment) -> Judgement:
    """Run every check on `ask`; changes nothing."""
    spec, symbol = ask.spec, ask.spec.symbol
    instrument = desk.instruments.get(symbol)
    mark = desk.book.mark(symbol, now.market_ns, now.factor)
    spec, quantity = _in_units(spec, instrument, mark.price if mark else None)
    order = _facts(spec, quantity, ask.strategy_id)
    with desk.book.without(ask.replaces) as replaced:
        case = _case(desk, order, instrument, mark, now, ask.replaces)
    if ask.closing:
        alone = SymbolExposure(case.exposure.position)
        flow = replace(case.flow, duplicate_of=None, crosses=None)
        case = replace(case, exposure=alone, flow=flow, closing=True)
    hold = money(case.opening * case.reserve_price) if case.reserve_price is not None else ZERO
    checks = ask.before
    if ask.replaces is not None:
        improves = ask.leg or _improves(replaced, order, hold)
        case = replace(case, improves=improves)
        hold = ZERO if ask.leg else hold
        word = LESSENS if improves else "adds"
        checks += (Check(AMENDMENT, True, word, str(ask.replaces), "in the place of this order"),)
    checks += run_checks(case)
    return Judgement(
        ask=ask,
        spec=spec,
        quantity=order.quantity,
        checks=checks,
        refusal=first_denial(checks),
        price=None if mark is None else mark.price,
        hold=hold,
        reducing=case.reducing,
    )


def _case(
    desk: Desk,
    order: OrderFacts,
    instrument: Instrument | None,
    mark: Mark | None,
    now: Moment,
    replaces: UUID | None,
) -> Case:
    limits = desk.limits_for(order.strategy_id, order.symbol)
    totals = desk.book.totals("" if instrument is None else instrument.sector)
    return Case(
        order=order,
        state=desk.switch.state,
        instrument=instrument,
        session=now.session,
        mark=mark,
        exposure=desk.book.exposure(order.symbol),
        totals=replace(
            totals,
            loss_today=desk.losses.loss_today(totals.equity),
            drawdown=desk.losses.drawdown(totals.equity),
        ),
        flow=_flow(desk, order, limits, now, replaces),
        limits=limits,
        time_of_day=now.time_of_day,
    )


def _improves(replaced: Pending | None, order: OrderFacts, hold: Decimal) -> bool:
    """Tell whether an amendment asks for no more than what it replaces, in shares and money."""
    return (
        replaced is not None
        and replaced.side is order.side
        and order.quantity <= replaced.remaining
        and hold <= replaced.held
    )


def reserve(desk: Desk, judgement: Judgement, now: Moment, expires_at: float) -> Pending:
    """Set an approval aside and remember it."""
    ask, spec = judgement.ask, judgement.spec
    pending = Pending(
        order_id=ask.order_id,
        symbol=spec.symbol,
        side=spec.side,
        quantity=judgement.quantity,
        hold=judgement.hold,
        strategy_id=ask.strategy_id,
        order_type=spec.order_type,
        limit_price=spec.limit_price,
        expires_at=expires_at,
        replaces=ask.replaces,
    )
    if not ask.leg:
        desk.book.reserve(pending)
    limits = desk.limits_for(ask.strategy_id, spec.symbol)
    desk.rates.add(ask.strategy_id, now.wall)
    facts = _facts(spec, judgement.quantity, ask.strategy_id)
    desk.repeats.add(facts, ask.order_id, now.wall, float(limits.duplicate_window_s))
    return pending


def forget(desk: Desk, judgement: Judgement) -> None:
    """Take a reservation back whose record could not be stored."""
    if judgement.refusal is None:
        desk.book.release(judgement.ask.order_id)
        desk.rates.drop_last(judgement.ask.strategy_id)
        desk.repeats.drop(judgement.ask.order_id)


def _flow(
    desk: Desk, order: OrderFacts, limits: Limits, now: Moment, replaces: UUID | None
) -> Flow:
    window = float(limits.rate_window_s)
    strategy = order.strategy_id
    duplicate = desk.repeats.find(order, now.wall, float(limits.duplicate_window_s))
    return Flow(
        orders_strategy=desk.rates.count(strategy, now.wall, window) if strategy else 0,
        orders_account=desk.rates.count(None, now.wall, window),
        # An amendment may well be worded as the order that it replaces, but for its trail.
        duplicate_of=None if duplicate == str(replaces) else duplicate,
        crosses=crossing(desk.book, order.symbol, order.side, order.limit_price),
    )


def _in_units(
    spec: OrderSpec, instrument: Instrument | None, price: Decimal | None
) -> tuple[OrderSpec, Decimal]:
    """The order and its quantity. For an amount of money: in whole shares the order itself is
    turned into a quantity; in fractions the venue divides, and the quantity is our estimate,
    rounded up. Zero where neither is known."""
    if spec.notional is None:
        return spec, ZERO if spec.quantity is None else spec.quantity
    basis = spec.limit_price or price
    if instrument is None or basis is None:
        return spec, ZERO
    if instrument.fractionable:
        estimate = spec.notional / basis
        return spec, estimate.quantize(PRICE_QUANTUM, rounding=ROUND_CEILING)
    quantity = quantity_of_notional(spec.notional, basis, instrument)
    return structs.replace(spec, notional=None, quantity=quantity), quantity


def _facts(spec: OrderSpec, quantity: Decimal, strategy_id: str | None) -> OrderFacts:
    return OrderFacts(
        symbol=spec.symbol,
        side=spec.side,
        quantity=quantity,
        order_type=spec.order_type,
        time_in_force=spec.time_in_force,
        order_class=spec.order_class,
        limit_price=spec.limit_price,
        stop_price=spec.stop_price,
        take_profit=spec.take_profit_limit_price,
        stop_loss=spec.stop_loss_stop_price,
        stop_loss_limit=spec.stop_loss_limit_price,
        extended_hours=spec.extended_hours,
        by_notional=spec.notional is not None,
        strategy_id=strategy_id,
    )
