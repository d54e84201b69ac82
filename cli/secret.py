"""`tradewind secret …`: what is kept encrypted, and the keys that encrypt it."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Final

import typer
from rich.console import Console

from cli import asking, tables
from cli.client import Gateway
from cli.errors import Exit
from cli.run import path_part

SECRETS: Final = "/api/v1/secrets"
BATCH: Final = 200
app = typer.Typer(help="What is kept encrypted, and the keys of it.", no_args_is_help=True)
console = Console(highlight=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="E.g. broker_key or broker_secret.")]


@app.command("new-key")
def new_key() -> None:
    """Print a fresh key for TRADEWIND_ENCRYPTION_KEYS; it is kept nowhere."""
    from libs.common.runtime.secrets import new_key as fresh

    typer.echo(fresh())


@app.command("set")
def put(name: Name) -> None:
    """Keep a secret; its value is asked for, or read from standard input, never an argument."""
    value = asking.password(name) if sys.stdin.isatty() else asking.from_stdin(name)
    with Gateway() as gateway:
        gateway.put(f"{SECRETS}/{path_part(name)}", {"value": value})
    console.print(f"{name} is stored, encrypted; services that use it take it at their next start")


@app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List what is stored, without the values."""
    with Gateway() as gateway:
        answer = gateway.get(SECRETS)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    elif rows := answer["items"]:
        table = tables.grid("name", "stored")
        for row in rows:
            table.add_row(row["name"], tables.instant(row["updated_at"]))
        tables.show(console, table)
    else:
        console.print("no secret is stored")


@app.command()
def remove(name: Name) -> None:
    """Forget a secret."""
    with Gateway() as gateway:
        gateway.delete(f"{SECRETS}/{path_part(name)}")
    console.print(f"{name} is stored no more")


@app.command()
def rotate() -> None:
    """Encrypt all that is encrypted with the first key; may be broken off and begun again.

    Exit code 1 where something cannot be read with any of the keys.
    """
    lost = 0
    with Gateway(timeout_s=60.0) as gateway:
        for column in gateway.get(SECRETS)["columns"]:
            lost += _rotate(gateway, column)
    if lost:
        raise typer.Exit(Exit.FAILED)


def _rotate(gateway: Gateway, column: str) -> int:
    """Rotate a column, say what was done, return how many rows no key opens."""
    rows = rotated = 0
    unreadable: list[str] = []
    after: str | None = ""
    while after is not None:
        body = {"column": column, "after": after, "limit": BATCH}
        done = gateway.post(f"{SECRETS}/rotation", body)
        rows += done["rows"]
        rotated += done["rotated"]
        unreadable += done["unreadable"]
        after = done["next"]
    console.print(f"{column}: {rows} values, {rotated} encrypted anew")
    for key in unreadable:
        console.print(f"  {key}: none of the keys opens it", style="red", soft_wrap=True)
    return len(unreadable)
