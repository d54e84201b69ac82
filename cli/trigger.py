"""`tradewind order trigger …`: orders kept back until their price is met."""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli import tables
from cli.client import Gateway
from cli.order_words import (
    PATH,
    Amount,
    Json,
    Key,
    TimeInForce,
    console,
    order_body,
    print_json,
)
from cli.run import path_part

TRIGGERS = f"{PATH}/triggers"
app = typer.Typer(
    help="Keep an order back until its price is met; list and cancel what waits.",
    no_args_is_help=True,
)


class Side(StrEnum):
    """Which way the order goes."""

    BUY = "buy"
    SELL = "sell"


@app.command()
def add(
    side: Side,
    symbol: str,
    quantity: Annotated[str | None, typer.Argument(help="Shares; or give --notional.")] = None,
    above: Annotated[
        str | None, typer.Option(help="Send it once the market has risen to this price.")
    ] = None,
    below: Annotated[
        str | None, typer.Option(help="Send it once the market has fallen to this price.")
    ] = None,
    valid_until: Annotated[
        str | None, typer.Option(help="Market time, e.g. 2026-03-02T21:00:00Z.")
    ] = None,
    notional: Amount = None,
    limit: Amount = None,
    time_in_force: Annotated[TimeInForce, typer.Option("--tif")] = TimeInForce.DAY,
    extended_hours: Annotated[bool, typer.Option("--extended-hours")] = False,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Keep an order until the market is at a price; it is judged when it is sent."""
    if (above is None) == (below is None):
        raise typer.BadParameter("give either --above or --below")
    order = order_body(
        symbol,
        side.value,
        quantity,
        notional=notional,
        limit=limit,
        time_in_force=time_in_force,
        extended_hours=extended_hours,
    )
    wished = {"order": order, "above": above, "below": below, "valid_until": valid_until}
    body = {name: value for name, value in wished.items() if value is not None}
    with Gateway() as gateway:
        answer = gateway.post(TRIGGERS, body, {"Idempotency-Key": key or str(uuid.uuid4())})
    _print(answer, [answer], as_json=as_json)


@app.command("list")
def list_triggers(
    status: Annotated[str | None, typer.Option(help="E.g. waiting, fired.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """List triggers, newest first."""
    chosen = {"status": status, "symbol": symbol and symbol.upper(), "limit": limit}
    with Gateway() as gateway:
        answer = gateway.get(TRIGGERS, chosen)
    _print(answer, answer["items"], as_json=as_json)


@app.command()
def cancel(
    trigger_id: Annotated[str, typer.Argument(metavar="ID", help="The trigger's id.")],
    as_json: Json = False,
) -> None:
    """Cancel a trigger that waits."""
    with Gateway() as gateway:
        answer = gateway.delete(f"{TRIGGERS}/{path_part(trigger_id)}")
    _print(answer, [answer], as_json=as_json)


def _print(answer: Any, rows: list[Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    elif rows:
        tables.show(console, tables.triggers(rows))
    else:
        console.print("no triggers")
