"""The rules an order must keep before the account is asked: form, price grid, session.

Alpaca's published order rules and codes; each refusal names the field and the rule.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from decimal import Decimal

from libs.common.domain.sessions import NEW_YORK, SessionCalendar
from libs.common.domain.vocabulary import OrderClass, OrderType, SessionState, Side, TimeInForce
from libs.common.kernel.clock import from_ns, to_ns
from services.broker_simulator.engine.model import Asset
from services.broker_simulator.engine.refusals import forbidden, not_found, unprocessable
from services.broker_simulator.engine.ticket import Ticket

GTC_LIFETIME = timedelta(days=90)
OPG_REFUSED = (time(9, 28), time(19, 0))
CLS_REFUSED = (time(15, 50), time(19, 0))
MIN_NOTIONAL = Decimal(1)
QUANTITY_PLACES = 8
LEG_DISTANCE = Decimal("0.01")
_ONE = Decimal(1)
_NEEDS_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
_NEEDS_STOP = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_AUCTION = frozenset({TimeInForce.OPG, TimeInForce.CLS})
_IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC})


def check_form(ticket: Ticket, asset: Asset | None) -> None:
    """Refuse a ticket whose fields do not make an order of a tradable asset."""
    if asset is None:
        unprocessable(f'asset "{ticket.symbol}" not found', 40010001)
    if not asset.tradable:
        unprocessable(f'asset "{ticket.symbol}" is not tradable')
    if (ticket.qty is None) == (ticket.notional is None):
        unprocessable("exactly one of qty and notional is required", 40010001)
    check_prices(ticket)
    check_trail(ticket)
    check_fraction(ticket, asset)
    check_time_in_force(ticket)
    check_class(ticket)


def check_prices(ticket: Ticket) -> None:
    """Refuse missing, superfluous or off-grid prices."""
    needs = {
        "limit_price": (ticket.type in _NEEDS_LIMIT, ticket.limit_price),
        "stop_price": (ticket.type in _NEEDS_STOP, ticket.stop_price),
    }
    limit_in_leg = ticket.order_class is OrderClass.OCO  # its limit is the take_profit's
    for name, (needed, price) in needs.items():
        if needed and price is None and not limit_in_leg:
            unprocessable(f"{ticket.type} orders require {name}", 40010001)
        if not needed and price is not None:
            unprocessable(f"{ticket.type} orders must not have {name}", 40010001)
        if price is not None:
            check_increment(price, name)
    for leg, what in ((ticket.take_profit, "take_profit"), (ticket.stop_loss, "stop_loss")):
        if leg is None:
            continue
        for name, price in (("limit_price", leg.limit_price), ("stop_price", leg.stop_price)):
            if price is not None:
                check_increment(price, f"{what}.{name}")


def check_increment(price: Decimal, what: str) -> None:
    """Refuse a price off the grid: two decimals at or above 1.00, four below (Rule 612)."""
    places = 2 if price >= _ONE else 4
    if price != round(price, places):
        unprocessable(
            f"invalid {what} {price}. sub-penny increment does not fulfill minimum pricing criteria"
        )


def check_trail(ticket: Ticket) -> None:
    """Refuse a trailing stop without exactly one distance, or a distance elsewhere."""
    given = (ticket.trail_price is not None) + (ticket.trail_percent is not None)
    if ticket.type is OrderType.TRAILING_STOP:
        if given != 1:
            unprocessable("trailing_stop orders require one of trail_price and trail_percent")
        if ticket.trail_percent is not None and ticket.trail_percent >= 100:
            unprocessable("trail_percent must be below 100")
    elif given:
        unprocessable("trail_price and trail_percent are for trailing_stop orders only")


def check_fraction(ticket: Ticket, asset: Asset) -> None:
    """Refuse parts of a share where they cannot be."""
    if ticket.qty is not None and ticket.qty != round(ticket.qty, QUANTITY_PLACES):
        unprocessable(f"qty takes at most {QUANTITY_PLACES} decimals")
    if ticket.notional is not None:
        if ticket.notional != round(ticket.notional, 2):
            unprocessable("notional value must be limited to 2 decimal places", 40310000)
        if ticket.notional < MIN_NOTIONAL:
            unprocessable("cost basis must be >= minimal amount of order 1", 40310000)
    if not ticket.is_fractional:
        return
    if not asset.fractionable:
        forbidden(f'asset "{ticket.symbol}" is not fractionable')
    if ticket.tif is not TimeInForce.DAY:
        unprocessable("fractional orders must be DAY orders")
    if ticket.order_class is not OrderClass.SIMPLE:
        unprocessable("fractional orders must be simple orders")
    if ticket.type is OrderType.TRAILING_STOP:
        unprocessable("fractional orders cannot be trailing stops")


def check_time_in_force(ticket: Ticket) -> None:
    """Refuse times in force that the order's type or hours do not allow."""
    if ticket.extended_hours and (ticket.type is not OrderType.LIMIT or ticket.tif not in _RESTING):
        unprocessable("extended hours order must be DAY or GTC limit orders")
    if ticket.tif in _AUCTION and ticket.type not in {OrderType.MARKET, OrderType.LIMIT}:
        unprocessable(f"{ticket.tif} orders must be market or limit orders")
    if ticket.tif in _IMMEDIATE and ticket.type not in {OrderType.MARKET, OrderType.LIMIT}:
        unprocessable(f"{ticket.tif} orders must be market or limit orders")
    if ticket.type is OrderType.TRAILING_STOP and ticket.tif not in _RESTING:
        unprocessable("trailing_stop orders must be DAY or GTC")


def check_class(ticket: Ticket) -> None:
    """Refuse legs that do not fit their class or stand on the wrong side of each other."""
    tp, sl = ticket.take_profit, ticket.stop_loss
    if ticket.order_class is OrderClass.SIMPLE:
        if tp is not None or sl is not None:
            unprocessable("take_profit and stop_loss need order_class bracket, oco or oto")
        return
    if ticket.tif not in _RESTING:
        unprocessable(f"{ticket.order_class} orders must be DAY or GTC")
    if ticket.extended_hours:
        unprocessable(f"{ticket.order_class} orders cannot trade in extended hours")
    if tp is not None and tp.limit_price is None:
        unprocessable("take_profit.limit_price is required", 40010001)
    if sl is not None and sl.stop_price is None:
        unprocessable("stop_loss.stop_price is required", 40010001)
    match ticket.order_class:
        case OrderClass.BRACKET | OrderClass.OCO:
            if tp is None or sl is None:
                unprocessable(
                    f"{ticket.order_class} orders require take_profit.limit_price and "
                    "stop_loss.stop_price",
                    40010001,
                )
        case OrderClass.OTO:
            if (tp is None) == (sl is None):
                unprocessable("oto orders require either take_profit or stop_loss", 40010001)
    if ticket.order_class is OrderClass.OCO and ticket.type is not OrderType.LIMIT:
        unprocessable("oco orders must be limit orders")
    _check_leg_prices(ticket)


def _check_leg_prices(ticket: Ticket) -> None:
    exit_side = ticket.side if ticket.order_class is OrderClass.OCO else ticket.side.opposite
    sign = 1 if exit_side is Side.SELL else -1
    profit = ticket.take_profit.limit_price if ticket.take_profit else None
    stop = ticket.stop_loss.stop_price if ticket.stop_loss else None
    stop_limit = ticket.stop_loss.limit_price if ticket.stop_loss else None
    if profit is not None and stop is not None and (profit - stop) * sign < LEG_DISTANCE:
        word = ">" if sign > 0 else "<"
        unprocessable(f"take_profit.limit_price must be {word} stop_loss.stop_price")
    if stop is not None and stop_limit is not None and (stop - stop_limit) * sign < 0:
        unprocessable("stop_loss.limit_price must not be better than stop_loss.stop_price")
    base = ticket.limit_price if ticket.order_class is not OrderClass.OCO else None
    if base is not None:
        check_legs_against_base(exit_side, base, profit, stop)


def check_legs_against_base(
    exit_side: Side, base: Decimal, profit: Decimal | None, stop: Decimal | None
) -> None:
    """Refuse exits less than 0.01 on the right side of the entry's `base` price."""
    sign = 1 if exit_side is Side.SELL else -1
    if profit is not None and (profit - base) * sign < LEG_DISTANCE:
        word = ">= base_price + 0.01" if sign > 0 else "<= base_price - 0.01"
        unprocessable(f"take_profit.limit_price must be {word} (base_price {base})")
    if stop is not None and (base - stop) * sign < LEG_DISTANCE:
        word = "<= base_price - 0.01" if sign > 0 else ">= base_price + 0.01"
        unprocessable(f"stop_loss.stop_price must be {word} (base_price {base})")


def check_session(ticket: Ticket, calendar: SessionCalendar, now: int) -> None:
    """Refuse auction orders inside their cut-off and immediate orders in a closed market."""
    local = from_ns(now).astimezone(NEW_YORK)
    windows = {TimeInForce.OPG: OPG_REFUSED, TimeInForce.CLS: CLS_REFUSED}
    window = windows.get(ticket.tif)
    if window and calendar.is_session_day(local.date()) and window[0] <= local.time() < window[1]:
        unprocessable(
            f"{ticket.tif} orders are not accepted between {window[0]:%H:%M} and "
            f"{window[1]:%H:%M} New York"
        )
    if ticket.tif in _IMMEDIATE and calendar.state_at_ns(now) is not SessionState.REGULAR:
        unprocessable(f"{ticket.tif} orders are accepted in market hours only")


def expires_at(tif: TimeInForce, extended_hours: bool, calendar: SessionCalendar, now: int) -> int:
    """When an order accepted at `now` ends: the next close it can reach, or 90 days for GTC."""
    moment = from_ns(now)
    if tif is TimeInForce.GTC:
        return to_ns(_at_post_close(moment + GTC_LIFETIME))
    if extended_hours:
        return to_ns(calendar.session_at(moment).post_close)
    if tif is TimeInForce.OPG:
        return to_ns(calendar.next_open(moment))
    return to_ns(calendar.next_close(moment))


def _at_post_close(moment: datetime) -> datetime:
    local = moment.astimezone(NEW_YORK)
    return local.replace(hour=16, minute=0, second=0, microsecond=0)


def known(asset: Asset | None, name: str) -> Asset:
    """Return the asset or refuse with 404."""
    if asset is None:
        not_found(f"asset {name}")
    return asset
