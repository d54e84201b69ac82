"""`tradewind protection …`: what is guarded by exits, and how well."""

from __future__ import annotations

import json
import uuid
from typing import Annotated

import typer
from rich.console import Console

from cli import tables
from cli.client import Gateway
from cli.errors import Exit
from cli.run import path_part

PATH = "/api/v1/orders/protection"
app = typer.Typer(help="Guard positions by exits at the broker.", no_args_is_help=True)
console = Console(highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@app.command()
def show(as_json: Json = False) -> None:
    """Show what is guarded. Exit code 1 where shares stand naked."""
    with Gateway() as gateway:
        answer = gateway.get(PATH)
    rows = answer["items"]
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    elif not rows:
        console.print("nothing is asked to be protected")
    else:
        table = tables.grid("id", "symbol", "exits", "stop>", "profit>", "needed>", "active>", "by")
        for row in rows:
            table.add_row(
                row["id"],
                row["symbol"],
                row["side"],
                row["stop_price"],
                row["take_profit_price"] or "–",
                row.get("needed", "?"),
                row.get("active", "?"),
                "entry" if row["entry_id"] else row["actor"],
            )
        tables.show(console, table)
    if any(row.get("missing", "0") != "0" for row in rows):
        raise typer.Exit(Exit.FAILED)


@app.command("set")
def protect(
    symbol: str,
    stop: Annotated[str, typer.Option(help="Price at which the loss is ended.")],
    quantity: Annotated[str | None, typer.Option(help="Shares; all there are by default.")] = None,
    take_profit: Annotated[str | None, typer.Option(help="Price at which profit is taken.")] = None,
    key: Annotated[str | None, typer.Option(help="The same key is the same protection.")] = None,
) -> None:
    """Guard a position until it is closed."""
    body = {
        "symbol": symbol.upper(),
        "stop_price": stop,
        "quantity": quantity,
        "take_profit_price": take_profit,
    }
    with Gateway() as gateway:
        row = gateway.post(
            PATH,
            {name: value for name, value in body.items() if value is not None},
            {"Idempotency-Key": key or str(uuid.uuid4())},
        )
    console.print(f"{row['symbol']}: guarded at {row['stop_price']}, protection {row['id']}")


@app.command()
def end(identity: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Give a protection up; the exits that were placed for it are cancelled."""
    with Gateway() as gateway:
        row = gateway.delete(f"{PATH}/{path_part(identity)}")
    console.print(f"{row['symbol']}: no longer guarded by {row['id']}")
