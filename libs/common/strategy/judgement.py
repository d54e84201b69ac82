"""The judgement of a decision in plain Python: one compiled call takes longer than ten steps."""

from __future__ import annotations

import numpy as np

from libs.common.quant.simulation.loop import CHANGED, INVALID, PRICE_LIMIT, QUIET
from libs.common.quant.simulation.records import DECISION

Values = tuple[float, float, float, float, float, float]
"""DECISION's fields, in its order."""


def judge(stated: Values, decision: Values) -> int:
    """Return what `quant.simulation.loop.judge` says of the same records; states nothing."""
    target, confidence, rebalance = decision[0], decision[4], decision[5]
    if target != target:
        return QUIET
    if not (-1.0 <= target <= 1.0 and 0.0 <= confidence <= 1.0 and rebalance in (0.0, 1.0)):
        return INVALID
    for price in decision[1:4]:
        if not (price != price or 0.0 < price < PRICE_LIMIT):
            return INVALID
    if rebalance == 1.0 or target != stated[0]:
        return CHANGED
    for price, before in zip(decision[1:4], stated[1:4], strict=True):
        if price != before and (price == price or before == before):
            return CHANGED
    return QUIET


def record_of(values: Values) -> np.void:
    """Return the values as a record (DECISION)."""
    record: np.void = np.array([values], DECISION)[0]
    return record
