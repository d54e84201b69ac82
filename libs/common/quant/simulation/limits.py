"""The risk manager's limits in the simulation: the checks of `domain.checks`, in their order.

The market of a bar is its close, bid and ask alike. An order that only reduces passes where the
judgement lets it pass; what is pending counts in the way that hurts most, as there.
"""

from __future__ import annotations

import math
from typing import Any

from libs.common.quant import limits
from libs.common.quant.compile import compiled
from libs.common.quant.simulation.layout import (
    BUYING_POWER_EXCEEDED,
    DAILY_LOSS_ABOVE_LIMIT,
    DRAWDOWN_ABOVE_LIMIT,
    GROSS_LEVERAGE_ABOVE_LIMIT,
    NET_LEVERAGE_ABOVE_LIMIT,
    NOT_SHORTABLE,
    NOTIONAL_ABOVE_LIMIT,
    NOTIONAL_BELOW_LIMIT,
    POSITION_ABOVE_LIMIT,
    PRICE_OUTSIDE_COLLAR,
    QUANTITY_ABOVE_LIMIT,
    QUANTITY_OUTSIDE_COLLAR,
)
from libs.common.quant.simulation.orders import refuse

_worst = compiled(limits.worst_position)
_opening = compiled(limits.opening_quantity)
_reserve_price = compiled(limits.reserve_price)
_buying_power = compiled(limits.buying_power)
_share_of_equity = compiled(limits.share_of_equity)
_net_after = compiled(limits.net_after)
_beyond_market = compiled(limits.beyond_market)
_loss_allowed = compiled(limits.loss_allowed)


@compiled
def _price_to_reserve(model: Any, mark: float, side: float, limit: float) -> float:
    if side > 0.0 and not math.isnan(limit):
        return limit
    asked = 0.0 if math.isnan(limit) else limit
    return float(_reserve_price(side > 0.0, mark, 0.0, asked, 1.0 + model.market_buffer))


@compiled
def _sum_pending(model: Any, account: Any, lines: Any, streams: Any) -> float:
    """Fill every line's pending `buys` and `sells`; return the money that they set aside."""
    for s in range(account.symbols):
        lines[s].buys = 0.0
        lines[s].sells = 0.0
    held = 0.0
    for j in range(account.streams):
        order = streams[j].order
        if order.side == 0.0:
            continue
        line = lines[streams[j].symbol]
        buying = order.side > 0.0
        opening = _opening(line.position, line.buys, line.sells, buying, order.left, 0.0)
        held += opening * _price_to_reserve(model, line.mark, order.side, order.limit)
        if buying:
            line.buys += order.left
        else:
            line.sells += order.left
    return held


@compiled
def within_limits(
    refusals: Any,
    model: Any,
    account: Any,
    lines: Any,
    streams: Any,
    stream: Any,
    k: int,
    side: float,
    quantity: float,
    limit: float,
) -> bool:
    """Tell whether the order of the stream's signal k passes every limit; write down the first that
    it does not pass."""
    line = lines[stream.symbol]
    held = _sum_pending(model, account, lines, streams)
    opening = _opening(line.position, line.buys, line.sells, side > 0.0, quantity, 0.0)
    reserve = _price_to_reserve(model, line.mark, side, limit)
    code, value, cap = _order_breach(model, account, line, side, quantity, limit, reserve, opening)
    if code < 0 and opening > 0.0:
        needed = opening * reserve
        code, value, cap = _account_breach(
            model, account, lines, line, side, quantity, needed, held
        )
    if code < 0:
        return True
    refuse(refusals, account, stream, k, code, quantity, value, cap)
    return False


@compiled
def _order_breach(
    model: Any,
    account: Any,
    line: Any,
    side: float,
    quantity: float,
    limit: float,
    reserve: float,
    opening: float,
) -> tuple[int, float, float]:
    """Return code, value and limit of the first check of the order itself that fails, code -1 if
    none does."""
    notional = quantity * reserve
    if opening > 0.0:
        if quantity > model.quantity_max:
            return QUANTITY_ABOVE_LIMIT, quantity, model.quantity_max
        if notional < model.notional_min:
            return NOTIONAL_BELOW_LIMIT, notional, model.notional_min
        if notional > model.notional_max:
            return NOTIONAL_ABOVE_LIMIT, notional, model.notional_max
    if not math.isnan(limit):
        beyond = max(_beyond_market(side > 0.0, limit, line.mark, 1.0), 0.0)
        if beyond > model.price_collar:
            return PRICE_OUTSIDE_COLLAR, beyond, model.price_collar
    cap = _cap(model.order_equity_share_max, account)
    if opening > 0.0 and notional > cap:
        return QUANTITY_OUTSIDE_COLLAR, notional, cap
    return -1, 0.0, 0.0


@compiled
def _cap(share: float, account: Any) -> float:
    if share == math.inf:
        return math.inf
    return float(_share_of_equity(share, account.cash + account.long - account.short, 0.0))


@compiled
def _account_breach(
    model: Any,
    account: Any,
    lines: Any,
    line: Any,
    side: float,
    quantity: float,
    needed: float,
    held: float,
) -> tuple[int, float, float]:
    """Return code, value and limit of the first check of the account that fails, or code -1."""
    buying, mark = side > 0.0, line.mark
    equity = account.cash + account.long - account.short
    if model.buying_power_multiple != math.inf:
        invested = account.long + account.short
        power = _buying_power(model.buying_power_multiple, equity, invested, held)
        if needed > power:
            return BUYING_POWER_EXCEEDED, needed, power
    gross = high = low = 0.0
    for s in range(account.symbols):
        other = lines[s]
        gross += _worst(other.position, other.buys, other.sells) * other.mark
        high += (other.position + other.buys) * other.mark
        low += (other.position - other.sells) * other.mark
    before = _worst(line.position, line.buys, line.sells)
    buys, sells = (quantity, 0.0) if buying else (0.0, quantity)
    after = _worst(line.position, line.buys + buys, line.sells + sells)
    added = (after - before) * mark
    cap = _cap(model.position_share_max, account)
    if added > 0.0 and after * mark > cap:
        return POSITION_ABOVE_LIMIT, after * mark, cap
    cap = _cap(model.gross_leverage_max, account)
    if added > 0.0 and gross + added > cap:
        return GROSS_LEVERAGE_ABOVE_LIMIT, gross + added, cap
    net = _net_after(high, low, buying, quantity * mark)
    cap = _cap(model.net_leverage_max, account)
    if net > max(abs(high), abs(low)) and net > cap:
        return NET_LEVERAGE_ABOVE_LIMIT, net, cap
    if not buying and not (model.short_selling and line.shortable):
        return NOT_SHORTABLE, quantity, 0.0
    loss = account.day_equity - equity
    allowed = model.daily_loss_max
    if model.daily_loss_share_max != math.inf:
        allowed = min(allowed, _loss_allowed(model.daily_loss_share_max, equity, loss, 0.0))
    if loss > allowed:
        return DAILY_LOSS_ABOVE_LIMIT, loss, allowed
    drawdown = 1.0 - equity / account.peak if account.peak > 0.0 else 0.0
    if drawdown > model.drawdown_max:
        return DRAWDOWN_ABOVE_LIMIT, drawdown, model.drawdown_max
    return -1, 0.0, 0.0
