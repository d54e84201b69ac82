"""Checks of the order itself: state, instrument, session, price, size."""

from datetime import time
from decimal import Decimal
from typing import Final, assert_never

from libs.common.domain.checks.inputs import Case
from libs.common.domain.checks.results import (
    NO_LIMIT,
    NO_PRICE,
    REDUCING,
    Check,
    at_most,
    unknown,
)
from libs.common.domain.instruments import AssetClass
from libs.common.domain.vocabulary import (
    OrderClass,
    OrderType,
    SessionState,
    Side,
    TimeInForce,
    TradingState,
)
from libs.common.kernel.money import is_multiple, money
from libs.common.quant import limits

NO_INSTRUMENT: Final = "instrument unknown"
_QUEUES: Final = frozenset({TimeInForce.DAY, TimeInForce.GTC})
# New York; the venue takes none from then on (Alpaca's order rules).
AUCTION_ENTRY_ENDS: Final = {TimeInForce.OPG: time(9, 28), TimeInForce.CLS: time(15, 50)}


def trading_state(case: Case) -> Check:
    """Halted stops everything but what closes what is there: exits, and the closing of a position.
    Reducing stops everything that opens or adds."""
    code = "TRADING_STATE"
    match case.state:
        case TradingState.ACTIVE:
            return Check(code, True, case.state.value, "active")
        case TradingState.REDUCING:
            note = REDUCING if case.reducing else "only orders that reduce a position"
            return Check(code, case.reducing, case.state.value, "reducing", note)
        case TradingState.HALTED:
            guards = case.reducing and (case.order.is_exit or case.closing)
            what = "closes a position" if case.closing else "an exit that guards a position"
            return Check(
                code, guards, case.state.value, "active", what if guards else "trading is halted"
            )
        case _ as never:
            assert_never(never)


def instrument_known(case: Case) -> Check:
    """The symbol is one that we have master data for."""
    known = case.instrument is not None
    return Check("INSTRUMENT_UNKNOWN", known, case.order.symbol, "in the instruments table")


def instrument_tradable(case: Case) -> Check:
    """The broker lets it be traded."""
    if case.instrument is None:
        return unknown("INSTRUMENT_NOT_TRADABLE", NO_INSTRUMENT)
    tradable = case.instrument.tradable
    return Check("INSTRUMENT_NOT_TRADABLE", tradable, "yes" if tradable else "no", "yes")


def instrument_restricted(case: Case) -> Check:
    """The symbol is not on the restricted list, or the order only reduces."""
    restricted = case.limits.restricted
    allowed = not restricted or case.reducing
    note = REDUCING if restricted and case.reducing else ""
    return Check("INSTRUMENT_RESTRICTED", allowed, "yes" if restricted else "no", "no", note)


def session_open(case: Case) -> Check:
    """The venue can execute the order now, or it reduces and may queue for the next open.

    Regular hours take everything but `opg`; pre-market and post-market take limit orders marked
    for extended hours; `opg` and `cls` wait for their auction from the pre-market on, until the
    venue closes its doors to them (09:28 and 15:50). What else is sent while the venue is shut
    would execute at an unknown later price: only an exit may.
    """
    order, session = case.order, case.session
    value, limit = session.value, f"open for {order.order_type.value} {order.time_in_force.value}"
    code, tif = "SESSION_CLOSED", order.time_in_force
    shut = AUCTION_ENTRY_ENDS.get(tif)
    if shut is not None and case.time_of_day is not None and case.time_of_day >= shut:
        entry = f"before {shut:%H:%M} for {tif.value}"
        return Check(code, False, f"{case.time_of_day:%H:%M}", entry)
    if session is SessionState.REGULAR:
        return Check(code, tif is not TimeInForce.OPG, value, limit)
    if tif in AUCTION_ENTRY_ENDS:
        return Check(code, session is SessionState.PRE, value, limit)
    extended = order.extended_hours and order.order_type is OrderType.LIMIT and tif in _QUEUES
    if extended and session is not SessionState.CLOSED:
        return Check(code, True, value, limit, "extended hours")
    if case.reducing and tif in _QUEUES:
        return Check(code, True, value, limit, f"{REDUCING}; waits for the next open")
    return Check(code, False, value, limit)


def price_present(case: Case) -> Check:
    """There is a market price to judge by; an exit needs none."""
    if case.mark is None:
        return Check(
            "PRICE_MISSING", case.reducing, None, "a quote", REDUCING if case.reducing else ""
        )
    return Check("PRICE_MISSING", True, case.mark.price, "a quote")


def price_fresh(case: Case) -> Check:
    """The price is young enough; an exit may go on an old one."""
    code, limit = "PRICE_STALE", case.limits.price_age_s_max
    if case.mark is None:
        return unknown(code, NO_PRICE, limit)
    return at_most(code, case.mark.age_s, limit, exempt=REDUCING if case.reducing else "")


def prices_on_tick(case: Case) -> Check:
    """Every price of the order is positive and on the venue's grid."""
    code, order = "PRICE_OFF_TICK", case.order
    prices = {
        "limit_price": order.limit_price,
        "stop_price": order.stop_price,
        "take_profit": order.take_profit,
        "stop_loss": order.stop_loss,
        "stop_loss_limit": order.stop_loss_limit,
    }
    given = {name: price for name, price in prices.items() if price is not None}
    if not given:
        return Check(code, None, None, None, "no price in the order")
    if case.instrument is None:
        return unknown(code, NO_INSTRUMENT)
    for name, price in given.items():
        if not case.instrument.is_on_tick(price):
            return Check(code, False, price, case.instrument.tick_at(price), name)
    return Check(code, True, len(given), case.instrument.tick_size)


def quantity_on_lot(case: Case) -> Check:
    """There is something to trade, in whole steps of the instrument."""
    code, quantity = "QUANTITY_OFF_LOT", case.order.quantity
    if case.instrument is None:
        return unknown(code, NO_INSTRUMENT)
    step = case.instrument.quantity_step
    if quantity <= 0:
        return Check(code, False, quantity, step, "nothing left to trade after rounding")
    return Check(code, is_multiple(quantity, step), quantity, step)


def quantity_limit(case: Case) -> Check:
    """The quantity is not above the limit for one order."""
    return at_most(
        "QUANTITY_ABOVE_LIMIT",
        case.order.quantity,
        case.limits.quantity_max,
        exempt=REDUCING if case.reducing else "",
    )


def order_notional(case: Case) -> Decimal | None:
    """Quantity at the price that it may cost, as money; None without a price."""
    price = case.reserve_price
    return None if price is None else money(case.order.quantity * price)


def notional_minimum(case: Case) -> Check:
    """The order is large enough to be worth its costs; an exit may be any size."""
    code, limit = "NOTIONAL_BELOW_LIMIT", case.limits.notional_min
    value = order_notional(case)
    if value is None:
        return unknown(code, NO_PRICE, limit)
    if value >= limit:
        return Check(code, True, value, limit)
    return Check(code, case.reducing, value, limit, REDUCING if case.reducing else "")


def notional_maximum(case: Case) -> Check:
    """The order's value is not above the limit for one order."""
    code, limit = "NOTIONAL_ABOVE_LIMIT", case.limits.notional_max
    value = order_notional(case)
    if value is None:
        return unknown(code, NO_PRICE, limit)
    return at_most(code, value, limit, exempt=REDUCING if case.reducing else "")


def price_collar(case: Case) -> Check:
    """A limit does not pay far more, or sell for far less, than the market: a fat finger.

    The value is how far the limit lies beyond the far side of the quote, as a share of it:
    ask 100 and a buy limit of 106 → 0.06. A passive limit has nothing to lose and passes.
    """
    code, order, limit = "PRICE_OUTSIDE_COLLAR", case.order, case.limits.price_collar
    if order.limit_price is None:
        return Check(code, None, None, limit, "no limit price")
    if case.mark is None:
        return unknown(code, NO_PRICE, limit)
    if order.side is Side.BUY:
        reference = max(case.mark.ask, order.stop_price or case.mark.ask)
    else:
        reference = min(case.mark.bid, order.stop_price or case.mark.bid)
    beyond = limits.beyond_market(order.side is Side.BUY, order.limit_price, reference, Decimal(1))
    return at_most(code, round(max(beyond, Decimal(0)), 6), limit)


def quantity_collar(case: Case) -> Check:
    """One order is not an implausible share of the account: a zero too many."""
    code, limit = "QUANTITY_OUTSIDE_COLLAR", case.limits.order_equity_share_max
    value = order_notional(case)
    if limit is None:
        return Check(code, None, value, None, NO_LIMIT)
    if value is None:
        return unknown(code, NO_PRICE, limit)
    exempt = REDUCING if case.reducing else ""
    return at_most(
        code,
        value,
        money(limits.share_of_equity(limit, case.totals.equity, Decimal(0))),
        exempt=exempt,
    )


def legs_in_order(case: Case) -> Check:
    """The exits of a group lie on their own sides of the entry's limit and of each other: a long
    takes profit above and stops its loss below, at a limit no better than the stop."""
    code, order = "EXIT_LEGS_CROSSED", case.order
    profit, stop, stop_limit = order.take_profit, order.stop_loss, order.stop_loss_limit
    if profit is None and stop is None:
        return Check(code, None, None, None, "no exits")
    # An entry that buys is left by selling: profit above, loss below. An OCO is the exit itself.
    exits = order.order_class is OrderClass.OCO
    sign = 1 if (order.side if exits else order.side.opposite) is Side.SELL else -1
    base = None if exits else order.limit_price
    for better, worse, what in (
        (profit, stop, "take profit against stop loss"),
        (profit, base, "take profit against the entry's limit"),
        (base, stop, "the entry's limit against stop loss"),
    ):
        if better is not None and worse is not None and (better - worse) * sign <= 0:
            return Check(code, False, better, worse, what)
    if stop is not None and stop_limit is not None and (stop - stop_limit) * sign < 0:
        return Check(code, False, stop, stop_limit, "stop loss against its own limit")
    return Check(code, True, profit or stop, base or stop)


def fraction_fits(case: Case) -> Check:
    """Parts of a share, and amounts of money, go in simple day orders that sell no more than is
    held; other assets know no such rule."""
    code, order = "FRACTION_UNSUPPORTED", case.order
    if not (order.by_notional or order.quantity % 1):
        return Check(code, None, order.quantity, None, "whole shares")
    if case.instrument is None:
        return unknown(code, NO_INSTRUMENT)
    if case.instrument.asset_class is not AssetClass.US_EQUITY:
        return Check(code, None, order.quantity, None, "not shares")
    wrong = {
        order.time_in_force.value: order.time_in_force is not TimeInForce.DAY,
        order.order_class.value: order.order_class is not OrderClass.SIMPLE,
        order.order_type.value: order.order_type is OrderType.TRAILING_STOP,
        "short sale": order.side is Side.SELL and case.opening > 0,
    }
    found = next((word for word, is_wrong in wrong.items() if is_wrong), None)
    return Check(code, found is None, found or "fits", "a simple day order, no short sale")


def exit_has_position(case: Case) -> Check:
    """A pair of exits (OCO) has a position to leave, not spoken for by other orders."""
    code = "EXIT_WITHOUT_POSITION"
    if case.order.order_class is not OrderClass.OCO:
        return Check(code, None, None, None, "not a pair of exits")
    return Check(code, case.opening == 0, case.order.quantity - case.opening, case.order.quantity)


CHECKS: Final = (
    trading_state,
    instrument_known,
    instrument_tradable,
    instrument_restricted,
    session_open,
    price_present,
    price_fresh,
    prices_on_tick,
    quantity_on_lot,
    quantity_limit,
    notional_minimum,
    notional_maximum,
    price_collar,
    quantity_collar,
    legs_in_order,
    fraction_fits,
    exit_has_position,
)
