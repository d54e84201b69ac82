"""Why an order or a fill is not what the kernel made of the same signal, told by what is recorded.

The first cause that applies is told: what nobody let happen before what happened otherwise.
"""

from __future__ import annotations

from typing import Final

from libs.common.backtest.parity.session import LiveSignal

HALTED: Final = "TRADING_STATE"
PRICE_SAME: Final = 1e-9
SHARES_SAME: Final = 1e-9
_ENDED: Final = frozenset({"rejected", "canceled", "expired"})


def order_cause(live: LiveSignal, replay: float, apart: float) -> str:
    """Return why the live order is not for `replay` signed shares.

    `apart`: how many more shares live held before it than the kernel.
    """
    if live.code:
        return "halted" if live.code == HALTED else f"limits: {live.code}"
    if live.judged != live.judged:
        return "latency"  # never judged: too old, or on its way as the session ended
    if abs(live.ordered - replay) < 1.0 - SHARES_SAME:
        return "rounding"  # less than the kernel's smallest step, a share
    if abs(apart + live.ordered - replay) <= SHARES_SAME:
        return "position"  # both wished the same position and held another: an earlier difference
    if abs(live.judged - live.reference) > PRICE_SAME:
        return "latency"  # sized at a price that had moved since the bar closed
    return "equity"  # the same price, another equity behind it


def missing_cause(live: LiveSignal) -> str:
    """Return why a live order was not filled at all where the kernel filled it."""
    return f"broker: {live.status}" if live.status in _ENDED else "unfilled"


def fill_cause(live: LiveSignal, ended_ns: int, more_bps: float) -> str:
    """Return why the execution is not the kernel's.

    `ended_ns`: when the bar of the kernel's first fill was over; `more_bps`: how much more live
    paid, in basis points.
    """
    if abs(live.filled) < abs(live.ordered) - SHARES_SAME:
        return "partial fill"
    if live.filled_at >= ended_ns:
        return "latency"
    return "price improvement" if more_bps < 0.0 else "fill model"
