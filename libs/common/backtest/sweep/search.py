"""Optuna as a searcher: asked for points, told what came of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from libs.common.backtest.sweep.plan import Plan
from libs.common.backtest.sweep.workshop import Trial
from libs.common.strategy.parameters import Value

WORST = -1e9
"""What Optuna is told of a trial that gave no figure: never the best, but a number."""


class Searcher:
    """A tree-structured Parzen estimator over the plan's grid, seeded.

    Source: Bergstra, Bardenet, Bengio & Kégl, Algorithms for Hyper-Parameter Optimization (2011).
    """

    def __init__(self, plan: Plan) -> None:
        import optuna  # a second to import; a grid needs none of it

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._plan = plan
        self._spaces = {
            axis.name: optuna.distributions.CategoricalDistribution(tuple(axis.values))
            if not _even(axis.values)
            else _stepped(optuna, axis.values)
            for axis in plan.axes
        }
        self._study = self._new_study(0)
        self._asked: list[Any] = []
        self._done = 0

    @property
    def left(self) -> int:
        """Return how many trials are still to be made."""
        return self._plan.count - self._done

    def learn(self, trials: Sequence[Trial]) -> None:
        """Take over the trials of an earlier run."""
        for trial in trials:
            self._study.add_trial(
                self._optuna.trial.create_trial(
                    params=dict(trial.params),
                    distributions=self._spaces,
                    value=self._figure(trial),
                )
            )
        self._done = len(trials)
        # The sampler's draws begin anew at each round, so that a sweep cut short goes on alike.

    def ask(self, count: int) -> list[dict[str, Value]]:
        """Return the next points."""
        self._study.sampler = self._sampler(self._done)
        self._asked = [self._study.ask(self._spaces) for _ in range(count)]
        return [dict(trial.params) for trial in self._asked]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn what came of the points that were asked for last, in their order."""
        for asked, trial in zip(self._asked, trials, strict=True):
            self._study.tell(asked, self._figure(trial))
        self._done += len(trials)

    def _figure(self, trial: Trial) -> float:
        figure = trial.figure(self._plan.metric)
        return figure if math.isfinite(figure) else WORST

    def _new_study(self, done: int) -> Any:
        return self._optuna.create_study(direction="maximize", sampler=self._sampler(done))

    def _sampler(self, done: int) -> Any:
        # Seeded by where it stands: nothing else has to be kept to go on.
        return self._optuna.samplers.TPESampler(seed=(self._plan.seed + done) % 2**31)


def _even(values: Sequence[Value]) -> bool:
    whole = all(isinstance(value, int) for value in values)
    steps = {b - a for a, b in itertools.pairwise(values)}
    return whole and len(steps) == 1 and steps.pop() > 0


def _stepped(optuna: Any, values: Sequence[Value]) -> Any:
    step = int(values[1] - values[0])
    return optuna.distributions.IntDistribution(int(values[0]), int(values[-1]), step=step)
