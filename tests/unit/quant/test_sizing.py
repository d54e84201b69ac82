"""Sizing formulas by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.quant.compile import compiled
from libs.common.quant.sizing import fixed_notional, percent_of_equity, volatility_target

PRICE = st.floats(0.01, 1e5)
TARGET = st.floats(-1.0, 1.0)


def test_fixed_notional_buys_what_the_amount_pays() -> None:
    assert fixed_notional(1.0, 10_000.0, 250.0) == 40.0
    assert fixed_notional(-0.5, 10_000.0, 250.0) == -20.0


def test_percent_of_equity_is_a_share_of_the_account() -> None:
    assert percent_of_equity(1.0, 0.05, 1_000_000.0, 250.0) == 200.0


def test_volatility_target_halves_what_is_twice_too_wild() -> None:
    assert volatility_target(1.0, 0.10, 0.20, 1_000_000.0, 250.0, 1.0) == 2_000.0


def test_volatility_target_never_exceeds_the_leverage() -> None:
    assert volatility_target(1.0, 0.40, 0.01, 1_000.0, 10.0, 1.5) == 150.0


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan])
def test_no_size_without_a_price(price: float) -> None:
    assert math.isnan(fixed_notional(1.0, 1.0, price))
    assert math.isnan(percent_of_equity(1.0, 0.1, 1.0, price))
    assert math.isnan(volatility_target(1.0, 0.1, 0.1, 1.0, price, 1.0))


@pytest.mark.parametrize("volatility", [0.0, -0.1, math.nan])
def test_no_size_without_a_volatility(volatility: float) -> None:
    assert math.isnan(volatility_target(1.0, 0.1, volatility, 1.0, 1.0, 1.0))


@given(target=TARGET, price=PRICE)
def test_the_compiled_formula_gives_the_same_bits(target: float, price: float) -> None:
    assert _compiled(target, 0.1, 0.25, 1e6, price, 1.0) == volatility_target(
        target, 0.1, 0.25, 1e6, price, 1.0
    )


_compiled = compiled(volatility_target)
