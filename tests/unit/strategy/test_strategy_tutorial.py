"""The strategy of docs/tutorial.md on real prices, against a channel made with pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from libs.common.strategy import Runner
from libs.common.strategy.definition import Definition
from libs.common.strategy.loader import load_file
from tests.support.bar_feed import daily_bars
from tests.support.tutorial import strategy_code

ENTRY, EXIT = 15, 8


@pytest.fixture(scope="module")
def donchian(tmp_path_factory: pytest.TempPathFactory) -> Definition:
    path = tmp_path_factory.mktemp("strategies") / "donchian.py"
    path.write_text(strategy_code(), encoding="utf-8")
    (loaded,) = load_file(path)
    assert loaded.definition.name == "donchian"
    return loaded.definition


@pytest.mark.parametrize("symbol", ["AAPL", "XOM"])
def test_targets_are_those_of_the_channel(donchian: Definition, symbol: str) -> None:
    bars = daily_bars(symbol, 2000)
    steps = Runner(donchian, {"entry": ENTRY, "exit": EXIT}).run(bars)
    close = pd.Series(bars["close"])
    above = close > pd.Series(bars["high"]).rolling(ENTRY).max().shift()
    below = close < pd.Series(bars["low"]).rolling(EXIT).min().shift()
    crossed = pd.Series(np.where(above, 1.0, np.where(below, 0.0, np.nan)))
    expected = crossed[ENTRY:].ffill().fillna(0.0)
    assert np.isnan(steps.decisions["target"][:ENTRY]).all()
    assert steps.decisions["target"][ENTRY:].tolist() == expected.tolist()
    assert 50 < steps.changed.sum() < 500


def test_killed_and_restored_gives_the_same_signals(donchian: Definition) -> None:
    bars = daily_bars("KO", 600)
    whole = Runner(donchian, {"entry": ENTRY}).run(bars)
    first, second = Runner(donchian, {"entry": ENTRY}), Runner(donchian, {"entry": ENTRY})
    head = first.run(bars[:301])
    second.restore(first.save())
    tail = second.run(bars[301:])
    assert np.concatenate([head.changed, tail.changed]).tolist() == whole.changed.tolist()


def test_history_of_the_warm_up_is_enough_for_a_decision(donchian: Definition) -> None:
    params = donchian.parse({"entry": 5, "exit": 9})
    runner = Runner(donchian, {"entry": 5, "exit": 9})
    runner.warm(daily_bars("KO", 10)[: donchian.warmup(params)])
    assert runner.step(daily_bars("KO", 10)[-1])
