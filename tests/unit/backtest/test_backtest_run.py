"""A backtest from spec to kept result, on prices that can be checked by hand and on real ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.common.backtest.errors import DataError, SpecError
from libs.common.backtest.kept import kept_input, report_input, write_report
from libs.common.backtest.models import models_of, periods_of
from libs.common.backtest.result import BacktestResult, load_summary
from libs.common.backtest.run import choices_of, read_history, reader_of, run_backtest
from libs.common.backtest.shelf import load_named
from libs.common.backtest.spec import spec_of
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import NotFoundError
from libs.common.strategy.errors import InvalidParamsError

BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
CROSS: dict[str, Any] = {
    "class_name": "sma_cross",
    "symbols": ["KO"],
    "params": {"fast": 2, "slow": 5},
}


def run(directory: Path = BUILT_IN, **wish: Any) -> BacktestResult:
    spec = spec_of({"strategies": [CROSS], **wish})
    names = [choice.class_name for choice in spec.strategies]
    chosen = choices_of(spec, load_named(names, [directory]))
    return run_backtest(spec, read_history(spec, chosen, reader_of(spec)), chosen)


@pytest.fixture
def prices(tmp_path: Path) -> dict[str, Any]:
    """Six closes of 10, then 12 (bought at the next open, 13), then 9 (sold at the next, 8)."""
    closes = [10, 10, 10, 10, 10, 10, 12, 13, 9, 8, 8]
    opens = [10, 10, 10, 10, 10, 10, 10, 13, 13, 8, 8]
    rows = [
        f"2020-01-{day:02},{o},{max(o, c)},{min(o, c)},{c},1000"
        for day, o, c in zip(range(6, 17), opens, closes, strict=True)
    ]
    (tmp_path / "KO.csv").write_text("\n".join(["date,open,high,low,close,volume", *rows]) + "\n")
    return {"source": {"kind": "file", "path": str(tmp_path / "KO.csv")}, "cash": 1300.0}


def test_what_is_decided_on_a_close_is_filled_at_the_next_open(prices: dict[str, Any]) -> None:
    result = run(**prices, models={"commission": {"per_order": 1.0}})
    fills = result.outcome.fills
    # 1300 of equity at the close of 12 are 108 shares; at 13 and with a fee of 1, cash is for 99.
    assert fills["price"].tolist() == [13.0, 8.0]
    assert fills["side"].tolist() == [1, -1]
    assert fills["quantity"].tolist() == [99.0, 99.0]
    assert result.outcome.equity[-1] == 1300.0 - 99 * 13 - 1 + 99 * 8 - 1
    assert result.refusals() == {"CASH_SHORT": 1}
    assert result.metrics.trades == 1
    assert result.metrics.hit_rate == 0.0


def test_fusion_of_two_that_agree_trades_as_one_of_them(
    prices: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copy(BUILT_IN / "sma_cross.py", tmp_path)
    labels = ("sma_cross", "sma_cross#twin")
    params = {f"{label}.{name}": n for label in labels for name, n in CROSS["params"].items()}
    both = {"class_name": "fusion", "symbols": ["KO"], "params": params}
    fused = run(tmp_path, strategies=[both], **prices).outcome
    alone = run(**prices).outcome
    assert len(fused.fills) == 2
    np.testing.assert_array_equal(fused.fills["quantity"], alone.fills["quantity"])
    np.testing.assert_array_equal(fused.equity, alone.equity)


def test_a_result_is_kept_and_read_back(prices: dict[str, Any], tmp_path: Path) -> None:
    result = run(**prices, benchmark="KO")
    result.save(tmp_path / "kept")
    write_report(result, tmp_path / "kept")
    summary = load_summary(tmp_path / "kept")
    assert summary == json.loads(json.dumps(summary))
    assert summary["strategies"][0]["params"] == {"fast": 2, "slow": 5}
    assert summary["equity_last"] == result.outcome.equity[-1]
    kept, made = kept_input(tmp_path / "kept"), report_input(result)
    assert kept.title == made.title == "sma_cross on KO"
    for name in ("ts", "equity", "cash", "exposure_long", "benchmark", "fills", "trades"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(made, name))
    assert "sma_cross on KO" in (tmp_path / "kept" / "report.html").read_text()
    assert {path.suffix for path in (tmp_path / "kept").iterdir()} == {".json", ".parquet", ".html"}


def test_a_folder_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no backtest"):
        kept_input(tmp_path)


def test_the_same_spec_gives_the_same_bits() -> None:
    wish = {"strategies": [{**CROSS, "symbols": ["KO", "PEP"]}], "start": "2010-01-01"}
    first, second = run(**wish), run(**wish)
    assert first.fingerprint == second.fingerprint
    assert first.outcome.equity.tobytes() == second.outcome.equity.tobytes()
    assert first.outcome.fills.tobytes() == second.outcome.fills.tobytes()


def test_bars_before_the_start_warm_up_and_are_not_traded() -> None:
    late = run(start="2020-01-02")
    assert str(np.datetime64(int(late.outcome.ts[0]), "ns"))[:10] == "2020-01-02"
    # Warm from the first bar on: it may decide at once.
    assert late.signals["sma_cross"]["KO"]["index"][0] == 0
    cold = run()
    assert cold.signals["sma_cross"]["KO"]["index"][0] == 4
    assert not late.notes[1:]


def test_a_warm_up_that_the_data_cut_short_is_noted_or_refused(prices: dict[str, Any]) -> None:
    result = run(**prices, start="2020-01-08")
    assert "has 2 of 5 bars of warm-up before the start" in result.notes[-1]
    with pytest.raises(DataError, match="KO has 5 bars, but sma_cross needs 5 to warm up and one"):
        run(**prices, end="2020-01-10")
    with pytest.raises(DataError, match="KO has no bars between start and end"):
        run(**prices, start="2020-02-01")


def test_two_strategies_share_one_account() -> None:
    reversion = {"class_name": "rsi_reversion", "symbols": ["KO", "PEP"], "weight": 0.5}
    result = run(strategies=[{**CROSS, "weight": 0.5}, reversion], start="2018-01-01")
    assert result.outcome.sleeves == ("sma_cross", "rsi_reversion")
    assert {0, 1} == set(result.outcome.fills["sleeve"].tolist())
    assert (result.outcome.cash > -1e-6).all()


def test_unknown_names_are_refused_with_their_neighbours(prices: dict[str, Any]) -> None:
    with pytest.raises(NotFoundError, match="did you mean sma_cross"):
        run(strategies=[{**CROSS, "class_name": "sma_crss"}])
    with pytest.raises(InvalidParamsError, match="did you mean slow"):
        run(strategies=[{**CROSS, "params": {"slwo": 9}}])
    with pytest.raises(InvalidParamsError, match="must be between 2 and 200"):
        run(strategies=[{**CROSS, "params": {"fast": 1}}])
    with pytest.raises(
        SpecError, match=r"models.commission: unknown word 'per_shre'; did you mean"
    ):
        run(models={"commission": {"per_shre": 1}})
    with pytest.raises(SpecError, match=r"models.fill.market: 'mid'; known are next_open"):
        run(**prices, models={"fill": {"market": "mid"}})
    with pytest.raises(SpecError, match="sizing: unknown word 'figur'; did you mean figure"):
        run(strategies=[{**CROSS, "sizing": {"figur": 1}}])


def test_models_that_need_what_closes_lack_are_refused() -> None:
    for models, complaint in (
        ({"fill": {"market": "next_open"}}, "needs opens"),
        ({"fill": {"volume_share": 0.1}}, "no volume"),
        ({"slippage": {"method": "impact", "figure": 1.0}}, "needs volume"),
    ):
        with pytest.raises(SpecError, match=complaint):
            run(models=models)


def test_defaults_follow_the_data() -> None:
    spec = spec_of({"strategies": [CROSS], "cash": 5.0})
    assert models_of(spec, closes_only=True).fill.market.value == "next_close"
    assert models_of(spec, closes_only=False).fill.market.value == "next_open"
    assert models_of(spec, closes_only=False).cash == 5.0
    assert periods_of(Timeframe.DAY) == 252
    assert periods_of(Timeframe.MINUTE) == 252 * 390
