"""The daily returns of all trials: kept compactly, and what they say of the search."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from libs.common.backtest.decide import run_bars
from libs.common.backtest.errors import SpecError
from libs.common.backtest.sweep.plan import Plan
from libs.common.backtest.sweep.workshop import Trial, Workshop, unpacked
from libs.common.quant.metrics.days import DAY_NS
from libs.common.quant.validation import overfitting

VALUES_MAX: Final = 20_000_000
"""Trials times days that are kept at most: 80 MB, and a multiple of that while they are judged."""
BLOCKS: Final = 16
DAYS_MIN: Final = 10


def check_room(workshop: Workshop, plan: Plan) -> None:
    """Raise SpecError if the plan keeps returns, and there are more than can be judged."""
    if not plan.returns:
        return
    bars = run_bars(workshop.history, workshop.spec.start_ns).values()
    days = len(np.unique(np.concatenate([own["ts"] // DAY_NS for own in bars])))
    if plan.count * days > VALUES_MAX:
        raise SpecError(
            f"the returns of {plan.count:,} trials on {days:,} days are too many to keep: at most "
            f"{VALUES_MAX // days:,} trials"
        )


def kept_returns(trials: Iterable[Trial]) -> tuple[list[Trial], np.ndarray]:
    """Return the trials whose returns are kept, in the order of their parameters, and these (m, k),
    a column each."""
    found = sorted((trial for trial in trials if trial.returns), key=Trial.key)
    if not found:
        return [], np.empty((0, 0))
    return found, np.column_stack([unpacked(trial.returns) for trial in found])


def judged(trials: Iterable[Trial]) -> Mapping[str, Any]:
    """Return the probability that the search overfits, as JSON data, or why there is none.

    Of 16 blocks of days, fewer if a block had fewer than 10. A trial that does not trade in a half
    has the ratio 0 there. Source: Bailey et al. (2017), see `overfitting`.
    """
    found, returns = kept_returns(trials)
    blocks = min(BLOCKS, len(returns) // DAYS_MIN // 2 * 2)
    told = {"trials": len(found), "days": len(returns), "blocks": blocks}
    if len(found) < 2 or blocks < 2:
        return {**told, "probability": None, "reason": "too few trials or days"}
    verdict = overfitting(returns, blocks, idle=0.0)
    if math.isnan(verdict.probability):
        return {**told, "probability": None, "reason": "a trial has returns without any variance"}
    slope = None if math.isnan(verdict.slope) else verdict.slope
    return {**told, "probability": verdict.probability, "slope": slope, "loss": verdict.loss}
