"""A sweep from its plan to its summary."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from libs.common.backtest.errors import SpecError
from libs.common.backtest.run import choices_of, run_backtest
from libs.common.backtest.sweep.crews import Crew, Kind, crew_of, kind_of
from libs.common.backtest.sweep.heat_map import HeatMap, heat_map, heat_map_page
from libs.common.backtest.sweep.journal import Journal
from libs.common.backtest.sweep.plan import Plan
from libs.common.backtest.sweep.returns import check_room, judged
from libs.common.backtest.sweep.search import Searcher
from libs.common.backtest.sweep.space import drawn, grid
from libs.common.backtest.sweep.workshop import Trial, Workshop, key_of
from libs.common.quant.metrics import CATALOGUE, daily, simple_returns
from libs.common.quant.validation import deflated_sharpe
from libs.common.strategy.parameters import Value

SUMMARY: Final = "sweep.json"
HEAT_MAP: Final = "heat_map.html"
BATCH: Final = 16
ROUND: Final = 8
"""Points that Optuna is asked for at once: the same for one core and a hundred, so that the same
seed gives the same trials."""
Tell = Callable[[int, int, Trial | None], None]
"""Hears of progress: trials done, of how many, the best so far."""


def sweep(
    workshop: Workshop,
    plan: Plan,
    folder: Path,
    *,
    directories: Sequence[Path],
    crew: Kind = "auto",
    workers: int | None = None,
    tell: Tell = lambda _done, _count, _best: None,
) -> dict[str, Any]:
    """Run all trials of the plan that the folder does not hold yet; return the summary.

    Trials are kept in the folder as they come. Cut short and called again with the same spec, data,
    code and plan, it goes on where it was; the result is the same. Raises SpecError for a metric
    or parameter that does not exist or more returns than can be kept, DataError if the folder
    belongs to another sweep.
    """
    check_plan(workshop, plan)
    check_room(workshop, plan)
    workshop = workshop.telling_returns(plan.returns)
    with Journal(folder, header_of(workshop, plan)) as journal:
        done = sum(1 for _ in journal.trials())
        if plan.method == "optuna":
            # A round that was cut short is asked for again, whole.
            done -= done % ROUND if done < plan.count else 0
            journal.keep(done)
        known = {trial.key() for trial in journal.trials()}
        best = best_of(journal.trials(), plan.metric)
        tell(done, plan.count, best)
        with crew_of(crew, workshop, directories, workers) as hands:
            for trials in _rounds(hands, plan, known, journal):
                journal.add(trials)
                done += len(trials)
                best = best_of(itertools.chain([best] if best else [], trials), plan.metric)
                tell(done, plan.count, best)
        summary = summary_of(workshop, plan, journal, best, kind_of(crew, workshop))
    (folder / SUMMARY).write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2))
    return summary


def write_heat_map(
    workshop: Workshop, plan: Plan, folder: Path, summary: Mapping[str, Any]
) -> HeatMap | None:
    """Write the heat map of a kept sweep as a page, with its doubts; return it, None if fewer than
    two parameters vary."""
    with Journal(folder, header_of(workshop, plan)) as journal:
        found = heat_map(plan, journal.trials())
    if found is not None:
        facts = {"data": workshop.history.source, **doubts_of(summary)}
        title = f"{workshop.spec.strategies[0].title}: {plan.metric}"
        (folder / HEAT_MAP).write_text(heat_map_page(found, title, facts), "utf-8")
    return found


def doubts_of(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return what speaks against the best of a sweep, as words and figures."""
    told = {"trials": f"{summary['trials']:,}"}
    best, search = summary["best"], summary["overfitting"]
    if best is not None and best["deflated_sharpe"] is not None:
        name = f"deflated Sharpe ratio of the best of {best['of_trials']:,}"
        told[name] = f"{best['deflated_sharpe']:.1%}"
    if search is not None and search["probability"] is not None:
        told["probability of overfitting"] = f"{search['probability']:.1%}"
    return told


def check_plan(workshop: Workshop, plan: Plan) -> None:
    """Raise SpecError, naming near words, for a metric or parameter that does not exist."""
    names = {entry.name for entry in CATALOGUE}
    if plan.metric not in names:
        raise SpecError(f"metric {plan.metric!r} is none of {', '.join(sorted(names))}")
    first = {axis.name: axis.values[0] for axis in plan.axes}
    workshop.spec_with(first)
    complaint = workshop.check(first)
    if "unknown parameter" in complaint:
        raise SpecError(complaint)


def header_of(workshop: Workshop, plan: Plan) -> dict[str, Any]:
    """Return what makes a sweep what it is."""
    names = {choice.class_name for choice in workshop.spec.strategies}
    code = {name: workshop.registry.get(name).version_hash for name in sorted(names)}
    return {
        "spec": workshop.spec.to_json(),
        "plan": plan.to_json(),
        "data": workshop.history.fingerprint,
        "code": code,
    }


def _rounds(hands: Crew, plan: Plan, known: set[str], journal: Journal) -> Iterator[list[Trial]]:
    if plan.method != "optuna":
        points = grid(plan.axes) if plan.method == "grid" else drawn(plan)
        left = (each for each in points if key_of(each) not in known)
        yield from hands(_batches(left, BATCH))
        return
    searcher = Searcher(plan)
    searcher.learn(list(journal.trials()))
    while searcher.left > 0:
        asked = searcher.ask(min(ROUND, searcher.left))
        new = [trial for batch in hands(_batches(iter(asked), 1)) for trial in batch]
        searcher.tell(new)
        yield new


def _batches(
    points: Iterable[Mapping[str, Value]], size: int
) -> Iterator[list[Mapping[str, Value]]]:
    iterator = iter(points)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def best_of(trials: Iterable[Trial], metric: str) -> Trial | None:
    """Return the trial with the largest metric; of equals the first in the order of parameters."""
    best: Trial | None = None
    for trial in trials:
        figure = trial.figure(metric)
        if figure == -math.inf:
            continue
        if best is None or (-figure, trial.key()) < (-best.figure(metric), best.key()):
            best = trial
    return best


def summary_of(
    workshop: Workshop, plan: Plan, journal: Journal, best: Trial | None, crew: str
) -> dict[str, Any]:
    """Return what came of all trials; of the best one with the doubt that is due to choosing it."""
    tried = skipped = failed = 0
    first_error = ""
    ratios = []
    for trial in journal.trials():
        tried += 1
        skipped += trial.skipped
        if trial.error and not trial.skipped:
            failed += 1
            first_error = first_error or f"{trial.key()}: {trial.error}"
        sharpe, periods = trial.metrics.get("sharpe"), trial.metrics.get("periods")
        if sharpe is not None and periods:
            ratios.append(sharpe / math.sqrt(periods))
    return {
        **header_of(workshop, plan),
        "crew": crew,
        "trials": tried,
        "skipped": skipped,
        "failed": failed,
        "first_error": first_error,
        "best": None if best is None else _told(workshop, best, np.array(ratios)),
        "overfitting": judged(journal.trials()) if plan.returns else None,
    }


def _told(workshop: Workshop, best: Trial, ratios: np.ndarray) -> dict[str, Any]:
    spec = workshop.spec_with(best.params)
    result = run_backtest(spec, workshop.history, choices_of(spec, workshop.registry))
    returns = simple_returns(daily(result.outcome.ts, result.outcome.equity).equity)
    doubt = deflated_sharpe(returns, ratios) if len(ratios) > 1 else math.nan
    return {
        "params": dict(best.params),
        "metrics": dict(best.metrics),
        "equity_last": best.equity_last,
        "deflated_sharpe": None if math.isnan(doubt) else doubt,
        "of_trials": len(ratios),
    }
