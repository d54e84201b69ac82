"""MACD trend with ADX filter. Idea, source, parameters: docs/strategies/macd_adx_trend.md."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from libs.common.quant.indicators import adx, adx_state, macd, macd_state
from libs.common.strategy import Strategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class MacdAdxTrend(Strategy):
    """Follow the MACD's side, entered only while the ADX says that there is a trend."""

    class Params:
        """Windows in bars."""

        fast = integer(12, low=2, high=100, meaning="window of the fast average, bars")
        slow = integer(26, low=3, high=300, meaning="window of the slow average, bars")
        signal = integer(9, low=2, high=100, meaning="window of the signal line, bars")
        window = integer(14, low=2, high=100, meaning="window of the ADX, bars")
        trend = number(20.0, low=0.0, high=60.0, meaning="enter only with an ADX above")
        short = integer(0, low=0, high=1, meaning="1: sell downtrends short as well")

    class State:
        """The two indicators and the position."""

        macd = macd_state()
        adx = adx_state()
        side = np.int64

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return ten windows of the slowest: seeds then weigh less than e^-10."""
        averages = int(params["slow"]) + int(params["signal"])
        return max(10 * averages // 2, 20 * int(params["window"]))

    @staticmethod
    def constraint(params: Chosen) -> str | None:
        """Return a complaint unless fast < slow."""
        if params["fast"] < params["slow"]:
            return None
        return f"fast ({params['fast']}) must be less than slow ({params['slow']})"

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Leave when the line crosses back; enter where line, ADX and DI agree."""
        line, signal, _ = macd(state.macd, bar.close, params.fast, params.slow, params.signal)
        strength, plus, minus = adx(state.adx, bar.high, bar.low, bar.close, params.window)
        if isnan(signal) or isnan(strength):
            return
        momentum = 1 if line > signal else -1 if line < signal else 0
        direction = 1 if plus > minus else -1 if plus < minus else 0
        if momentum != state.side:
            state.side = 0
        if (
            strength > params.trend
            and momentum == direction
            and (momentum > 0 or params.short == 1)
        ):
            state.side = momentum
        out.target = float(state.side)
