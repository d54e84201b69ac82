"""Built-in strategies on prices made by hand: decisions follow from the rules on their pages."""

from __future__ import annotations

import numpy as np
import pytest

from libs.common.strategy.errors import InvalidParamsError
from tests.support.builtin import DAY_NS, MINUTE_NS, OPEN_NS, bars, builtin, stepped

NAN = float("nan")


def test_donchian_adds_units_and_leaves_below_the_exit_channel() -> None:
    close = [10, 10, 10, 10, 12, 13, 14, 13, 11]
    made = bars(close, high=[c + 0.5 for c in close], low=[c - 0.5 for c in close])
    targets, _ = stepped(
        "donchian_breakout", made, entry=3, exit=2, range_window=2, units=2, stop=10, add=0.5
    )
    # Bar 4: 12 > 10.5, N = (1 + 2.5) / 2. Bar 5: N = (1.75 + 1.5) / 2, 13 > 12 + N / 2.
    # Bar 7: 13 is not below the lows of bars 5 and 6 (12.5); bar 8: 11 is below 12.5.
    assert targets == pytest.approx([NAN, NAN, NAN, 0, 0.5, 1, 1, 1, 0], nan_ok=True)


def test_donchian_stop_is_two_ranges_below_the_newest_unit() -> None:
    made = bars([10, 10, 10, 10, 12, 12, 12, 12, 12], high=[11] * 9, low=[9] * 9)
    made["high"][4:] = 12
    made["low"][4:] = [11, 10, 7, 11, 11]
    targets, stops = stepped(
        "donchian_breakout", made, entry=2, exit=4, range_window=2, units=1, stop=2
    )
    # Ranges: 2, 2, 2, then 12 - 10 = 2: N = 2, stop 12 - 4 = 8; the low of 7 reaches it.
    assert targets[4:7] == [1.0, 1.0, 0.0]
    assert stops[4:7] == pytest.approx([8.0, 8.0, NAN], nan_ok=True)


def test_donchian_sells_short_only_when_told() -> None:
    made = bars([10, 10, 10, 8, 8], high=[10.5] * 3 + [8.5] * 2, low=[9.5] * 3 + [7.5] * 2)
    options = {"entry": 2, "exit": 2, "range_window": 2, "units": 1}
    assert stepped("donchian_breakout", made, **options)[0][3] == 0.0
    targets, stops = stepped("donchian_breakout", made, short=1, **options)
    assert targets[3] == -1.0
    assert stops[3] == pytest.approx(8 + 2 * (1 + 2.5) / 2)


def test_bollinger_buys_below_the_band_and_sells_at_the_middle() -> None:
    options = {"window": 5, "width": 1.5, "stop": 10.0, "turbulence": 0.0}
    close = [10.0, 11, 10, 11, 10, 7, 8, 11]
    targets, stops = stepped("bollinger_reversion", bars(close), **options)
    # Bar 5: mean of 11, 10, 11, 10, 7 = 9.8, deviation 1.47, place -1.90. Bar 6: 9.2, -0.85: stay.
    # Bar 7: 11 is above the mean of 9.4.
    assert targets[4:] == [0.0, 1.0, 1.0, 0.0]
    # Ten deviations below the middle no price is left to stop at.
    assert np.isnan(stops[5])


def test_bollinger_stays_out_once_stopped_until_the_price_was_inside_again() -> None:
    options = {"window": 5, "width": 1.0, "stop": 1.8, "turbulence": 0.0}
    close = [10.0, 11, 10, 11, 10, 8.6, 7, 6, 5, 5.5, 5.2, 4.0]
    targets, stops = stepped("bollinger_reversion", bars(close), **options)
    assert targets[5] == 1.0
    assert 7 < stops[5] < 8.6
    # 7 reaches the stop; 6 and 5 are below the band, but no close was inside since.
    assert targets[6:9] == [0.0, 0.0, 0.0]
    assert targets[-1] == 1.0


def test_bollinger_enters_nothing_in_turbulence() -> None:
    quiet = 100 + 0.1 * np.tile([0, 1], 60)
    fall = np.concatenate([quiet, [99.0]])
    options = {"window": 20, "width": 2.0, "stop": 10.0}
    assert stepped("bollinger_reversion", bars(fall), turbulence=0.0, **options)[0][-1] == 1.0
    assert stepped("bollinger_reversion", bars(fall), turbulence=1.2, **options)[0][-1] == 0.0
    assert stepped("bollinger_reversion", bars(fall), turbulence=10.0, **options)[0][-1] == 1.0


def test_bollinger_refuses_a_stop_inside_the_band() -> None:
    with pytest.raises(InvalidParamsError, match=r"stop .* must be more than width"):
        builtin("bollinger_reversion").parse({"width": 3.0, "stop": 2.0})


def test_macd_follows_a_trend_and_leaves_when_the_line_crosses() -> None:
    rise, fall = 100 * 1.01 ** np.arange(60), 100 * 1.01**60 * 0.99 ** np.arange(60)
    close = np.concatenate([rise, fall])
    made = bars(list(close), high=list(close * 1.002), low=list(close * 0.998))
    targets, _ = stepped("macd_adx_trend", made)
    # Warm-up: 34 bars for the signal line, 28 for the ADX. A steady rise has an ADX of 100.
    assert np.isnan(targets[:33]).all()
    crossed = targets.index(0.0, 40)
    assert set(targets[40:crossed]) == {1.0}
    assert 60 < crossed < 70
    assert set(targets[crossed:]) == {0.0}
    assert -1.0 in stepped("macd_adx_trend", made, short=1)[0][crossed:]


def test_macd_enters_nothing_without_a_trend() -> None:
    close = 100 + np.tile([0.0, 0.5, 0.0, -0.5], 40)
    made = bars(list(close), high=list(close + 0.1), low=list(close - 0.1))
    assert set(stepped("macd_adx_trend", made)[0][40:]) == {0.0}
    assert 1.0 in stepped("macd_adx_trend", made, trend=0.0)[0][40:]


def minutes(close: list[float], first: int = 0) -> np.ndarray:
    """Bars of one minute from `first` minutes after the open on, ranges of 0.1 around the close."""
    return bars(
        close,
        high=[c + 0.1 for c in close],
        low=[c - 0.1 for c in close],
        start=OPEN_NS + first * MINUTE_NS,
        step=MINUTE_NS,
    )


def test_opening_range_is_followed_upward_with_the_stop_below_it() -> None:
    made = minutes([10, 10.5, 10.2, 10.55, 10.7, 10.3, 11])
    targets, stops = stepped("opening_range_breakout", made, range_minutes=3)
    # The range: 9.9 ... 10.6. 10.55 is inside, 10.7 outside.
    assert targets == [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    assert stops[4:] == pytest.approx([9.9] * 3)


def test_opening_range_trades_once_a_day() -> None:
    made = minutes([10, 10, 11, 9.5, 12, 13])
    targets, _ = stepped("opening_range_breakout", made, range_minutes=2)
    assert targets == [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    tomorrow = minutes([10, 10, 11])
    tomorrow["ts"] += DAY_NS
    targets, _ = stepped(
        "opening_range_breakout", np.concatenate([made, tomorrow]), range_minutes=2
    )
    assert targets[-3:] == [0.0, 0.0, 1.0]


def test_opening_range_is_flat_before_the_close_and_silent_outside_the_session() -> None:
    made = np.concatenate([minutes([9], -30), minutes([10, 11]), minutes([11, 11, 11], 383)])
    late = minutes([12], 391)
    targets, _ = stepped("opening_range_breakout", np.concatenate([made, late]), range_minutes=1)
    # 383 and 384 are 15:53 and 15:54; 385 is 15:55; 391 is 16:01.
    assert targets == pytest.approx([NAN, 0, 1, 1, 1, 0, NAN], nan_ok=True)


def test_opening_range_downward_only_when_told() -> None:
    made = minutes([10, 9])
    assert stepped("opening_range_breakout", made, range_minutes=1)[0] == [0.0, 0.0]
    targets, stops = stepped("opening_range_breakout", made, range_minutes=1, short=1)
    assert (targets[-1], stops[-1]) == (-1.0, pytest.approx(10.1))


def test_a_day_whose_open_was_missed_is_not_traded() -> None:
    assert set(stepped("opening_range_breakout", minutes([10, 12, 14], 60))[0]) == {0.0}


def test_vwap_is_bought_far_below_and_sold_when_back() -> None:
    close = [10.0, 10.2] * 5 + [9.5, 9.6, 10.2]
    targets, stops = stepped("vwap_reversion", minutes(close), wait=5)
    # Ten closes: average 10.1, deviation 0.1; with 9.5: 10.045, 0.198, place -2.75.
    assert targets[9:] == [0.0, 1.0, 1.0, 0.0]
    prices = np.array(close[:11])
    assert stops[10] == pytest.approx(prices.mean() - 4 * prices.std())


def test_vwap_waits_after_the_open_and_is_flat_before_the_close() -> None:
    close = [10.0, 10.2] * 5 + [9.5]
    assert stepped("vwap_reversion", minutes(close), wait=11)[0][-1] == 0.0
    late = np.concatenate([minutes(close), minutes([9.5], 374), minutes([9.5], 375)])
    assert stepped("vwap_reversion", late, wait=5)[0][-3:] == [1.0, 1.0, 0.0]


def test_regime_hold_leaves_in_turbulence_and_comes_back() -> None:
    moves = np.concatenate([[0.002, -0.002] * 30, [-0.05, 0.04] * 4, [0.002, -0.002] * 60])
    close = 100 * np.exp(np.concatenate([[0.0], np.cumsum(moves)]))
    targets, _ = stepped("regime_hold", bars(list(close)))
    assert np.isnan(targets[0])
    assert set(targets[10:61]) == {1.0}
    assert set(targets[61:69]) == {0.0}
    assert targets[-1] == 1.0


def test_regime_hold_refuses_states_in_the_wrong_order() -> None:
    with pytest.raises(InvalidParamsError, match="calm_deviation"):
        builtin("regime_hold").parse({"calm_deviation": 0.05})
