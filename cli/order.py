"""`tradewind order …`: send an order, change or cancel it, read all that is known of one."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import dossier, tables
from cli.client import Gateway
from cli.errors import CommandError, Exit
from cli.order_words import (
    DEAD,
    PATH,
    Amount,
    Json,
    Key,
    TimeInForce,
    console,
    order_body,
    print_json,
    print_orders,
)
from cli.run import path_part
from cli.trigger import app as trigger_app

app = typer.Typer(
    help="Send an order, amend or cancel it, or show one with its whole story.",
    no_args_is_help=True,
)
app.add_typer(trigger_app, name="trigger")


@app.command("buy", help="Buy through the risk manager. Exit code 1 if denied or rejected.")
@app.command("sell", help="Sell through the risk manager. Exit code 1 if denied or rejected.")
def place(
    context: typer.Context,
    symbol: str,
    quantity: Annotated[str | None, typer.Argument(help="Shares; or give --notional.")] = None,
    notional: Annotated[str | None, typer.Option(help="An amount of money instead.")] = None,
    limit: Amount = None,
    stop: Amount = None,
    trail: Annotated[str | None, typer.Option(help="Trailing stop: by a price.")] = None,
    trail_percent: Annotated[str | None, typer.Option(help="Trailing stop: per cent.")] = None,
    take_profit: Annotated[
        str | None, typer.Option(help="Exit at this limit; with --stop-loss a bracket.")
    ] = None,
    stop_loss: Annotated[str | None, typer.Option(help="Exit at this stop.")] = None,
    stop_loss_limit: Annotated[str | None, typer.Option(help="The stop's own limit.")] = None,
    oco: Annotated[
        bool, typer.Option("--oco", help="Two exits of what is held; one cancels the other.")
    ] = False,
    time_in_force: Annotated[TimeInForce, typer.Option("--tif")] = TimeInForce.DAY,
    extended_hours: Annotated[bool, typer.Option("--extended-hours")] = False,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Send an order through the risk manager; the command's name is its side."""
    body = order_body(
        symbol,
        context.command.name or "",
        quantity,
        notional=notional,
        limit=limit,
        stop=stop,
        trail=trail,
        trail_percent=trail_percent,
        take_profit=take_profit,
        stop_loss=stop_loss,
        stop_loss_limit=stop_loss_limit,
        oco=oco,
        time_in_force=time_in_force,
        extended_hours=extended_hours,
    )
    with Gateway() as gateway:
        answer = gateway.post(PATH, body, {"Idempotency-Key": key or str(uuid.uuid4())})
    print_orders([answer], as_json=answer if as_json else None)
    if answer.get("status") in DEAD:
        raise typer.Exit(Exit.FAILED)


@app.command()
def amend(
    order_id: Annotated[str, typer.Argument(metavar="ID", help="The order's id.")],
    quantity: Annotated[
        str | None, typer.Option(help="The total, what has been executed included.")
    ] = None,
    limit: Amount = None,
    stop: Amount = None,
    trail: Annotated[
        str | None, typer.Option(help="A price or per cent, as the order's own is.")
    ] = None,
    time_in_force: Annotated[TimeInForce | None, typer.Option("--tif")] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Amend a resting order. The answer is the order that takes its place once the broker says
    so; exit code 1 if it is denied."""
    wished = {
        "quantity": quantity,
        "limit_price": limit,
        "stop_price": stop,
        "trail": trail,
        "time_in_force": None if time_in_force is None else time_in_force.value,
    }
    body = {name: value for name, value in wished.items() if value is not None}
    if not body:
        raise typer.BadParameter("give something to change")
    with Gateway() as gateway:
        answer = gateway.patch(
            f"{PATH}/{path_part(order_id)}", body, {"Idempotency-Key": key or str(uuid.uuid4())}
        )
    print_orders([answer], as_json=answer if as_json else None)
    if answer.get("status") in DEAD:
        raise typer.Exit(Exit.FAILED)


@app.command()
def cancel(
    order_id: Annotated[str, typer.Argument(metavar="ID", help="The order's id.")],
    as_json: Json = False,
) -> None:
    """Ask for an order's cancel; a fill may still come first."""
    with Gateway() as gateway:
        answer = gateway.delete(f"{PATH}/{path_part(order_id)}")
    print_orders([answer], as_json=answer if as_json else None)


@app.command("cancel-all")
def cancel_all(
    symbol: Annotated[str | None, typer.Option(help="Only this symbol.")] = None,
    as_json: Json = False,
) -> None:
    """Ask for the cancel of every open order, and drop what waits for its trigger."""
    with Gateway() as gateway:
        answer = gateway.delete(PATH, {"symbol": symbol.upper() if symbol else None})
    rows: list[Any] = answer["items"]
    if rows or as_json:
        print_orders(rows, as_json=answer if as_json else None)
    else:
        console.print("no open orders")


@app.command()
def show(
    order_id: Annotated[str, typer.Argument(metavar="ID", help="The order's id.")],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it as a page to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show an order's whole story: signal, checks, events, executions, ledger, latency, cost."""
    if html is not None:
        with Gateway() as gateway:
            page = gateway.text(f"{PATH}/{path_part(order_id)}/dossier/page", {})
        try:
            html.write_text(page, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{html}: {error.strerror}") from error
        console.print(f"written to {html}", soft_wrap=True)
        return
    with Gateway() as gateway:
        answer = gateway.get(f"{PATH}/{path_part(order_id)}/dossier")
    if as_json:
        print_json(answer)
        return
    for title, table in dossier.parts(answer):
        console.print(title, style="bold")
        tables.show(console, table)
        console.print()
