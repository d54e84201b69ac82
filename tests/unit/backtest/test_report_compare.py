"""Several runs side by side."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from libs.common.backtest.report import ReportInput, comparison_json, render_comparison
from libs.common.backtest.report.compare import correlations
from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics.drawdowns import DAY_NS
from tests.support.report_runs import trend_run

FAST, SLOW = trend_run(window=20, title="fast", days=700), trend_run(window=150, days=900)


def test_runs_stand_beside_each_other() -> None:
    html = render_comparison([FAST, SLOW])
    for run in (FAST, SLOW):
        assert run.title in html
        assert f"{run.measured.sharpe:.2f}" in html
    data = json.loads(json.dumps(comparison_json([FAST, SLOW]), allow_nan=False))
    assert data["runs"] == ["fast", "Trend following"]
    assert data["metrics"]["fast"]["sharpe"] == FAST.measured.sharpe
    assert data["differing"] == {"window": {"fast": "20", "Trend following": "150"}}
    assert data["correlations"][0][1] == data["correlations"][1][0]


def test_runs_of_one_name_are_numbered() -> None:
    assert comparison_json([SLOW, replace(SLOW)])["runs"] == [
        "Trend following (1)",
        "Trend following (2)",
    ]


def test_correlation_is_of_the_common_days() -> None:
    generator = np.random.default_rng(4)
    moves = generator.normal(0.0, 0.01, 300)
    ts = np.arange(300, dtype=np.int64) * DAY_NS
    whole = ReportInput("whole", ts, 100.0 * np.cumprod(1.0 + moves))
    late = ReportInput("late", ts[100:], 50.0 * np.cumprod(1.0 - moves[100:]))
    found = correlations([whole, late])
    assert found[0, 1] == pytest.approx(-1.0)
    apart = ReportInput("apart", ts[:50] - 10_000 * DAY_NS, np.ones(50))
    assert np.isnan(correlations([whole, apart])[0, 1])


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="needs 2 to 6 runs, got 1"):
        render_comparison([FAST])
    with pytest.raises(InvalidInputError, match="needs 2 to 6 runs, got 7"):
        comparison_json([FAST] * 7)
    empty = ReportInput("empty", np.arange(0), np.empty(0))
    with pytest.raises(InvalidInputError, match="empty has no bars"):
        render_comparison([FAST, empty])
