"""Combinatorial purged cross-validation of a search: many histories out of sample, not one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from libs.common.backtest.columns import write_parquet
from libs.common.backtest.errors import SpecError
from libs.common.backtest.run import choices_of, run_backtest
from libs.common.backtest.sweep.crews import Kind
from libs.common.backtest.sweep.journal import Journal
from libs.common.backtest.sweep.plan import Folds, Plan
from libs.common.backtest.sweep.returns import kept_returns
from libs.common.backtest.sweep.sweep import header_of, sweep
from libs.common.backtest.sweep.workshop import Trial, Workshop
from libs.common.kernel.clock import format_ns
from libs.common.quant.metrics import Metrics, compute_metrics, daily
from libs.common.quant.metrics.measure import Floats
from libs.common.quant.validation import Combination, combinatorial_folds, combinatorial_paths

CPCV: Final = "cpcv.json"
PATHS: Final = "paths.parquet"
TRAIN_MIN: Final = 20
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """One split: which groups judged, the parameters that were best on the others, their Sharpe
    ratio (a year) there and on the groups that judged."""

    tests: tuple[int, ...]
    params: dict[str, Any]
    inside: float
    outside: float


@dataclass(frozen=True)
class Paths:
    """All splits, and the histories out of sample that they make: `ts` (m,) ns of the days,
    `equity` (p, m); `metrics` of each. `days`: first and last of each group."""

    choices: tuple[Choice, ...]
    days: tuple[tuple[str, str], ...]
    ts: np.ndarray
    equity: np.ndarray
    metrics: tuple[Metrics, ...]
    trials: int
    best: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, without the curves."""
        ratios = np.array([each.sharpe for each in self.metrics])
        known = ratios[np.isfinite(ratios)]
        return {
            "trials": self.trials,
            "groups": [list(each) for each in self.days],
            "splits": msgspec.to_builtins(self.choices),
            "paths": [each.to_json() for each in self.metrics],
            "sharpe": {
                "inside_of_all": self.best["metrics"]["sharpe"],
                "deflated": self.best["deflated_sharpe"],
                "mean": float(known.mean()) if len(known) else None,
                "worst": float(known.min()) if len(known) else None,
                "best": float(known.max()) if len(known) else None,
                "below_zero": float((known < 0.0).mean()) if len(known) else None,
            },
        }


def cpcv(
    workshop: Workshop,
    plan: Plan,
    folds: Folds,
    folder: Path,
    *,
    directories: Sequence[Path],
    crew: Kind = "auto",
    workers: int | None = None,
    tell: Tell = lambda _done, _count: None,
) -> Paths:
    """Sweep once, then choose and judge on every combination of groups of days.

    Each trial runs over all bars once: a strategy looks back only, so its returns on a day are what
    they would be in any history that ends with that day. Of each combination the trial with the
    largest Sharpe ratio on the days that teach is taken (of equals the first in the order of
    parameters), and its returns on the days that judge go to their paths. The sweep is kept in the
    folder and goes on where it was. Raises SpecError for another metric or where nothing is left to
    teach, and as `sweep` does.

    Source: M. López de Prado, Advances in Financial Machine Learning (2018), ch. 12.
    """
    if plan.metric != "sharpe":
        raise SpecError(f"cpcv chooses by sharpe, not by {plan.metric}")
    plan = msgspec.structs.replace(plan, returns=True)
    summary = sweep(
        workshop, plan, folder, directories=directories, crew=crew, workers=workers,
        tell=lambda done, count, _best: tell(done, count),
    )  # fmt: skip
    with Journal(folder, header_of(workshop, plan)) as journal:
        trials, returns = kept_returns(journal.trials())
    if not trials or summary["best"] is None:
        raise SpecError(f"no trial gave a figure: {summary['first_error'] or 'none traded'}")
    stamps, periods = _days(workshop, summary["best"]["params"])
    found = _judged(trials, returns, folds, math.sqrt(periods))
    choices, paths = zip(*found, strict=True)
    lines = np.empty((combinatorial_paths(folds.groups, folds.chosen), len(returns)))
    for part in paths:
        for number, days, values in part:
            lines[number, days] = values
    equity = workshop.spec.cash * np.cumprod(np.insert(1.0 + lines, 0, 1.0, axis=1), axis=1)
    made = Paths(
        choices,
        _groups(stamps[1:], folds),
        stamps,
        equity,
        tuple(compute_metrics(stamps, curve) for curve in equity),
        len(trials),
        summary["best"],
    )
    write_parquet(
        folder / PATHS, {"ts": stamps, **{f"path_{i + 1}": e for i, e in enumerate(equity)}}
    )
    text = msgspec.json.format(msgspec.json.encode(made.to_json()), indent=2)
    (folder / CPCV).write_bytes(text + b"\n")
    return made


Part = list[tuple[int, np.ndarray, np.ndarray]]
"""Of one split: path, days, returns on them."""


def _judged(
    trials: Sequence[Trial], returns: Floats, folds: Folds, yearly: float
) -> list[tuple[Choice, Part]]:
    found = []
    for split in combinatorial_folds(
        len(returns), folds.groups, folds.chosen, folds.horizon, folds.embargo
    ):
        if len(split.train) < TRAIN_MIN:
            raise SpecError(
                f"only {len(split.train)} of {len(returns)} days are left to teach where groups "
                f"{_named(split)} judge: fewer groups, or less horizon and embargo"
            )
        inside = _ratios(returns[split.train])
        best = int(np.argmax(inside))
        judging = np.concatenate(split.tests)
        outside = float(_ratios(returns[judging, best : best + 1])[0])
        choice = Choice(
            tuple(group + 1 for group in split.groups),
            dict(trials[best].params),
            float(inside[best]) * yearly,
            outside * yearly,
        )
        part = [
            (path, days, returns[days, best])
            for path, days in zip(split.paths, split.tests, strict=True)
        ]
        found.append((choice, part))
    return found


def _ratios(returns: Floats) -> Floats:
    """Return the Sharpe ratio of one day (k,) of returns (m, k); 0 for what did not trade."""
    means, spread = returns.mean(axis=0), returns.std(axis=0, ddof=1)
    with np.errstate(all="ignore"):
        ratios: Floats = np.where(spread > 0.0, means / spread, 0.0)
    return ratios


def _named(split: Combination) -> str:
    return " and ".join(str(group + 1) for group in split.groups)


def _days(workshop: Workshop, params: dict[str, Any]) -> tuple[np.ndarray, float]:
    """Return the last time of each day, and how many of them make a year."""
    spec = workshop.spec_with(params)
    outcome = run_backtest(spec, workshop.history, choices_of(spec, workshop.registry)).outcome
    days = daily(outcome.ts, outcome.equity)
    return days.ts, compute_metrics(outcome.ts, outcome.equity).periods


def _groups(stamps: np.ndarray, folds: Folds) -> tuple[tuple[str, str], ...]:
    parts = np.array_split(stamps, folds.groups)
    return tuple((format_ns(int(p[0]))[:10], format_ns(int(p[-1]))[:10]) for p in parts)
