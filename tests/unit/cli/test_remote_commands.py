"""The commands of backtests with --remote: what they submit, wait for and show."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.quant.metrics import CATALOGUE
from tests.support.gateway_stand_in import StandIn, tradewind

RUNS = "/api/v1/backtests"
SPEC = ("sma_cross", "--symbols", "KO,PEP", "--remote")
METRICS = {entry.name: 0.5 for entry in CATALOGUE}
BEST = {"params": {"fast": 5}, "metrics": METRICS, "deflated_sharpe": 0.25, "of_trials": 7}
RESULTS: dict[str, dict[str, Any]] = {
    "backtest": {
        "metrics": METRICS, "equity_first": 100.0, "equity_last": 120.0, "data": {"bars": 250},
        "fills": 4, "trades": 2, "refused": {"NO_CASH": 1}, "notes": ["a note"],
    },
    "sweep": {
        "trials": 8, "crew": "threads", "skipped": 1, "failed": 0, "first_error": "", "best": BEST,
        "overfitting": {"trials": 7, "days": 250, "blocks": 16, "probability": 0.75, "slope": 0.1,
                        "loss": 0.5},
    },
    "walk_forward": {
        "windows": [{"train": ["2015-01-01", "2016-01-01"], "test": ["2016-01-02", "2017-01-01"],
                     "params": {"fast": 5}, "inside": 1.5, "outside": None, "growth": 1.1}],
        "metrics": METRICS,
    },
    "cpcv": {
        "trials": 7, "splits": [{"tests": [1, 2], "params": {"fast": 5}, "inside": 1.0,
                                 "outside": -0.25}], "paths": [METRICS],
        "sharpe": {"inside_of_all": 1.0, "mean": 0.5, "worst": -0.1, "best": 0.9,
                   "below_zero": 0.2},
    },
    "parity": {
        "decisions": {"live": 5, "same": 4, "replayed": 5, "restated": 0, "causes": {"data": 1},
                      "differences": []},
        "orders": {"compared": 5, "same": 5, "off_bps_mean": None, "causes": {}},
        "fills": {"compared": 5, "same": 5, "off_bps_mean": None, "causes": {}},
        "unexplained": 0, "notes": [],
    },
}  # fmt: skip


def ends(gateway: StandIn, result: dict[str, Any] | None, status: str = "done") -> None:
    run = {"id": "r1", "status": status, "progress": None, "result": result, "error": "it broke"}
    gateway.says(RUNS, {**run, "status": "queued", "result": None}, status=202)
    gateway.says(f"{RUNS}/r1", run)


@pytest.mark.parametrize(
    ("words", "kind", "extra", "said"),
    [
        (("backtest", *SPEC), "backtest", {"report": True}, "equity 100.00 → 120.00"),
        (
            ("sweep", *SPEC, "--set", "fast=5,10", "--pbo"),
            "sweep",
            {"plan": {"returns": True}},
            "probability of overfitting: 75.0%",
        ),
        (
            ("walk-forward", *SPEC, "--set", "fast=5,10", "--train", "500"),
            "walk_forward",
            {"steps": {"train": 500, "test": 252}},
            "out of sample, end to end",
        ),
        (
            ("cpcv", *SPEC, "--set", "fast=5,10", "--horizon", "20"),
            "cpcv",
            {"folds": {"groups": 6, "horizon": 20}},
            "below 0 in 20.00% of the histories",
        ),
        (
            ("parity", "--day", "2024-01-02", "--remote"),
            "parity",
            {"recorded": {"day": "2024-01-02"}},
            "data 1",
        ),
    ],
)
def test_a_run_is_submitted_seen_to_its_end_and_shown(
    gateway: StandIn, words: tuple[str, ...], kind: str, extra: dict[str, Any], said: str
) -> None:
    ends(gateway, RESULTS[kind])
    done = tradewind(*words)
    assert done.exit_code == 0, done.output
    assert said in done.output
    assert f"{RUNS}/r1/artefacts" in done.output
    body = gateway.asked[0]["body"]
    assert body["kind"] == kind
    for name, fields in extra.items():
        if isinstance(fields, dict):
            assert {key: body[name][key] for key in fields} == fields
        else:
            assert body[name] == fields


def test_a_run_that_fails_fails_the_command_with_its_reason(gateway: StandIn) -> None:
    ends(gateway, None, status="failed")
    done = tradewind("backtest", *SPEC)
    assert done.exit_code == 1
    assert "run r1 failed: it broke" in done.output
