"""What a decision saw, as plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.simulation.records import BAR
from libs.common.strategy import Runner, Strategy
from services.strategy_engine.features import features_of

INNER = np.dtype([("mean", "f8"), ("ring", "f8", (4,)), ("gap", "f8")], align=True)


class Seeing(Strategy):
    """Counts bars."""

    class State:
        count = np.int64
        holding = np.bool_
        inner = INNER
        past = np.dtype(("f8", (8,)))

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        state.count += 1
        state.holding = True
        state.inner.mean = bar.close
        state.inner.gap = np.nan
        out.target = 1.0


def test_features_are_the_finite_numbers_of_the_state() -> None:
    runner = Runner(Seeing.definition, {}, "X")
    bar = np.array([(1, 2.0, 2.0, 2.0, 2.5, 1.0)], BAR)[0]
    assert runner.take({"X": bar})
    assert features_of(runner) == {"count": 1.0, "holding": 1.0, "inner.mean": 2.5}
