"""Decimals come from plain ASCII notation only."""

import pytest

from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.money import decimal


@pytest.mark.parametrize(
    "text", ["1_000", "１２", "٣", "NaN", "-Infinity", "sNaN", "1e99999999999999999999", "0x10", ""]
)
def test_what_is_no_plain_finite_number_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^qty: "):
        decimal(text, "qty")
