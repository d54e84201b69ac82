"""A strategy that breaks one rule, chosen by its parameter, on its hundredth bar."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.strategy import Strategy, integer


class Unruly(Strategy):
    """Long, until the hundredth bar: then 1 hangs, 2 raises, 3 eats memory, 4 wants too much."""

    class Params:
        """What to do."""

        mode = integer(0, low=0, high=4)

    class State:
        """Bars seen."""

        seen = np.int64

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Break the rule."""
        state.seen += 1
        out.target = 1.0
        if state.seen < 100:
            return
        if params.mode == 1:
            while state.seen > 0:
                state.seen = 100
        elif params.mode == 2:
            raise ValueError("the hundredth bar is too much")
        elif params.mode == 3:
            out.stop = np.ones(400_000_000).sum()
        elif params.mode == 4:
            out.target = 7.0
