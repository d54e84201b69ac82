"""From a result, or the folder that keeps one, to its reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet

from libs.common.backtest.columns import numbers_of
from libs.common.backtest.errors import DataError
from libs.common.backtest.report import ReportInput, render_html
from libs.common.backtest.result import RESULT, BacktestResult, load_summary
from libs.common.quant.metrics import Metrics
from libs.common.quant.simulation.layout import FILL, REASONS, TRADE

REPORT: Final = "report.html"
CURVES: Final = ("equity", "cash", "exposure_long", "exposure_short")


def report_input(result: BacktestResult) -> ReportInput:
    """Return what a report of the result shows."""
    outcome = result.outcome
    curves: dict[str, Any] = {name: getattr(outcome, name) for name in CURVES}
    return ReportInput(
        title=title_of(result.summary()),
        ts=outcome.ts,
        **curves,
        symbols=outcome.symbols,
        sleeves=outcome.sleeves,
        fills=outcome.fills,
        trades=outcome.trades,
        held=outcome.held,
        last_prices=result.last_prices,
        benchmark=result.benchmark,
        benchmark_name=result.spec.benchmark or "benchmark",
        notes=result.notes,
        metrics=result.metrics,
        seed=result.spec.seed,
        **_words(result.summary()),
    )


def write_report(result: BacktestResult, folder: Path) -> Path:
    """Write the tear sheet into the folder; return where."""
    path = folder / REPORT
    path.write_text(render_html(report_input(result)), encoding="utf-8")
    return path


def kept_input(folder: Path) -> ReportInput:
    """Return what a report of a kept result shows. Raises DataError if there is none."""
    try:
        summary = load_summary(folder)
        curve = pyarrow.parquet.ParquetFile(folder / "equity.parquet").read()
        symbols = tuple(summary["data"]["symbols"])
        sleeves = tuple(ran["name"] for ran in summary["strategies"])
        fills, trades = (
            _records(folder / f"{name}.parquet", kind, symbols, sleeves)
            for name, kind in (("fills", FILL), ("trades", TRADE))
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: holds no backtest ({RESULT}): {error}") from error
    has = curve.column_names
    curves: dict[str, Any] = {name: numbers_of(curve[name]) for name in CURVES}
    return ReportInput(
        title=title_of(summary),
        ts=numbers_of(curve["ts"]),
        **curves,
        symbols=symbols,
        sleeves=sleeves,
        fills=fills,
        trades=trades,
        benchmark=numbers_of(curve["benchmark"]) if "benchmark" in has else None,
        benchmark_name=summary["spec"]["benchmark"] or "benchmark",
        notes=tuple(summary["notes"]),
        metrics=Metrics.from_json(summary["metrics"]),
        seed=summary["spec"]["seed"],
        **_words(summary),
    )


def title_of(summary: Mapping[str, Any]) -> str:
    """Return a name for the run: its strategies and the symbols of each."""
    parts = []
    for ran in summary["strategies"]:
        symbols = ran["symbols"]
        more = f" and {len(symbols) - 4} more" if len(symbols) > 4 else ""
        parts.append(f"{ran['name']} on {', '.join(symbols[:4])}{more}")
    return "; ".join(parts)


def _words(summary: Mapping[str, Any]) -> dict[str, Any]:
    strategies = summary["strategies"]
    alone = len(strategies) == 1
    params = {
        (name if alone else f"{ran['name']}.{name}"): value
        for ran in strategies
        for name, value in ran["params"].items()
    }
    spec, data = summary["spec"], summary["data"]
    facts = {
        "bars": f"{data['bars']:,} of {spec['timeframe']}",
        "first bar": data["first"][:19].replace("T", " "),
        "last bar": data["last"][:19].replace("T", " "),
        "data": data["source"],
        "data fingerprint": data["fingerprint"][:16],
        "cash": f"{spec['cash']:,.2f}",
        **{f"models.{name}": value for name, value in spec["models"].items()},
        **{f"code of {ran['class_name']}": ran["version_hash"][:16] for ran in strategies},
    }
    return {"params": params, "facts": facts}


def _records(
    path: Path, kind: np.dtype[np.void], symbols: tuple[str, ...], sleeves: tuple[str, ...]
) -> np.ndarray:
    table = pyarrow.parquet.ParquetFile(path).read()
    words = {"symbol": symbols, "sleeve": sleeves, "reason": REASONS}
    records = np.zeros(table.num_rows, kind)
    for name in kind.names or ():
        if name in words:
            places = {word: place for place, word in enumerate(words[name])}
            records[name] = [places[word] for word in table[name].to_pylist()]
        else:
            records[name] = numbers_of(table[name])
    return records
