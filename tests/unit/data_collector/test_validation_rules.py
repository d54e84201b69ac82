"""Every rule once allowed and once denied; the expected codes are the specification's."""

from dataclasses import replace
from math import inf, nan

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.messages import Bar, Quote, TradeTick
from libs.common.domain.instruments import Instrument
from services.data_collector.validation import (
    Code,
    PriceBand,
    Rules,
    SymbolChecks,
    TimeWindow,
    check_bar,
    quarantined,
)

SECOND = 1_000_000_000
NOW = 1_381_152_600 * SECOND  # 2013-10-07 13:30:00 UTC, a whole minute
RULES = Rules()
WINDOW = TimeWindow.around(NOW, RULES)
QUOTE = Quote(ts_event=NOW, bid=183.61, ask=183.63, bid_size=100, ask_size=200)
TRADE = TradeTick(ts_event=NOW, price=183.62, size=100)
BAR = Bar(
    timeframe="1m", ts_event=NOW - 60 * SECOND, open=10.0, high=11.0, low=9.0, close=10.5, volume=5
)


def checks(rules: Rules = RULES) -> SymbolChecks:
    return SymbolChecks(Instrument("IBM"), rules)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"bid": 183.63}, None),  # locked is not crossed
        ({"bid": 183.64}, Code.QUOTE_CROSSED),
        ({"bid": nan}, Code.PRICE_NOT_FINITE),
        ({"ask": inf}, Code.PRICE_NOT_FINITE),
        ({"bid": 0.0}, Code.PRICE_NOT_POSITIVE),
        ({"bid": -1.0}, Code.PRICE_NOT_POSITIVE),
        ({"ask": 1e306}, Code.PRICE_TOO_LARGE),
        ({"ask": 183.635}, Code.TICK_OFF_GRID),
        ({"bid": 0.5432, "ask": 0.5433}, None),
        ({"bid": 0.54321, "ask": 0.5433}, Code.TICK_OFF_GRID),
        ({"bid": 99999.99, "ask": 100000.01}, None),
        ({"bid_size": 0.0}, None),
        ({"bid_size": -1.0}, Code.SIZE_INVALID),
        ({"ask_size": nan}, Code.SIZE_INVALID),
        ({"ask_size": 2e9}, Code.SIZE_INVALID),
        ({"ts_event": NOW + 5 * SECOND}, None),
        ({"ts_event": NOW + 6 * SECOND}, Code.TIME_FUTURE),
        ({"ts_event": NOW - 60 * SECOND}, None),
        ({"ts_event": NOW - 61 * SECOND}, Code.TIME_TOO_OLD),
    ],
)
def test_quote_rules(change: dict[str, float], code: Code | None) -> None:
    assert checks().quote(msgspec.structs.replace(QUOTE, **change), WINDOW) is code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"price": 183.615}, None),  # a midpoint print is off the quoting grid and real
        ({"price": nan}, Code.PRICE_NOT_FINITE),
        ({"price": 0.0}, Code.PRICE_NOT_POSITIVE),
        ({"size": 0.0}, Code.SIZE_INVALID),
        ({"size": inf}, Code.SIZE_INVALID),
        ({"ts_event": NOW + 6 * SECOND}, Code.TIME_FUTURE),
        ({"ts_event": NOW - 61 * SECOND}, Code.TIME_TOO_OLD),
    ],
)
def test_trade_rules(change: dict[str, float], code: Code | None) -> None:
    assert checks().trade(msgspec.structs.replace(TRADE, **change), WINDOW) is code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"volume": 0.0}, None),
        ({"open": nan}, Code.PRICE_NOT_FINITE),
        ({"low": 0.0}, Code.PRICE_NOT_POSITIVE),
        ({"low": 10.2}, Code.BAR_INCONSISTENT),
        ({"high": 10.4}, Code.BAR_INCONSISTENT),
        ({"volume": -1.0}, Code.SIZE_INVALID),
        ({"volume": nan}, Code.SIZE_INVALID),
        ({"volume": 1e12}, Code.SIZE_INVALID),
        ({"trades": 2**63}, Code.SIZE_INVALID),
        ({"vwap": nan}, Code.BAR_INCONSISTENT),
        ({"vwap": 1e12}, Code.BAR_INCONSISTENT),
        ({"high": 1e12}, Code.PRICE_TOO_LARGE),
        ({"ts_event": NOW - 59 * SECOND}, Code.BAR_MISALIGNED),
    ],
)
def test_bar_rules(change: dict[str, float], code: Code | None) -> None:
    assert check_bar(msgspec.structs.replace(BAR, **change)) is code


def test_bar_that_is_not_over_yet_is_refused() -> None:
    running = msgspec.structs.replace(BAR, ts_event=NOW)
    assert checks().bar(running, WINDOW) is Code.TIME_FUTURE
    assert checks().bar(BAR, WINDOW) is None


def test_time_never_runs_backward_within_a_symbol() -> None:
    symbol = checks()
    assert symbol.trade(TRADE, WINDOW) is None
    earlier = msgspec.structs.replace(TRADE, ts_event=NOW - 1)
    assert symbol.trade(earlier, WINDOW) is Code.TIME_BACKWARD
    assert symbol.trade(TRADE, WINDOW) is None  # the same instant again is fine


def test_refused_tick_does_not_move_the_clock_of_its_symbol() -> None:
    symbol = checks()
    ahead = msgspec.structs.replace(QUOTE, ts_event=NOW + 4 * SECOND, bid=500.0)
    assert symbol.quote(ahead, WINDOW) is Code.QUOTE_CROSSED
    assert symbol.quote(QUOTE, WINDOW) is None


def test_repeated_message_is_stale_and_a_changed_one_is_not() -> None:
    symbol = checks()
    assert symbol.quote(QUOTE, WINDOW) is None
    assert symbol.quote(QUOTE, WINDOW) is Code.STALE_REPEAT
    assert symbol.quote(msgspec.structs.replace(QUOTE, bid_size=101.0), WINDOW) is None


def test_quote_repeated_under_new_times_goes_stale_after_the_limit() -> None:
    symbol = checks(replace(RULES, repeats_max=2))
    codes = [
        symbol.quote(msgspec.structs.replace(QUOTE, ts_event=NOW + i), WINDOW) for i in range(4)
    ]
    assert codes == [None, None, None, Code.STALE_REPEAT]


def _warm(band: PriceBand, price: float = 100.0, start: int = NOW) -> int:
    for i in range(64):
        assert band.admits(price + 0.01 * (i % 3), start + i * SECOND)
    return start + 64 * SECOND


def test_single_jump_is_an_outlier_and_the_old_level_stays_good() -> None:
    band = PriceBand(RULES)
    ts = _warm(band)
    assert not band.admits(150.0, ts)
    assert band.admits(100.01, ts)


def test_move_inside_the_floor_is_no_outlier_however_calm_it_was() -> None:
    band = PriceBand(RULES)
    assert band.admits(102.9, _warm(band))


def test_new_level_is_believed_after_five_agreeing_ticks() -> None:
    band = PriceBand(RULES)
    ts = _warm(band)
    assert [band.admits(150.0 + i / 10, ts + i) for i in range(6)] == [False] * 4 + [True] * 2


def test_scattered_outliers_never_confirm_each_other() -> None:
    band = PriceBand(RULES)
    ts = _warm(band)
    assert not any(band.admits(price, ts) for price in (150.0, 60.0, 170.0, 50.0, 190.0, 40.0))


def test_overnight_gap_starts_a_new_window() -> None:
    band = PriceBand(RULES)
    ts = _warm(band)
    assert band.admits(150.0, ts + 1801 * SECOND)


def test_bar_far_from_the_quoted_price_is_an_outlier() -> None:
    symbol = checks()
    for i in range(64):
        tick = TradeTick(ts_event=NOW - 59 * SECOND + i, price=100.0, size=1)
        assert symbol.trade(tick, WINDOW) is None
    wild = msgspec.structs.replace(BAR, high=1050.0, close=1050.0)
    assert symbol.bar(wild, WINDOW) is Code.PRICE_OUTLIER


def test_window_widens_with_the_factor_of_a_simulated_clock() -> None:
    window = TimeWindow.around(NOW, RULES, factor=60.0)
    assert window.latest_ns - NOW == 300 * SECOND
    assert NOW - window.earliest_ns == 3600 * SECOND


def test_quarantined_tick_keeps_its_reason_and_content() -> None:
    record = quarantined("IBM", Code.PRICE_NOT_FINITE, msgspec.structs.replace(QUOTE, bid=nan))
    assert (record.kind, record.code, record.ts_event) == ("quote", "PRICE_NOT_FINITE", NOW)
    assert '"ask":183.63' in record.tick
    assert '"bid":null' in record.tick


@settings(deadline=None)
@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
)
def test_whatever_passes_is_a_quote_that_can_be_traded_on(
    bid: float, ask: float, size: float
) -> None:
    quote = Quote(ts_event=NOW, bid=bid, ask=ask, bid_size=size, ask_size=size)
    if checks().quote(quote, WINDOW) is None:
        assert 0 < bid <= ask < 1e12
        assert 0 <= size <= RULES.size_max
