"""Luck or skill: how sure the figures of a run are, as far as the run itself can tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from libs.common.backtest.report.report_input import ReportInput
from libs.common.backtest.report.series import numbers
from libs.common.backtest.report.words import DASH, figure, table
from libs.common.quant.metrics import simple_returns
from libs.common.quant.validation import (
    Comparison,
    probabilistic_sharpe,
    resampled_paths,
    sharpe_difference,
    shuffled_trades,
    track_record_length,
)
from libs.common.quant.validation.sharpe import shape_of

DAYS_MIN: Final = 60
TRADES_MIN: Final = 10
_PATHS_MAX: Final = 1_000
_CELLS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sureness:
    """`above_zero`: probability that the true Sharpe ratio is above 0. `years_needed` to be 95 %
    sure of that, `years` there are. Of resampled histories: growth (5 %, 95 %) and the drawdown
    that one in twenty exceeds; the same drawdown for shuffled trades. `beside`: how much the Sharpe
    ratio (a year) is above the benchmark's. NaN or None where there is too little to tell from.
    """

    above_zero: float
    years_needed: float
    years: float
    growth_low: float
    growth_high: float
    drawdown_resampled: float
    drawdown_shuffled: float
    beside: Comparison | None
    paths: int


def sureness(run: ReportInput) -> Sureness | None:
    """Return how sure the run's figures are, None for fewer than 60 days or a curve with gaps.

    Drawn with `run.seed`: the same run gives the same figures.
    """
    returns = run.day_returns
    if len(returns) < DAYS_MIN or not np.isfinite(returns).all() or (returns <= -1.0).any():
        return None
    generator = np.random.default_rng(run.seed)
    paths = int(np.clip(_CELLS // len(returns), 100, _PATHS_MAX))
    ratio, skew, kurtosis = shape_of(returns)
    needed = track_record_length(ratio, skew=skew, kurtosis=kurtosis)
    drawn = resampled_paths(returns, paths, generator)
    low, high = np.quantile(drawn.final, [0.05, 0.95]) - 1.0
    return Sureness(
        above_zero=probabilistic_sharpe(ratio, len(returns), skew=skew, kurtosis=kurtosis),
        years_needed=needed / run.measured.periods,
        years=len(returns) / run.measured.periods,
        growth_low=float(low),
        growth_high=float(high),
        drawdown_resampled=float(np.quantile(drawn.drawdown, 0.05)),
        drawdown_shuffled=_shuffled(run, generator),
        beside=_beside(run, paths, generator),
        paths=paths,
    )


def _shuffled(run: ReportInput, generator: np.random.Generator) -> float:
    entered = np.searchsorted(run.ts, run.trades["entry_ts"], side="left") - 1
    shares = run.trades["profit"] / run.equity[np.maximum(entered, 0)]
    if len(shares) < TRADES_MIN or not np.isfinite(shares).all():
        return float("nan")
    paths = int(np.clip(_CELLS // len(shares), 100, _PATHS_MAX))
    found = shuffled_trades(shares, 1.0, paths, generator, compounded=True)
    return float(np.quantile(found.drawdown, 0.05))


def _beside(run: ReportInput, paths: int, generator: np.random.Generator) -> Comparison | None:
    if run.day_benchmark is None:
        return None
    other = simple_returns(run.day_benchmark)
    if not np.isfinite(other).all():
        return None
    return sharpe_difference(run.day_returns, other, paths, generator)


def sureness_table(sure: Sureness, periods: float) -> str:
    """Return the figures as an HTML table."""
    rows = [
        ("True Sharpe ratio above 0", f"probability {figure(sure.above_zero, 'share')}"),
        ("Years needed to be 95 % sure of it",
         f"{figure(sure.years_needed, 'ratio')}, there are {figure(sure.years, 'ratio')}"),
        ("Return, 90 % of resampled histories",
         f"{figure(sure.growth_low, 'return')} to {figure(sure.growth_high, 'return')}"),
        ("Drawdown, 1 in 20 resampled histories", figure(sure.drawdown_resampled, "return")),
        ("Drawdown, 1 in 20 orders of the trades", figure(sure.drawdown_shuffled, "return")),
    ]  # fmt: skip
    if sure.beside is not None:
        year = np.sqrt(periods)
        ends = (figure(float(end * year), "ratio") for end in (sure.beside.low, sure.beside.high))
        told = f"{figure(float(sure.beside.difference * year), 'ratio')} ({' to '.join(ends)})"
        chance = DASH if np.isnan(sure.beside.p_value) else f"{sure.beside.p_value:.3f}"
        rows.append(("Sharpe ratio above the benchmark's", f"{told}, p {chance}"))
    return table(("", ""), rows, numeric=(1,))


def sureness_json(sure: Sureness | None) -> dict[str, Any] | None:
    """Return the figures as JSON data."""
    if sure is None:
        return None
    data: dict[str, Any] = {}
    for name, value in asdict(sure).items():
        if isinstance(value, dict):
            data[name] = dict(zip(value, numbers(np.array(list(value.values()))), strict=True))
        else:
            data[name] = value if value is None else numbers(np.array([value]))[0]
    return data
