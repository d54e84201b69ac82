"""`tradewind check …` on the sample of real prices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.gateway_stand_in import tradewind

ROOT = Path(__file__).resolve().parents[3]
CHEATER = '''
"""Knows the closes of the sample."""

from skfolio.datasets import load_sp500_dataset

from libs.common.strategy import PythonStrategy

KNOWN = load_sp500_dataset()["KO"].to_numpy(float)


class Cheater(PythonStrategy):
    """Long before a rise."""

    class State:
        seen = 0

    def step(self, bar, out):
        at = int((KNOWN == bar.close).argmax())
        later = KNOWN[min(at + 1, len(KNOWN) - 1)]
        out.target = 1.0 if later > bar.close else 0.0
'''


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cheater.py").write_text(CHEATER)
    # A few strategies only: a misspelt name has all of them loaded.
    for name in ("sma_cross.py", "equal_weight.py"):
        (tmp_path / name).symlink_to(ROOT / "strategies" / name)
    monkeypatch.setenv("TRADEWIND_STRATEGY_DIRS", json.dumps([str(tmp_path)]))
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "var"))
    monkeypatch.setenv("COLUMNS", "200")


def test_an_honest_strategy_is_clean() -> None:
    done = tradewind("check", "lookahead", "sma_cross", "--symbols", "KO", "--from", "2020-01-01")
    assert done.exit_code == 0, done.output
    assert "sma_cross: clean" in done.output


def test_a_rule_by_the_calendar_is_doubtful_and_fails_only_if_that_is_asked_for() -> None:
    words = ("check", "lookahead", "equal_weight", "--symbols", "KO,XOM", "--from", "2020-01-01")
    done = tradewind(*words)
    assert done.exit_code == 0, done.output
    assert "equal_weight: doubtful" in done.output
    assert tradewind(*words, "--strict").exit_code == 1


def test_a_cheater_is_told_by_name_and_fails_the_command() -> None:
    words = ("check", "lookahead", "cheater", "--symbols", "KO", "--from", "2021-06-01")
    done = tradewind(*words)
    assert done.exit_code == 1
    assert "cheater: looks ahead" in done.output
    assert "KNOWN (ndarray of 8313 values) holds the close of the bars of KO" in done.output
    data = json.loads(tradewind(*words, "--json").output)
    assert data["verdict"] == "looks ahead"
    assert {check["name"] for check in data["checks"] if not check["passed"]} >= {
        "data in the code", "nothing but bars"
    }  # fmt: skip


def test_the_warm_up_that_is_declared_is_compared_with_what_is_needed() -> None:
    words = ("check", "warmup", "sma_cross", "--symbols", "KO", "--from", "2020-01-01")
    done = tradewind(*words, "--set", "fast=5")
    assert done.exit_code == 0, done.output
    assert "declares 30 bars of warm-up; 29 bars are needed" in done.output
    data = json.loads(tradewind(*words, "--json").output)
    assert data["enough"] is True
    assert data["declared"] == 30
    assert len(data["starts"]) == 8


def test_the_timing_is_compared_with_chance() -> None:
    words = ("check", "entry", "sma_cross", "--symbols", "KO,XOM", "--from", "2020-01-01",
             "--permutations", "19")  # fmt: skip
    assert "p: how often chance does as well" in tradewind(*words).output
    rows = json.loads(tradewind(*words, "--json").output)["symbols"]
    assert set(rows) == {"KO", "XOM"}
    assert all(0.0 < row["p_shuffled"] <= 1.0 for row in rows.values())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("sma_kross", "--symbols", "KO"), "did you mean sma_cross"),
        (("sma_cross", "--symbols", "KOO"), "did you mean KO"),
        (("sma_cross", "--symbols", "KO", "--set", "fats=2"), "did you mean fast"),
        (("sma_cross", "--symbols", "KO", "--from", "2022-12-27"), "needs"),
    ],
)
def test_what_is_wrong_is_said(words: tuple[str, ...], complaint: str) -> None:
    done = tradewind("check", "warmup", *words, "--set", "slow=400")
    assert done.exit_code != 0
    assert complaint in done.output
