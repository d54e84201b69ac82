"""What the backtest commands share: their options, and how these become a spec."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from cli.client import home
from cli.errors import CommandError, Exit
from infra.routes import ROOT
from libs.common.domain.timeframes import Timeframe

if TYPE_CHECKING:
    from libs.common.backtest.data import Reader
    from libs.common.backtest.spec import BacktestSpec
    from libs.common.runtime.vetting import Vetting

DIRECTORIES: Final = "TRADEWIND_STRATEGY_DIRS"
console = Console(highlight=False)

Name = Annotated[str | None, typer.Argument(metavar="STRATEGY", help="As `strategies` names it.")]
Symbols = Annotated[str | None, typer.Option(help="Comma-separated symbols.")]
Start = Annotated[str, typer.Option("--from", help="First day or time, e.g. 2015-01-01.")]
End = Annotated[str, typer.Option("--to", help="Last day, or the time before which it ends.")]
Bars = Annotated[Timeframe, typer.Option(help="How long a bar is.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=NUMBER", help="A parameter; repeatable.")
]
Data = Annotated[
    str,
    typer.Option(
        help="sample (real daily closes, installed), store (what the running system has recorded),"
        " or a Parquet or CSV file or folder."
    ),
]
Cash = Annotated[float, typer.Option(help="What the account begins with.")]
Words = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="WORD=VALUE",
        help="A model's word, e.g. commission.percent=0.001 or fill.market=next_open; repeatable.",
    ),
]
SizingWords = Annotated[
    list[str] | None,
    typer.Option(
        "--sizing",
        metavar="WORD=VALUE",
        help="How targets become quantities, e.g. figure=0.1; repeatable.",
    ),
]
Benchmark = Annotated[str, typer.Option(help="A symbol to compare with.")]
SpecFile = Annotated[
    Path | None, typer.Option("--spec", help="A JSON file with the whole spec instead.")
]
Out = Annotated[Path | None, typer.Option(help="Folder for the results; else one is made.")]
Remote = Annotated[
    bool, typer.Option("--remote", help="In the queue of the running system's backtester.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def spec_from(
    name: str | None,
    *,
    symbols: str | None,
    start: str,
    end: str,
    timeframe: Timeframe,
    params: dict[str, Any],
    data: str,
    cash: float,
    models: Sequence[str],
    sizing: Sequence[str],
    benchmark: str,
    spec_file: Path | None,
) -> BacktestSpec:
    """Return the spec that the options ask for. Raises CommandError where they contradict each
    other, SpecError for what the spec itself refuses."""
    from libs.common.backtest.spec import spec_of

    if spec_file is not None:
        if name is not None:
            raise CommandError("give either a strategy's name or --spec", Exit.USAGE)
        try:
            return spec_of(spec_file.read_bytes())
        except OSError as error:
            raise CommandError(f"{spec_file}: {error.strerror}", Exit.USAGE) from error
    if name is None or symbols is None:
        raise CommandError("name a strategy and --symbols, or give --spec FILE", Exit.USAGE)
    named = [part.strip().upper() for part in symbols.split(",") if part.strip()]
    kinds = ("sample", "store")
    source = {"kind": data} if data in kinds else {"kind": "file", "path": data}
    choice = {"class_name": name, "symbols": named, "params": params, "sizing": words(sizing)}
    return spec_of(
        {
            "strategies": [choice],
            "timeframe": timeframe.value,
            "start": start,
            "end": end,
            "cash": cash,
            "models": words(models),
            "source": source,
            "benchmark": benchmark.upper(),
        }
    )


def words(settings: Sequence[str]) -> dict[str, Any]:
    """Return `["commission.percent=0.001"]` as nested words. Raises CommandError."""
    found: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not path or not equals:
            raise CommandError(f"{setting}: write WORD=VALUE", Exit.USAGE)
        *outer, last = path.strip().split(".")
        place = found
        for word in outer:
            place = place.setdefault(word, {})
            if not isinstance(place, dict):
                raise CommandError(f"{setting}: {word} has a value already", Exit.USAGE)
        try:
            place[last] = json.loads(text)
        except ValueError:
            place[last] = text.strip()
    return found


def strategy_directories() -> tuple[Path, ...]:
    """Return the folders of strategy files: TRADEWIND_STRATEGY_DIRS (a JSON list), else the
    project's and the user's."""
    given = os.environ.get(DIRECTORIES)
    if given:
        return tuple(Path(folder) for folder in json.loads(given))
    return ROOT / "strategies", home().strategies


def reader_for(spec: BacktestSpec) -> Reader:
    """Return where the spec's bars come from."""
    from libs.common.backtest.run import reader_of

    if spec.source.kind != "store":
        return reader_of(spec)
    from cli.stored_bars import StoredBars

    return StoredBars()


def vetting() -> Vetting:
    """Return what lets strategy files pass: the user's own are loaded elsewhere first."""
    from libs.common.runtime.vetting import Vetting

    return Vetting([ROOT / "strategies"])


def run_folder(out: Path | None, kind: str, label: str) -> Path:
    """Return the folder of a run: `out`, else a new one under the home's `backtests`."""
    if out is not None:
        return out.expanduser().absolute()
    from libs.common.runtime.clocks import SystemClock

    stamp = f"{SystemClock().now():%Y%m%d-%H%M%S}"
    base = home().root / "backtests"
    folder, number = base / f"{stamp}-{kind}-{label}", 1
    while folder.exists():
        number += 1
        folder = base / f"{stamp}-{kind}-{label}-{number}"
    return folder
