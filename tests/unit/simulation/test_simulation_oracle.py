"""The kernel against a slow simulation written from the same page, and laws that always hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from libs.common.quant.simulation.execute import execute
from libs.common.quant.simulation.layout import (
    DELISTING,
    DIVIDEND,
    QUOTE,
    REASONS,
    SPLIT,
)
from libs.common.quant.simulation.market import Action, Market
from libs.common.quant.simulation.models import (
    Commission,
    Exits,
    Fill,
    Flip,
    Interest,
    Latency,
    LimitFill,
    Margin,
    MarketFill,
    Models,
    Slippage,
    SlippageMethod,
)
from libs.common.quant.simulation.outcome import Outcome
from libs.common.quant.simulation.records import BAR, SIGNAL
from libs.common.quant.simulation.sleeves import Method, Sizing, Sleeve
from tests.support.simulations import DAY
from tests.support.slow_simulation import Slow

NAN = np.nan
LENGTH = 40


def random_bars(draw: np.random.Generator, step: int, count: int, missing: float) -> np.ndarray:
    """Return bars with prices in cents around 20, so that exact touches are common."""
    table = np.zeros(count, BAR)
    table["ts"] = (1 + np.arange(count)) * step
    close = np.maximum(np.round(20 + np.cumsum(draw.normal(0, 0.4, count)), 1), 1.0)
    opens = np.maximum(np.round(np.append(20.0, close[:-1]) + draw.normal(0, 0.3, count), 1), 1.0)
    table["open"], table["close"] = opens, close
    table["high"] = np.round(np.maximum(opens, close) + draw.integers(0, 6, count) / 10, 1)
    low = np.minimum(opens, close) - draw.integers(0, 6, count) / 10
    table["low"] = np.maximum(np.round(low, 1), 0.5)
    table["volume"] = draw.integers(0, 2_000, count)
    return table[draw.random(count) >= missing]


def random_signals(draw: np.random.Generator, bars: np.ndarray, often: float) -> np.ndarray:
    """Return signals with limits and exits on the proper sides, mostly."""
    index = np.flatnonzero(draw.random(len(bars)) < often)
    table = np.zeros(len(index), SIGNAL)
    table["index"], table["confidence"] = index, 1.0
    table["target"] = draw.choice([-1.0, -0.5, 0.0, 0.5, 1.0], len(index))
    close, side = bars["close"][index], np.where(table["target"] < 0, -1.0, 1.0)
    for name, low, high in (("limit", -5, 2), ("stop", -12, -4), ("take_profit", 2, 12)):
        price = np.round(close + side * draw.integers(low, high, len(index)) / 10, 1)
        given_ = (draw.random(len(index)) < 0.5) & (price > 0)
        table[name] = np.where(given_, price, NAN)
    return table


def random_market(draw: np.random.Generator, symbols: int, missing: float, extras: bool) -> Market:
    """Return a market; with extras also quotes, finer bars, actions, lots, a lending rate."""
    names = [f"S{k}" for k in range(symbols)]
    bars = {name: random_bars(draw, DAY, LENGTH, missing) for name in names}
    if not extras:
        return Market.of(bars, ticks=dict.fromkeys(names, 0.1))
    quotes, fine, actions = {}, {}, []
    for name, table in bars.items():
        quote = np.zeros(len(table), QUOTE)
        half = draw.integers(1, 3, len(table)) / 10
        quote["bid"], quote["ask"] = np.maximum(table["open"] - half, 0.1), table["open"] + half
        quote["bid_size"], quote["ask_size"] = draw.integers(0, 90, (2, len(table)))
        quotes[name] = quote
        inner = random_bars(draw, DAY // 3, 3 * LENGTH, 0.3)
        fine[name] = inner[(inner["ts"] >= table["ts"][0]) & (draw.random(len(inner)) < 0.5)]
        for kind, value in ((SPLIT, 2.0), (SPLIT, 0.3), (DIVIDEND, 0.4)):
            day = int(draw.integers(1, LENGTH)) * DAY
            actions.append(Action(day, name, kind, value))
    last = int(bars["S0"]["ts"][-1])
    if len(bars) > 1:
        cut = LENGTH // 2
        bars["S1"] = bars["S1"][:cut]
        quotes["S1"] = quotes["S1"][:cut]
        end = int(bars["S1"]["ts"][-1]) + 1
        actions = [a for a in actions if a.symbol != "S1" or a.ts < end]
        if end < last:
            actions.append(Action(end, "S1", DELISTING, float(draw.choice([NAN, 7.5]))))
    if draw.random() < 0.5:
        actions.append(Action(last + DAY, "S0", DELISTING, float(draw.choice([NAN, 7.5]))))
    fine["S0"] = fine["S0"][fine["S0"]["ts"] > 0]
    given_fine = {name: table for name, table in fine.items() if len(table)}
    return Market.of(
        bars,
        actions=actions,
        quotes=quotes,
        fine=given_fine,
        lots={"S0": 0.1},
        borrow={"S0": 0.3},
        ticks=dict.fromkeys(names, 0.1),
    )


MODELS = st.builds(
    Models,
    cash=st.sampled_from([5_000.0, 50_000.0, 1e6]),
    fill=st.builds(
        Fill,
        market=st.sampled_from(MarketFill),
        limit=st.sampled_from(LimitFill),
        volume_share=st.sampled_from([None, 0.05, 0.5]),
        quote_levels=st.integers(1, 3),
    ),
    slippage=st.builds(
        Slippage,
        method=st.sampled_from(SlippageMethod),
        figure=st.sampled_from([0.0, 0.5, 3.0]),
        spread_bps=st.just(20.0),
        window=st.sampled_from([2, 10]),
    ),
    latency=st.builds(Latency, bars=st.integers(0, 2), ns=st.sampled_from([0, DAY // 2])),
    commission=st.builds(
        Commission,
        per_share=st.sampled_from([0.0, 0.005]),
        per_order=st.sampled_from([0.0, 2.0]),
        percent=st.sampled_from([0.0, 0.002]),
        maker=st.sampled_from([None, -0.0002, 0.001]),
        tiers=st.sampled_from([(), ((0.0, 0.003), (20_000.0, 0.001))]),
        minimum=st.sampled_from([0.0, 1.0]),
        maximum_share=st.sampled_from([None, 0.01]),
        tax_buy=st.sampled_from([0.0, 0.005]),
        tax_sell=st.sampled_from([0.0, 0.0001]),
        fee_per_share_sold=st.sampled_from([0.0, 0.0002]),
    ),
    margin=st.sampled_from([Margin(), Margin.reg_t(), Margin(0.5, 0.45, 0.49)]),
    interest=st.sampled_from([Interest(), Interest(0.02, 0.08, 0.05, 360.0, 0.15)]),
    flip=st.sampled_from(Flip),
    exits=st.sampled_from(Exits),
    order_bars=st.sampled_from([None, 1, 3]),
    volatility_window=st.sampled_from([2, 25]),
)
SIZINGS = st.sampled_from(
    [
        Sizing(Method.FIXED_QUANTITY, 137.0),
        Sizing(Method.FIXED_NOTIONAL, 3_000.0),
        Sizing(Method.PERCENT_OF_EQUITY, 0.9),
        Sizing(Method.VOLATILITY_TARGET, 0.3, 0.8),
    ]
)
CASES: Any = {
    "seed": st.integers(0, 2**32),
    "symbols": st.integers(1, 3),
    "missing": st.sampled_from([0.0, 0.2]),
    "extras": st.booleans(),
    "models": MODELS,
    "sizings": st.lists(SIZINGS, min_size=1, max_size=2),
}


def case_of(
    seed: int, symbols: int, missing: float, extras: bool, sizings: list[Sizing], models: Models
) -> tuple[Market, list[Sleeve]]:
    draw = np.random.default_rng(seed)
    market = random_market(draw, symbols, missing, extras)
    if not len(market.quotes) and models.fill.market is MarketFill.QUOTE:
        market = random_market(draw, symbols, missing, True)
    sleeves = [
        Sleeve(
            f"sleeve {k}",
            {
                symbol: random_signals(draw, bars, 0.25)
                for symbol, bars in zip(market.symbols, market.bars, strict=True)
            },
            sizing,
            weight=1.0 if k == 0 else 0.7,
        )
        for k, sizing in enumerate(sizings)
    ]
    return market, sleeves


def plain_fills(outcome: Outcome) -> list[tuple[Any, ...]]:
    return [
        (int(f["ts"]), int(f["symbol"]), int(f["sleeve"]), float(f["side"] * f["quantity"]),
         float(f["price"]), float(f["commission"]), REASONS[f["reason"]])
        for f in outcome.fills
    ]  # fmt: skip


# A failure is not made smaller: that takes minutes, and the seed says it all.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(**CASES)
def test_the_kernel_equals_the_slow_simulation(
    seed: int, symbols: int, missing: float, extras: bool, models: Models, sizings: list[Sizing]
) -> None:
    market, sleeves = case_of(seed, symbols, missing, extras, sizings, models)
    outcome = execute(market, sleeves, models)
    slow = Slow(market, sleeves, models).run()
    found = plain_fills(outcome)
    for mine, theirs in zip(found, slow.fills, strict=False):
        assert mine[:3] == theirs[:3]
        assert mine[6] == theirs[6]
        assert mine[3:6] == pytest.approx(theirs[3:6], rel=1e-9, abs=1e-7)
    assert len(found) == len(slow.fills)
    np.testing.assert_allclose(outcome.equity, slow.equity, rtol=1e-9, atol=1e-6)
    assert len(outcome.refused) == slow.refused


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(**CASES, cut=st.integers(1, LENGTH - 1))
def test_what_comes_later_never_changes_what_was(
    seed: int,
    symbols: int,
    missing: float,
    extras: bool,
    models: Models,
    sizings: list[Sizing],
    cut: int,
) -> None:
    market, sleeves = case_of(seed, symbols, missing, False, sizings, models)
    if len(market.quotes):
        return
    end = int(market.timeline[min(cut, len(market.timeline) - 1)])
    short = {
        symbol: bars[bars["ts"] < end]
        for symbol, bars in zip(market.symbols, market.bars, strict=True)
    }
    short = {symbol: bars for symbol, bars in short.items() if len(bars)}
    if not short:
        return
    earlier = Market.of(short, ticks=dict.fromkeys(short, 0.1), duration_ns=market.duration_ns)
    cut_sleeves = [
        Sleeve(
            sleeve.name,
            {s: a[a["index"] < len(short[s])] for s, a in sleeve.signals.items() if s in short},
            sleeve.sizing,
            sleeve.weight,
        )
        for sleeve in sleeves
    ]
    whole, part = execute(market, sleeves, models), execute(earlier, cut_sleeves, models)
    np.testing.assert_array_equal(whole.equity[: len(part.equity)], part.equity)
    before = whole.fills[whole.fills["ts"] < end]
    for name in ("ts", "side", "quantity", "price", "commission", "reason", "bar"):
        np.testing.assert_array_equal(before[name], part.fills[name])


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(**CASES)
def test_nothing_is_lost_and_nothing_comes_from_nowhere(
    seed: int, symbols: int, missing: float, extras: bool, models: Models, sizings: list[Sizing]
) -> None:
    market, sleeves = case_of(seed, symbols, missing, False, sizings, models)
    if len(market.actions):
        return
    first, second = execute(market, sleeves, models), execute(market, sleeves, models)
    for name in ("equity", "fills", "trades", "refused"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    fills, totals = first.fills, first.totals
    signed = fills["side"] * fills["quantity"]
    for s in range(len(first.symbols)):
        assert signed[fills["symbol"] == s].sum() == pytest.approx(first.positions[s], abs=1e-6)
    np.testing.assert_allclose(first.held.sum(axis=0), first.positions, atol=1e-6)
    paid = (signed * fills["price"]).sum() + fills["commission"].sum()
    cash = models.cash - paid + totals.interest - totals.borrow + totals.dividends
    assert cash == pytest.approx(first.cash[-1], rel=1e-9, abs=1e-6)
    last = np.array([bars["close"][-1] for bars in market.bars])
    marked = (first.positions * last).sum()
    assert first.cash[-1] + marked == pytest.approx(first.equity[-1], rel=1e-9, abs=1e-6)
    net = first.cash + first.exposure_long - first.exposure_short
    np.testing.assert_allclose(first.equity, net, rtol=1e-12)
    assert totals.commission == pytest.approx(fills["commission"].sum())
    assert totals.slippage == pytest.approx(fills["slippage"].sum(), abs=1e-9)
    assert (fills["quantity"] > 0).all()
    assert (fills["price"] > 0).all()
    if models.margin.initial == 1.0 and not (first.exposure_short > 0).any():
        assert first.cash.min() >= -1e-6 * models.cash


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(**CASES)
def test_the_profit_of_all_trades_is_the_gain(
    seed: int, symbols: int, missing: float, extras: bool, models: Models, sizings: list[Sizing]
) -> None:
    market, sleeves = case_of(seed, symbols, missing, False, sizings, models)
    outcome = execute(market, sleeves, models)
    if (outcome.held != 0).any():
        return
    gain = outcome.equity[-1] - models.cash - outcome.totals.interest + outcome.totals.borrow
    assert outcome.trades["profit"].sum() == pytest.approx(gain, rel=1e-9, abs=1e-5)
