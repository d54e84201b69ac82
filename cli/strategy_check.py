"""`tradewind strategy check FILE`: a strategy file tried without a running system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import tables
from cli.client import home
from cli.errors import CommandError
from libs.common.domain.timeframes import Timeframe

console = Console(highlight=False)


def check(
    file: Annotated[Path, typer.Argument(help="A strategy file, wherever it lies.")],
    timeframe: Annotated[
        Timeframe | None, typer.Option(help="How long the made-up bars are; days if not said.")
    ] = None,
    step_s: Annotated[
        float, typer.Option(min=0.1, help="Processor seconds for each strategy's steps.")
    ] = 20.0,
    memory_mb: Annotated[int, typer.Option(min=64, help="Megabytes that it may take.")] = 1024,
) -> None:
    """Try a file in a process of its own, over made-up bars; no system is needed.

    Exit code 1 if it does not load, raises, decides out of range, loops for ever, eats memory,
    writes beyond its arrays or is not the same twice: said with file, line and bar.
    """
    # With Numba behind it, for this command alone.
    from libs.common.runtime.trial import Limits, try_file
    from libs.common.strategy.errors import StrategyFileError

    limits = Limits(step_s=step_s, memory_mb=memory_mb)
    try:
        found = try_file(file, limits, home().root / "cache" / "checked", timeframe)
    except StrategyFileError as error:
        raise CommandError(str(error)) from error
    table = tables.grid("class", "kind", "bars>", "signals>", "summary")
    for tried in found:
        table.add_row(tried.name, tried.kind, str(tried.bars), str(tried.signals), tried.summary)
    tables.show(console, table)
    for tried in found:
        if not tried.signals:
            said = f"{tried.name} never decided on {tried.bars} bars; others: --timeframe 1m"
            console.print(said, markup=False)
