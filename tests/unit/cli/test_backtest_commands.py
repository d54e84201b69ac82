"""The backtest commands, offline, on the sample that is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app

BACKTEST = ["backtest", "sma_cross", "--symbols", "AAPL,MSFT", "--from", "2018-01-01"]


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return done.output


def test_a_backtest_prints_its_metrics_and_keeps_its_folder(tmp_path: Path) -> None:
    said = run(*BACKTEST, "--set", "fast=20", "--benchmark", "KO", "--out", str(tmp_path / "one"))
    assert "Sharpe" in said
    assert "adjusted daily closes only" in said
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "result.json", "report.html", "equity.parquet", "fills.parquet", "trades.parquet",
        "refused.parquet", "signals.parquet",
    }  # fmt: skip
    told = json.loads(
        run(*BACKTEST, "--set", "fast=5", "--no-report", "--json", "--out", str(tmp_path / "two"))
    )
    assert told["strategies"][0]["params"] == {"fast": 5, "slow": 30}
    assert told["folder"] == str(tmp_path / "two")
    page = tmp_path / "both.html"
    beside = run("compare", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(page))
    assert "Sharpe" in beside
    assert "sma_cross" in page.read_text()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["backtest", "sma_crss", "--symbols", "KO"], "did you mean sma_cross"),
        ([*BACKTEST, "--set", "fsat=3"], "did you mean fast"),
        ([*BACKTEST, "--set", "fast=300"], "must be between 2 and 200"),
        ([*BACKTEST, "--to", "2017-01-01"], "before start"),
        ([*BACKTEST, "--model", "commission.per_shar=1"], "did you mean per_share"),
        ([*BACKTEST, "--data", "nowhere.csv"], "no such file"),
        (["backtest", "sma_cross", "--symbols", "KOO"], "did you mean KO"),
        (["compare", "nowhere", "elsewhere"], "holds no backtest"),
        (["sweep", "sma_cross", "--symbols", "KO", "--set", "fast=9:1:1"], "a range goes up"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(words: list[str], complaint: str) -> None:
    assert complaint in run(*words, code=1)


@pytest.mark.parametrize(
    "words",
    [["backtest"], ["backtest", "sma_cross"], ["sweep", "sma_cross"], ["parity"],
     ["compare", "one"], [*BACKTEST, "--model", "fill"]],
)  # fmt: skip
def test_wrong_usage_has_its_own_exit_code(words: list[str]) -> None:
    run(*words, code=2)


def test_a_sweep_shows_its_heat_map_and_goes_on(tmp_path: Path) -> None:
    words = [
        "sweep", "sma_cross", "--symbols", "KO", "--from", "2018-01-01", "--set", "fast=5,10",
        "--set", "slow=20,50", "--out", str(tmp_path),
    ]  # fmt: skip
    said = run(*words)
    assert "4 trials on threads" in said
    assert "best sharpe" in said
    assert (tmp_path / "heat_map.html").exists()
    assert run(*words) == said
