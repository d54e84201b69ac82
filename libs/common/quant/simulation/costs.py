"""What a fill costs beyond its clean price: slippage, commission, taxes."""

from __future__ import annotations

import math
from typing import Any, Final

from libs.common.quant.compile import compiled, compiled_step
from libs.common.quant.simulation.models import SlippageMethod

BPS: Final = list(SlippageMethod).index(SlippageMethod.BPS)
SPREAD: Final = list(SlippageMethod).index(SlippageMethod.SPREAD)
IMPACT: Final = list(SlippageMethod).index(SlippageMethod.IMPACT)


@compiled
def slippage(model: Any, line: Any, quantity: float, price: float) -> float:
    """Return what one share costs beyond `price`, never below 0.

    Impact: Y sigma sqrt(Q / V), B. Toth et al., Anomalous price impact and the critical nature of
    liquidity in financial markets, Physical Review X 1 (2011) 021006, eq. 1; sigma and V are the
    deviation of returns and the mean volume a bar, of the bars before this one. Where these are too
    few, no impact is known and none is charged.
    """
    if model.slippage == BPS:
        return float(price * model.slippage_figure * 1e-4)
    if model.slippage == SPREAD:
        spread = model.spread * price if math.isnan(line.spread) else line.spread
        return float(model.slippage_figure * spread)
    if model.slippage == IMPACT and line.sigma >= 0.0 and line.volume > 0.0:
        share = math.sqrt(quantity / line.volume)
        return float(model.slippage_figure * line.sigma * share * price)
    return 0.0


@compiled_step
def percent_rate(model: Any, traded: float, maker: bool) -> float:
    """Return the share of money that a fill pays: the maker's, the tier's (after `traded` of money
    so far), or the taker's."""
    if maker and not math.isnan(model.maker):
        return float(model.maker)
    rate = float(model.taker)
    for k in range(model.tiers):
        if traded >= model.tier_start[k]:
            rate = float(model.tier_rate[k])
    return rate


@compiled_step
def commission(model: Any, order: Any, rate: float, quantity: float, price: float) -> float:
    """Return what the broker takes for `quantity` more of `order`: least and greatest amounts hold
    for the order as a whole, so a part pays the difference. 0.005 a share, at least 1: the first
    100 shares cost 1.00, the next 150 cost 0.25."""
    notional = order.notional + quantity * price
    due = model.per_order + model.per_share * (order.shares + quantity)
    due += order.percent + rate * quantity * price
    if model.minimum > 0.0:
        due = max(due, model.minimum)
    return float(min(due, model.maximum_share * notional) - order.charged)


@compiled_step
def taxes(model: Any, side: float, quantity: float, price: float) -> float:
    """Return the taxes and fees on money bought or sold."""
    if side > 0.0:
        return float(model.tax_buy * quantity * price)
    return float(model.tax_sell * quantity * price + model.fee_sold * quantity)
