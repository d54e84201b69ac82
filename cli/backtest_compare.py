"""`tradewind compare`: kept backtests side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import tables
from cli.backtest import figure
from cli.backtest_words import Json, console
from cli.client import home
from cli.errors import CommandError, Exit, in_a_sentence


def compare(
    runs: Annotated[list[str], typer.Argument(help="Folders of results, or their names.")],
    out: Annotated[
        Path | None, typer.Option(help="Write an HTML page with the curves here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put kept backtests side by side: metrics, parameters, and the curves as HTML."""
    if len(runs) < 2:
        raise CommandError("name at least two results", Exit.USAGE)
    from libs.common.backtest.kept import kept_input
    from libs.common.backtest.report import comparison_json, render_comparison
    from libs.common.quant.metrics import CATALOGUE

    with in_a_sentence():
        inputs = [kept_input(_folder(run)) for run in runs]
        page = render_comparison(inputs) if out is not None else ""
        data = comparison_json(inputs) if as_json else None
    if out is not None:
        out.write_text(page, encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(data, indent=2))
        return
    table: Any = tables.grid("metric", *(f"{Path(run).name}>" for run in runs))
    for entry in CATALOGUE:
        values = [getattr(run.measured, entry.name) for run in inputs]
        table.add_row(entry.label, *(figure(value, entry.unit) for value in values))
    tables.show(console, table)
    for run, named in zip(inputs, runs, strict=True):
        console.print(f"{Path(named).name}: {run.title}", soft_wrap=True, markup=False)
    if out is not None:
        console.print(f"curves in {out}", soft_wrap=True)


def _folder(run: str) -> Path:
    path = Path(run).expanduser()
    return path if path.exists() else home().root / "backtests" / run
