"""Indicators equal the `ta` package's: at once where it seeds alike, else once that has decayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import ta

from tests.support.indicator_cases import CASES, assert_close, over, sp500

Columns = Mapping[str, "pd.Series[float]"]
WINDOW = 14


@dataclass(frozen=True)
class Peer:
    """`ta`'s series for our values in order, and the bars until its other seed is forgotten."""

    name: str
    series: Callable[[Columns], list[pd.Series]]
    forgotten: int = 0
    params: Mapping[str, float] | None = None


def bollinger(c: Columns) -> list[pd.Series]:
    band = ta.volatility.BollingerBands(c["close"], 20, 2)
    return [band.bollinger_hband(), band.bollinger_mavg(), band.bollinger_lband()]


def donchian(c: Columns) -> list[pd.Series]:
    channel = ta.volatility.DonchianChannel(c["high"], c["low"], c["close"], 20)
    return [
        channel.donchian_channel_hband(),
        channel.donchian_channel_mband(),
        channel.donchian_channel_lband(),
    ]


def stochastic(c: Columns) -> list[pd.Series]:
    found = ta.momentum.StochasticOscillator(c["high"], c["low"], c["close"], WINDOW, 3)
    return [found.stoch(), found.stoch_signal()]


def adx(c: Columns) -> list[pd.Series]:
    found = ta.trend.ADXIndicator(c["high"], c["low"], c["close"], WINDOW)
    return [found.adx(), found.adx_pos(), found.adx_neg()]


def macd(c: Columns) -> list[pd.Series]:
    found = ta.trend.MACD(c["close"], 26, 12, 9)
    return [found.macd(), found.macd_signal(), found.macd_diff()]


def aroon(c: Columns) -> list[pd.Series]:
    found = ta.trend.AroonIndicator(c["high"], c["low"], 25)
    return [found.aroon_up(), found.aroon_down()]


PEERS = (
    Peer("sma", lambda c: [ta.trend.sma_indicator(c["close"], 20)]),
    Peer("wma", lambda c: [ta.trend.wma_indicator(c["close"], 20)]),
    Peer("bollinger", bollinger),
    Peer("donchian", donchian),
    Peer("stochastic", stochastic, params={"smooth": 1}),
    Peer("williams_r", lambda c: [ta.momentum.williams_r(c["high"], c["low"], c["close"], WINDOW)]),
    Peer("cci", lambda c: [ta.trend.cci(c["high"], c["low"], c["close"], 20)]),
    Peer("roc", lambda c: [ta.momentum.roc(c["close"], 10)]),
    Peer(
        "mfi",
        lambda c: [
            ta.volume.money_flow_index(c["high"], c["low"], c["close"], c["volume"], WINDOW)
        ],
    ),
    Peer(
        "rolling_vwap",
        lambda c: [
            ta.volume.volume_weighted_average_price(
                c["high"], c["low"], c["close"], c["volume"], 20
            )
        ],
    ),
    # A seed that weighs (1 - 2/13)^n or (1 - 1/14)^n is below 1e-9 after 125 or 280 bars; prices
    # and chained averages need some more.
    Peer("ema", lambda c: [ta.trend.ema_indicator(c["close"], 12)], 200),
    Peer("macd", macd, 400),
    Peer("rsi", lambda c: [ta.momentum.rsi(c["close"], WINDOW)], 500),
    Peer(
        "atr",
        lambda c: [ta.volatility.average_true_range(c["high"], c["low"], c["close"], WINDOW)],
        500,
    ),
    Peer("adx", adx, 700),
)


@pytest.mark.parametrize("symbol", ["AAPL", "XOM"])
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_equals_ta_once_its_seed_is_forgotten(peer: Peer, symbol: str) -> None:
    # AAPL of the first years moves in steps of a tenth of a percent: windows with ties.
    bars = {name: values[2000:5000] for name, values in sp500(symbol).items()}
    ours = over(CASES[peer.name], bars, **(peer.params or {}))
    theirs = peer.series({name: pd.Series(values) for name, values in bars.items()})
    for column, series in enumerate(theirs):
        mine, peers = ours[peer.forgotten :, column], series.to_numpy()[peer.forgotten :]
        both = ~np.isnan(mine) & ~np.isnan(peers)
        assert both.mean() > 0.98
        # The last bar of ta's ADX is left at 0 by its loop.
        both[-1] &= peer.name != "adx"
        wrong = np.abs(mine - peers)[both] > 1e-9 * np.maximum(1.0, np.abs(peers[both]))
        assert wrong.sum() == 0, f"{wrong.sum()} of {both.sum()}, first {np.argmax(wrong)}"


def test_aroon_equals_ta_where_no_window_has_equal_extremes() -> None:
    bars = {name: values[2000:5000] for name, values in sp500("XOM").items()}
    # Of made-up ranges every peak would be there twice: on its day, and as the next day's open.
    bars["high"], bars["low"] = bars["close"] * 1.01, bars["close"] * 0.99
    ours = over(CASES["aroon"], bars)
    theirs = aroon({name: pd.Series(values) for name, values in bars.items()})
    highs = np.lib.stride_tricks.sliding_window_view(bars["high"], 26)
    lows = np.lib.stride_tricks.sliding_window_view(bars["low"], 26)
    up = (highs == highs.max(axis=1, keepdims=True)).sum(axis=1) == 1
    down = (lows == lows.min(axis=1, keepdims=True)).sum(axis=1) == 1
    for column, alone in enumerate((up, down)):
        assert alone.mean() > 0.9
        assert_close(ours[25:, column][alone], theirs[column].to_numpy()[25:][alone])
