"""`tradewind strategies` and `tradewind strategy …`: what runs, and what is to run."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from cli import tables
from cli.approvals import waits
from cli.client import Gateway
from cli.errors import CommandError, Exit
from cli.run import path_part
from infra.embedded.view_panels import money, styled
from infra.embedded.view_snapshot import rows_of
from libs.common.domain.timeframes import Timeframe
from libs.common.domain.vocabulary import StrategyMode as Mode

PATH = "/api/v1/strategies"
NUMBER_LIMIT = 1e300
app = typer.Typer(help="Add, change, switch and remove strategies.", no_args_is_help=True)
console = Console(highlight=False)

Id = Annotated[str, typer.Argument(metavar="ID", help="The strategy's id.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=NUMBER", help="A parameter; repeatable.")
]
Symbols = Annotated[str | None, typer.Option(help="Comma-separated symbols.")]
Weight = Annotated[str | None, typer.Option(help="A decimal number.")]


@app.command()
def add(
    strategy_id: Id,
    class_name: Annotated[str, typer.Option("--class", help="As `reload` lists it.")],
    symbols: Annotated[str, typer.Option(help="Comma-separated symbols.")],
    settings: Settings = None,
    mode: Annotated[Mode, typer.Option(help="shadow: record signals only.")] = Mode.SHADOW,
    timeframe: Annotated[Timeframe, typer.Option(help="How long a bar is.")] = Timeframe.MINUTE,
    weight: Weight = None,
) -> None:
    """Run one more strategy from the next bar on."""
    body = {
        "id": strategy_id,
        "class_name": class_name,
        "universe": _symbols(symbols),
        "params": parameters(settings or []),
        "mode": mode.value,
        "timeframe": timeframe.value,
        "weight": weight,
    }
    with Gateway() as gateway:
        answer = gateway.post(PATH, _given(body))
    if not waits(answer):
        _show([answer])


@app.command()
def change(
    strategy_id: Id,
    symbols: Symbols = None,
    settings: Settings = None,
    weight: Weight = None,
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=NUMBER",
            help="drawdown_max, daily_loss_max (money), faults_max; repeatable. Takes the place "
            "of all its limits; `--limit none` takes them away.",
        ),
    ] = None,
) -> None:
    """Change parameters, symbols, weight or own limits from the next bar on."""
    body = {
        "universe": _symbols(symbols) if symbols is not None else None,
        "params": parameters(settings) if settings else None,
        "weight": weight,
        "limits": _limits(limits) if limits else None,
    }
    _patch(strategy_id, _given(body))


@app.command()
def mode(strategy_id: Id, wanted: Annotated[Mode, typer.Argument(metavar="live|shadow")]) -> None:
    """Trade a strategy's signals (live), or only record them (shadow)."""
    _patch(strategy_id, {"mode": wanted.value})


@app.command()
def swap(
    strategy_id: Id,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Another class; else its own file anew.")
    ] = None,
    settings: Settings = None,
    shadow_bars: Annotated[
        int, typer.Option(help="Live bars to go along for before the exchange.")
    ] = 0,
    replay_bars: Annotated[int, typer.Option(help="Stored bars to be proven on.")] = 200,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Back to what ran before the last swap.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Give up a swap that is still in shadow.")
    ] = False,
) -> None:
    """Exchange code or parameters between two bars, proven on stored bars first."""
    path = f"{PATH}/{path_part(strategy_id)}/swap"
    body = {
        "class_name": class_name,
        "params": parameters(settings) if settings else None,
        "shadow_bars": shadow_bars,
        "replay_bars": replay_bars,
        "rollback": True if rollback else None,
    }
    with Gateway() as gateway:
        if cancel:
            _show_swap(strategy_id, gateway.delete(path))
            return
        answer = gateway.post(path, _given(body))
    _show([answer])
    _show_swap(strategy_id, answer["swap"])


@app.command()
def enable(strategy_id: Id) -> None:
    """Run a removed strategy again, warmed up anew."""
    _patch(strategy_id, {"enabled": True})


@app.command()
def remove(strategy_id: Id) -> None:
    """Stop a strategy. Its history stays, and so do its positions."""
    with Gateway() as gateway:
        _show([gateway.delete(f"{PATH}/{path_part(strategy_id)}")])
    console.print("its history stays, and so do its positions: close them with `tradewind order`")


@app.command()
def performance(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Show what each strategy has made of its executions."""
    with Gateway() as gateway:
        answer = gateway.get(f"{PATH}/performance")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    heads = ("id", "mode", "signals>", "executions>", "trips>", "hits>", "P&L>", "day>")
    table = tables.grid(*heads, "drawdown>", "costs>", "slippage>")
    for row in rows_of(answer):
        hits = "–" if row["hit_rate"] is None else f"{row['hit_rate']:.0%}"
        slipped = "–" if row["slippage_bps"] is None else f"{row['slippage_bps']:+.1f} bps"
        counts = (str(row["signals"]), str(row["executions"]), str(row["trips"]), hits)
        amounts = (money(row[name]) for name in ("pnl", "day_pnl", "drawdown", "costs"))
        table.add_row(str(row["strategy_id"]), str(row["mode"]), *counts, *amounts, slipped)
    tables.show(console, table)


@app.command()
def reload() -> None:
    """Load the strategy files anew. Exit code 1 if one is refused."""
    with Gateway() as gateway:
        answer = gateway.post(f"{PATH}/reload", {})
    table = tables.grid("class", "file", "parameters", "summary")
    for row in rows_of(answer):
        table.add_row(row["name"], row["file"], _schema(row["schema"]), row["summary"])
    tables.show(console, table)
    refused = answer.get("refused") or []
    if refused:
        lines = [f"{_place(row)}: {row['reason']}" for row in refused]
        raise CommandError("\n".join(["refused:", *lines]))


def list_all(*, as_json: bool) -> None:
    """Print all strategies."""
    with Gateway() as gateway:
        answer = gateway.get(PATH)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    elif rows := rows_of(answer):
        _show(rows)
    else:
        console.print("no strategies")


def list_signals(strategy_id: str | None, symbol: str | None, limit: int, *, as_json: bool) -> None:
    """Print the last signals."""
    chosen = {"strategy_id": strategy_id, "symbol": symbol, "limit": limit}
    with Gateway() as gateway:
        answer = gateway.get(f"{PATH}/signals", chosen)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    rows = rows_of(answer)
    if not rows:
        console.print("no signals")
        return
    table = tables.grid("id", "market time", "strategy", "symbol", "target>", "price>", "mode")
    for row in rows:
        table.add_row(
            str(row["signal_id"]),
            str(row["ts_event"])[:19].replace("T", " "),
            str(row["strategy_id"]),
            str(row["symbol"]),
            f"{row['target']:+.2f}",
            money(row["reference_price"]),
            str(row["mode"]),
        )
    tables.show(console, table)


def parameters(settings: list[str]) -> dict[str, int | float]:
    """Return `["window=20", "entry=7.5"]` as numbers by name. Raises CommandError."""
    found: dict[str, int | float] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not name or not equals:
            raise CommandError(f"--set {setting}: write NAME=NUMBER", Exit.USAGE)
        found[name.strip()] = _number(setting, text.strip())
    return found


def _limits(settings: list[str]) -> dict[str, int | float]:
    return {} if settings == ["none"] else parameters(settings)


def _number(setting: str, text: str) -> int | float:
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if abs(value) < NUMBER_LIMIT:
            return value
    raise CommandError(f"--set {setting}: {text!r} is not a number", Exit.USAGE)


def _patch(strategy_id: str, body: dict[str, Any]) -> None:
    with Gateway() as gateway:
        answer = gateway.patch(f"{PATH}/{path_part(strategy_id)}", body)
    if not waits(answer):
        _show([answer])


def _show_swap(strategy_id: str, swapped: Any) -> None:
    for row in swapped["proof"]:
        console.print(
            f"{row['symbol']}: {row['bars']} stored bars, {row['signals_old']} signals before, "
            f"{row['signals_new']} now, another position on {row['differing']} bars",
            markup=False,
        )
    said = f"{strategy_id}: {swapped['status']}"
    if swapped["status"] == "shadowing":
        said += f", {swapped['shadowed']} of {swapped['shadow_bars']} live bars"
    elif swapped["status"] == "exchanged":
        kept = "state carried over" if swapped["carried"] else "state filled from stored bars"
        said += f", {kept}; `tradewind strategy swap {strategy_id} --rollback` leads back"
    console.print(said, markup=False, soft_wrap=True)


def _show(rows: Any) -> None:
    tables.show(console, strategies(rows))
    for row in rows:
        for line in _complaints(row):
            console.print(line, style="yellow", markup=False, soft_wrap=True)


def strategies(rows: Any) -> Any:
    """Return the strategies, one a line."""
    table = tables.grid("id", "class", "bars", "mode", "status", "long>", "short>", "flat>", "on")
    for row in rows:
        targets = [(s.get("decision") or {}).get("target") for s in row.get("symbols", [])]
        table.add_row(
            str(row["id"]),
            _called(row),
            str(row["timeframe"]),
            str(row["mode"]),
            styled(row["status"]),
            str(sum(t is not None and t > 0 for t in targets)),
            str(sum(t is not None and t < 0 for t in targets)),
            str(sum(t == 0 for t in targets)),
            " ".join(row["universe"]),
        )
    return table


def _called(row: Any) -> str:
    values = ", ".join(f"{name}={value}" for name, value in row["params"].items())
    return f"{row['class_name']}({values})" if values else str(row["class_name"])


def _complaints(row: Any) -> list[str]:
    lines = [f"{row['id']}: {row['reason']}"] if row.get("reason") else []
    if uncollected := row.get("uncollected"):
        lines.append(f"{row['id']}: no market data is collected for {', '.join(uncollected)}")
    lines += [
        f"{row['id']} stopped on {stream['symbol']}: {stream['reason']}"
        for stream in row.get("symbols", [])
        if stream.get("reason")
    ]
    return lines


def _place(refused: Any) -> str:
    return f"{refused['file']}:{refused['line']}" if refused["line"] else str(refused["file"])


def _schema(fields: Any) -> str:
    return ", ".join(f"{f['name']}={f['default']} ({f['low']}…{f['high']})" for f in fields)


def _symbols(text: str) -> list[str]:
    found = [part.strip().upper() for part in text.split(",") if part.strip()]
    if not found:
        raise CommandError("--symbols names no symbol; write e.g. --symbols AAPL,KO", Exit.USAGE)
    return found


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
