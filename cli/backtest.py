"""`tradewind backtest`: a strategy on history, here and now, without any service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

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
    Remote,
    Settings,
    SizingWords,
    SpecFile,
    Start,
    Symbols,
    Words,
    console,
    reader_for,
    run_folder,
    spec_from,
    strategy_directories,
    vetting,
)
from cli.errors import in_a_sentence
from cli.remote import run_remotely
from cli.strategy import parameters
from libs.common.domain.timeframes import Timeframe


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
    remote: Remote = False,
    as_json: Json = False,
) -> None:
    """Run a strategy over history and keep the result: metrics, equity, fills, trades, report."""
    from libs.common.backtest.kept import write_report
    from libs.common.backtest.run import choices_of, read_history, run_backtest
    from libs.common.backtest.shelf import load_named

    with in_a_sentence():
        spec = spec_from(
            name, symbols=symbols, start=start, end=end, timeframe=timeframe,
            params=parameters(settings or []), data=data, cash=cash, models=models or [],
            sizing=sizing or [], benchmark=benchmark, spec_file=spec_file,
        )  # fmt: skip
        if remote:
            run = run_remotely("backtest", spec=spec, report=report)
            tell_of(run["result"], run["folder"], as_json=as_json)
            return
        names = [choice.class_name for choice in spec.strategies]
        chosen = choices_of(spec, load_named(names, strategy_directories(), vetting()))
        history = read_history(spec, chosen, reader_for(spec))
        result = run_backtest(spec, history, chosen)
    folder = run_folder(out, "backtest", names[0])
    result.save(folder)
    if report:
        write_report(result, folder)
    tell_of(result.summary(), str(folder), as_json=as_json)


def tell_of(found: Mapping[str, Any], folder: str, *, as_json: bool) -> None:
    """Print what came of a run."""
    if as_json:
        typer.echo(json.dumps({**found, "folder": folder}, indent=2))
        return
    tables.show(console, metrics_table(found["metrics"]))
    console.print(
        f"\nequity {found['equity_first']:,.2f} → {found['equity_last']:,.2f}   "
        f"{found['data']['bars']:,} bars, {found['fills']:,} fills, {found['trades']:,} trades",
        soft_wrap=True,
    )
    if refused := found["refused"]:
        told = ", ".join(f"{code} {count:,}" for code, count in refused.items())
        console.print(f"orders not carried out: {told}", style="yellow", soft_wrap=True)
    for note in found["notes"]:
        console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"kept in {folder}", soft_wrap=True)


def metrics_table(metrics: Mapping[str, Any]) -> Table:
    """Return metrics by name (as JSON has them) in two columns of names and figures."""
    table = tables.grid("metric", "value>", "  metric", "value>")
    rows = list(_lines(metrics))
    half = (len(rows) + 1) // 2
    for index in range(half):
        left = rows[index]
        right = rows[index + half] if index + half < len(rows) else ("", "")
        table.add_row(*left, f"  {right[0]}", right[1])
    return table


def _lines(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from libs.common.quant.metrics import CATALOGUE

    for entry in CATALOGUE:
        yield entry.label, figure(metrics[entry.name], entry.unit)


def figure(value: Any, unit: str) -> str:
    """Return a metric as a person reads it: returns and shares in per cent, a dash for NaN or
    None."""
    number = float("nan") if value is None else float(value)
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
