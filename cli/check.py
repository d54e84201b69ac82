"""`tradewind check …`: does a strategy know too much, or never forget?"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import tables
from cli.backtest_words import (
    Bars,
    Data,
    End,
    Json,
    Name,
    Settings,
    Start,
    Symbols,
    console,
    reader_for,
    spec_from,
    strategy_directories,
    vetting,
)
from cli.errors import Exit, in_a_sentence
from cli.strategy import parameters
from infra.embedded.view_panels import styled
from libs.common.domain.timeframes import Timeframe

if TYPE_CHECKING:
    import numpy as np

    from libs.common.strategy.definition import Definition

app = typer.Typer(help="Look for self-deception in a strategy.", no_args_is_help=True)
Seed = Annotated[int, typer.Option(min=0, help="Which bars are cut and redrawn.")]


@app.command()
def lookahead(
    name: Name = None,
    symbols: Symbols = None,
    start: Start = "",
    end: End = "",
    timeframe: Bars = Timeframe.DAY,
    settings: Settings = None,
    data: Data = "sample",
    seed: Seed = 7,
    strict: Annotated[bool, typer.Option(help="Fail on what is only doubtful, too.")] = False,
    as_json: Json = False,
) -> None:
    """Does it decide as before when later bars are missing or others? Exit code 1 if not.

    What has an innocent explanation too (a rule by the calendar, a fitted model) is doubtful: it is
    told, for a person to judge, and fails with --strict only.
    """
    import numpy

    from libs.common.strategy.honesty import check_lookahead

    with in_a_sentence():
        definition, params, history = _subject(name, symbols, start, end, timeframe, settings, data)
        generator = numpy.random.default_rng(seed)
        found = check_lookahead(definition, params, history, generator, timeframe=timeframe)
    if as_json:
        _print({**dataclasses.asdict(found), "verdict": found.verdict})
    else:
        table = tables.grid("check", "answer", "question", "detail")
        for check in found.checks:
            answer = "yes" if check.passed else ("NO" if check.proof else "no")
            table.add_row(check.name, answer, check.question, "" if check.passed else check.detail)
        tables.show(console, table)
        console.print(f"{found.strategy}:", styled(found.verdict))
    if found.verdict == "looks ahead" or (strict and found.verdict != "clean"):
        raise typer.Exit(Exit.FAILED)


@app.command()
def warmup(
    name: Name = None,
    symbols: Symbols = None,
    start: Start = "",
    end: End = "",
    timeframe: Bars = Timeframe.DAY,
    settings: Settings = None,
    data: Data = "sample",
    as_json: Json = False,
) -> None:
    """After how many bars does it forget where it began? Exit code 1 if it declares too few."""
    from libs.common.strategy.honesty import check_warmup

    with in_a_sentence():
        definition, params, history = _subject(name, symbols, start, end, timeframe, settings, data)
        found = check_warmup(definition, params, history, timeframe=timeframe)
    if as_json:
        _print({**dataclasses.asdict(found), "needed": found.needed, "enough": found.enough})
    else:
        table = tables.grid(
            "symbol", "start at bar>", "agrees after>", "differ later>", "the first"
        )
        for one in found.starts:
            after = "never" if one.agrees_after is None else f"{one.agrees_after} bars"
            late = "" if one.difference is None else str(one.difference)
            table.add_row(one.symbol, str(one.bar), after, f"{one.late} bars", late)
        tables.show(console, table)
        needed = "it never agrees" if found.needed is None else f"{found.needed} bars are needed"
        console.print(f"{found.strategy} declares {found.declared} bars of warm-up; {needed}")
    if not found.enough:
        raise typer.Exit(Exit.FAILED)


@app.command()
def entry(
    name: Name = None,
    symbols: Symbols = None,
    start: Start = "",
    end: End = "",
    timeframe: Bars = Timeframe.DAY,
    settings: Settings = None,
    data: Data = "sample",
    permutations: Annotated[int, typer.Option(min=19, max=100_000, help="How many.")] = 500,
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Is its timing better than chance: rotated in time, and on shuffled markets?"""
    import numpy

    from libs.common.strategy.honesty import check_entry

    with in_a_sentence():
        definition, params, history = _subject(name, symbols, start, end, timeframe, settings, data)
        found = check_entry(definition, params, history, numpy.random.default_rng(seed),
                            timeframe=timeframe, permutations=permutations)  # fmt: skip
    rows = {
        symbol: (1e4 * rotated.score, rotated.p_value, found.permuted[symbol].p_value)
        for symbol, rotated in found.rotated.items()
    }
    if as_json:
        names = ("edge_bps", "p_rotated", "p_shuffled")
        told = {symbol: dict(zip(names, row, strict=True)) for symbol, row in rows.items()}
        _print({"strategy": found.strategy, "symbols": told})
        return
    table = tables.grid("symbol", "edge a bar, bps>", "p, rotated>", "p, shuffled bars>")
    for symbol, (edge, *chances) in rows.items():
        table.add_row(symbol, f"{edge:.2f}", *(f"{chance:.3f}" for chance in chances))
    tables.show(console, table)
    console.print("p: how often chance does as well; of one rule, not of the best of many")


def _subject(
    name: str | None,
    symbols: str | None,
    start: str,
    end: str,
    timeframe: Timeframe,
    settings: list[str] | None,
    data: str,
) -> tuple[Definition, dict[str, Any], dict[str, np.ndarray]]:
    from libs.common.backtest.decide import run_bars
    from libs.common.backtest.run import read_history
    from libs.common.backtest.shelf import load_named

    spec = spec_from(
        name, symbols=symbols, start=start, end=end, timeframe=timeframe,
        params=parameters(settings or []), data=data, cash=1.0, models=[], sizing=[],
        benchmark="", spec_file=None,
    )  # fmt: skip
    choice = spec.strategies[0]
    loaded = load_named([choice.class_name], strategy_directories(), vetting()).get(
        choice.class_name
    )
    history = read_history(spec, (), reader_for(spec))
    return loaded.definition, dict(choice.params), run_bars(history, spec.start_ns)


def _print(value: Any) -> None:
    typer.echo(json.dumps(_plain(value), indent=2, default=str))


def _plain(value: Any) -> Any:
    """Return data that JSON can hold: NaN is null."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and value != value else value
