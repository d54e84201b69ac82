"""Checks of the account after the order: buying power, positions, exposure, losses.

An order that does not widen what it is measured by passes, however far the limit is broken.
"""

from decimal import Decimal
from typing import Final

from libs.common.domain.checks.inputs import Case
from libs.common.domain.checks.results import (
    NO_LIMIT,
    NO_PRICE,
    NOT_INCREASED,
    REDUCING,
    Check,
    at_most,
    unknown,
)
from libs.common.domain.instruments import UNKNOWN_SECTOR
from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import ZERO, money
from libs.common.quant import limits


def positions_priced(case: Case) -> Check:
    """Every position has a price, so that the account's figures below are true."""
    complete = case.totals.complete
    note = REDUCING if case.reducing and not complete else ""
    return Check("POSITION_UNPRICED", complete or case.reducing, "yes" if complete else "no",
                 "all priced", note)  # fmt: skip


def buying_power(case: Case) -> Check:
    """What the order sets aside fits into what is neither invested nor set aside.

    Buying power = multiple x equity - sum of |position values| - set aside by pending orders.
    """
    totals = case.totals
    power = money(
        limits.buying_power(
            case.limits.buying_power_multiple, totals.equity, totals.positions_value, totals.held
        )
    )
    if case.opening == 0 or case.improves:
        return Check("BUYING_POWER_EXCEEDED", True, ZERO, power, NOT_INCREASED)
    if case.reserve_price is None:
        return unknown("BUYING_POWER_EXCEEDED", NO_PRICE, power)
    return at_most("BUYING_POWER_EXCEEDED", money(case.opening * case.reserve_price), power)


def position_limit(case: Case) -> Check:
    """The largest position that pending orders and this one can make, against equity."""
    code, share = "POSITION_ABOVE_LIMIT", case.limits.position_share_max
    if case.mark is None or case.added is None:
        return unknown(code, NO_PRICE)
    return _share(code, case.after.worst * case.mark.price, case.added, share, case.totals.equity)


def sector_limit(case: Case) -> Check:
    """The sum of the largest positions of the instrument's sector, against equity."""
    code, share = "SECTOR_ABOVE_LIMIT", case.limits.sector_share_max
    if case.instrument is None or case.instrument.sector == UNKNOWN_SECTOR:
        return unknown(code, "sector unknown")
    if case.added is None:
        return unknown(code, NO_PRICE)
    return _share(code, case.totals.sector + case.added, case.added, share, case.totals.equity)


def gross_leverage(case: Case) -> Check:
    """The sum of the largest positions of all symbols, against equity."""
    code, share = "GROSS_LEVERAGE_ABOVE_LIMIT", case.limits.gross_leverage_max
    if case.added is None:
        return unknown(code, NO_PRICE)
    return _share(code, case.totals.gross + case.added, case.added, share, case.totals.equity)


def net_leverage(case: Case) -> Check:
    """The largest net value, long or short, that pending orders and this one can make."""
    code, share = "NET_LEVERAGE_ABOVE_LIMIT", case.limits.net_leverage_max
    if case.mark is None:
        return unknown(code, NO_PRICE)
    value = case.order.quantity * case.mark.price
    high, low = case.totals.net_high, case.totals.net_low
    before = max(abs(high), abs(low))
    after = limits.net_after(high, low, case.order.side is Side.BUY, value)
    added = ZERO if case.improves else after - before
    return _share(code, after, added, share, case.totals.equity)


def shortable(case: Case) -> Check:
    """A sale beyond what is held needs an instrument that can be borrowed, and our leave."""
    code = "NOT_SHORTABLE"
    if case.order.side is Side.BUY or case.opening == 0 or case.improves:
        return Check(code, True, "no short sale", "shortable")
    if case.instrument is None:
        return unknown(code, "instrument unknown")
    if not case.limits.short_selling:
        return Check(code, False, "short_selling", "1", "short selling is switched off")
    able = case.instrument.shortable
    return Check(code, able, "shortable" if able else "not shortable", "shortable")


def daily_loss(case: Case) -> Check:
    """Equity has not fallen since the session's start by the amount or the share allowed."""
    code, totals, of = "DAILY_LOSS_ABOVE_LIMIT", case.totals, case.limits
    if totals.loss_today is None:
        return unknown(code, "the session's opening equity is not known")
    caps = [of.daily_loss_max] if of.daily_loss_max is not None else []
    if of.daily_loss_share_max is not None:
        share = of.daily_loss_share_max
        caps.append(money(limits.loss_allowed(share, totals.equity, totals.loss_today, ZERO)))
    exempt = REDUCING if case.reducing else ""
    return at_most(code, totals.loss_today, min(caps, default=None), exempt=exempt)


def drawdown(case: Case) -> Check:
    """Equity has not fallen from its highest value by more than the share allowed."""
    code, totals = "DRAWDOWN_ABOVE_LIMIT", case.totals
    if totals.drawdown is None:
        return unknown(code, "the highest equity is not known")
    exempt = REDUCING if case.reducing else ""
    return at_most(code, round(totals.drawdown, 6), case.limits.drawdown_max, exempt=exempt)


def _share(
    code: str, value: Decimal, added: Decimal, share: Decimal | None, equity: Decimal
) -> Check:
    if share is None:
        return Check(code, None, money(value), None, NO_LIMIT)
    exempt = NOT_INCREASED if added <= 0 else ""
    return at_most(
        code, money(value), money(limits.share_of_equity(share, equity, ZERO)), exempt=exempt
    )


CHECKS: Final = (
    positions_priced,
    buying_power,
    position_limit,
    sector_limit,
    gross_leverage,
    net_leverage,
    shortable,
    daily_loss,
    drawdown,
)
