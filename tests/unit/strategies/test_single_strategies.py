"""Built-in strategies on one symbol, on prices made by hand or figures made with pandas."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from libs.common.strategy import Runner
from libs.common.strategy.definition import Definition
from libs.common.strategy.errors import InvalidParamsError
from strategies.crypto_trend import CryptoTrend
from strategies.ema_cross import EmaCross
from strategies.time_series_momentum import TimeSeriesMomentum
from strategies.volatility_breakout import VolatilityBreakout
from strategies.volatility_target import VolatilityTarget
from tests.support.bar_feed import daily_bars
from tests.support.hand_bars import daily, told


def signals(definition: Definition, bars: np.ndarray, **params: float) -> list[tuple[int, float]]:
    return told(Runner(definition, params, "A").decide({"A": bars})["A"])


@pytest.mark.parametrize(("short", "below"), [(0, 0.0), (1, -1.0)])
def test_ema_cross_by_hand(short: int, below: float) -> None:
    # fast (2 bars): -, 10, 12, 13.33, 9.11; slow (3): -, -, 10.67, 12.33, 9.67.
    bars = daily([10.0, 10.0, 12.0, 14.0, 7.0])
    found = signals(EmaCross.definition, bars, fast=2, slow=3, short=short)
    assert found == [(2, 1.0), (4, below)]


def test_ema_cross_wants_fast_below_slow() -> None:
    with pytest.raises(InvalidParamsError, match=r"fast .12. must be less than slow .12."):
        Runner(EmaCross.definition, {"slow": 12})


def test_time_series_momentum_decides_once_a_month_by_the_sign_of_the_return() -> None:
    # 1 March has index 60, 1 April 91, 1 May 121; a lookback of 40 bars.
    closes = [100.0 + i for i in range(70)] + [170.0 - 2 * i for i in range(60)]
    params = {"lookback": 40, "volatility": 2.0, "periods": 1}
    found = signals(TimeSeriesMomentum.definition, daily(closes), **params)
    assert found == [(40, 1.0), (60, 1.0), (91, -1.0), (121, -1.0)]
    found = signals(TimeSeriesMomentum.definition, daily(closes), **params, short=0)
    assert found[2:] == [(91, 0.0), (121, 0.0)]


def test_time_series_momentum_is_sized_by_the_exponential_volatility() -> None:
    bars = daily_bars("AAPL", 700)
    runner = Runner(TimeSeriesMomentum.definition, {"volatility": 0.1}, "A")
    rows = runner.decide({"A": bars})["A"]
    closes = pd.Series(bars["close"])
    returns = np.log(closes).diff().dropna()
    weighted = returns.ewm(com=60, adjust=True)
    volatility = np.sqrt(252 * weighted.var(bias=True))
    month = pd.DatetimeIndex(bars["ts"].astype("M8[ns]")).to_period("M")
    assert len(rows) > 15
    for row in rows[1:]:
        i = int(row["index"])
        assert month[i] != month[i - 1]
        size = min(1.0, 0.1 / volatility[i])
        sign = np.sign(closes[i] - closes[i - 252])
        assert row["target"] == pytest.approx(sign * size, rel=1e-9)
        assert row["rebalance"] == 1.0


def test_volatility_target_holds_its_size_within_the_band() -> None:
    # Returns of one per cent up and down, then of four: the size falls to a quarter, once settled.
    steps = [0.01, -0.01] * 6 + [0.04, -0.04] * 6
    closes = 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))
    params = {"volatility": 0.01, "window": 4, "periods": 1, "band": 0.2}
    found = signals(VolatilityTarget.definition, daily(list(closes)), **params)
    # Two of each: the deviation is 0.01 x sqrt(4/3).
    assert found[0] == (4, round(math.sqrt(3 / 4), 6))
    assert found[-1] == (16, round(math.sqrt(3 / 4) / 4, 6))
    # At 15 it would be 0.2533 instead of 0.2970, 15 % less: within the band.
    assert [i for i, _ in found] == [4, 13, 14, 16]
    sizes = [target for _, target in found]
    assert sizes == sorted(sizes, reverse=True)


def test_volatility_target_of_what_does_not_move_is_all() -> None:
    assert signals(VolatilityTarget.definition, daily([50.0] * 30)) == [(20, 1.0)]


def test_volatility_breakout_by_hand() -> None:
    # Ranges of 2 (one above, one below) and no moves: a move of more than 2 is a breakout.
    closes = [100.0] * 5 + [103.0, 103.0, 103.0, 103.0, 98.0, 98.0, 98.0, 98.0]
    params = {"window": 2, "entry": 1.0, "stop": 1.5, "hold": 2}
    bars = daily(closes, reach=1.0)
    rows = Runner(VolatilityBreakout.definition, params, "A").decide({"A": bars})["A"]
    assert told(rows) == [(3, 0.0), (5, 1.0), (7, 0.0), (9, -1.0), (11, 0.0)]
    assert rows["stop"][1] == 103.0 - 1.5 * 2.0
    # By then the ranges are 3 (a gap of 3 and 1 beyond), 2.5 and 2.25: 4 -> 3, 2 -> 2.5, 2 -> 2.25.
    assert rows["stop"][3] == pytest.approx(98.0 + 1.5 * 2.125)


def test_volatility_breakout_without_short_side_leaves_on_a_fall() -> None:
    closes = [100.0] * 5 + [103.0, 98.0, 98.0]
    params = {"window": 2, "hold": 5, "short": 0}
    found = signals(VolatilityBreakout.definition, daily(closes, reach=1.0), **params)
    assert found == [(3, 0.0), (5, 1.0), (6, 0.0)]


def test_crypto_trend_counts_the_lookbacks_that_rose() -> None:
    # Up for 40 days, then down: after 7 days below the close a week before, and so on.
    closes = [100.0 + i for i in range(40)] + [139.0 - 2.0 * i for i in range(1, 41)]
    params = {"volatility": 5.0, "window": 28}
    found = signals(CryptoTrend.definition, daily(closes), **params)
    votes = []
    for i in range(28, 80):
        votes.append(sum(closes[i] > closes[i - back] for back in (7, 14, 28)))
    changed = {i + 28: v for i, v in enumerate(votes) if i and v != votes[i - 1]}
    assert found[0] == (28, 1.0)
    assert {i: t for i, t in found if i in changed} == {
        i: round(v / 3, 6) for i, v in changed.items()
    }
    ages = np.diff([i for i, _ in found])
    assert (ages <= 7).all()  # at least once a week
    assert found[-1][1] == 0.0
    hourly = signals(CryptoTrend.definition, daily(list(np.repeat(closes, 2))), day=2, **params)
    assert hourly[0] == (56, 1.0)
