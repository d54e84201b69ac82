"""A pair with a Kalman hedge ratio. Idea, source and parameters: docs/strategies/pairs.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.indicators import kalman_hedge, kalman_hedge_state
from libs.common.strategy import CrossStrategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class Pairs(CrossStrategy):
    """Against the spread of two symbols when it is far out, out of it when it is back."""

    universe_min = 2
    universe_max = 2

    class Params:
        """Thresholds in standard deviations of the forecast error."""

        entry = number(1.0, low=0.1, high=10.0, meaning="enter beyond so many deviations")
        exit = number(0.0, low=-5.0, high=5.0, meaning="leave within so many deviations")
        drift = number(0.0001, low=1e-9, high=0.5, meaning="how fast the hedge ratio may move")
        noise = number(0.001, low=1e-12, high=1e9, meaning="variance of the forecast error")
        learn = integer(60, low=1, high=5000, meaning="bars to learn on before the first entry")

    class State:
        """The filter, the bars seen by it, and which way we are in: 1 long the first symbol."""

        hedge = kalman_hedge_state()
        seen = np.int64
        side = np.int64

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return the bars to learn on."""
        return int(params["learn"])

    @staticmethod
    def constraint(params: Chosen) -> str | None:
        """Return a complaint unless exit < entry."""
        if params["exit"] < params["entry"]:
            return None
        return f"exit ({params['exit']}) must be less than entry ({params['entry']})"

    @staticmethod
    def step(state: Any, bars: Any, params: Any, out: Any) -> None:
        """Compare the first symbol with what the second one, hedged, says it should cost."""
        y, x = bars[0], bars[1]
        if y.ts != x.ts:
            return
        ratio, _, error, deviation = kalman_hedge(
            state.hedge, x.close, y.close, params.drift, params.noise
        )
        state.seen += 1
        if state.seen <= params.learn:
            return
        score = error / deviation
        if state.side == 0:
            if abs(score) <= params.entry:
                out[0].target = 0.0
                out[1].target = 0.0
                return
            state.side = -1 if score > 0.0 else 1
            # One share of the first against `ratio` shares of the second, all of the capital.
            hedged = ratio * x.close / y.close
            gross = 1.0 + abs(hedged)
            out[0].target = state.side / gross
            out[1].target = -state.side * hedged / gross
        elif -score * state.side <= params.exit:
            state.side = 0
            out[0].target = 0.0
            out[1].target = 0.0
