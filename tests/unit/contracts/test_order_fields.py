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
