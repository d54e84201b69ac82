"""`tradewind sweep`: a strategy under many parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.table import Table
from rich.text import Text

from cli import tables
from cli.backtest import figure
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
from cli.errors import CommandError, Exit, in_a_sentence
from cli.remote import run_remotely
from libs.common.domain.timeframes import Timeframe

if TYPE_CHECKING:
    from rich.progress import Progress

    from libs.common.backtest.spec import BacktestSpec
    from libs.common.backtest.sweep.heat_map import HeatMap
    from libs.common.backtest.sweep.plan import Plan
    from libs.common.backtest.sweep.workshop import Trial, Workshop

CELLS_MAX: Final = 16
SHADES: Final = ("red", "dark_orange3", "yellow", "green3", "green")

Axes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUES", help="fast=5:50:5, fast=5,10,20; repeatable."),
]
Method = Annotated[Literal["grid", "random", "optuna"], typer.Option(help="Which points to try.")]
Trials = Annotated[int, typer.Option(min=1, help="How many, for random and optuna.")]
Metric = Annotated[str, typer.Option(help="What is to become large.")]
Seed = Annotated[int, typer.Option(min=0, help="For random and optuna.")]
CrewName = Annotated[
    Literal["auto", "threads", "processes", "ray"],
    typer.Option("--on", help="Who tries; auto: Ray if RAY_ADDRESS is set, threads, processes."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="How many at once; else all cores.")]


def sweep(
    name: Name = None,
    symbols: Symbols = None,
    start: Start = "",
    end: End = "",
    timeframe: Bars = Timeframe.DAY,
    axes: Axes = None,
    method: Method = "grid",
    trials: Trials = 100,
    metric: Metric = "sharpe",
    seed: Seed = 7,
    crew: CrewName = "auto",
    workers: Workers = None,
    pbo: Annotated[
        bool, typer.Option("--pbo", help="Keep all daily returns; how likely is overfitting?")
    ] = False,
    remote: Remote = False,
    data: Data = "sample",
    cash: Cash = 1_000_000.0,
    models: Words = None,
    sizing: SizingWords = None,
    benchmark: Benchmark = "",
    spec_file: SpecFile = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Try many parameters and keep every trial; with --out, a sweep cut short goes on."""
    from libs.common.backtest.sweep.sweep import sweep as run_sweep
    from libs.common.backtest.sweep.sweep import write_heat_map

    with in_a_sentence():
        spec = spec_from(
            name, symbols=symbols, start=start, end=end, timeframe=timeframe, params={},
            data=data, cash=cash, models=models or [], sizing=sizing or [], benchmark=benchmark,
            spec_file=spec_file,
        )  # fmt: skip
        plan = plan_from(axes, method=method, trials=trials, metric=metric, seed=seed, returns=pbo)
        if remote:
            run = run_remotely("sweep", spec=spec, plan=plan)
            tell_of(run["result"], None, metric, run["folder"], as_json=as_json)
            return
        workshop = workshop_for(spec)
        folder = run_folder(out, "sweep", spec.strategies[0].title)
        with bar(f"{plan.metric} –") as progress:
            task = progress.add_task("", total=plan.count, best="–")

            def tell(done: int, count: int, best: Trial | None) -> None:
                told = "–" if best is None else f"{best.figure(metric):.4g}"
                progress.update(task, completed=done, total=count, best=told)

            summary = run_sweep(
                workshop, plan, folder, directories=strategy_directories(), crew=crew,
                workers=workers, tell=tell,
            )  # fmt: skip
        shown = write_heat_map(workshop, plan, folder, summary)
    tell_of(summary, shown, metric, str(folder), as_json=as_json)


def tell_of(
    summary: dict[str, Any], shown: HeatMap | None, metric: str, folder: str, *, as_json: bool
) -> None:
    """Print what came of a sweep."""
    if as_json:
        typer.echo(json.dumps({**summary, "folder": folder}, indent=2))
    else:
        _show(summary, shown, metric, folder)


def plan_from(axes: list[str] | None, **rest: Any) -> Plan:
    """Return the plan that the options ask for. Raises CommandError, SpecError."""
    from libs.common.backtest.sweep.plan import plan_of
    from libs.common.backtest.sweep.space import axis_of

    if not axes:
        raise CommandError(
            "name what to try, e.g. --set fast=5:50:5 --set slow=20,50,100", Exit.USAGE
        )
    return plan_of({"axes": [axis_of(text) for text in axes], **rest})


def workshop_for(spec: BacktestSpec) -> Workshop:
    """Return the workshop of a spec, its bars read."""
    from libs.common.backtest.run import read_history
    from libs.common.backtest.shelf import load_named
    from libs.common.backtest.sweep.workshop import Workshop

    names = [choice.class_name for choice in spec.strategies]
    registry = load_named(names, strategy_directories(), vetting())
    for choice in spec.strategies:
        registry.get(choice.class_name)
    return Workshop(spec, read_history(spec, (), reader_for(spec)), registry)


def bar(label: str) -> Progress:
    """Return a progress bar that shows the best so far; on stderr, so that --json stays clean."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn(label.removesuffix(" –")),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("best {task.fields[best]}"),
        console=Console(stderr=True),
    )


def _show(summary: dict[str, Any], shown: HeatMap | None, metric: str, folder: str) -> None:
    if shown is not None and len(shown.rows) <= CELLS_MAX and len(shown.columns) <= CELLS_MAX:
        tables.show(console, _cells(shown))
    best = summary["best"]
    console.print(
        f"{summary['trials']:,} trials on {summary['crew']}, {summary['skipped']:,} not allowed, "
        f"{summary['failed']:,} failed",
        soft_wrap=True,
    )
    if summary["first_error"]:
        console.print(f"first failure: {summary['first_error']}", style="yellow", markup=False)
    if best is None:
        raise CommandError("no trial gave a figure")
    value = figure(best["metrics"][metric], "ratio")
    console.print(f"best {metric} {value} at {named(best['params'])}")
    doubt = best["deflated_sharpe"]
    if doubt is not None:
        console.print(
            f"probability that its Sharpe ratio is above what the best of {best['of_trials']:,} "
            f"lucky ones has: {doubt:.1%} (deflated Sharpe ratio)",
            soft_wrap=True,
        )
    if summary["overfitting"] is not None:
        _show_search(summary["overfitting"])
    console.print(f"kept in {folder}", soft_wrap=True)


def named(params: Mapping[str, Any]) -> str:
    """Return parameters as a person writes them."""
    return ", ".join(f"{name}={value}" for name, value in params.items())


def _show_search(found: dict[str, Any]) -> None:
    if found["probability"] is None:
        console.print(f"no probability of overfitting: {found['reason']}", style="yellow")
        return
    console.print(
        f"probability of overfitting: {found['probability']:.1%} (the best of {found['trials']:,} "
        f"in one half of {found['days']:,} days was not above the median in the other half, in "
        f"{found['blocks']} blocks); it lost money there in {found['loss']:.1%}",
        soft_wrap=True,
    )


def _cells(shown: HeatMap) -> Table:
    low, high = _ends(shown.values.ravel().tolist())
    table = tables.grid(
        f"{shown.row_name} \\ {shown.column_name}", *(f"{v}>" for v in shown.columns)
    )
    for value, row in zip(shown.rows, shown.values.tolist(), strict=True):
        table.add_row(str(value), *(_cell(cell, low, high) for cell in row))
    return table


def _ends(values: Sequence[float]) -> tuple[float, float]:
    there = [value for value in values if value == value]
    return (min(there), max(there)) if there else (0.0, 0.0)


def _cell(value: float, low: float, high: float) -> Text:
    if value != value:
        return Text("–", style="dim")
    place = 0.0 if high <= low else (value - low) / (high - low)
    return Text(f"{value:.3f}", style=SHADES[min(int(place * len(SHADES)), len(SHADES) - 1)])
