"""`tradewind cpcv`: a search judged on many histories out of sample."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cli import tables
from cli.backtest import figure
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
    Seed,
    Trials,
    Workers,
    bar,
    named,
    plan_from,
    workshop_for,
)
from libs.common.domain.timeframes import Timeframe


def cpcv(
    name: Name = None,
    symbols: Symbols = None,
    start: Start = "",
    end: End = "",
    timeframe: Bars = Timeframe.DAY,
    axes: Axes = None,
    groups: Annotated[int, typer.Option(min=2, max=20, help="Into how many the days go.")] = 6,
    chosen: Annotated[int, typer.Option(min=1, max=10, help="How many judge at a time.")] = 2,
    horizon: Annotated[int, typer.Option(min=0, help="Days beside them left out.")] = 0,
    embargo: Annotated[int, typer.Option(min=0, help="And so many more after them.")] = 0,
    method: Method = "grid",
    trials: Trials = 100,
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
    """Choose by Sharpe ratio on some groups of days, judge on the others, in every combination."""
    from libs.common.backtest.cpcv import cpcv as validate
    from libs.common.backtest.sweep.plan import folds_of

    with in_a_sentence():
        spec = spec_from(
            name, symbols=symbols, start=start, end=end, timeframe=timeframe, params={},
            data=data, cash=cash, models=models or [], sizing=sizing or [], benchmark="",
            spec_file=spec_file,
        )  # fmt: skip
        plan = plan_from(axes, method=method, trials=trials, seed=seed, returns=True)
        folds = folds_of(groups, chosen, horizon, embargo)
        if remote:
            run = run_remotely("cpcv", spec=spec, plan=plan, folds=folds)
            tell_of(run["result"], run["folder"], as_json=as_json)
            return
        workshop = workshop_for(spec)
        folder = run_folder(out, "cpcv", spec.strategies[0].title)
        with bar("trials") as progress:
            task = progress.add_task("", total=plan.count, best="")
            found = validate(
                workshop, plan, folds, folder, directories=strategy_directories(), crew=crew,
                workers=workers,
                tell=lambda done, count: progress.update(task, completed=done, total=count),
            )  # fmt: skip
    tell_of(found.to_json(), str(folder), as_json=as_json)


def tell_of(found: dict[str, Any], folder: str, *, as_json: bool) -> None:
    """Print what came of a cross-validation."""
    if as_json:
        typer.echo(json.dumps({**found, "folder": folder}, indent=2))
        return
    table = tables.grid("judged on groups", "Sharpe inside>", "outside>", "parameters")
    for split in found["splits"]:
        table.add_row(
            ", ".join(map(str, split["tests"])),
            figure(split["inside"], "ratio"),
            figure(split["outside"], "ratio"),
            named(split["params"]),
        )
    tables.show(console, table)
    paths = tables.grid("history out of sample", "Sharpe>", "CAGR>", "max drawdown>")
    for number, path in enumerate(found["paths"], 1):
        paths.add_row(
            str(number),
            figure(path["sharpe"], "ratio"),
            figure(path["cagr"], "return"),
            figure(path["max_drawdown"], "return"),
        )
    tables.show(console, paths)
    ratio = found["sharpe"]
    console.print(
        f"Sharpe ratio {figure(ratio['inside_of_all'], 'ratio')} as the best of "
        f"{found['trials']:,} on all days; out of sample {figure(ratio['mean'], 'ratio')} on "
        f"average, {figure(ratio['worst'], 'ratio')} to {figure(ratio['best'], 'ratio')}, below 0 "
        f"in {figure(ratio['below_zero'], 'share')} of the histories",
        soft_wrap=True,
    )
    console.print(f"kept in {folder}", soft_wrap=True)
