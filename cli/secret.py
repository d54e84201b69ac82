"""`tradewind secret …`: what is kept encrypted, and the keys that encrypt it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from cli import asking, tables
from cli.client import Gateway, home
from cli.errors import CommandError, Exit, in_a_sentence
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


@app.command("add-key")
def add_key(
    file: Annotated[
        Path | None, typer.Option("--file", help="The file that the services read their keys from.")
    ] = None,
) -> None:
    """Add a fresh key before those of this installation, which stay; the file is its owner's alone.

    Without --file: the file in TRADEWIND_ENCRYPTION_KEYS_FILE, else the home of `make run`.
    """
    from libs.common.runtime.secrets.box import SETTING

    given = os.environ.get(f"{SETTING}_FILE")
    named = file or (Path(given) if given else None)
    if named is not None:
        count = _add_to_file(named)
    elif os.environ.get(SETTING):
        raise CommandError(
            f"the keys are given in {SETTING} itself: put what `tradewind secret new-key` prints "
            "and a comma before them, where that is set"
        )
    else:
        named, count = _add_to_home()
    console.print(
        f"{named}: a new key is the first of {count}. Next: start the services again, "
        "`tradewind secret rotate`, then take the old ones out and start again.",
        soft_wrap=True,
    )


def _add_to_file(file: Path) -> int:
    """Return how many keys the file holds now. Raises CommandError."""
    from infra.embedded.home import write_private
    from libs.common.runtime.secrets import SecretBox
    from libs.common.runtime.secrets import new_key as fresh

    try:
        keys = [part.strip() for part in file.read_text().split(",")]
        with in_a_sentence():
            SecretBox(keys)  # no key is put before something that is none
        write_private(file, ",".join([fresh(), *keys]) + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: {error}") from error
    return len(keys) + 1


def _add_to_home() -> tuple[Path, int]:
    """Return the home's file and how many keys it holds now. Raises CommandError."""
    from infra.embedded.credentials import Credentials

    place = home()
    file = place.credentials / "secrets.json"
    if not file.exists():
        raise CommandError(f"no system has been started here yet: there is no {file}")
    with in_a_sentence():
        return file, Credentials(place).add_key("encryption_keys")


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
