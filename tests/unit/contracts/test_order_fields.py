"""Orders as people write them: what is no number is refused with the field's name."""

from typing import Any

import pytest
from pydantic import ValidationError

from libs.common.contracts.risk_api import OrderFields

GOOD: dict[str, Any] = {"symbol": "WMT", "side": "buy", "order_type": "limit"}


@pytest.mark.parametrize("field", ["quantity", "limit_price"])
@pytest.mark.parametrize(
    "value",
    ["-1", "0", 0, -1, "NaN", float("nan"), float("inf"), "1e999", 1e308, "1e-30", True, "1_000",
     "１２", "", [], {"a": 1}, "9" * 1_000_000, 9**40, "0.000000001"],
)  # fmt: skip
def test_no_amount_is_refused_naming_the_field(field: str, value: Any) -> None:
    body = {**GOOD, "quantity": "1", "limit_price": "10", field: value}
    with pytest.raises(ValidationError) as refused:
        OrderFields.model_validate(body)
    assert {error["loc"] for error in refused.value.errors()} == {(field,)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extended_hours": True, "order_type": "market"}, "extended_hours is for limit orders"),
        ({"extended_hours": True, "time_in_force": "ioc"}, "extended_hours is for limit orders"),
        ({"order_type": "stop", "stop_price": "9", "time_in_force": "cls"}, "time_in_force cls"),
        ({"order_type": "trailing_stop", "trail_price": "1", "time_in_force": "ioc"}, "ioc does"),
        ({"order_class": "oto", "take_profit": {"limit_price": "9"}, "time_in_force": "fok"},
         "time_in_force fok does not fit oto"),
        ({"order_class": "oto", "take_profit": {"limit_price": "9"}, "extended_hours": True},
         "extended_hours does not fit order_class oto"),
        ({"order_class": "oco", "order_type": "market", "take_profit": {"limit_price": "9"},
          "stop_loss": {"stop_price": "8"}}, "order_type of an oco order is limit"),
        ({"quantity": None, "notional": "100.001"}, "decimal"),
        ({"quantity": None, "notional": "0.99"}, "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_what_no_venue_takes_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    body = {**GOOD, "quantity": "1", "limit_price": "10", **change}
    if body["order_type"] != "limit":
        body.pop("limit_price")
    with pytest.raises(ValidationError) as refused:
        OrderFields.model_validate(body)
    assert words in str(refused.value)
