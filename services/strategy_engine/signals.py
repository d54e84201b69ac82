"""From a changed decision to the Signal that the others read."""

from __future__ import annotations

import math
from decimal import Decimal

from libs.common.contracts.messages import Signal
from libs.common.kernel.clock import from_ns
from libs.common.kernel.ids import SignalId, derived_id
from libs.common.kernel.money import PRICE_QUANTUM, from_float
from services.strategy_engine.streams import Emission


def signal_id_of(strategy_id: str, symbol: str, bar_ts: int) -> SignalId:
    """Return the id of the one signal that a strategy can give on a bar.

    Derived, so that a bar stepped over again after a crash gives the same signal.
    """
    return SignalId(derived_id("signal", strategy_id, symbol, str(bar_ts)))


def price(value: float) -> Decimal | None:
    """Return a decided price with 8 places, half even; None for NaN."""
    return None if math.isnan(value) else from_float(value).quantize(PRICE_QUANTUM)


def signal_of(emission: Emission) -> Signal:
    """Return the signal of a changed decision."""
    configuration = emission.configuration
    decision = emission.decision
    bar_ts = emission.arrival.ts
    close = float(emission.arrival.bar["close"])
    return Signal(
        signal_id=signal_id_of(configuration.id, emission.symbol, bar_ts),
        strategy_id=configuration.id,
        symbol=emission.symbol,
        timeframe=configuration.timeframe.value,
        bar_ts=from_ns(bar_ts),
        ts_event=from_ns(bar_ts + configuration.span_ns),
        target=decision["target"],
        confidence=decision["confidence"],
        reference_price=from_float(close).quantize(PRICE_QUANTUM),
        mode=configuration.mode,
        stop=price(decision["stop"]),
        take_profit=price(decision["take_profit"]),
        limit=price(decision["limit"]),
        features=emission.features,
    )
