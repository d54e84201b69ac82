"""Time-series momentum. Idea, source, parameters: docs/strategies/time_series_momentum.md."""

from __future__ import annotations

from math import isnan, log, sqrt
from typing import Any

import numpy as np

from libs.common.quant.calendar import month_of
from libs.common.quant.indicators.windows import push, ring_state
from libs.common.strategy import Strategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class TimeSeriesMomentum(Strategy):
    """Long what rose over the last year, short or out of what fell, sized by its volatility."""

    class Params:
        """Windows in bars, volatilities a year."""

        lookback = integer(252, low=2, high=1000, meaning="bars over which the return counts")
        mass = integer(60, low=1, high=1000, meaning="centre of mass of the volatility, bars")
        volatility = number(0.15, low=0.01, high=2.0, meaning="volatility aimed at, a year")
        periods = integer(252, low=1, high=600_000, meaning="bars in a year")
        short = integer(1, low=0, high=1, meaning="1: sell short what fell, 0: stay out")

    class State:
        """Closes looked back on, exponential moments of the returns, the month decided in."""

        closes = ring_state(1000)
        before = np.float64
        weight = np.float64
        mean = np.float64
        square = np.float64
        month = np.int64

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return the bars that fill the lookback and five masses of the volatility."""
        return max(int(params["lookback"]) + 1, 5 * int(params["mass"]))

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Decide on the first bar of each month."""
        decay = params.mass / (1.0 + params.mass)
        if state.before > 0.0:
            change = log(bar.close / state.before)
            state.weight = decay * state.weight + (1.0 - decay)
            state.mean = decay * state.mean + (1.0 - decay) * change
            state.square = decay * state.square + (1.0 - decay) * change * change
        state.before = bar.close
        past = push(state.closes, bar.close, params.lookback)
        month = month_of(bar.ts)
        if isnan(past) or month == state.month:
            return
        state.month = month
        mean = state.mean / state.weight
        variance = max(state.square / state.weight - mean * mean, 0.0) * params.periods
        # Without movement there is nothing to scale down.
        size = min(1.0, params.volatility / sqrt(variance)) if variance > 0.0 else 1.0
        if bar.close > past:
            out.target = size
        else:
            out.target = -size * params.short if bar.close < past else 0.0
        out.rebalance = 1.0
