"""`tradewind backtest`: a strategy on history, here and now, without any service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cli import tables
from cli.backtest_words import (
    Bars,
    Benchmark,
    Cash,
    Data,
    End,
    Json,
    Name,
    Out,
    Settings,
    SizingWords,
    SpecFile,
    Start,
    Symbols,
    Words,
    console,
    run_folder,
    spec_from,
    strategy_directories,
    vetting,
)
from cli.errors import in_a_sentence
from cli.strategy import parameters
from libs.common.domain.timeframes import Timeframe

if TYPE_CHECKING:
    from libs.common.backtest.result import BacktestResult
    from libs.common.quant.metrics import Metrics


def backtest(
    name: Name = None,
    symbols: Symbols = None,
    start: Start = "",
    end: End = "",
    timeframe: Bars = Timeframe.DAY,
    settings: Settings = None,
    data: Data = "sample",
    cash: Cash = 1_000_000.0,
    models: Words = None,
    sizing: SizingWords = None,
    benchmark: Benchmark = "",
    spec_file: SpecFile = None,
    out: Out = None,
    report: Annotated[bool, typer.Option(help="Write the HTML tear sheet too.")] = True,
    as_json: Json = False,
) -> None:
    """Run a strategy over history and keep the result: metrics, equity, fills, trades, report."""
    from libs.common.backtest.kept import write_report
    from libs.common.backtest.run import choices_of, read_history, reader_of, run_backtest
    from libs.common.backtest.shelf import load_named

    with in_a_sentence():
        spec = spec_from(
            name, symbols=symbols, start=start, end=end, timeframe=timeframe,
            params=parameters(settings or []), data=data, cash=cash, models=models or [],
            sizing=sizing or [], benchmark=benchmark, spec_file=spec_file,
        )  # fmt: skip
        names = [choice.class_name for choice in spec.strategies]
        chosen = choices_of(spec, load_named(names, strategy_directories(), vetting()))
        history = read_history(spec, chosen, reader_of(spec))
        result = run_backtest(spec, history, chosen)
    folder = run_folder(out, "backtest", names[0])
    result.save(folder)
    if report:
        write_report(result, folder)
    if as_json:
        typer.echo(json.dumps({**result.summary(), "folder": str(folder)}, indent=2))
    else:
        show_result(result, folder)


def show_result(result: BacktestResult, folder: Path) -> None:
    """Print what came of a run."""
    outcome, cash = result.outcome, result.spec.cash
    tables.show(console, metrics_table(result.metrics))
    console.print(
        f"\nequity {cash:,.2f} → {float(outcome.equity[-1]):,.2f}   {result.bars:,} bars, "
        f"{len(outcome.fills):,} fills, {len(outcome.trades):,} trades",
        soft_wrap=True,
    )
    if refused := result.refusals():
        told = ", ".join(f"{code} {count:,}" for code, count in refused.items())
        console.print(f"orders not carried out: {told}", style="yellow", soft_wrap=True)
    for note in result.notes:
        console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"kept in {folder}", soft_wrap=True)


def metrics_table(metrics: Metrics) -> Table:
    """Return the metrics in two columns of names and figures."""
    table = tables.grid("metric", "value>", "  metric", "value>")
    rows = list(_lines(metrics))
    half = (len(rows) + 1) // 2
    for index in range(half):
        left = rows[index]
        right = rows[index + half] if index + half < len(rows) else ("", "")
        table.add_row(*left, f"  {right[0]}", right[1])
    return table


def _lines(metrics: Metrics) -> Iterator[tuple[str, str]]:
    from libs.common.quant.metrics import CATALOGUE

    for entry in CATALOGUE:
        yield entry.label, figure(getattr(metrics, entry.name), entry.unit)


def figure(value: Any, unit: str) -> str:
    """Return a metric as a person reads it: returns and shares in per cent, a dash for NaN."""
    number = float(value)
    if number != number:
        return "–"
    match unit:
        case "return" | "share":
            return f"{number:,.2%}"
        case "days":
            return f"{number:,.0f} d"
        case "money":
            return f"{number:,.2f}"
        case _:
            return f"{number:,.3f}"
