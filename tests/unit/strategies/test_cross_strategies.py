"""Built-in strategies on a universe, on prices made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from libs.common.kernel.errors import InvalidInputError
from libs.common.strategy import CrossRunner
from libs.common.strategy.errors import InvalidParamsError
from strategies.cross_sectional_momentum import CrossSectionalMomentum
from strategies.dual_momentum import DualMomentum
from strategies.fx_carry import FxCarry
from strategies.pairs import Pairs
from tests.support.hand_bars import daily, monthly, told

Rows = list[tuple[int, float]]


def chosen(strategy: type, history: dict[str, np.ndarray], **params: float) -> dict[str, Rows]:
    runner = CrossRunner(strategy.definition, params, tuple(history))  # type: ignore[attr-defined]
    return {symbol: told(rows) for symbol, rows in runner.decide(history).items()}


def test_winners_of_the_formation_are_held_the_latest_month_left_out() -> None:
    # Formation 2 months, 1 left out: on bar 4 closes 0 and 2 count, on bar 5 closes 1 and 3.
    history = {
        "A": monthly([10, 10, 12, 10, 10, 10]),  # +20 %, then 0 %
        "B": monthly([10, 10, 11, 15, 10, 10]),  # +10 %, then +50 %
        "C": monthly([10, 10, 9, 99, 10, 10]),  # -10 %, then +890 %
        "D": monthly([10, 10, 10, 9, 10, 10]),  # 0 %, then -10 %
    }
    params = {"formation": 2, "skip": 1, "share": 0.25}
    found = chosen(CrossSectionalMomentum, history, **params)
    assert found["A"] == [(4, 1.0), (5, 0.0)]
    assert found["B"] == [(4, 0.0), (5, 0.0)]
    assert found["C"] == [(4, 0.0), (5, 1.0)]
    found = chosen(CrossSectionalMomentum, history, **params, short=1)
    assert found["A"] == [(4, 0.5), (5, 0.0)]
    assert found["C"] == [(4, -0.5), (5, 0.5)]
    assert found["D"] == [(4, 0.0), (5, -0.5)]


def test_symbol_without_enough_months_or_gone_is_not_ranked() -> None:
    history = {
        "A": monthly([10, 10, 11, 11, 11, 11]),
        "B": monthly([10, 10, 10, 10, 10, 10]),
        "New": monthly([1, 9], first="2024-04"),
        "Gone": monthly([10, 90, 99], first="2024-01"),
    }
    found = chosen(CrossSectionalMomentum, history, formation=2, skip=1, share=0.5)
    assert found["A"] == [(4, 1.0), (5, 1.0)]
    assert {t for _, t in found["New"] + found["Gone"]} == {0.0}


def test_choice_is_kept_for_as_many_months_as_asked_for() -> None:
    history = {"A": monthly(range(10, 24)), "B": monthly([10] * 14)}
    found = chosen(CrossSectionalMomentum, history, formation=2, skip=0, share=0.5, months=3)
    assert [i for i, _ in found["A"]] == [3, 6, 9, 12]


def test_dual_momentum_goes_to_safety_when_nothing_beats_it() -> None:
    history = {
        "Stocks": monthly([100, 110, 121, 90, 90, 90]),
        "Abroad": monthly([100, 105, 110, 100, 120, 90]),
        "Bonds": monthly([100, 101, 102, 103, 104, 105]),
    }
    found = chosen(DualMomentum, history, lookback=2)
    # Bar 3 sees closes 0 and 2: +21 %, +10 %, +2 %. Bar 4, closes 1 and 3: -18 %, -5 %, +2 %.
    # Bar 5, closes 2 and 4: -26 %, +9 %, +2 %.
    assert found["Stocks"] == [(3, 1.0), (4, 0.0)]
    assert found["Abroad"] == [(3, 0.0), (5, 1.0)]
    assert found["Bonds"] == [(3, 0.0), (4, 1.0), (5, 0.0)]


def test_pair_is_entered_far_out_and_left_when_back() -> None:
    draw = np.random.default_rng(3)
    x = 50.0 + np.cumsum(draw.normal(0.0, 0.3, 300))
    y = 2.0 * x + draw.normal(0.0, 0.05, 300)
    y[200] += 8.0  # dear: sell it
    y[201:] += 0.0
    history = {"Y": daily(list(y)), "X": daily(list(x))}
    found = chosen(Pairs, history, entry=5.0, exit=0.0, drift=1e-6, noise=0.01, learn=60)
    # 100 of the first against 100 of the second: half of the capital on each side.
    (flat, entered, left, *_) = found["Y"]
    assert flat == (60, 0.0)
    assert entered[0] == 200
    assert entered[1] == pytest.approx(-0.5, abs=0.03)
    assert left == (201, 0.0)
    hedge = dict(found["X"])
    assert hedge[200] == pytest.approx(0.5, abs=0.03)
    assert abs(entered[1]) + abs(hedge[200]) == pytest.approx(1.0, abs=2e-6)


def test_pair_waits_for_bars_of_the_same_time() -> None:
    history = {"Y": daily([100.0] * 80), "X": daily([50.0] * 80, first="2025-01-01")}
    assert chosen(Pairs, history, learn=10) == {"Y": [], "X": []}


def test_pair_is_two_symbols_with_sound_thresholds() -> None:
    with pytest.raises(InvalidInputError, match="takes up to 2 symbols, got 3"):
        CrossRunner(Pairs.definition, {}, "ABC")
    with pytest.raises(InvalidInputError, match="needs at least 2 symbols"):
        CrossRunner(Pairs.definition, {}, "A")
    with pytest.raises(InvalidParamsError, match=r"exit .2.0. must be less than entry .1.0."):
        CrossRunner(Pairs.definition, {"exit": 2.0}, "AB")


def test_carry_goes_long_the_highest_and_short_the_lowest() -> None:
    bars = daily([1.0] * 40)  # 1 February has index 31
    history = dict.fromkeys(("AUD", "JPY", "CHF", "NZD", "GBP"), bars)
    carries = {"carry_1": 3.0, "carry_2": -4.0, "carry_3": -0.2, "carry_4": 2.0, "carry_5": 1.0}
    found = chosen(FxCarry, history, sides=2, **carries)
    assert found["AUD"] == [(0, 0.25), (31, 0.25)]
    assert found["NZD"] == [(0, 0.25), (31, 0.25)]
    assert found["JPY"] == [(0, -0.25), (31, -0.25)]
    assert found["CHF"] == [(0, 0.0), (31, 0.0)]  # less than `least`
    assert found["GBP"] == [(0, 0.0), (31, 0.0)]  # third
