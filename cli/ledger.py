"""`tradewind ledger …`: are the books right?"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console

from cli import tables
from cli.client import Gateway
from cli.errors import CommandError, Exit
from infra.embedded.view_snapshot import rows_of
from libs.common.kernel.errors import UnavailableError

app = typer.Typer(help="Look at the books.", no_args_is_help=True)
console = Console(highlight=False)
TIE_OUTS = "/api/v1/orders/tieouts"


@app.callback()
def ledger() -> None:
    """Look at the books."""


@app.command()
def statement(
    name: Annotated[str | None, typer.Option("--ledger", help="USD or a symbol.")] = None,
    order_id: Annotated[str | None, typer.Option("--order", help="Only this order.")] = None,
    trade_id: Annotated[str | None, typer.Option("--trade", help="Only this execution.")] = None,
    start: Annotated[str | None, typer.Option(help="From this time on, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option(help="Before this time, RFC 3339.")] = None,
    account: Annotated[
        str | None, typer.Option(help="One account of the ledger, as main/cash or fees/fees.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all its lines as CSV.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many lines.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """List the account's ledger lines, newest first. With --account or --csv: one ledger
    account's lines, oldest first, with its balance before, after each, and at the end."""
    if account is not None or as_csv:
        if order_id or trade_id:
            raise CommandError("--order and --trade go without --account and --csv")
        owner, _, code = (account or "").partition("/")
        _account_statement(
            {"ledger": name, "owner": owner or None, "code": code or None,
             "start": start, "end": end},
            None if as_csv else limit,
            as_json=as_json,
        )  # fmt: skip
        return
    chosen = {
        "ledger": name, "order_id": order_id, "trade_id": trade_id, "start": start, "end": end,
        "limit": limit,
    }  # fmt: skip
    with Gateway() as gateway:
        answer = gateway.get("/api/v1/portfolio/ledger", chosen)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    columns = ("ts", "ledger", "code", "kind", "amount", "change", "account", "counterparty")
    table = tables.grid(*columns)
    for line in rows_of(answer):
        table.add_row(*(str(line.get(column) or "") for column in columns))
    tables.show(console, table)


def _account_statement(
    chosen: Mapping[str, str | None], limit: int | None, *, as_json: bool
) -> None:
    path = "/api/v1/portfolio/ledger/statement"
    with Gateway(timeout_s=60.0) as gateway:
        if limit is None:
            typer.echo(gateway.text(path, {**chosen, "format": "csv"}), nl=False)
            return
        answer = gateway.get(path, {**chosen, "limit": limit})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    console.print(f"opening balance {answer['opening']}")
    table = tables.grid("ts", "code", "kind", "amount>", "change>", "balance>", "counterparty")
    for line in rows_of(answer):
        table.add_row(line["ts"], line["code"], line["kind"], line["amount"], line["change"],
                      line["balance"], line["counterparty"])  # fmt: skip
    tables.show(console, table)
    if answer["next"] is not None:
        console.print("more lines follow: a higher --limit, a later --start, or --csv")
    console.print(f"closing balance {answer['closing']}")


@app.command()
def balances(
    at: Annotated[str | None, typer.Option(help="Just before this time, RFC 3339.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """List every ledger account, and the ledgers' sums. Exit code 1 if one is not zero."""
    with Gateway() as gateway:
        answer = gateway.get("/api/v1/portfolio/ledger/balances", {"at": at})
    uneven = {name: total for name, total in answer["sums"].items() if Decimal(total)}
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        columns = ("ledger", "owner", "code", "posted", "pending_debits", "available")
        table = tables.grid(*columns)
        for row in rows_of(answer):
            table.add_row(*(str(row.get(column)) for column in columns))
        tables.show(console, table)
        console.print(f"not zero: {uneven}" if uneven else "every ledger sums to zero")
    if uneven:
        raise typer.Exit(Exit.FAILED)


@app.command("tie-out")
def tie_out(
    day: Annotated[str | None, typer.Option(help="Only this market day, as 2026-01-02.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Compare now, and keep the attempt.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Show the days' books against the broker's. Exit code 1 if the newest attempt differs."""
    if run:
        with Gateway(timeout_s=60.0) as gateway:
            rows: Sequence[Mapping[str, Any]] = [
                gateway.post(TIE_OUTS, {"day": day} if day else {})
            ]
    else:
        with Gateway() as gateway:
            rows = rows_of(gateway.get(TIE_OUTS, {"day": day, "limit": 20}))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        console.print("no day has been tied out yet")
    else:
        table = tables.grid("day", "attempt>", "result", "cause", "cash>", "theirs>")
        for row in rows:
            table.add_row(row["day"], str(row["seq"]), row["result"], row["cause"],
                          row["ours"]["cash"], row["theirs"]["cash"])  # fmt: skip
        tables.show(console, table)
        for one in rows[0]["differences"]:
            name = f"{one['what']} {one['of']}".strip()
            console.print(f"{name}: ours {one['ours']}, theirs {one['theirs']}", soft_wrap=True)
    if rows and rows[0]["result"] != "agrees":
        raise typer.Exit(Exit.FAILED)


@app.command()
def verify(
    url: Annotated[
        str | None,
        typer.Option("--url", help="The database; else TRADEWIND_DATABASE_URL."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Work everything out anew from the transfers. Exit code 1 if anything differs.

    Needs the database and nothing else, and may run while trading goes on.
    """
    address = url or os.environ.get("TRADEWIND_DATABASE_URL")
    if not address:
        raise CommandError("name the database: --url or TRADEWIND_DATABASE_URL")
    from infra.ledger_verify import verify as checks_of  # brings the database's driver

    try:
        results = list(checks_of(address))
    except UnavailableError as error:
        raise CommandError(str(error)) from error
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in results], indent=2))
    else:
        for result in results:
            verdict = "ok" if not result.broken else f"{result.broken} WRONG"
            console.print(f"{verdict:>8}  {result.name} ({result.rows} rows)", soft_wrap=True)
            for line in result.offending:
                console.print(f"          {line}", soft_wrap=True)
    if any(result.broken for result in results):
        raise typer.Exit(Exit.FAILED)
