"""Sweeps: what is tried, by whom, what is kept, and that it comes to the same bits."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from libs.common.backtest.cpcv import cpcv
from libs.common.backtest.errors import DataError, SpecError
from libs.common.backtest.run import choices_of, read_history, reader_of, run_backtest
from libs.common.backtest.shelf import load_named
from libs.common.backtest.spec import spec_of
from libs.common.backtest.sweep.heat_map import heat_map, heat_map_page
from libs.common.backtest.sweep.journal import JOURNAL, Journal
from libs.common.backtest.sweep.plan import Folds, Plan, Steps, plan_of
from libs.common.backtest.sweep.returns import kept_returns
from libs.common.backtest.sweep.space import axis_of, drawn, grid
from libs.common.backtest.sweep.sweep import header_of, sweep
from libs.common.backtest.sweep.workshop import Trial, Workshop
from libs.common.backtest.walk import walk
from libs.common.quant.metrics import daily, simple_returns
from libs.common.quant.validation import combinatorial_folds, overfitting

BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
AXES = (axis_of("fast=5:15:5"), axis_of("slow=10,20"))


@pytest.fixture(scope="module")
def workshop() -> Workshop:
    choice = {"class_name": "sma_cross", "symbols": ["KO", "PEP"]}
    spec = spec_of({"strategies": [choice], "start": "2015-01-01"})
    registry = load_named(["sma_cross"], [BUILT_IN])
    return Workshop(spec, read_history(spec, (), reader_of(spec)), registry)


def plan(**changes: Any) -> Plan:
    return plan_of({"axes": AXES, **changes})


def swept(workshop: Workshop, chosen: Plan, folder: Path, **more: Any) -> list[dict[str, Any]]:
    """Run a sweep; return the lines of its journal, sorted."""
    sweep(workshop, chosen, folder, directories=[BUILT_IN], **more)
    lines = (folder / JOURNAL).read_text().splitlines()[1:]
    return sorted((json.loads(line) for line in lines), key=lambda line: str(line["params"]))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fast=5:20:5", (5, 10, 15, 20)),
        ("fast=5:19:5", (5, 10, 15)),
        ("x=0.1:0.5:0.1", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("x=1,2.5,10", (1, 2.5, 10)),
        ("x=-3", (-3,)),
    ],
)
def test_axes_are_read_from_text(text: str, values: tuple[float, ...]) -> None:
    assert axis_of(text).values == values


@pytest.mark.parametrize(
    "text", ["fast", "=3", "fast=", "fast=a", "fast=5:1:1", "fast=1:5:0", "fast=1:2", "fast=1,1",
             "fast=nan", "fast=0:1e9:1"],
)  # fmt: skip
def test_axes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"write NAME=|goes up|twice|at most"):
        axis_of(text)


def test_a_grid_is_every_point_once_and_random_points_are_of_it() -> None:
    points = list(grid(AXES))
    assert points[:3] == [
        {"fast": 5, "slow": 10}, {"fast": 5, "slow": 20}, {"fast": 10, "slow": 10},
    ]  # fmt: skip
    assert len(points) == 6
    some = list(drawn(plan(method="random", trials=4)))
    assert some == list(drawn(plan(method="random", trials=4)))
    assert len(some) == 4
    assert all(point in points for point in some)
    every = list(drawn(plan(method="random", trials=99)))
    assert sorted(map(str, every)) == sorted(map(str, points))


def test_a_trial_is_the_backtest_with_its_parameters(workshop: Workshop, tmp_path: Path) -> None:
    summary = sweep(workshop, plan(), tmp_path, directories=[BUILT_IN])
    # fast=10 and slow=10, fast=15 and slow=10 are not allowed together.
    assert (summary["trials"], summary["skipped"], summary["failed"]) == (6, 2, 0)
    with Journal(tmp_path, header_of(workshop, plan())) as journal:
        trials = list(journal.trials())
    best = max(trial.figure("sharpe") for trial in trials)
    assert summary["best"]["metrics"]["sharpe"] == best
    again = workshop.trial(summary["best"]["params"])
    assert again.metrics["sharpe"] == best
    assert json.loads((tmp_path / "sweep.json").read_text())["best"] == summary["best"]


def test_the_weights_of_a_fusion_are_swept(tmp_path: Path) -> None:
    params = {"sma_cross.weight": 1, "rsi_reversion.weight": 1, "trips_min": 2}
    choice = {"class_name": "fusion", "symbols": ["KO"], "params": params}
    spec = spec_of({"strategies": [choice], "start": "2019-01-01"})
    registry = load_named(["fusion"], [BUILT_IN])
    shop = Workshop(spec, read_history(spec, (), reader_of(spec)), registry)
    axes = (axis_of("sma_cross.weight=0.5,4"), axis_of("conflict=0,2"))
    summary = sweep(shop, plan(axes=axes), tmp_path, directories=[BUILT_IN], crew="threads")
    assert (summary["trials"], summary["skipped"], summary["failed"]) == (4, 0, 0)
    swept_params = shop.spec_with({"sma_cross.weight": 4}).strategies[0].params
    assert swept_params == {**params, "sma_cross.weight": 4}
    with Journal(tmp_path, header_of(shop, plan(axes=axes))) as journal:
        last = {trial.equity_last for trial in journal.trials()}
    assert len(last) > 1  # the weights do matter


def test_a_sweep_cut_short_goes_on_and_comes_to_the_same(
    workshop: Workshop, tmp_path: Path
) -> None:
    whole = swept(workshop, plan(), tmp_path / "whole")
    path = tmp_path / "whole" / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / JOURNAL).write_bytes(b"".join(lines[:4]) + lines[4][:20])
    told: list[int] = []
    assert (
        swept(
            workshop, plan(), tmp_path / "cut", tell=lambda done, _count, _best: told.append(done)
        )
        == whole
    )
    assert told[0] == 3
    assert told[-1] == 6


def test_a_journal_of_another_sweep_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    swept(workshop, plan(), tmp_path)
    with pytest.raises(DataError, match="belongs to another sweep"):
        swept(workshop, plan(metric="cagr"), tmp_path)


def test_threads_and_processes_give_the_same_bits(workshop: Workshop, tmp_path: Path) -> None:
    kept = plan(returns=True)
    threads = swept(workshop, kept, tmp_path / "threads", crew="threads", workers=2)
    processes = swept(workshop, kept, tmp_path / "processes", crew="processes", workers=1)
    assert threads == processes
    assert all(bool(line["returns"]) for line in threads if not line["skipped"])


def test_the_returns_of_all_trials_tell_how_likely_overfitting_is(
    workshop: Workshop, tmp_path: Path
) -> None:
    kept = plan(returns=True)
    summary = sweep(workshop, kept, tmp_path, directories=[BUILT_IN])
    with Journal(tmp_path, header_of(workshop, kept)) as journal:
        trials, returns = kept_returns(journal.trials())
    assert [trial.params for trial in trials] == sorted(
        (trial.params for trial in trials), key=lambda p: (str(p["fast"]), str(p["slow"]))
    )
    spec = workshop.spec_with(trials[1].params)
    outcome = run_backtest(spec, workshop.history, choices_of(spec, workshop.registry)).outcome
    theirs = simple_returns(daily(outcome.ts, outcome.equity).equity)
    np.testing.assert_allclose(returns[:, 1], theirs, rtol=1e-6, atol=1e-12)
    found = overfitting(returns, 16)
    assert summary["overfitting"]["probability"] == found.probability
    assert summary["overfitting"]["trials"] == summary["best"]["of_trials"] == 4
    assert sweep(workshop, plan(), tmp_path / "bare", directories=[BUILT_IN])["overfitting"] is None
    many = plan(axes=(axis_of("fast=2:200:1"), axis_of("slow=5:400:1")), returns=True)
    with pytest.raises(SpecError, match=r"78,804 trials on 2,012 days are too many .* at most 9,9"):
        sweep(workshop, many, tmp_path / "many", directories=[BUILT_IN])


def test_each_history_of_a_cross_validation_is_chosen_without_the_days_it_shows(
    workshop: Workshop, tmp_path: Path
) -> None:
    found = cpcv(workshop, plan(), Folds(4, 2, 20, 5), tmp_path, directories=[BUILT_IN])
    assert (len(found.choices), len(found.equity), found.trials) == (6, 3, 4)
    with Journal(tmp_path, header_of(workshop, plan(returns=True))) as journal:
        trials, returns = kept_returns(journal.trials())
    lines = np.full((3, len(returns)), np.nan)
    for choice, split in zip(
        found.choices, combinatorial_folds(len(returns), 4, 2, 20, 5), strict=True
    ):
        inside = [np.mean(r) / np.std(r, ddof=1) for r in returns[split.train].T]
        best = int(np.argmax(inside))
        assert choice.params == trials[best].params
        assert choice.inside == pytest.approx(inside[best] * math.sqrt(252), rel=1e-12)
        assert choice.tests == tuple(group + 1 for group in split.groups)
        for path, days in zip(split.paths, split.tests, strict=True):
            lines[path, days] = returns[days, best]
    grown = workshop.spec.cash * np.cumprod(1.0 + lines, axis=1)
    np.testing.assert_allclose(found.equity[:, 1:], grown, rtol=1e-12)
    assert found.equity.shape[1] == len(found.ts) == len(returns) + 1
    told = json.loads((tmp_path / "cpcv.json").read_text())
    assert told["sharpe"]["worst"] == min(each.sharpe for each in found.metrics)
    assert len(told["groups"]) == 4
    with pytest.raises(SpecError, match="chooses by sharpe, not by cagr"):
        cpcv(workshop, plan(metric="cagr"), Folds(), tmp_path, directories=[BUILT_IN])
    with pytest.raises(SpecError, match="are left to teach"):
        cpcv(workshop, plan(), Folds(4, 2, 2000), tmp_path, directories=[BUILT_IN])


@pytest.mark.slow
@pytest.mark.serial
def test_a_local_ray_cluster_gives_the_same_bits(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray = swept(workshop, plan(), tmp_path / "ray", crew="ray", workers=1)
    assert ray == swept(workshop, plan(), tmp_path / "threads", crew="threads")


def test_optuna_is_seeded_and_goes_on_alike(workshop: Workshop, tmp_path: Path) -> None:
    axes = (axis_of("fast=2:40:1"), axis_of("slow=50,100,150"))
    chosen = plan(axes=axes, method="optuna", trials=20)

    def lines(folder: str) -> list[str]:
        sweep(workshop, chosen, tmp_path / folder, directories=[BUILT_IN])
        return (tmp_path / folder / JOURNAL).read_text().splitlines()

    whole = lines("whole")
    assert len(whole) == 21
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / JOURNAL).write_text("\n".join(whole[:12]) + "\n")
    assert lines("cut") == whole


def test_names_that_do_not_exist_are_refused(workshop: Workshop, tmp_path: Path) -> None:
    for chosen, complaint in (
        (plan(metric="luck"), "metric 'luck' is none of"),
        (plan(axes=(axis_of("fsat=1,2"),)), "did you mean fast"),
        (plan(axes=(axis_of("other.fast=1,2"),)), "there are sma_cross"),
    ):
        with pytest.raises(SpecError, match=complaint):
            sweep(workshop, chosen, tmp_path, directories=[BUILT_IN])


def test_a_strategy_that_raises_fails_its_trial_alone(
    tmp_path: Path, make_unruly: Callable[[], Path]
) -> None:
    folder = make_unruly()
    spec = spec_of(
        {"strategies": [{"class_name": "unruly", "symbols": ["KO"]}], "start": "2020-01-01"}
    )
    registry = load_named(["unruly"], [folder])
    shop = Workshop(spec, read_history(spec, (), reader_of(spec)), registry)
    chosen = plan_of({"axes": [axis_of("mode=0,2,4")], "metric": "total_return"})
    summary = sweep(shop, chosen, tmp_path / "sweep", directories=[folder])
    assert summary["failed"] == 2
    assert "unruly.py" in summary["first_error"]
    assert summary["best"]["params"] == {"mode": 0}


@pytest.fixture
def make_unruly(tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        source = Path(__file__).resolve().parents[2] / "support" / "unruly.py"
        folder = tmp_path / "strategies"
        folder.mkdir()
        (folder / "unruly.py").write_text(source.read_text())
        return folder

    return make


def test_a_heat_map_shows_the_best_over_what_it_does_not_show() -> None:
    three = plan_of({"axes": [*AXES, axis_of("stop=1,2")]})
    trials = [
        Trial({"fast": 5, "slow": 10, "stop": 1}, {"sharpe": 0.5}),
        Trial({"fast": 5, "slow": 10, "stop": 2}, {"sharpe": 0.7}),
        Trial({"fast": 15, "slow": 20, "stop": 1}, {"sharpe": None}),
    ]
    found = heat_map(three, trials)
    assert found is not None
    assert found.values[0, 0] == 0.7
    assert np.isnan(found.values[2, 1])
    assert math.isnan(found.values[1, 1])
    page = heat_map_page(found, "<b>", {"trials": 3})
    assert "&lt;b&gt;" in page
    assert heat_map(plan_of({"axes": [AXES[0]]}), trials) is None


def test_a_walk_forward_learns_before_it_judges(workshop: Workshop, tmp_path: Path) -> None:
    walked = walk(workshop, plan(), Steps(500, 400), tmp_path, directories=[BUILT_IN])
    # 2012 bars from 2015 on: 500 teach, then 400 judge, three times; the rest is too short.
    assert len(walked.windows) == 3
    assert len(walked.ts) == len(walked.equity) == 1200
    for window in walked.windows:
        assert window.train[1] < window.test[0]
    growth = math.prod(window.growth for window in walked.windows)
    assert walked.equity[-1] == pytest.approx(workshop.spec.cash * growth, rel=1e-12)
    first = walked.windows[0]
    spec = msgspec.structs.replace(
        workshop.spec_with(first.params or {}),
        start=f"{first.test[0]}Z",
        end=f"{first.test[1][:10]}T23:59:59Z",
    )
    alone = run_backtest(
        spec, workshop.history.until(spec.end_ns), choices_of(spec, workshop.registry)
    )
    np.testing.assert_array_equal(walked.equity[:400], alone.outcome.equity)
    assert json.loads((tmp_path / "walk_forward.json").read_text())["windows"][0]["outside"]
