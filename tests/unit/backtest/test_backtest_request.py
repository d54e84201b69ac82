"""What a request of a run may not be."""

from __future__ import annotations

import pytest

from libs.common.backtest.errors import SpecError
from libs.common.backtest.request import request_of


def body(params: str) -> bytes:
    text = f'{{"class_name": "sma_cross", "symbols": ["KO"], "params": {params}}}'
    return f'{{"spec": {{"strategies": [{text}]}}}}'.encode()


def test_request_without_oddities_is_taken() -> None:
    assert request_of(body('{"slow": 20, "text": "\\\\u0000"}')).spec.strategies[0].symbols == (
        "KO",
    )


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ('{"a": "x\\u0000y"}', "NUL"),
        ('{"a\\u0000": 1}', "NUL"),
        ('{"a": [["\\u0000"]]}', "NUL"),
        ('{"a": ' + "[" * 50_000 + "]" * 50_000 + "}", "nested too deeply"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"a": 1e999}', "out of range"),
    ],
    ids=["nul", "nul in a name", "nul inside", "deep", "lone surrogate", "huge"],
)
def test_request_that_no_table_takes_is_refused(params: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        request_of(body(params))
