"""A key used again: the same wish, or a conflict that names the difference."""

from __future__ import annotations

import pytest

from libs.common.contracts.risk_api import OrderFields
from libs.common.kernel.errors import ConflictError
from services.trade_executor.requests import differences, request_of, require_same

BUY = {"symbol": "AAPL", "side": "buy", "quantity": "10"}
BRACKET = {
    **BUY,
    "order_class": "bracket",
    "time_in_force": "gtc",
    "take_profit": {"limit_price": "110"},
    "stop_loss": {"stop_price": "90", "limit_price": "89"},
}


def asked(**fields: object) -> dict[str, object]:
    return request_of("place", OrderFields.model_validate(fields))


def test_the_same_wish_in_other_words_is_the_same() -> None:
    again = {**BUY, "quantity": "10.00", "order_type": "market", "stop_price": None}
    assert asked(**BUY) == asked(**again)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"symbol": "KO"}, "symbol"),
        ({"side": "sell"}, "side"),
        ({"quantity": "11"}, "quantity"),
        ({"time_in_force": "day"}, "time_in_force"),
        ({"take_profit": {"limit_price": "111"}}, "take_profit.limit_price"),
        ({"stop_loss": {"stop_price": "90"}}, "stop_loss.limit_price"),
        ({"order_type": "limit", "limit_price": "100"}, "limit_price, order_type"),
    ],
)
def test_every_field_counts(change: dict[str, object], named: str) -> None:
    before, now = asked(**BRACKET), asked(**{**BRACKET, **change})
    assert ", ".join(differences(before, now)) == named
    with pytest.raises(ConflictError, match=f"different in {named}$"):
        require_same("k", before, now, "order 1")


def test_an_order_without_a_record_of_its_request_is_taken_for_the_same() -> None:
    require_same("k", None, asked(**BUY), "order 1")
