"""Two hidden states fitted to returns: the parameters that `markov_regime` filters with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.compile import compiled

_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class TwoStates:
    """A calm and a wild state: mean and deviation of a bar's return, probability of staying.

    `log_likelihood` is that of the returns fitted to, before the last of `rounds` improvements.
    """

    calm_mean: float
    calm_deviation: float
    wild_mean: float
    wild_deviation: float
    calm_stay: float
    wild_stay: float
    log_likelihood: float
    rounds: int


def fit_two_states(
    returns: np.ndarray, rounds_max: int = 1000, tolerance: float = 1e-6
) -> TwoStates:
    """Return the two normal states under which `returns` (shape (n,), float) are most likely.

    Expectation maximisation (L. R. Rabiner, A Tutorial on Hidden Markov Models, Proceedings of the
    IEEE 77 (1989), pp. 257-286, with its scaling, sec. V.A), from states of half and of twice the
    deviation, until a round gains less than `tolerance` in log-likelihood. The state of the smaller
    deviation is the calm one. Fit on history that ends before what you test on. Raises
    InvalidInputError for fewer than 50 returns, for any that is not finite, for constant ones.
    """
    values = np.ascontiguousarray(returns, dtype=np.float64)
    if values.ndim != 1 or len(values) < 50 or not np.isfinite(values).all():
        raise InvalidInputError("a fit of two states needs 50 finite returns or more")
    spread = float(values.std())
    if spread <= _TINY:
        raise InvalidInputError("a fit of two states needs returns that move")
    means = np.full(2, values.mean())
    deviations = np.array([0.5, 2.0]) * spread
    stay = np.full(2, 0.95)
    start = np.full(2, 0.5)
    before = -np.inf
    rounds = 0
    while rounds < rounds_max:
        rounds += 1
        likelihood = float(_round(values, means, deviations, stay, start))
        gain, before = likelihood - before, likelihood
        if gain < tolerance:
            break
    calm, wild = (0, 1) if deviations[0] <= deviations[1] else (1, 0)
    return TwoStates(
        calm_mean=float(means[calm]),
        calm_deviation=float(deviations[calm]),
        wild_mean=float(means[wild]),
        wild_deviation=float(deviations[wild]),
        calm_stay=float(stay[calm]),
        wild_stay=float(stay[wild]),
        log_likelihood=before,
        rounds=rounds,
    )


@compiled
def _round(values: Any, means: Any, deviations: Any, stay: Any, start: Any) -> float:
    """Improve the parameters in place; return the log-likelihood of those that came in."""
    n = values.shape[0]
    density = np.empty((n, 2))
    forward = np.empty((n, 2))
    scale = np.empty(n)
    likelihood = 0.0
    for t in range(n):
        for s in range(2):
            distance = (values[t] - means[s]) / deviations[s]
            height = 1.0 / (deviations[s] * math.sqrt(2.0 * math.pi))
            density[t, s] = height * math.exp(-0.5 * distance * distance)
        if t == 0:
            ahead0, ahead1 = start[0], start[1]
        else:
            ahead0 = forward[t - 1, 0] * stay[0] + forward[t - 1, 1] * (1.0 - stay[1])
            ahead1 = forward[t - 1, 1] * stay[1] + forward[t - 1, 0] * (1.0 - stay[0])
        forward[t, 0] = ahead0 * density[t, 0]
        forward[t, 1] = ahead1 * density[t, 1]
        # A value beyond all densities leaves both 0: it then says nothing.
        scale[t] = max(forward[t, 0] + forward[t, 1], 1e-300)
        forward[t, 0] /= scale[t]
        forward[t, 1] /= scale[t]
        likelihood += math.log(scale[t])
    backward0 = backward1 = 1.0
    weight = np.zeros(2)
    total = np.zeros(2)
    squares = np.zeros(2)
    stayed = np.zeros(2)
    left = np.zeros(2)
    for t in range(n - 1, -1, -1):
        share0 = forward[t, 0] * backward0
        share1 = forward[t, 1] * backward1
        for s in range(2):
            share = share1 if s else share0
            distance = values[t] - means[s]
            weight[s] += share
            total[s] += share * distance
            squares[s] += share * distance * distance
        if t == 0:
            start[0] = share0 / (share0 + share1)
            start[1] = 1.0 - start[0]
            break
        came0 = density[t, 0] * backward0 / scale[t]
        came1 = density[t, 1] * backward1 / scale[t]
        stayed[0] += forward[t - 1, 0] * stay[0] * came0
        stayed[1] += forward[t - 1, 1] * stay[1] * came1
        left[0] += forward[t - 1, 0] * (1.0 - stay[0]) * came1
        left[1] += forward[t - 1, 1] * (1.0 - stay[1]) * came0
        backward0 = stay[0] * came0 + (1.0 - stay[0]) * came1
        backward1 = stay[1] * came1 + (1.0 - stay[1]) * came0
    for s in range(2):
        shift = total[s] / weight[s]
        means[s] += shift
        deviations[s] = math.sqrt(max(squares[s] / weight[s] - shift * shift, 1e-24))
        stay[s] = stayed[s] / (stayed[s] + left[s])
    return likelihood
