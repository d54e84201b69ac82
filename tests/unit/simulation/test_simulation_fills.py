"""When and where orders fill, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from libs.common.quant.simulation.layout import CODES, QUOTE, REASONS
from libs.common.quant.simulation.models import (
    Commission,
    Exits,
    Fill,
    Flip,
    Latency,
    LimitFill,
    MarketFill,
    Models,
    Slippage,
    SlippageMethod,
)
from tests.support.simulations import bars, fills_of, flat, run_one

BUY = {"index": 0, "target": 1.0}


def test_a_decision_on_a_bar_fills_at_the_next_bars_open() -> None:
    table = bars([(10, 11, 9, 10), (12, 13, 11, 12.5), (12, 13, 11, 13)])
    outcome = run_one(table, BUY)
    assert fills_of(outcome) == [(1, 100.0, 12.0)]
    assert list(outcome.equity) == [1_000_000.0, 1_000_050.0, 1_000_100.0]
    assert outcome.cash[-1] == 1_000_000.0 - 1200.0
    assert outcome.exposure_long[-1] == 1300.0


def test_a_decision_on_the_last_bar_never_fills() -> None:
    assert fills_of(run_one(flat(10, 11), {"index": 1, "target": 1.0})) == []


def test_next_close_fills_at_the_next_bars_close() -> None:
    models = Models(fill=Fill(market=MarketFill.NEXT_CLOSE))
    table = bars([(10, 11, 9, 10), (12, 13, 11, 12.5)])
    assert fills_of(run_one(table, BUY, models=models)) == [(1, 100.0, 12.5)]


def test_percent_commission_is_taken_from_cash() -> None:
    models = Models(commission=Commission(percent=0.001))
    outcome = run_one(flat(10, 20, 20), BUY, models=models)
    assert outcome.fills["commission"][0] == pytest.approx(2.0)
    assert outcome.equity[-1] == pytest.approx(1_000_000 - 2.0)


def test_a_round_trip_is_a_trade() -> None:
    models = Models(commission=Commission(percent=0.001))
    outcome = run_one(flat(10, 20, 30, 30), BUY, {"index": 1, "target": 0.0}, models=models)
    (trade,) = outcome.trades
    assert (trade["side"], trade["quantity"]) == (1, 100.0)
    assert (trade["entry_price"], trade["exit_price"]) == (20.0, 30.0)
    assert trade["profit"] == pytest.approx(1000.0 - 2.0 - 3.0)
    assert outcome.equity[-1] == pytest.approx(1_000_000.0 + trade["profit"])


def test_a_change_of_sides_closes_first() -> None:
    outcome = run_one(flat(10, 10, 10, 10), BUY, {"index": 1, "target": -1.0})
    assert fills_of(outcome) == [(1, 100.0, 10.0), (2, -100.0, 10.0)]


def test_a_change_of_sides_may_go_through_zero() -> None:
    models = Models(flip=Flip.THROUGH)
    outcome = run_one(flat(10, 10, 12, 12), BUY, {"index": 1, "target": -1.0}, models=models)
    assert fills_of(outcome) == [(1, 100.0, 10.0), (2, -200.0, 12.0)]
    assert len(outcome.trades) == 1
    assert outcome.trades[0]["profit"] == pytest.approx(200.0)
    assert outcome.positions[0] == -100.0


def test_a_limit_waits_for_its_price() -> None:
    table = bars([(10, 10, 10, 10), (10, 11, 9.5, 10), (10, 10, 8.9, 9)])
    assert fills_of(run_one(table, BUY | {"limit": 9.0})) == [(2, 100.0, 9.0)]


def test_a_limit_beyond_the_open_fills_at_the_open() -> None:
    table = bars([(10, 10, 10, 10), (8, 9, 8, 9)])
    assert fills_of(run_one(table, BUY | {"limit": 9.0})) == [(1, 100.0, 8.0)]


def test_a_limit_that_is_only_touched_waits_where_it_must_be_traded_through() -> None:
    models = Models(fill=Fill(limit=LimitFill.THROUGH))
    table = bars([(10, 10, 10, 10), (10, 10, 9, 10), (10, 10, 8.99, 10)])
    assert fills_of(run_one(table, BUY | {"limit": 9.0})) == [(1, 100.0, 9.0)]
    assert fills_of(run_one(table, BUY | {"limit": 9.0}, models=models)) == [(2, 100.0, 9.0)]


def test_a_bar_that_touches_both_exits_takes_the_worse() -> None:
    table = bars([(10, 10, 10, 10), (10, 12.5, 8.5, 11), (11, 11, 11, 11)])
    outcome = run_one(table, BUY | {"stop": 9.0, "take_profit": 12.0})
    assert fills_of(outcome) == [(1, 100.0, 10.0), (1, -100.0, 9.0)]
    assert REASONS[outcome.fills["reason"][1]] == "stop"


def test_finer_bars_decide_what_was_touched_first() -> None:
    table = bars([(10, 10, 10, 10), (10, 12.5, 8.5, 11), (11, 11, 11, 11)])
    inner = bars([(10, 12.5, 10, 12), (12, 12, 8.5, 11)])
    inner["ts"] = table["ts"][1] + np.array([0, 3600 * 10**9])
    outcome = run_one(table, BUY | {"stop": 9.0, "take_profit": 12.0}, fine={"X": inner})
    assert fills_of(outcome) == [(1, 100.0, 10.0), (1, -100.0, 12.0)]
    assert REASONS[outcome.fills["reason"][1]] == "take_profit"


def test_a_gap_through_a_stop_fills_at_the_open() -> None:
    table = bars([(10, 10, 10, 10), (10, 10, 10, 10), (7, 8, 6, 7)])
    outcome = run_one(table, BUY | {"stop": 9.0})
    assert fills_of(outcome) == [(1, 100.0, 10.0), (2, -100.0, 7.0)]


def test_a_gap_beyond_the_target_fills_at_the_open() -> None:
    table = bars([(10, 10, 10, 10), (10, 10, 10, 10), (14, 15, 8, 9)])
    outcome = run_one(table, BUY | {"stop": 9.0, "take_profit": 12.0})
    assert fills_of(outcome) == [(1, 100.0, 10.0), (2, -100.0, 14.0)]


def test_a_short_is_stopped_above() -> None:
    table = bars([(10, 10, 10, 10), (10, 10, 10, 10), (10, 11.5, 10, 11)])
    outcome = run_one(table, {"index": 0, "target": -1.0, "stop": 11.0})
    assert fills_of(outcome) == [(1, -100.0, 10.0), (2, 100.0, 11.0)]


def test_what_was_bought_at_a_limit_within_the_bar_takes_no_profit_in_it() -> None:
    table = bars([(10, 10, 10, 10), (10, 12, 8.9, 11), (11, 12, 11, 12)])
    outcome = run_one(table, BUY | {"limit": 9.0, "take_profit": 12.0})
    assert fills_of(outcome) == [(1, 100.0, 9.0), (2, -100.0, 12.0)]


def test_what_was_bought_at_a_limit_within_the_bar_can_be_stopped_in_it() -> None:
    table = bars([(10, 10, 10, 10), (10, 12, 8, 11)])
    outcome = run_one(table, BUY | {"limit": 9.0, "stop": 8.5})
    assert fills_of(outcome) == [(1, 100.0, 9.0), (1, -100.0, 8.5)]


def test_after_a_stop_the_next_signal_is_needed() -> None:
    table = bars([(10, 10, 10, 10), (10, 10, 8, 10), (10, 10, 10, 10), (10, 10, 10, 10)])
    outcome = run_one(table, BUY | {"stop": 9.0})
    assert fills_of(outcome) == [(1, 100.0, 10.0), (1, -100.0, 9.0)]


def test_exits_are_the_entrys_or_the_latest_decisions() -> None:
    table = bars([(10, 10, 10, 10), (10, 10, 10, 10), (10, 10, 9.4, 10), (10, 10, 8, 8)])
    rows = (BUY | {"stop": 9.0}, {"index": 1, "target": 1.0, "stop": 9.5})
    assert fills_of(run_one(table, *rows))[1] == (3, -100.0, 9.0)
    latest = Models(exits=Exits.LATEST)
    assert fills_of(run_one(table, *rows, models=latest))[1] == (2, -100.0, 9.5)


def test_volume_fills_in_parts_and_the_rest_stays() -> None:
    models = Models(fill=Fill(volume_share=0.1))
    table = bars([(10, 10, 10, 10, 400), (10, 10, 10, 10, 405), (11, 11, 11, 11, 900)])
    outcome = run_one(table, BUY, models=models)
    assert fills_of(outcome) == [(1, 40.0, 10.0), (2, 60.0, 11.0)]


def test_an_order_may_end_before_it_is_filled() -> None:
    models = Models(fill=Fill(volume_share=0.1), order_bars=1)
    table = bars([(10, 10, 10, 10, 400), (10, 10, 10, 10, 405), (11, 11, 11, 11, 900)])
    outcome = run_one(table, BUY, models=models)
    assert fills_of(outcome) == [(1, 40.0, 10.0)]
    (refused,) = outcome.refused
    assert (CODES[refused["code"]], refused["quantity"]) == ("ORDER_EXPIRED", 60.0)


def test_a_stop_larger_than_the_volume_goes_on_at_the_next_open() -> None:
    models = Models(fill=Fill(volume_share=0.5))
    table = bars(
        [(10, 10, 10, 10, 400), (10, 10, 10, 10, 400), (10, 10, 8, 8, 80), (7, 7, 7, 7, 400)]
    )
    outcome = run_one(table, BUY | {"stop": 9.0}, models=models)
    assert fills_of(outcome) == [(1, 100.0, 10.0), (2, -40.0, 9.0), (3, -60.0, 7.0)]


@pytest.mark.parametrize(
    ("latency", "bar"), [(Latency(bars=1), 2), (Latency(ns=1), 2), (Latency(), 1)]
)
def test_latency_misses_opens(latency: Latency, bar: int) -> None:
    outcome = run_one(flat(10, 11, 12, 13), BUY, models=Models(latency=latency))
    assert fills_of(outcome) == [(bar, 100.0, 10.0 + bar)]


def test_cash_is_never_negative() -> None:
    models = Models(cash=1_000.0, commission=Commission(percent=0.01))
    outcome = run_one(flat(10, 10, 10), BUY, models=models)
    # 99 shares cost 990 + 9.90; 100 would cost 1010.
    assert fills_of(outcome) == [(1, 99.0, 10.0)]
    assert outcome.cash[-1] == pytest.approx(0.1)
    (refused,) = outcome.refused
    assert (CODES[refused["code"]], refused["quantity"]) == ("CASH_SHORT", 1.0)


def test_a_quote_is_walked_step_by_step() -> None:
    quotes = np.zeros(3, QUOTE)
    quotes["bid"], quotes["ask"] = 9.9, 10.1
    quotes["bid_size"], quotes["ask_size"] = 50.0, 20.0
    models = Models(fill=Fill(market=MarketFill.QUOTE, quote_levels=2))
    outcome = run_one(flat(10, 10, 10), BUY, models=models, quotes={"X": quotes}, ticks={"X": 0.01})
    # 20 at 10.10 and 40 at 10.11 a bar; the rest waits.
    found = [(bar, quantity, round(price, 4)) for bar, quantity, price in fills_of(outcome)]
    assert found == [(1, 20.0, 10.1), (1, 40.0, 10.11), (2, 20.0, 10.1), (2, 20.0, 10.11)]


def test_fixed_slippage_is_paid_by_market_orders_only() -> None:
    models = Models(slippage=Slippage(SlippageMethod.BPS, 10.0))
    outcome = run_one(flat(10, 10, 10), BUY, {"index": 1, "target": 0.0}, models=models)
    assert [price for _, _, price in fills_of(outcome)] == pytest.approx([10.01, 9.99])
    assert outcome.totals.slippage == pytest.approx(2.0)
    limited = run_one(flat(10, 10, 10), BUY | {"limit": 10.0}, models=models)
    assert [price for _, _, price in fills_of(limited)] == [10.0]


def test_spread_slippage_takes_its_share() -> None:
    models = Models(slippage=Slippage(SlippageMethod.SPREAD, 0.5, spread_bps=20.0))
    outcome = run_one(flat(10, 10, 10), BUY, models=models)
    assert fills_of(outcome)[0][2] == pytest.approx(10.01)


def test_impact_is_the_square_root_of_the_share_of_volume() -> None:
    models = Models(slippage=Slippage(SlippageMethod.IMPACT, 0.8, window=2))
    table = bars(
        [(100, 110, 90, p, 10_000) for p in (100.0, 110.0, 99.0)] + [(100, 110, 90, 100, 5)]
    )
    outcome = run_one(table, {"index": 2, "target": 1.0}, models=models)
    # Returns 0.09531 and -0.10536: deviation 0.14190; sqrt(100 / 10 000) = 0.1.
    assert fills_of(outcome)[0][2] == pytest.approx(100 * (1 + 0.8 * 0.14190 * 0.1), abs=1e-4)


def test_exits_on_the_wrong_side_are_refused() -> None:
    outcome = run_one(flat(10, 10, 10), BUY | {"stop": 11.0, "take_profit": 9.0})
    assert [CODES[c] for c in outcome.refused["code"]] == ["EXIT_LEGS_CROSSED"]
    assert not len(outcome.fills)


def test_prices_of_a_decision_go_on_the_tick_toward_caution() -> None:
    table = bars([(10, 10, 10, 10), (10, 10, 9, 10)])
    outcome = run_one(table, BUY | {"limit": 9.999}, ticks={"X": 0.05})
    assert fills_of(outcome)[0][2] == pytest.approx(9.95)
    assert not math.isnan(outcome.equity[-1])
