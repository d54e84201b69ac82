"""The worked number in each indicator's docstring."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.support.indicator_cases import CASES, over

NAN = float("nan")


@dataclass(frozen=True)
class Worked:
    """Columns in the order of the update, parameters, and the values wanted on the last bars."""

    name: str
    columns: list[list[float]]
    params: dict[str, float] = field(default_factory=dict)
    wanted: list[list[float]] = field(default_factory=list)


WORKED = (
    Worked("sma", [[1, 2, 6]], {"window": 2}, [[NAN], [1.5], [4.0]]),
    Worked("ema", [[1, 2, 6]], {"window": 2}, [[NAN], [1.5], [4.5]]),
    Worked("wilder", [[1, 3, 5]], {"window": 2}, [[NAN], [2.0], [3.5]]),
    Worked("wma", [[1, 2, 6]], {"window": 2}, [[NAN], [5 / 3], [14 / 3]]),
    Worked("dema", [[1, 2, 6]], {"window": 2}, [[NAN], [NAN], [6.0]]),
    Worked("tema", [[1, 2, 6, 6]], {"window": 2}, [[NAN], [19 / 3]]),
    Worked("rolling_max", [[3, 1, 2, 0]], {"window": 2}, [[NAN], [3], [2], [2]]),
    Worked("rolling_min", [[3, 1, 2, 4]], {"window": 2}, [[NAN], [1], [1], [2]]),
    Worked("rsi", [[10, 11, 10.5]], {"window": 2}, [[NAN], [200 / 3]]),
    Worked(
        "macd",
        [[1, 2, 6, 6]],
        {"fast": 1, "slow": 2, "signal": 2},
        [[0.5, NAN, NAN], [1.5, 1.0, 0.5], [0.5, 2 / 3, -1 / 6]],
    ),
    Worked("bollinger", [[1, 3]], {"window": 2}, [[4, 2, 0]]),
    Worked("zscore", [[1, 3]], {"window": 2}, [[1.0]]),
    Worked(
        "stochastic",
        [[10, 12], [8, 9], [9, 11]],
        {"window": 2, "smooth": 1, "signal": 1},
        [[75, 75]],
    ),
    Worked("williams_r", [[10, 12], [8, 9], [9, 11]], {"window": 2}, [[-25]]),
    Worked("atr", [[11, 12, 11], [9, 10, 8], [10, 11, 9]], {"window": 2}, [[NAN], [2.5]]),
    Worked(
        "adx",
        [[10, 12, 13, 13], [8, 9, 11, 10], [9, 11, 12, 11]],
        {"window": 2},
        [[NAN] * 3, [NAN, 400 / 7, 0], [50, 400 / 19, 400 / 19]],
    ),
    Worked("aroon", [[5, 7, 6], [4, 5, 3]], {"window": 2}, [[NAN, NAN], [50, 100]]),
    Worked("cci", [[1, 3], [1, 3], [1, 3]], {"window": 2}, [[200 / 3]]),
    Worked("roc", [[100, 101, 110]], {"window": 2}, [[NAN], [10]]),
    Worked("obv", [[10, 11, 11, 9], [5, 6, 7, 8]], {}, [[5], [11], [11], [3]]),
    Worked(
        "mfi", [[10, 11, 10], [10, 11, 10], [10, 11, 10], [1, 2, 3]], {"window": 2}, [[1100 / 26]]
    ),
    Worked(
        "vwap",
        [[10, 13, 9], [10, 13, 9], [10, 13, 9], [2, 1, 4], [1, 1, 2]],
        {},
        [[10, 0], [11, 2**0.5], [9, 0]],
    ),
    Worked("rolling_vwap", [[10, 13], [10, 13], [10, 13], [2, 1]], {"window": 2}, [[11]]),
    Worked("donchian", [[5, 7, 6], [4, 5, 3]], {"window": 3}, [[7, 5, 3]]),
    Worked(
        "keltner",
        [[11, 12, 11], [9, 10, 8], [10, 11, 8]],
        {"window": 2, "range_window": 2},
        [[15, 10, 5]],
    ),
    Worked("realised_volatility", [[100, 110, 99]], {"window": 2, "periods": 1}, [[0.14190]]),
    Worked("parkinson", [[110, 110], [100, 100]], {"window": 2, "periods": 1}, [[0.05724]]),
    Worked("garman_klass", [[100], [110], [100], [100]], {"window": 1, "periods": 1}, [[0.06740]]),
    Worked(
        "yang_zhang",
        [[100, 100, 110], [100, 100, 110], [100, 100, 100], [100, 100, 100]],
        {"window": 2, "periods": 1},
        [[0.06998]],
    ),
    Worked("regression", [[1, 2, 6]], {"window": 3}, [[2.5, 0.5, 0.8929]]),
    Worked("correlation", [[1, 2, 3], [2, 4, 5]], {"window": 3}, [[0.9820, 1.5]]),
    Worked("kalman_level", [[1, 2]], {"ratio": 1}, [[1], [5 / 3]]),
    Worked("kalman_hedge", [[1], [2]], {"drift": 0.5, "noise": 1}, [[2 / 3, 2 / 3, 2, 3**0.5]]),
    Worked("hurst", [[1.01**i for i in range(40)]], {"window": 40}, [[1.0]]),
    Worked(
        "volatility_regime",
        [[100, 101, 99, 110]],
        {"short": 2, "long": 3, "enter": 1.1, "leave": 1.0},
        [[NAN, NAN], [1, 1.3540]],
    ),
    Worked(
        "markov_regime",
        [[2]],
        {
            "calm_mean": 0,
            "calm_deviation": 1,
            "wild_mean": 0,
            "wild_deviation": 2,
            "calm_stay": 0.5,
            "wild_stay": 0.5,
        },
        [[0.6914]],
    ),
    Worked("supertrend", [[11, 12], [9, 10], [10, 11]], {"window": 1, "width": 1}, [[9, 1]]),
    Worked("parabolic", [[10, 12, 13], [8, 9, 11]], {}, [[8, 1], [8.08, 1]]),
)


def test_every_indicator_has_a_worked_number() -> None:
    assert {item.name for item in WORKED} == set(CASES)


@pytest.mark.parametrize("item", WORKED, ids=lambda item: item.name)
def test_worked_number_of_the_docstring(item: Worked) -> None:
    case = CASES[item.name]
    columns = [np.array(column) for column in item.columns]
    # Session numbers are whole, all else floats: other types would be compiled anew.
    kinds = [np.int64 if name == "session" else float for name in case.columns]
    bars = {
        name: column.astype(kind)
        for name, column, kind in zip(case.columns, columns, kinds, strict=True)
    }
    params = {name: type(case.params[name])(value) for name, value in item.params.items()}
    found = over(case, bars, **params)[-len(item.wanted) :]
    assert found == pytest.approx(np.array(item.wanted, dtype=float), rel=1e-4, nan_ok=True)
