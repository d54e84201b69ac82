"""Which changes of limits and of the kill switch let more through."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.vocabulary import TradingState
from services.risk_manager.limits import DEFINITIONS, LimitKey, Scope, is_sizing
from services.risk_manager.loosening import loosens_limit, loosens_state

values = st.none() | st.decimals(0, 100, places=2)


def key(name: str) -> LimitKey:
    return LimitKey(Scope.ACCOUNT, "", name)


@pytest.mark.parametrize(
    ("name", "old", "new", "loosens"),
    [
        ("notional_max", "100", "200", True),
        ("notional_max", "200", "100", False),
        ("notional_max", "100", "100", False),
        ("notional_min", "1", "2", False),
        ("notional_min", "2", "1", True),
        ("duplicate_window_s", "2", "1", True),
        ("short_selling", "0", "1", True),
        ("restricted", "1", "0", True),
        ("restricted", "0", "1", False),
        ("daily_loss_max", None, "500", False),
        ("daily_loss_max", "500", None, True),
        ("size_percent_of_equity", "0.04", "0.08", False),
    ],
)
def test_what_loosens_a_limit(name: str, old: str | None, new: str | None, loosens: bool) -> None:
    as_number = [None if one is None else Decimal(one) for one in (old, new)]
    assert loosens_limit(key(name), *as_number) is loosens


@given(st.sampled_from(sorted(DEFINITIONS)), values, values)
def test_of_a_change_and_its_undoing_one_loosens(
    name: str, old: Decimal | None, new: Decimal | None
) -> None:
    there, back = loosens_limit(key(name), old, new), loosens_limit(key(name), new, old)
    if old == new or is_sizing(name):
        assert not there
        assert not back
    else:
        assert there is not back


@pytest.mark.parametrize(
    ("old", "new", "loosens"),
    [
        (TradingState.HALTED, TradingState.ACTIVE, True),
        (TradingState.HALTED, TradingState.REDUCING, True),
        (TradingState.REDUCING, TradingState.ACTIVE, True),
        (TradingState.ACTIVE, TradingState.HALTED, False),
        (TradingState.REDUCING, TradingState.HALTED, False),
        (TradingState.HALTED, TradingState.HALTED, False),
    ],
)
def test_what_loosens_the_kill_switch(old: TradingState, new: TradingState, loosens: bool) -> None:
    assert loosens_state(old, new) is loosens
