"""`tradewind session …`: who is logged in, and ending that."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from cli import tables
from cli.client import Gateway
from cli.errors import CommandError, Exit
from cli.run import path_part
from cli.user import USERS, id_of

OWN: Final = "/api/v1/auth/sessions"
app = typer.Typer(help="Who is logged in.", no_args_is_help=True)
console = Console(highlight=False)

User = Annotated[str | None, typer.Option(help="Another user's; takes an administrator.")]


@app.command("list")
def show(
    user: User = None,
    everybody: Annotated[bool, typer.Option("--all", help="Of all users.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """List sessions, newest first."""
    with Gateway() as gateway:
        answer = gateway.get(_path(gateway, user, everybody=everybody))
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    elif rows := answer["items"]:
        table = tables.grid("id", "begun", "used", "from", "with", "")
        for row in rows:
            table.add_row(
                row["id"],
                tables.instant(row["created_at"]),
                tables.instant(row["last_used_at"]),
                row["ip"] or "–",
                row["user_agent"] or "–",
                "this one" if row["current"] else "",
            )
        tables.show(console, table)
    else:
        console.print("no sessions")


@app.command()
def revoke(
    session: Annotated[str | None, typer.Argument(metavar="[ID]", help="Which one.")] = None,
    user: User = None,
    every: Annotated[bool, typer.Option("--all", help="All of that user.")] = False,
) -> None:
    """End a session, or with --user and --all every one of a user; its tokens are void at once."""
    if (session is None) != every or (every and user is None):
        raise CommandError("name one session, or --user NAME --all", Exit.USAGE)
    with Gateway() as gateway:
        path = _path(gateway, user, everybody=False)
        answer: Any = gateway.delete(path if session is None else f"{path}/{path_part(session)}")
    console.print("ended" if answer is None else f"ended {answer['ended']}")


def _path(gateway: Gateway, user: str | None, *, everybody: bool) -> str:
    if everybody:
        return f"{USERS}/sessions"
    return OWN if user is None else f"{USERS}/{id_of(gateway, user)}/sessions"
