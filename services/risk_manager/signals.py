"""From a signal to the order that it asks for."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from uuid import UUID

from libs.common.contracts.messages import OrderSpec, Signal
from libs.common.domain.checks import Check
from libs.common.domain.instruments import Instrument
from libs.common.domain.sizing import order_to_reach, wished_position
from libs.common.domain.vocabulary import OrderClass, OrderType, Side, TimeInForce
from libs.common.kernel.errors import Refusal
from libs.common.kernel.money import ZERO, plain
from services.risk_manager.desk import Desk, Moment
from services.risk_manager.judgement import Ask


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
            note = sized.note or f"from {plain(present)} to {plain(wished)}"
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
