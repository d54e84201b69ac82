"""`tradewind walk-forward`: parameters chosen on one stretch, judged on the next."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cli import tables
from cli.backtest import figure, metrics_table
from cli.backtest_words import (
    Bars,
    Cash,
    Data,
    End,
    Json,
    Name,
    Out,
    Remote,
    SizingWords,
    SpecFile,
    Start,
    Symbols,
    Words,
    console,
    run_folder,
    spec_from,
    strategy_directories,
)
from cli.errors import in_a_sentence
from cli.remote import run_remotely
from cli.sweep import (
    Axes,
    CrewName,
    Method,
    Metric,
    Seed,
    Trials,
    Workers,
    bar,
    named,
    plan_from,
    workshop_for,
)
from libs.common.domain.timeframes import Timeframe


def walk_forward(
    name: Name = None,
    symbols: Symbols = None,
    start: Start = "",
    end: End = "",
    timeframe: Bars = Timeframe.DAY,
    axes: Axes = None,
    train: Annotated[int, typer.Option(min=2, help="Bars that teach.")] = 756,
    test: Annotated[int, typer.Option(min=1, help="Bars that judge.")] = 252,
    anchored: Annotated[bool, typer.Option(help="Learn from the first bar on, always.")] = False,
    purge: Annotated[int, typer.Option(min=0, help="Bars between them that serve neither.")] = 0,
    embargo: Annotated[int, typer.Option(min=0, help="As purge, beside it.")] = 0,
    method: Method = "grid",
    trials: Trials = 100,
    metric: Metric = "sharpe",
    seed: Seed = 7,
    crew: CrewName = "auto",
    workers: Workers = None,
    remote: Remote = False,
    data: Data = "sample",
    cash: Cash = 1_000_000.0,
    models: Words = None,
    sizing: SizingWords = None,
    spec_file: SpecFile = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Sweep, take the best, run it on the bars after; what comes of that is out of sample."""
    from libs.common.backtest.sweep.plan import Steps
    from libs.common.backtest.walk import walk

    with in_a_sentence():
        spec = spec_from(
            name, symbols=symbols, start=start, end=end, timeframe=timeframe, params={},
            data=data, cash=cash, models=models or [], sizing=sizing or [], benchmark="",
            spec_file=spec_file,
        )  # fmt: skip
        plan = plan_from(axes, method=method, trials=trials, metric=metric, seed=seed)
        steps = Steps(train, test, anchored, purge, embargo)
        if remote:
            run = run_remotely("walk_forward", spec=spec, plan=plan, steps=steps)
            tell_of(run["result"], metric, run["folder"], as_json=as_json)
            return
        workshop = workshop_for(spec)
        folder = run_folder(out, "walk-forward", spec.strategies[0].title)
        with bar("windows") as progress:
            task = progress.add_task("", total=None, best="")
            walked = walk(
                workshop, plan, steps, folder,
                directories=strategy_directories(), crew=crew, workers=workers,
                tell=lambda done, count: progress.update(task, completed=done, total=count),
            )  # fmt: skip
    tell_of(walked.to_json(), metric, str(folder), as_json=as_json)


def tell_of(walked: dict[str, Any], metric: str, folder: str, *, as_json: bool) -> None:
    """Print what came of a walk-forward."""
    if as_json:
        typer.echo(json.dumps({**walked, "folder": folder}, indent=2))
        return
    table = tables.grid("test", "until", f"{metric} inside>", "outside>", "growth>", "parameters")
    for window in walked["windows"]:
        table.add_row(
            window["test"][0][:10],
            window["test"][1][:10],
            figure(window["inside"], "ratio"),
            figure(window["outside"], "ratio"),
            f"{window['growth'] - 1:+.2%}",
            named(window["params"] or {}) or "none gave a figure",
        )
    tables.show(console, table)
    console.print("\nout of sample, end to end:")
    tables.show(console, metrics_table(walked["metrics"]))
    console.print(f"kept in {folder}", soft_wrap=True)
