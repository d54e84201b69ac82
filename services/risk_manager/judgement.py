"""The judgement: size, check, reserve. Pure but for the desk's memory; no clock, no I/O.

`judge` is the only way to an approval. It runs under the account's lock, one order after the
other, so two approvals can never spend the same headroom.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from uuid import UUID

from msgspec import structs

from libs.common.contracts.messages import OrderSpec, Signal
from libs.common.domain.checks import Case, Check, Flow, Limits, OrderFacts, first_denial
from libs.common.domain.checks import judge as run_checks
from libs.common.domain.instruments import Instrument
from libs.common.domain.sizing import order_to_reach, quantity_of_notional, wished_position
from libs.common.domain.vocabulary import (
    OrderClass,
    OrderType,
    SessionState,
    Side,
    TimeInForce,
    TradingState,
)
from libs.common.kernel.errors import Refusal
from libs.common.kernel.money import PRICE_QUANTUM, ZERO, money
from services.risk_manager.book import Book, crossing
from services.risk_manager.limits import LimitBook
from services.risk_manager.memory import Losses, Rates, Repeats
from services.risk_manager.pending import Pending


@dataclass(frozen=True, slots=True)
class Switch:
    """The kill switch as it stands."""

    state: TradingState
    generation: int
    reason: str
    set_by: str
    set_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Moment:
    """When a judgement is made: wall time for rates and expiry, market time for prices."""

    wall: float
    market_ns: int
    factor: float
    session: SessionState


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be judged: an order as asked for, and where it comes from."""

    order_id: UUID
    spec: OrderSpec
    strategy_id: str | None = None
    before: tuple[Check, ...] = ()


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


@dataclass
class Desk:
    """One account's state in memory."""

    account_id: str
    instruments: dict[str, Instrument]
    book: Book
    limits: LimitBook
    switch: Switch
    restricted: frozenset[str] = frozenset()
    volatility: Mapping[str, float] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)
    repeats: Repeats = field(default_factory=Repeats)
    losses: Losses = field(default_factory=Losses)
    last_bars: dict[tuple[str, str], dt.datetime] = field(default_factory=dict)

    def limits_for(self, strategy_id: str | None, symbol: str) -> Limits:
        """The limits of an order; an unknown symbol has the account's."""
        instrument = self.instruments.get(symbol) or Instrument(symbol.strip().upper() or "?")
        limits = self.limits.limits_for(strategy_id, instrument)
        return replace(limits, restricted=True) if symbol in self.restricted else limits

    def see_bar(self, signal: Signal) -> dt.datetime | None:
        """Remember a strategy's newest decision on a symbol; return the one before."""
        key = signal.strategy_id, signal.symbol
        last = self.last_bars.get(key)
        if last is None or signal.bar_ts > last:
            self.last_bars[key] = signal.bar_ts
        return last

    def forget_bar(self, signal: Signal, before: dt.datetime | None) -> None:
        """Take `see_bar` back."""
        key = signal.strategy_id, signal.symbol
        if before is None:
            self.last_bars.pop(key, None)
        else:
            self.last_bars[key] = before


def ask_of_signal(desk: Desk, signal: Signal, order_id: UUID, now: Moment) -> Ask:
    """The order that leads from what the strategy has to what its signal wishes.

    `before` holds the checks of the signal itself: that no newer decision was judged, that a
    size can be found, that something is left to do.
    """
    strategy, symbol = signal.strategy_id, signal.symbol
    last = desk.last_bars.get((strategy, symbol))
    newest = last is None or signal.bar_ts > last
    before = [Check("SIGNAL_SUPERSEDED", newest, signal.bar_ts.isoformat(),
                    "none" if last is None else last.isoformat())]  # fmt: skip
    side = Side.BUY if signal.target > 0 else Side.SELL
    instrument = desk.instruments.get(symbol)
    mark = desk.book.mark(symbol, now.market_ns, now.factor)
    quantity, reducing = ZERO, False
    if instrument is None:
        before.append(Check("SIZE_UNDEFINED", None, None, None, "instrument unknown"))
    elif mark is None and signal.target != 0.0:
        before.append(Check("SIZE_UNDEFINED", None, None, None, "no price"))
    else:
        wished = wished_position(
            desk.limits.sizing_for(strategy),
            signal.target,
            price=ZERO if mark is None else mark.price,
            equity=desk.book.totals().equity,
            volatility=desk.volatility.get(symbol),
            instrument=instrument,
        )
        if isinstance(wished, Refusal):
            context = ", ".join(f"{k}={v}" for k, v in wished.context.items())
            before.append(Check(wished.code, False, repr(signal.target), None, context))
        else:
            present = desk.book.strategy_exposure(strategy, symbol)
            sized = order_to_reach(wished, present, instrument)
            side, quantity = sized.side, sized.quantity
            reducing = abs(present + side.sign * quantity) < abs(present)
            note = sized.note or f"from {present:f} to {wished:f}"
            before.append(Check("NOTHING_TO_DO", quantity > 0, quantity, ZERO, note))
    spec = _spec_of_signal(signal, side, quantity, instrument, entry=not reducing)
    return Ask(order_id, spec, strategy, tuple(before))


def _spec_of_signal(
    signal: Signal, side: Side, quantity: Decimal, instrument: Instrument | None, *, entry: bool
) -> OrderSpec:
    """A market order, or a limit where the strategy names one, never less cautious than asked;
    an entry takes the strategy's exits along."""
    limit, stop, profit = signal.limit, signal.stop, signal.take_profit
    if instrument is not None:
        cautious = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
        limit = None if limit is None else instrument.round_price(limit, cautious)
        stop = None if stop is None else instrument.round_price(stop)
        profit = None if profit is None else instrument.round_price(profit)
    if not entry:
        stop = profit = None
    exits = (stop is not None) + (profit is not None)
    return OrderSpec(
        symbol=signal.symbol,
        side=side,
        order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
        # The exits of a bracket live as long as its entry's time in force says.
        time_in_force=TimeInForce.GTC if exits else TimeInForce.DAY,
        order_class=(OrderClass.SIMPLE, OrderClass.OTO, OrderClass.BRACKET)[exits],
        quantity=quantity,
        limit_price=limit,
        take_profit_limit_price=profit,
        stop_loss_stop_price=stop,
    )


def judge(desk: Desk, ask: Ask, now: Moment) -> Judgement:
    """Run every check on `ask`; changes nothing."""
    spec, symbol = ask.spec, ask.spec.symbol
    instrument = desk.instruments.get(symbol)
    limits = desk.limits_for(ask.strategy_id, symbol)
    mark = desk.book.mark(symbol, now.market_ns, now.factor)
    spec, quantity = _in_units(spec, instrument, mark.price if mark else None)
    order = _facts(spec, quantity, ask.strategy_id)
    totals = desk.book.totals("" if instrument is None else instrument.sector)
    case = Case(
        order=order,
        state=desk.switch.state,
        instrument=instrument,
        session=now.session,
        mark=mark,
        exposure=desk.book.exposure(symbol),
        totals=replace(
            totals,
            loss_today=desk.losses.loss_today(totals.equity),
            drawdown=desk.losses.drawdown(totals.equity),
        ),
        flow=_flow(desk, order, limits, now),
        limits=limits,
    )
    checks = (*ask.before, *run_checks(case))
    hold = money(case.opening * case.reserve_price) if case.reserve_price is not None else ZERO
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
    )
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


def _flow(desk: Desk, order: OrderFacts, limits: Limits, now: Moment) -> Flow:
    window = float(limits.rate_window_s)
    strategy = order.strategy_id
    return Flow(
        orders_strategy=desk.rates.count(strategy, now.wall, window) if strategy else 0,
        orders_account=desk.rates.count(None, now.wall, window),
        duplicate_of=desk.repeats.find(order, now.wall, float(limits.duplicate_window_s)),
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
        strategy_id=strategy_id,
    )
