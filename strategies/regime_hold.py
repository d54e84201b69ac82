"""Hold while the market is calm. Idea, source, parameters: docs/strategies/regime_hold.md."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from libs.common.quant.indicators import markov_regime, markov_regime_state
from libs.common.strategy import Strategy, number
from libs.common.strategy.definition import Params as Chosen


class RegimeHold(Strategy):
    """Long while a hidden Markov chain says calm, flat while it says turbulent."""

    class Params:
        """Log returns of one bar in each state, and how likely the states last."""

        calm_mean = number(0.0009, low=-0.1, high=0.1, meaning="mean return of a calm bar")
        calm_deviation = number(0.0086, low=1e-6, high=1.0, meaning="its standard deviation")
        wild_mean = number(-0.0008, low=-0.1, high=0.1, meaning="mean return of a turbulent bar")
        wild_deviation = number(0.0212, low=1e-6, high=1.0, meaning="its standard deviation")
        calm_stay = number(0.988, low=0.01, high=0.9999, meaning="chance that calm lasts a bar")
        wild_stay = number(0.957, low=0.01, high=0.9999, meaning="chance that turbulence lasts")
        leave = number(0.6, low=0.0, high=1.0, meaning="sell above this chance of turbulence")
        enter = number(0.4, low=0.0, high=1.0, meaning="buy below this chance of turbulence")

    class State:
        """The filter, the close before, and whether we are in."""

        regime = markov_regime_state()
        close = np.float64
        holding = np.bool_

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return a year of days: the chance forgets its start within weeks."""
        return 250

    @staticmethod
    def constraint(params: Chosen) -> str | None:
        """Return a complaint unless the states and the two thresholds are in order."""
        if params["calm_deviation"] >= params["wild_deviation"]:
            return "calm_deviation must be less than wild_deviation"
        return None if params["enter"] <= params["leave"] else "enter must not be above leave"

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Filter the newest return; in between the thresholds stay as we are."""
        before = state.close
        state.close = bar.close
        if before == 0.0:
            return
        wild = markov_regime(
            state.regime,
            log(bar.close / before),
            params.calm_mean,
            params.calm_deviation,
            params.wild_mean,
            params.wild_deviation,
            params.calm_stay,
            params.wild_stay,
        )
        if wild > params.leave:
            state.holding = False
        elif wild < params.enter:
            state.holding = True
        out.target = 1.0 if state.holding else 0.0
