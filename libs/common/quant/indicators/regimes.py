"""Market regimes: calm or turbulent, by volatility and by a hidden Markov chain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.volatility import realised_volatility, realised_volatility_state


def volatility_regime_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `volatility_regime` for windows up to `max_window`."""
    return np.dtype(
        [
            ("short", realised_volatility_state(max_window)),
            ("long", realised_volatility_state(max_window)),
            ("turbulent", "f8"),
        ],
        align=True,
    )


@compiled
def volatility_regime(
    state: Any, close: float, short: int, long: int, enter: float, leave: float
) -> tuple[float, float]:
    """Return (regime: 0 calm, 1 turbulent; ratio of short to long volatility).

    Formula: ratio = `realised_volatility` over `short` bars / that over `long` bars. The regime
    becomes turbulent when the ratio is above `enter` and calm again when it is below `leave`; in
    between it stays. Both NaN while the long volatility is 0.
    Parameters: 2 <= short < long, leave <= enter; 20, 250, 1.5, 1.1 on days.
    Warm-up: `long + 1` bars.
    Source: that volatility clusters: B. Mandelbrot, The Variation of Certain Speculative Prices,
    Journal of Business 36 (1963), p. 418; that leaving when it is high pays: A. Moreira, T. Muir,
    Volatility-Managed Portfolios, Journal of Finance 72 (2017), pp. 1611-1644. The rule of the two
    thresholds is ours.
    Equals: the ratio of two pandas rolling deviations, and the rule in plain Python.
    Example: closes 100, 101, 99, 110 with (2, 3, 1.1, 1): returns 0.00995, -0.02000, 0.10536; short
    0.08864, long 0.06547, ratio 1.3540: (1, 1.3540).
    """
    quick = realised_volatility(state.short, close, short, 1.0)
    slow = realised_volatility(state.long, close, long, 1.0)
    ratio = quick / slow
    if math.isnan(ratio):
        return math.nan, math.nan
    if ratio > enter:
        state.turbulent = 1.0
    elif ratio < leave:
        state.turbulent = 0.0
    return state.turbulent, ratio


def markov_regime_state() -> np.dtype[np.void]:
    """Return the state of `markov_regime`."""
    return np.dtype([("wild", "f8"), ("count", "i8")], align=True)


@compiled
def markov_regime(
    state: Any,
    value: float,
    calm_mean: float,
    calm_deviation: float,
    wild_mean: float,
    wild_deviation: float,
    calm_stay: float,
    wild_stay: float,
) -> float:
    """Return the probability, given all values so far, that the hidden state is the wild one.

    Formula: two states with normal values. p = P(wild before) x wild_stay + P(calm before) x (1 -
    calm_stay), at first the chain's long-run share (1 - calm_stay) / (2 - calm_stay - wild_stay);
    then Bayes: p f_wild(value) / (p f_wild(value) + (1 - p) f_calm(value)). A forward filter: later
    values are not needed and not used.
    Parameters: means and deviations of one bar's value in each state, deviations > 0; probabilities
    in (0, 1) of staying in a state from one bar to the next. `fit_two_states` of
    `libs.common.quant.regime_fit` finds them from history.
    Warm-up: `1` bar.
    Source: J. D. Hamilton, A New Approach to the Economic Analysis of Nonstationary Time Series and
    the Business Cycle, Econometrica 57 (1989), pp. 357-384.
    Equals: hmmlearn `GaussianHMM.predict_proba`, last row of each prefix.
    Example: value 2, states (0, 1) and (0, 2), both stay with 0.5: f_wild / f_calm = e^1.5 / 2 =
    2.2408, so 2.2408 / 3.2408 = 0.6914.
    """
    if state.count == 0:
        state.count = 1
        wild = (1.0 - calm_stay) / (2.0 - calm_stay - wild_stay)
    else:
        wild = state.wild * wild_stay + (1.0 - state.wild) * (1.0 - calm_stay)
    calm_distance = (value - calm_mean) / calm_deviation
    wild_distance = (value - wild_mean) / wild_deviation
    # ln(f_calm / f_wild): one exponential instead of two that may both be 0.
    log_odds = 0.5 * (wild_distance * wild_distance - calm_distance * calm_distance)
    odds = math.exp(log_odds) * wild_deviation / calm_deviation
    state.wild = wild / (wild + (1.0 - wild) * odds)
    return float(state.wild)
