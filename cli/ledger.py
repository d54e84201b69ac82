"""`tradewind ledger …`: are the books right?"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import psycopg
import typer
from rich.console import Console

from cli.errors import CommandError, Exit
from infra.ledger_verify import verify as checks_of

app = typer.Typer(help="Look at the books.", no_args_is_help=True)
console = Console(highlight=False)


@app.callback()
def ledger() -> None:
    """Look at the books."""


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
    try:
        results = list(checks_of(address))
    except psycopg.Error as error:
        raise CommandError(f"the books cannot be read: {error}") from error
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
