"""Price grid and quantity steps: the expected values are Rule 612's and Alpaca's own words."""

from decimal import ROUND_DOWN, ROUND_UP, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.domain.instruments import AssetClass, Instrument

AAPL = Instrument("AAPL", exchange="NASDAQ", shortable=True, fractionable=True)
WHOLE = Instrument("BRKA")
BITCOIN = Instrument("BTC/USD", asset_class=AssetClass.CRYPTO, tick_size=Decimal("0.5"))


@pytest.mark.parametrize(
    ("price", "on_tick"),
    [
        ("1.00", True),
        ("1.01", True),
        ("1.005", False),
        ("183.631", False),
        ("0.9999", True),
        ("0.99995", False),
        ("0.0001", True),
        ("0.00001", False),
        ("0", False),
        ("-1.00", False),
        ("NaN", False),
        ("Infinity", False),
    ],
)
def test_prices_from_one_dollar_take_two_decimals_and_below_four(price: str, on_tick: bool) -> None:
    assert AAPL.is_on_tick(Decimal(price)) is on_tick


def test_crypto_keeps_its_own_tick_below_one() -> None:
    assert BITCOIN.is_on_tick(Decimal("0.5"))
    assert not BITCOIN.is_on_tick(Decimal("0.7"))


@pytest.mark.parametrize(
    ("price", "rounding", "rounded"),
    [
        ("10.001", ROUND_UP, "10.01"),
        ("10.009", ROUND_DOWN, "10.00"),
        ("0.99999", ROUND_UP, "1.0000"),
        ("0.12345", ROUND_DOWN, "0.1234"),
    ],
)
def test_price_rounds_as_named(price: str, rounding: str, rounded: str) -> None:
    assert AAPL.round_price(Decimal(price), rounding) == Decimal(rounded)


@pytest.mark.parametrize(
    ("instrument", "quantity", "on_lot"),
    [
        (WHOLE, "12", True),
        (WHOLE, "12.5", False),
        (WHOLE, "0", False),
        (WHOLE, "NaN", False),
        (AAPL, "12.5", True),
        (AAPL, "0.00000001", True),
        (AAPL, "0.000000001", False),
        (AAPL, "-3", False),
    ],
)
def test_quantity_must_be_whole_steps(instrument: Instrument, quantity: str, on_lot: bool) -> None:
    assert instrument.is_on_lot(Decimal(quantity)) is on_lot


@settings(deadline=None)
@given(st.decimals("0.0001", "99999", places=8, allow_nan=False, allow_infinity=False))
def test_rounded_price_is_on_the_grid_and_within_one_tick(price: Decimal) -> None:
    rounded = AAPL.round_price(price, ROUND_UP)
    assert AAPL.is_on_tick(rounded)
    assert 0 <= rounded - price < AAPL.tick_at(price)


@settings(deadline=None)
@given(st.decimals("1", "99999", places=8, allow_nan=False, allow_infinity=False))
def test_rounded_quantity_never_exceeds_what_was_asked(quantity: Decimal) -> None:
    assert 0 <= quantity - WHOLE.round_quantity(quantity) < 1


@pytest.mark.parametrize("symbol", ["", " AAPL", "aapl"])
def test_bad_symbol_is_refused(symbol: str) -> None:
    with pytest.raises(ValueError, match="symbol"):
        Instrument(symbol)


@pytest.mark.parametrize("step", ["0", "-1", "NaN", "Infinity"])
def test_bad_step_is_refused(step: str) -> None:
    with pytest.raises(ValueError, match="lot_size"):
        Instrument("AAPL", lot_size=Decimal(step))
