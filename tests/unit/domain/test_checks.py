"""Each pre-trade check: allowed, denied, at the edge, and with an order that only reduces."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.checks import ALL, CODES, SymbolExposure, first_denial, judge
from libs.common.domain.instruments import Instrument
from libs.common.domain.vocabulary import (
    OrderClass,
    OrderType,
    SessionState,
    Side,
    TimeInForce,
    TradingState,
)
from tests.support.cases import APPLE, HOLDING, MARK, SELL, TOTALS, case, outcome, passed

D = Decimal
# Sells 10 of the 100 held: closes, opens nothing.
EXIT = {"order": SELL, "exposure": HOLDING}


def test_good_order_passes_every_check() -> None:
    checks = judge(case())
    assert first_denial(checks) is None
    assert [c.code for c in checks if c.passed is None] == [
        "PRICE_OFF_TICK",
        "PRICE_OUTSIDE_COLLAR",
        "EXIT_LEGS_CROSSED",
        "FRACTION_UNSUPPORTED",
        "EXIT_WITHOUT_POSITION",
    ]


def test_every_check_is_listed_even_when_nothing_is_known() -> None:
    blind = case(instrument=None, mark=None, loss_today=None, drawdown=None)
    assert tuple(c.code for c in judge(blind)) == CODES
    assert len(ALL) == len(CODES) == len(set(CODES))


def test_first_denial_names_code_value_and_limit() -> None:
    refusal = first_denial(judge(case(quantity=D(200_000))))
    assert refusal is not None
    assert refusal.code == "QUANTITY_ABOVE_LIMIT"
    assert refusal.context == {"value": "200000", "limit": "100000"}


def test_trading_state() -> None:
    assert passed("TRADING_STATE") is True
    assert passed("TRADING_STATE", state=TradingState.REDUCING) is False
    assert passed("TRADING_STATE", state=TradingState.REDUCING, **EXIT) is True
    assert passed("TRADING_STATE", state=TradingState.HALTED, **EXIT) is False


def test_order_through_zero_is_not_reducing() -> None:
    flip = {"exposure": HOLDING, "order": replace(SELL, quantity=D(101))}
    assert passed("TRADING_STATE", state=TradingState.REDUCING, **flip) is False


def test_exit_counts_what_other_exits_close_already() -> None:
    exposure = SymbolExposure(position=D(100), sells=D(95))
    assert passed("TRADING_STATE", state=TradingState.REDUCING, order=SELL, exposure=exposure) is (
        False
    )


def test_instrument() -> None:
    assert passed("INSTRUMENT_UNKNOWN", instrument=None) is False
    assert passed("INSTRUMENT_NOT_TRADABLE", instrument=None) is None
    assert passed("INSTRUMENT_NOT_TRADABLE", instrument=replace(APPLE, tradable=False)) is False
    assert passed("INSTRUMENT_RESTRICTED", restricted=True) is False
    assert passed("INSTRUMENT_RESTRICTED", restricted=True, **EXIT) is True


@pytest.mark.parametrize(
    ("session", "order_type", "tif", "extended", "fine"),
    [
        (SessionState.REGULAR, OrderType.MARKET, TimeInForce.DAY, False, True),
        (SessionState.REGULAR, OrderType.MARKET, TimeInForce.IOC, False, True),
        (SessionState.REGULAR, OrderType.MARKET, TimeInForce.CLS, False, True),
        (SessionState.REGULAR, OrderType.MARKET, TimeInForce.OPG, False, False),
        (SessionState.PRE, OrderType.MARKET, TimeInForce.OPG, False, True),
        (SessionState.PRE, OrderType.MARKET, TimeInForce.DAY, False, False),
        (SessionState.PRE, OrderType.LIMIT, TimeInForce.DAY, True, True),
        (SessionState.PRE, OrderType.LIMIT, TimeInForce.DAY, False, False),
        (SessionState.PRE, OrderType.LIMIT, TimeInForce.IOC, True, False),
        (SessionState.POST, OrderType.LIMIT, TimeInForce.GTC, True, True),
        (SessionState.POST, OrderType.MARKET, TimeInForce.CLS, False, False),
        (SessionState.CLOSED, OrderType.LIMIT, TimeInForce.DAY, True, False),
        (SessionState.CLOSED, OrderType.MARKET, TimeInForce.DAY, False, False),
    ],
)
def test_session(
    session: SessionState, order_type: OrderType, tif: TimeInForce, extended: bool, fine: bool
) -> None:
    facts = {
        "session": session,
        "order_type": order_type,
        "time_in_force": tif,
        "extended_hours": extended,
        "limit_price": D(100) if order_type is OrderType.LIMIT else None,
    }
    assert passed("SESSION_CLOSED", **facts) is fine


def test_exit_may_wait_for_the_next_open() -> None:
    assert passed("SESSION_CLOSED", session=SessionState.CLOSED, **EXIT) is True
    hasty = {**EXIT, "order": replace(SELL, time_in_force=TimeInForce.IOC)}
    assert passed("SESSION_CLOSED", session=SessionState.CLOSED, **hasty) is False


def test_price_present() -> None:
    assert passed("PRICE_MISSING", mark=None) is False
    assert passed("PRICE_MISSING", mark=None, **EXIT) is True


def test_price_fresh() -> None:
    def aged(seconds: str) -> dict[str, object]:
        return {"mark": replace(MARK, age_s=D(seconds))}

    assert passed("PRICE_STALE", **aged("15")) is True
    assert passed("PRICE_STALE", **aged("15.001")) is False
    assert passed("PRICE_STALE", **aged("900"), **EXIT) is True
    assert passed("PRICE_STALE", mark=None) is None


def test_prices_on_tick() -> None:
    limit = {"order_type": OrderType.LIMIT}
    assert passed("PRICE_OFF_TICK", limit_price=D("100.01"), **limit) is True
    assert passed("PRICE_OFF_TICK", limit_price=D("100.001"), **limit) is False
    assert passed("PRICE_OFF_TICK", limit_price=D("0.9999"), **limit) is True
    assert passed("PRICE_OFF_TICK", stop_loss=D("90.005")) is False
    assert passed("PRICE_OFF_TICK", limit_price=D("1"), instrument=None, **limit) is None


def test_quantity_on_lot() -> None:
    assert passed("QUANTITY_OFF_LOT", quantity=D("10.5")) is False
    assert passed("QUANTITY_OFF_LOT", quantity=D(0)) is False
    fractions = replace(APPLE, fractionable=True)
    assert passed("QUANTITY_OFF_LOT", quantity=D("10.5"), instrument=fractions) is True
    hundreds = replace(APPLE, lot_size=D(100))
    assert passed("QUANTITY_OFF_LOT", quantity=D(150), instrument=hundreds) is False


def test_quantity_limit() -> None:
    assert passed("QUANTITY_ABOVE_LIMIT", quantity_max=D(10)) is True
    assert passed("QUANTITY_ABOVE_LIMIT", quantity_max=D(9)) is False
    assert passed("QUANTITY_ABOVE_LIMIT", quantity_max=D(9), **EXIT) is True
    assert passed("QUANTITY_ABOVE_LIMIT", quantity_max=None) is None


def test_notional() -> None:
    # A market buy of 10 may cost 1 % above the ask: 10 x 100.01 x 1.01 = 1010.101.
    assert outcome("NOTIONAL_ABOVE_LIMIT").value == D("1010.1010")
    assert passed("NOTIONAL_ABOVE_LIMIT", notional_max=D("1010.1010")) is True
    assert passed("NOTIONAL_ABOVE_LIMIT", notional_max=D("1010.1009")) is False
    assert passed("NOTIONAL_ABOVE_LIMIT", notional_max=D(1), **EXIT) is True
    assert passed("NOTIONAL_BELOW_LIMIT", notional_min=D("1010.1010")) is True
    assert passed("NOTIONAL_BELOW_LIMIT", notional_min=D(2000)) is False
    assert passed("NOTIONAL_BELOW_LIMIT", notional_min=D(2000), **EXIT) is True
    assert passed("NOTIONAL_ABOVE_LIMIT", mark=None) is None


def test_limit_price_caps_the_value_of_a_buy() -> None:
    facts = {"order_type": OrderType.LIMIT, "limit_price": D(90)}
    assert outcome("NOTIONAL_ABOVE_LIMIT", **facts).value == D("900.0000")


def test_price_collar() -> None:
    def limit(side: Side, price: str) -> dict[str, object]:
        return {"side": side, "order_type": OrderType.LIMIT, "limit_price": D(price)}

    assert passed("PRICE_OUTSIDE_COLLAR", **limit(Side.BUY, "105.01")) is True
    assert passed("PRICE_OUTSIDE_COLLAR", **limit(Side.BUY, "105.02")) is False
    assert passed("PRICE_OUTSIDE_COLLAR", **limit(Side.BUY, "1")) is True
    assert passed("PRICE_OUTSIDE_COLLAR", **limit(Side.SELL, "95")) is True
    assert passed("PRICE_OUTSIDE_COLLAR", **limit(Side.SELL, "94.90")) is False
    # A typing error stays one, even where it would close a position.
    typo = replace(SELL, order_type=OrderType.LIMIT, limit_price=D(10))
    assert passed("PRICE_OUTSIDE_COLLAR", order=typo, exposure=HOLDING) is False


def test_quantity_collar() -> None:
    share = {"order_equity_share_max": D("0.0101")}
    assert passed("QUANTITY_OUTSIDE_COLLAR", **share) is False
    assert passed("QUANTITY_OUTSIDE_COLLAR", order_equity_share_max=D("0.0102")) is True
    assert passed("QUANTITY_OUTSIDE_COLLAR", **share, **EXIT) is True
    assert passed("QUANTITY_OUTSIDE_COLLAR", equity=D(-5)) is False


@pytest.mark.parametrize(
    ("side", "order_class", "profit", "loss", "fine"),
    [
        (Side.BUY, OrderClass.BRACKET, "110", "90", True),
        (Side.BUY, OrderClass.BRACKET, "90", "110", False),
        (Side.BUY, OrderClass.BRACKET, "100", "100", False),
        (Side.SELL, OrderClass.BRACKET, "90", "110", True),
        (Side.SELL, OrderClass.OCO, "110", "90", True),
        (Side.BUY, OrderClass.OCO, "90", "110", True),
    ],
)
def test_exit_legs(side: Side, order_class: OrderClass, profit: str, loss: str, fine: bool) -> None:
    facts = {
        "side": side,
        "order_class": order_class,
        "take_profit": D(profit),
        "stop_loss": D(loss),
    }
    assert passed("EXIT_LEGS_CROSSED", **facts) is fine


def test_order_rates() -> None:
    assert passed("ORDER_RATE_STRATEGY", orders_strategy=299) is True
    assert passed("ORDER_RATE_STRATEGY", orders_strategy=300) is False
    assert passed("ORDER_RATE_STRATEGY", orders_strategy=300, **EXIT) is True
    assert passed("ORDER_RATE_STRATEGY", orders_strategy=500, strategy_id=None) is None
    assert passed("ORDER_RATE_ACCOUNT", orders_account=999) is True
    assert passed("ORDER_RATE_ACCOUNT", orders_account=1000) is False


def test_duplicate_and_self_crossing() -> None:
    assert passed("DUPLICATE_ORDER", duplicate_of="some-id") is False
    assert passed("DUPLICATE_ORDER", duplicate_of="some-id", **EXIT) is False
    assert passed("SELF_CROSSING", crosses="some-id") is False


def test_positions_priced() -> None:
    assert passed("POSITION_UNPRICED", complete=False) is False
    assert passed("POSITION_UNPRICED", complete=False, **EXIT) is True


def test_buying_power() -> None:
    # 100 000 - 60 000 invested - 38 989.899 set aside leaves exactly what the order takes.
    full = {"positions_value": D(60_000), "held": D("38989.8990")}
    assert passed("BUYING_POWER_EXCEEDED", **full) is True
    assert passed("BUYING_POWER_EXCEEDED", **{**full, "held": D("38989.8991")}) is False
    assert passed("BUYING_POWER_EXCEEDED", **{**full, "held": D(90_000)}, **EXIT) is True
    double = {"buying_power_multiple": D(2)}
    assert passed("BUYING_POWER_EXCEEDED", **{**full, "held": D(90_000)}, **double) is True


def test_position_limit_counts_what_is_pending() -> None:
    # 90 held and pending + 10 at 100 are 10 % of 100 000.
    assert passed("POSITION_ABOVE_LIMIT", exposure=SymbolExposure(D(50), D(40))) is True
    assert passed("POSITION_ABOVE_LIMIT", exposure=SymbolExposure(D(50), D(41))) is False
    # Pending sells do not make room: they may not fill.
    assert passed("POSITION_ABOVE_LIMIT", exposure=SymbolExposure(D(91), D(0), D(80))) is False
    broken = SymbolExposure(position=D(5000))
    assert passed("POSITION_ABOVE_LIMIT", order=SELL, exposure=broken) is True
    assert passed("POSITION_ABOVE_LIMIT", equity=D(0)) is False


def test_short_position_is_limited_like_a_long_one() -> None:
    assert passed("POSITION_ABOVE_LIMIT", order=SELL, exposure=SymbolExposure(D(-90))) is True
    assert passed("POSITION_ABOVE_LIMIT", order=SELL, exposure=SymbolExposure(D(-91))) is False


def test_sector_limit() -> None:
    assert passed("SECTOR_ABOVE_LIMIT", sector=D(29_000)) is True
    assert passed("SECTOR_ABOVE_LIMIT", sector=D("29000.01")) is False
    assert passed("SECTOR_ABOVE_LIMIT", sector=D(99_000), **EXIT) is True
    assert passed("SECTOR_ABOVE_LIMIT", instrument=Instrument("AAPL")) is None


def test_gross_and_net_leverage() -> None:
    assert passed("GROSS_LEVERAGE_ABOVE_LIMIT", gross=D(99_000)) is True
    assert passed("GROSS_LEVERAGE_ABOVE_LIMIT", gross=D("99000.01")) is False
    assert passed("GROSS_LEVERAGE_ABOVE_LIMIT", gross=D(500_000), **EXIT) is True
    assert passed("NET_LEVERAGE_ABOVE_LIMIT", net_high=D(99_000)) is True
    assert passed("NET_LEVERAGE_ABOVE_LIMIT", net_high=D("99000.01")) is False
    # A sale brings a net long book back toward zero.
    long_book = replace(TOTALS, net_high=D(500_000), net_low=D(500_000))
    assert passed("NET_LEVERAGE_ABOVE_LIMIT", totals=long_book, order=SELL) is True


def test_shortable() -> None:
    bare = replace(APPLE, shortable=False)
    assert passed("NOT_SHORTABLE", order=SELL) is True
    assert passed("NOT_SHORTABLE", order=SELL, instrument=bare) is False
    assert passed("NOT_SHORTABLE", order=SELL, short_selling=False) is False
    assert passed("NOT_SHORTABLE", instrument=bare, **EXIT) is True
    assert passed("NOT_SHORTABLE", instrument=bare) is True


def test_daily_loss() -> None:
    # The session opened at 100 000: equity 95 000 is a loss of exactly 5 %.
    at_limit = {"equity": D(95_000), "loss_today": D(5_000)}
    assert passed("DAILY_LOSS_ABOVE_LIMIT", **at_limit) is True
    beyond = {"equity": D("94999.99"), "loss_today": D("5000.01")}
    assert passed("DAILY_LOSS_ABOVE_LIMIT", **beyond) is False
    assert passed("DAILY_LOSS_ABOVE_LIMIT", **beyond, **EXIT) is True
    assert passed("DAILY_LOSS_ABOVE_LIMIT", **at_limit, daily_loss_max=D(4_999)) is False
    assert passed("DAILY_LOSS_ABOVE_LIMIT", loss_today=None) is None


def test_drawdown() -> None:
    assert passed("DRAWDOWN_ABOVE_LIMIT", drawdown=D("0.2")) is True
    assert passed("DRAWDOWN_ABOVE_LIMIT", drawdown=D("0.200001")) is False
    assert passed("DRAWDOWN_ABOVE_LIMIT", drawdown=D("0.5"), **EXIT) is True
    assert passed("DRAWDOWN_ABOVE_LIMIT", drawdown=None) is None


@pytest.mark.parametrize(
    ("tif", "at", "session", "fine"),
    [
        (TimeInForce.OPG, time(9, 27), SessionState.PRE, True),
        (TimeInForce.OPG, time(9, 28), SessionState.PRE, False),
        (TimeInForce.OPG, time(10, 0), SessionState.REGULAR, False),
        (TimeInForce.CLS, time(15, 49), SessionState.REGULAR, True),
        (TimeInForce.CLS, time(15, 50), SessionState.REGULAR, False),
        (TimeInForce.DAY, time(15, 50), SessionState.REGULAR, True),
    ],
)
def test_auctions_close_their_doors(
    tif: TimeInForce, at: time, session: SessionState, fine: bool
) -> None:
    facts = {"time_in_force": tif, "time_of_day": at, "session": session}
    assert passed("SESSION_CLOSED", **facts) is fine


@pytest.mark.parametrize(
    ("facts", "fine"),
    [
        ({"quantity": D("1.5")}, True),
        ({"by_notional": True}, True),
        ({"quantity": D("1.5"), "time_in_force": TimeInForce.GTC}, False),
        ({"by_notional": True, "order_class": OrderClass.BRACKET}, False),
        ({"quantity": D("1.5"), "order_type": OrderType.TRAILING_STOP}, False),
        ({"quantity": D("1.5"), "side": Side.SELL}, False),
        ({"quantity": D("1.5"), "side": Side.SELL, "exposure": HOLDING}, True),
        ({"quantity": D("2"), "time_in_force": TimeInForce.GTC}, None),
    ],
)
def test_parts_of_a_share_go_in_simple_day_orders(facts: dict[str, Any], fine: bool | None) -> None:
    assert passed("FRACTION_UNSUPPORTED", **facts) is fine


def test_a_pair_of_exits_needs_a_position_to_leave() -> None:
    pair = {"order_class": OrderClass.OCO, "order_type": OrderType.LIMIT, "side": Side.SELL}
    assert passed("EXIT_WITHOUT_POSITION", **pair) is False
    assert passed("EXIT_WITHOUT_POSITION", exposure=HOLDING, **pair) is True
    assert passed("EXIT_WITHOUT_POSITION", exposure=HOLDING, **pair, quantity=D(101)) is False


@pytest.mark.parametrize(
    ("prices", "fine"),
    [
        ({"take_profit": D(101), "limit_price": D(100)}, True),
        ({"take_profit": D(100), "limit_price": D(100)}, False),
        ({"stop_loss": D(100), "limit_price": D(100)}, False),
        ({"stop_loss": D(99), "stop_loss_limit": D("99.5")}, False),
        ({"stop_loss": D(99), "stop_loss_limit": D("98.5")}, True),
    ],
)
def test_exits_lie_beyond_the_entry(prices: dict[str, Any], fine: bool) -> None:
    assert passed("EXIT_LEGS_CROSSED", order_class=OrderClass.OTO, **prices) is fine
