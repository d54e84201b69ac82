"""`tradewind approvals …`: what waits for a second person."""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated, Any

import typer
from rich.console import Console

from cli import tables
from cli.client import Gateway
from cli.errors import CommandError

PLACES = ("/api/v1/risk/proposals", "/api/v1/strategies/proposals")
app = typer.Typer(
    help="What waits for a second person: list, approve, reject.", no_args_is_help=True
)
console = Console(highlight=False)
Identity = Annotated[str, typer.Argument(help="The proposal's id, or how it begins.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@app.command("list")
def listed(
    every: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    as_json: Json = False,
) -> None:
    """List what waits for a second person."""
    with Gateway() as gateway:
        rows = [row for _, row in _proposals(gateway) if every or row["state"] == "waiting"]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    grid = tables.grid("id", "what", "why", "by", "until (UTC)", "state")
    for row in rows:
        until = dt.datetime.fromisoformat(row["expires_at"]).astimezone(dt.UTC)
        state = row["outcome"] or row["state"]
        grid.add_row(
            row["id"], row["summary"], row["reason"], row["proposed_by"], f"{until:%H:%M}", state
        )
    tables.show(console, grid)


@app.command()
def approve(identity: Identity, as_json: Json = False) -> None:
    """Agree to a proposal of somebody else; it is carried out at once."""
    _decide(identity, "approve", as_json)


@app.command()
def reject(identity: Identity, as_json: Json = False) -> None:
    """Refuse a proposal, or withdraw your own."""
    _decide(identity, "reject", as_json)


def _decide(identity: str, act: str, as_json: bool) -> None:
    with Gateway() as gateway:
        place, row = _find(gateway, identity)
        answer = gateway.post(f"{place}/{row['id']}/{act}", {})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        console.print(f"{answer['summary']}: {answer['outcome'] or answer['state']}")


def _find(gateway: Gateway, identity: str) -> tuple[str, dict[str, Any]]:
    found = [pair for pair in _proposals(gateway) if pair[1]["id"].startswith(identity)]
    if len(found) != 1:
        many = f"{len(found)} proposals begin with" if found else "there is no proposal"
        raise CommandError(f"{many} {identity}; `tradewind approvals list` names them")
    return found[0]


def _proposals(gateway: Gateway) -> list[tuple[str, dict[str, Any]]]:
    return [(place, row) for place in PLACES for row in gateway.get(place, {"limit": 200})["items"]]


def waits(answer: Any) -> bool:
    """Say so where an answer is a proposal that waits for a second person."""
    if not isinstance(answer, dict) or "proposed_by" not in answer:
        return False
    console.print(
        f"{answer['summary']}: waits for a second person,"
        f" who types `tradewind approvals approve {answer['id']}`",
        soft_wrap=True,
    )
    return True
