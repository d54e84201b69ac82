"""From a target to whole lots: expected figures by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.instruments import Instrument
from libs.common.domain.sizing import (
    FLIP,
    SizingMethod,
    SizingRule,
    order_to_reach,
    quantity_of_notional,
    wished_position,
)
from libs.common.domain.vocabulary import Side
from libs.common.kernel.errors import Refusal

D = Decimal
APPLE = Instrument("AAPL")
FIVE_PERCENT = SizingRule(SizingMethod.PERCENT_OF_EQUITY, D("0.05"))


def wished(rule: SizingRule = FIVE_PERCENT, target: float = 1.0, **facts: Any) -> Any:
    known = {
        "price": D("151.30"),
        "equity": D(1_000_000),
        "volatility": None,
        "instrument": APPLE,
    }
    return wished_position(rule, target, **(known | facts))


def test_percent_of_equity() -> None:
    assert wished() == 330  # 50 000 / 151.30 = 330.47


def test_short_target_is_rounded_toward_zero_too() -> None:
    assert wished(target=-1.0) == -330


def test_float_noise_does_not_cost_a_share() -> None:
    # 0.1 x 3 000 / 3 is 99.99999999999999 or 100.00000000000001 in floats, 100 in truth.
    rule = SizingRule(SizingMethod.PERCENT_OF_EQUITY, D("0.1"))
    assert wished(rule, equity=D(3_000), price=D(3)) == 100


def test_fixed_notional_and_quantity() -> None:
    assert wished(SizingRule(SizingMethod.FIXED_NOTIONAL, D(10_000)), price=D(250)) == 40
    assert wished(SizingRule(SizingMethod.FIXED_QUANTITY, D(25)), target=0.5) == 12


def test_volatility_target() -> None:
    # 2 % wanted at 20 % measured: a tenth of the equity; never more than weight_max.
    rule = SizingRule(SizingMethod.VOLATILITY_TARGET, D("0.02"), weight_max=D("0.10"))
    assert wished(rule, volatility=0.2, price=D(100)) == 1000
    assert wished(rule, volatility=0.4, price=D(100)) == 500
    assert wished(rule, volatility=0.01, price=D(100)) == 1000


def test_refusals() -> None:
    rule = SizingRule(SizingMethod.VOLATILITY_TARGET, D("0.02"))
    codes = [
        wished(target=1.5),
        wished(target=float("nan")),
        wished(equity=D(0)),
        wished(rule),
        wished(price=D(0)),
    ]
    assert all(isinstance(refusal, Refusal) for refusal in codes)
    assert [refusal.code for refusal in codes] == [
        "TARGET_INVALID",
        "TARGET_INVALID",
        "EQUITY_NOT_POSITIVE",
        "VOLATILITY_UNKNOWN",
        "SIZE_UNDEFINED",
    ]


def test_flat_needs_neither_price_nor_equity() -> None:
    assert wished(target=0.0, price=D(0), equity=D(-1)) == 0


@pytest.mark.parametrize(
    ("want", "have", "side", "quantity"),
    [
        (100, 0, Side.BUY, 100),
        (100, 40, Side.BUY, 60),
        (40, 100, Side.SELL, 60),
        (0, 100, Side.SELL, 100),
        (0, -30, Side.BUY, 30),
        (-50, 0, Side.SELL, 50),
        (-50, 100, Side.SELL, 100),
        (50, -20, Side.BUY, 20),
        (100, 100, Side.SELL, 0),
    ],
)
def test_order_to_reach(want: int, have: int, side: Side, quantity: int) -> None:
    sized = order_to_reach(D(want), D(have), APPLE)
    assert (sized.side, sized.quantity) == (side, quantity)
    assert (sized.note == FLIP) is (want * have < 0)


def test_fraction_left_over_is_closed_only_where_fractions_trade() -> None:
    assert order_to_reach(D(0), D("10.4"), APPLE).quantity == 10
    fractions = replace(APPLE, fractionable=True)
    assert order_to_reach(D(0), D("10.4"), fractions).quantity == D("10.4")


def test_quantity_of_notional() -> None:
    assert quantity_of_notional(D(1_000), D("151.30"), APPLE) == 6


@given(
    target=st.floats(-1, 1, allow_nan=False),
    equity=st.decimals(1, 10**9, places=4),
    price=st.decimals("0.01", 10**5, places=2),
)
def test_value_never_exceeds_the_share(target: float, equity: Decimal, price: Decimal) -> None:
    """Rounding is toward less risk: |shares| x price <= share x equity, to float precision."""
    shares = wished(target=target, equity=equity, price=price)
    bound = abs(D(target)) * D("0.05") * equity
    assert abs(shares) * price <= bound * (1 + D("1e-9")) + price * D("1e-8")
    assert shares * D(target) >= 0
