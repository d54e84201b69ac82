"""What cannot be simulated is refused with the symbol, the bar and the value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from libs.common.quant.simulation.execute import execute
from libs.common.quant.simulation.layout import DELISTING, DIVIDEND, QUOTE, SPLIT
from libs.common.quant.simulation.market import Action, Market, MarketError
from libs.common.quant.simulation.models import Fill, MarketFill, Models
from libs.common.quant.simulation.sleeves import Method, Sizing, Sleeve
from tests.support.simulations import DAY, bars, flat, signals

INF, NAN = float("inf"), float("nan")


def quotes(count: int, **fields: float) -> dict[str, np.ndarray]:
    table = np.zeros(count, QUOTE)
    for name, value in {
        "bid": 9.0,
        "ask": 11.0,
        "bid_size": 1.0,
        "ask_size": 1.0,
        **fields,
    }.items():
        table[name] = value
    return {"X": table}


def twice() -> np.ndarray:
    table = flat(10, 10, 10)
    table["ts"][2] = table["ts"][1]
    return table


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (np.zeros(2), r"X: bars must be a one-dimensional array of BAR"),
        (flat(10, 10).reshape(1, 2), "X: bars must be a one-dimensional array of BAR"),
        (flat(), "X: no bars"),
        (twice(), r"X: bar 2 \(1970-01-03 00:00:00 UTC\) does not come after bar 1"),
        (flat(10, 0), r"X: bar 1 \(.*\): open must be a price above 0, got 0.0"),
        (bars([(1, 1, 1, NAN)]), r"X: bar 0 \(.*\): close must be a price above 0, got nan"),
        (bars([(1, INF, 1, 1)]), r"X: bar 0 \(.*\): high must be a price above 0, got inf"),
        (bars([(1, 1, 1, 1, -5)]), r"X: bar 0 \(.*\): volume must not be below 0, got -5.0"),
        (bars([(3, 2, 1, 1)]), r"X: bar 0 \(.*\): open must lie between low and high, got 3.0"),
        (bars([(1, 2, 1, 0.5)]), r"X: bar 0 \(.*\): close must lie between low and high, got 0.5"),
    ],
)  # fmt: skip
def test_bars(table: np.ndarray, complaint: str) -> None:
    with pytest.raises(MarketError, match=complaint):
        Market.of({"X": table})


@pytest.mark.parametrize(
    ("market", "complaint"),
    [
        ({"lots": {"Y": 1.0}}, "lots: unknown symbol 'Y'"),
        ({"ticks": {"Y": 1.0}}, "ticks: unknown symbol 'Y'"),
        ({"borrow": {"Y": 1.0}}, "borrow: unknown symbol 'Y'"),
        ({"quotes": {"Y": np.zeros(2, QUOTE)}}, "quotes: unknown symbol 'Y'"),
        ({"fine": {"Y": flat(1)}}, "fine: unknown symbol 'Y'"),
        ({"not_shortable": ["Y"]}, "not_shortable: unknown symbol 'Y'"),
        ({"lots": {"X": 0.0}}, "X: lot must be above 0, got 0.0"),
        ({"ticks": {"X": -0.1}}, "X: tick must be above 0, got -0.1"),
        ({"borrow": {"X": NAN}}, "X: borrow must be above 0, got nan"),
        ({"actions": [Action(DAY, "Y", SPLIT, 2.0)]},
         "Y: action at 1970-01-02 00:00:00 UTC: unknown symbol"),
        ({"actions": [Action(DAY, "X", 7, 2.0)]}, "kind must be SPLIT, DIVIDEND or DELISTING"),
        ({"actions": [Action(DAY, "X", SPLIT, 0.0)]}, "value must be above 0, got 0.0"),
        ({"actions": [Action(DAY, "X", DIVIDEND, NAN)]}, "value must be above 0, got nan"),
        ({"actions": [Action(9 * DAY, "X", DELISTING, -1.0)]}, "value must be above 0, got -1.0"),
        ({"actions": [Action(2 * DAY, "X", DELISTING, 1.0)]}, "there are bars after its delisting"),
        ({"quotes": quotes(1)}, "X: quotes must be QUOTE, one for each of 2 bars, got 1 of"),
        ({"quotes": quotes(2, bid=12.0)}, "X: bar 0: quote must have 0 < bid <= ask and sizes"),
        ({"quotes": quotes(2, ask_size=-1.0)}, "X: bar 0: quote must have 0 < bid <= ask"),
        ({"fine": {"X": bars([(1, 1, 1, 1)], step=DAY // 2)}},
         "X: finer bars begin before the first bar"),
    ],
)  # fmt: skip
def test_what_belongs_to_bars(market: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MarketError, match=complaint):
        Market.of({"X": flat(10, 10)}, **market)


def test_a_market_has_symbols_and_quotes_for_all_or_none() -> None:
    with pytest.raises(MarketError, match="the market has no symbols"):
        Market.of({})
    with pytest.raises(MarketError, match="Z: has no quotes while others do"):
        Market.of({"X": flat(10, 10), "Z": flat(10, 10)}, quotes=quotes(2))


def sleeve(*rows: dict[str, Any], symbol: str = "X") -> Sleeve:
    return Sleeve("one", {symbol: signals(*rows)}, Sizing(Method.FIXED_QUANTITY, 1.0))


@pytest.mark.parametrize(
    ("sleeves", "complaint"),
    [
        ([sleeve(symbol="Y")], "unknown symbol 'Y'; there are X"),
        ([sleeve(), sleeve()], "two sleeves have one name: one, one"),
        ([sleeve({"index": 1, "target": 1.0}, {"index": 1, "target": 0.0})],
         "sleeve one: X: signal 1 is not on a later bar than the one before"),
        ([sleeve({"index": -1, "target": 1.0})], "X: a signal names bar -1, there are 2"),
        ([sleeve({"index": 2, "target": 1.0})], "X: a signal names bar 2, there are 2"),
        ([sleeve({"index": 0, "target": 1.5})], r"bar 0: target must be in \[-1, 1\], got .*1.5"),
        ([sleeve({"index": 0, "target": NAN})], r"bar 0: target must be in \[-1, 1\], got .*nan"),
        ([sleeve({"index": 0, "target": 1.0, "stop": 0.0})],
         "bar 0: stop must be a price above 0, got .*0.0"),
        ([sleeve({"index": 0, "target": 1.0, "take_profit": INF})],
         "bar 0: take_profit must be a price above 0, got .*inf"),
        ([sleeve({"index": 0, "target": 1.0, "limit": -1.0})],
         "bar 0: limit must be a price above 0, got .*-1.0"),
    ],
)  # fmt: skip
def test_signals(sleeves: list[Sleeve], complaint: str) -> None:
    with pytest.raises(MarketError, match=complaint):
        execute(Market.of({"X": flat(10, 10)}), sleeves, Models())


def test_models_and_holdings_need_their_data() -> None:
    market = Market.of({"X": flat(10, 10)})
    with pytest.raises(MarketError, match=r"fill\.market is quote, but the market has no quotes"):
        execute(market, [sleeve()], Models(fill=Fill(market=MarketFill.QUOTE)))
    with pytest.raises(MarketError, match="holdings: no sleeve 'two' with signals on X"):
        execute(market, [sleeve()], Models(), {("two", "X"): (1.0, 10.0)})
    for shares, price in ((NAN, 10.0), (1.0, 0.0), (1.0, INF)):
        with pytest.raises(MarketError, match=f"holdings: one, X: {shares!r} shares at {price!r}"):
            execute(market, [sleeve()], Models(), {("one", "X"): (shares, price)})
