"""`tradewind key …`: API keys for programs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from cli import asking, tables
from cli.client import Gateway
from cli.run import path_part
from cli.user import id_of

KEYS: Final = "/api/v1/keys"
PAGE: Final = 500
app = typer.Typer(help="API keys for programs.", no_args_is_help=True)
console = Console(highlight=False)

User = Annotated[str | None, typer.Option(help="Another user's; takes an administrator.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    permissions: Annotated[
        list[str], typer.Option("--permission", "-p", help="E.g. orders:read; may be repeated.")
    ],
    days: Annotated[int, typer.Option(min=1, help="How long it is good.")],
    accounts: Annotated[
        list[str] | None, typer.Option("--account", help="All of yours by default.")
    ] = None,
    networks: Annotated[
        list[str] | None, typer.Option("--network", help="E.g. 192.0.2.0/24; any by default.")
    ] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="Requests a minute.")] = None,
    may_step_up: Annotated[
        bool, typer.Option("--may-step-up", help="May do what asks people to prove themselves.")
    ] = False,
    user: User = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it, this once."""
    expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    body: dict[str, Any] = {
        "name": name,
        "permissions": permissions,
        "accounts": accounts or [],
        "networks": networks or [],
        "expires_at": expires_at.isoformat(),
        "may_step_up": may_step_up,
    }
    if rate is not None:
        body["rate_per_minute"] = rate
    with Gateway() as gateway:
        if user is not None:
            body["user_id"] = id_of(gateway, user)
        answer = gateway.post(KEYS, body)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    asking.say(
        f"Key {answer['id']} of {answer['user']}, good until "
        f"{tables.instant(answer['expires_at'])}; shown this once:"
    )
    typer.echo(answer["key"])


@app.command("list")
def show_all(
    user: User = None,
    everybody: Annotated[bool, typer.Option("--all", help="Of all users.")] = False,
    as_json: Json = False,
) -> None:
    """List keys with their last use."""
    with Gateway() as gateway:
        owner = None if user is None else id_of(gateway, user)
        rows = _all(gateway, {"user_id": owner, "everybody": "true" if everybody else None})
    if as_json:
        typer.echo(json.dumps({"items": rows}, indent=2))
    elif rows:
        table = tables.grid("id", "user", "name", "may", "from", "until", "last used", "state")
        for row in rows:
            table.add_row(
                row["id"],
                row["user"],
                row["name"],
                " ".join(row["permissions"]),
                " ".join(row["networks"]) or "anywhere",
                tables.instant(row["expires_at"]),
                tables.instant(row["last_used_at"]),
                _state(row),
            )
        tables.show(console, table)
    else:
        console.print("no keys")


@app.command()
def show(key: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show one key as JSON; its secret is known to nobody."""
    with Gateway() as gateway:
        typer.echo(json.dumps(gateway.get(f"{KEYS}/{path_part(key)}"), indent=2))


@app.command()
def revoke(key: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Admit a key no more; it is void at once."""
    with Gateway() as gateway:
        row = gateway.delete(f"{KEYS}/{path_part(key)}")
    console.print(f"{row['name']} ({row['id']}) is revoked")


def _all(gateway: Gateway, chosen: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    after = None
    while True:
        page = gateway.get(KEYS, {**chosen, "limit": PAGE, "after": after})
        rows += page["items"]
        after = page["next"]
        if after is None:
            return rows


def _state(row: Mapping[str, Any]) -> str:
    if row["revoked_at"]:
        return "revoked"
    expired = dt.datetime.fromisoformat(row["expires_at"]) <= dt.datetime.now(dt.UTC)
    return "expired" if expired else "good"
