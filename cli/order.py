"""`tradewind order …`: send an order, or read all that is known of one."""

from __future__ import annotations

import json
import uuid
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from cli import dossier, tables
from cli.client import Gateway
from cli.errors import Exit
from cli.run import path_part

PATH = "/api/v1/orders"
DEAD = frozenset({"denied", "rejected"})
app = typer.Typer(help="Send an order, or show one with its whole story.", no_args_is_help=True)
console = Console(highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Amount = Annotated[str | None, typer.Option(help="A decimal number, e.g. 10.25.")]


class TimeInForce(StrEnum):
    """How long an order stands."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    CLS = "cls"


@app.command("buy", help="Buy through the risk manager. Exit code 1 if denied or rejected.")
@app.command("sell", help="Sell through the risk manager. Exit code 1 if denied or rejected.")
def place(
    context: typer.Context,
    symbol: str,
    quantity: Annotated[str | None, typer.Argument(help="Shares; or give --notional.")] = None,
    notional: Amount = None,
    limit: Amount = None,
    stop: Amount = None,
    time_in_force: Annotated[TimeInForce, typer.Option("--tif")] = TimeInForce.DAY,
    extended_hours: Annotated[bool, typer.Option("--extended-hours")] = False,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key is the same order.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send an order through the risk manager; the command's name is its side."""
    if (quantity is None) == (notional is None):
        raise typer.BadParameter("give either a quantity or --notional")
    kinds = {(False, False): "market", (True, False): "limit", (False, True): "stop"}
    body = {
        "symbol": symbol.upper(),
        "side": context.command.name,
        "order_type": kinds.get((limit is not None, stop is not None), "stop_limit"),
        "time_in_force": time_in_force.value,
        "quantity": quantity,
        "notional": notional,
        "limit_price": limit,
        "stop_price": stop,
        "extended_hours": extended_hours or None,
    }
    with Gateway() as gateway:
        answer = gateway.post(
            PATH,
            {name: value for name, value in body.items() if value is not None},
            {"Idempotency-Key": key or str(uuid.uuid4())},
        )
    if as_json:
        _print_json(answer)
    else:
        tables.show(console, tables.orders([answer]))
    if answer.get("status") in DEAD:
        raise typer.Exit(Exit.FAILED)


@app.command()
def show(
    order_id: Annotated[str, typer.Argument(metavar="ID", help="The order's id.")],
    as_json: Json = False,
) -> None:
    """Show an order's whole story: signal, checks, events, executions, ledger, latency, cost."""
    with Gateway() as gateway:
        answer = gateway.get(f"{PATH}/{path_part(order_id)}/dossier")
    if as_json:
        _print_json(answer)
        return
    for title, table in dossier.parts(answer):
        console.print(title, style="bold")
        tables.show(console, table)
        console.print()


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))
