"""Trend in markets that never close. Idea, source, parameters: docs/strategies/crypto_trend.md."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from libs.common.quant.indicators import realised_volatility, realised_volatility_state
from libs.common.quant.indicators.windows import push, ring_state
from libs.common.strategy import Strategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class CryptoTrend(Strategy):
    """Long by how many of three lookbacks rose: one, two and four weeks; sized by volatility."""

    class Params:
        """Seven days a week, 365 a year."""

        day = integer(1, low=1, high=24, meaning="bars in a day")
        volatility = number(0.3, low=0.01, high=5.0, meaning="volatility aimed at, a year")
        window = integer(28, low=5, high=90, meaning="days that the volatility is taken from")

    class State:
        """Closes of the three lookbacks, returns, votes last time, bars since the last sizing."""

        week = ring_state(7 * 24)
        fortnight = ring_state(14 * 24)
        month = ring_state(28 * 24)
        returns = realised_volatility_state(90 * 24)
        votes = np.int64
        decided = np.bool_
        age = np.int64

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return the bars of four weeks, or of the window if longer, and of two weeks more: as a
        rule a vote has changed in them."""
        return int(params["day"]) * (max(28, int(params["window"])) + 14) + 1

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Size anew when a vote changes, and each week."""
        day = params.day
        week = push(state.week, bar.close, 7 * day)
        fortnight = push(state.fortnight, bar.close, 14 * day)
        month = push(state.month, bar.close, 28 * day)
        volatility = realised_volatility(state.returns, bar.close, params.window * day, 365.0 * day)
        if isnan(month) or isnan(volatility):
            return
        votes = int(bar.close > week) + int(bar.close > fortnight) + int(bar.close > month)
        state.age += 1
        if state.decided and votes == state.votes and state.age < 7 * day:
            return
        state.decided, state.votes, state.age = True, votes, 0
        size = min(1.0, params.volatility / volatility) if volatility > 0.0 else 1.0
        out.target = votes / 3.0 * size
        out.rebalance = 1.0
