"""What may be asked of a backtest, and how a wrong wish is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from libs.common.backtest.errors import SpecError
from libs.common.backtest.spec import BacktestSpec, spec_of
from libs.common.kernel.clock import from_ns

CROSS = {"class_name": "sma_cross", "symbols": ["AAPL", "MSFT"], "params": {"fast": 20}}


def wish(**changes: Any) -> dict[str, Any]:
    return {"strategies": [CROSS], **changes}


def test_spec_goes_to_json_and_back() -> None:
    spec = spec_of(wish(start="2015-01-01", end="2020-12-31", benchmark="KO"))
    assert spec_of(msgspec.json.encode(spec)) == spec
    assert spec_of(spec.to_json()) == spec
    assert spec.symbols == ("AAPL", "MSFT", "KO")


def test_the_day_of_the_end_belongs_to_the_run() -> None:
    spec = spec_of(wish(start="2015-01-01", end="2015-01-01"))
    assert spec.start_ns is not None
    assert spec.end_ns is not None
    assert from_ns(spec.start_ns).isoformat() == "2015-01-01T00:00:00+00:00"
    assert from_ns(spec.end_ns).isoformat() == "2015-01-02T00:00:00+00:00"


def test_a_time_as_end_is_exact() -> None:
    spec = spec_of(wish(end="2015-01-01T15:30:00Z"))
    assert spec.end_ns is not None
    assert from_ns(spec.end_ns).isoformat() == "2015-01-01T15:30:00+00:00"


def test_strategies_of_one_class_are_told_apart_by_name() -> None:
    two = [{**CROSS, "name": "quick"}, {**CROSS, "name": "slow"}]
    spec = spec_of({"strategies": two})
    assert [choice.title for choice in spec.strategies] == ["quick", "slow"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"start": "2016-01-01", "end": "2015-01-01"}, "end 2015-01-01 is before start"),
        ({"start": "yesterday"}, "start: 'yesterday' is neither a date nor an RFC 3339 time"),
        ({"start": "2015-02-30"}, "start: '2015-02-30' is not a date"),
        ({"cash": 0}, "cash"),
        ({"cash": -5.0}, "cash"),
        ({"timeframe": "7m"}, "7m"),
        ({"colour": "red"}, "colour"),
        ({"strategies": []}, "strategies"),
        ({"strategies": [CROSS, CROSS]}, "two strategies are called sma_cross"),
        ({"strategies": [{**CROSS, "symbols": []}]}, "symbols"),
        ({"strategies": [{**CROSS, "symbols": ["KO", "KO"]}]}, "KO is named twice"),
        ({"strategies": [{**CROSS, "symbols": ["aapl"]}]}, "symbols"),
        ({"strategies": [{**CROSS, "params": [1]}]}, "params"),
        ({"strategies": [{**CROSS, "weight": 0}]}, "weight"),
        ({"source": {"kind": "file"}}, "a path goes with kind file"),
        ({"source": {"kind": "sample", "path": "x.csv"}}, "a path goes with kind file"),
        ({"source": {"kind": "moon"}}, "moon"),
    ],
)
def test_a_wrong_wish_is_refused_with_its_field(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError) as refusal:
        spec_of(wish(**changes))
    assert complaint in str(refusal.value)


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(SpecError, match="truncated"):
        spec_of("{")


def test_defaults_are_the_documented_ones() -> None:
    spec = spec_of(wish())
    assert (spec.cash, spec.seed, spec.timeframe.value, spec.source.kind) == (
        1_000_000.0,
        7,
        "1d",
        "sample",
    )
    assert isinstance(spec, BacktestSpec)
