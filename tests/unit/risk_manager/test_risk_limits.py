"""Limits: the tightest holds; sizing is chosen; what cannot be set says why."""

from __future__ import annotations

from decimal import Decimal

import pytest

from libs.common.domain.checks import Limits
from libs.common.domain.instruments import AssetClass, Instrument
from libs.common.domain.sizing import SizingMethod
from libs.common.kernel.errors import InvalidInputError
from services.risk_manager.limits import LimitBook, LimitKey, Scope, defaults, validated

D = Decimal
APPLE = Instrument("AAPL", sector="technology")


def key(name: str, scope: Scope = Scope.ACCOUNT, at: str = "") -> LimitKey:
    return LimitKey(scope, at, name)


def test_defaults_are_those_that_the_checks_state() -> None:
    assert LimitBook(defaults()).limits_for("sma", APPLE) == Limits()


def test_tightest_of_all_scopes_holds() -> None:
    book = LimitBook(
        {
            key("notional_max"): D(1000),
            key("notional_max", Scope.SYMBOL, "AAPL"): D(800),
            key("notional_max", Scope.SECTOR, "technology"): D(900),
            key("notional_max", Scope.STRATEGY, "sma"): D(700),
            key("notional_min"): D(1),
            key("notional_min", Scope.SYMBOL, "AAPL"): D(50),
        }
    )
    assert book.limits_for("sma", APPLE).notional_max == 700
    assert book.limits_for("other", APPLE).notional_max == 800
    assert book.limits_for(None, Instrument("KO")).notional_max == 1000
    assert book.limits_for(None, APPLE).notional_min == 50


def test_change_is_seen_at_once() -> None:
    book = LimitBook(defaults())
    assert book.limits_for("sma", APPLE).notional_max == 250_000
    book.change(key("notional_max", Scope.STRATEGY, "sma"), D(5))
    assert book.limits_for("sma", APPLE).notional_max == 5
    book.change(key("notional_max", Scope.STRATEGY, "sma"), None)
    assert book.limits_for("sma", APPLE).notional_max == 250_000


def test_sector_can_be_restricted() -> None:
    book = LimitBook({key("restricted", Scope.SECTOR, "technology"): D(1)})
    assert book.limits_for(None, APPLE).restricted
    assert not book.limits_for(None, Instrument("KO")).restricted


def test_price_age_is_by_asset_class() -> None:
    book = LimitBook(defaults())
    bitcoin = Instrument("BTC/USD", asset_class=AssetClass.CRYPTO)
    assert book.limits_for(None, APPLE).price_age_s_max == 15
    assert book.limits_for(None, bitcoin).price_age_s_max == 30


def test_strategy_sizing_replaces_the_account_one() -> None:
    book = LimitBook(defaults())
    assert book.sizing_for("sma").method is SizingMethod.PERCENT_OF_EQUITY
    book.change(key("size_fixed_notional", Scope.STRATEGY, "sma"), D(5000))
    rule = book.sizing_for("sma")
    assert (rule.method, rule.figure) == (SizingMethod.FIXED_NOTIONAL, 5000)
    assert book.sizing_for("other").method is SizingMethod.PERCENT_OF_EQUITY
    book.change(key("size_volatility_target", Scope.STRATEGY, "sma"), D("0.02"))
    book.change(key("size_weight_max", Scope.STRATEGY, "sma"), D("0.07"))
    rule = book.sizing_for("sma")
    assert (rule.method, rule.weight_max) == (SizingMethod.VOLATILITY_TARGET, D("0.07"))


@pytest.mark.parametrize(
    ("limit", "value", "word"),
    [
        (key("nonsense"), D(1), "nonsense"),
        (key("notional_max"), D(-1), "lies within"),
        (key("notional_max"), D("NaN"), "lies within"),
        (key("notional_max"), D("Infinity"), "lies within"),
        (key("notional_max"), D("0.000000001"), "decimal places"),
        (key("orders_per_window_account"), D("1.5"), "whole"),
        (key("orders_per_window_account", Scope.SYMBOL, "AAPL"), D(1), "scope"),
        (key("notional_max", Scope.SYMBOL), D(1), "scope_key"),
        (key("notional_max", Scope.ACCOUNT, "AAPL"), D(1), "scope_key"),
        (key("notional_max"), None, "only be changed"),
    ],
)
def test_what_cannot_be_set_says_why(limit: LimitKey, value: Decimal | None, word: str) -> None:
    with pytest.raises(InvalidInputError, match=word):
        validated(limit, value)


def test_limit_without_default_and_narrower_ones_can_be_removed() -> None:
    assert validated(key("daily_loss_max"), None) is None
    assert validated(key("notional_max", Scope.SYMBOL, "AAPL"), None) is None
