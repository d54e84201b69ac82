"""`tradewind user …`: who may come in, and what they may do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from cli import asking, tables
from cli.client import Gateway
from cli.errors import CommandError
from infra.embedded.view_panels import styled

USERS: Final = "/api/v1/users"
PAGE: Final = 500
app = typer.Typer(help="Who may come in, and what they may do.", no_args_is_help=True)
console = Console(highlight=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name or id.")]
Roles = Annotated[
    list[str], typer.Option("--role", help="viewer, trader, risk or admin; may be repeated.")
]
Accounts = Annotated[
    list[str] | None, typer.Option("--account", help="An account, or * for all; may be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Lower case; what is typed at the login.")],
    roles: Roles,
    accounts: Accounts = None,
    display_name: Annotated[str | None, typer.Option(help="As people write it.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Take the first password from stdin.")
    ] = False,
) -> None:
    """Add a user; prints a random first password, to be changed at the first login."""
    body: dict[str, Any] = {"name": name, "roles": roles, "accounts": accounts or []}
    if display_name is not None:
        body["display_name"] = display_name
    if password_stdin:
        body["password"] = asking.from_stdin("password")
    with Gateway() as gateway:
        answer = gateway.post(USERS, body)
    console.print(f"{answer['name']} may come in ({', '.join(answer['roles'])})")
    _print_password(answer)


@app.command("list")
def show_all(as_json: Json = False) -> None:
    """List users by name."""
    with Gateway() as gateway:
        rows = _all(gateway)
    if as_json:
        typer.echo(json.dumps({"items": rows}, indent=2))
        return
    table = tables.grid("name", "roles", "accounts", "state", "codes", "id")
    for row in rows:
        table.add_row(
            row["name"],
            ", ".join(row["roles"]),
            ", ".join(row["accounts"]) or "–",
            styled(row["state"]),
            "on" if row["totp_enabled"] else "off",
            row["id"],
        )
    tables.show(console, table)


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show one user."""
    with Gateway() as gateway:
        row = gateway.get(f"{USERS}/{id_of(gateway, name)}")
    if as_json:
        typer.echo(json.dumps(row, indent=2))
        return
    for label, value in row.items():
        text = ", ".join(value) if isinstance(value, list) else value
        console.print(f"{label.replace('_', ' '):<20} {'–' if text in (None, '') else text}")


@app.command()
def roles(name: Name, roles: Roles, accounts: Accounts = None) -> None:
    """Give a user other roles, and with --account other accounts; in effect at once."""
    body: dict[str, Any] = {"roles": roles}
    if accounts is not None:
        body["accounts"] = accounts
    row = _change(name, body)
    console.print(
        f"{row['name']}: roles {', '.join(row['roles'])}; "
        f"accounts {', '.join(row['accounts']) or '–'}"
    )


@app.command()
def disable(name: Name) -> None:
    """Let a user in no more; sessions and keys are void at once."""
    console.print(f"{_change(name, {'state': 'disabled'})['name']} is disabled")


@app.command()
def enable(name: Name) -> None:
    """Let a user in again."""
    console.print(f"{_change(name, {'state': 'active'})['name']} is active")


@app.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a user for good: login, sessions, codes, API keys. The record keeps the name."""
    with Gateway() as gateway:
        row = gateway.get(f"{USERS}/{id_of(gateway, name)}")
        if not yes:
            typer.confirm(f"Remove {row['name']} for good?", abort=True, err=True)
        gateway.delete(f"{USERS}/{row['id']}")
    console.print(f"{row['name']} is removed")


@app.command("reset-password")
def reset_password(name: Name) -> None:
    """Give a user a random password, to be changed at the next login; ends their sessions."""
    with Gateway() as gateway:
        _print_password(gateway.post(f"{USERS}/{id_of(gateway, name)}/password", {}))


@app.command()
def unlock(name: Name) -> None:
    """End the lock-out that too many failed logins led to."""
    with Gateway() as gateway:
        row = gateway.post(f"{USERS}/{id_of(gateway, name)}/unlock", {})
    console.print(f"{row['name']} may try again")


@app.command("reset-totp")
def reset_totp(name: Name) -> None:
    """Turn off the one-time codes of a user who has lost them."""
    with Gateway() as gateway:
        row = gateway.delete(f"{USERS}/{id_of(gateway, name)}/totp")
    console.print(f"{row['name']} comes in by the password alone")


def id_of(gateway: Gateway, name: str) -> str:
    """Return the id of a user given by name or id. Raises CommandError."""
    try:
        return str(uuid.UUID(name))
    except ValueError:
        found = [row["id"] for row in _all(gateway) if row["name"] == name.lower()]
    if not found:
        raise CommandError(f"there is no user {name!r}; `tradewind user list` shows them")
    return str(found[0])


def _all(gateway: Gateway) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    after = None
    while True:
        page = gateway.get(USERS, {"limit": PAGE, "after": after})
        rows += page["items"]
        after = page["next"]
        if after is None:
            return rows


def _change(name: str, body: Mapping[str, Any]) -> Any:
    with Gateway() as gateway:
        return gateway.patch(f"{USERS}/{id_of(gateway, name)}", body)


def _print_password(answer: Mapping[str, Any]) -> None:
    if answer.get("password"):
        asking.say("The first password, shown this once:")
        typer.echo(answer["password"])
